//! The revisions of the protocol, and the two eras they fall into.
//!
//! Invariant: revisions are ordered by date, and everything from 2026-07-28 on is modern.

use std::fmt;

/// A published revision of the protocol. The order is that of publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 2024-11-05: HTTP with a separate event stream. Servers may speak it, no agent is offered it.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP with batches.
    V2025_03_26,
    /// 2025-06-18: Streamable HTTP, sessions, no batches.
    V2025_06_18,
    /// 2025-11-25: the last revision with the `initialize` handshake.
    V2025_11_25,
    /// 2026-07-28: no handshake and no session, every request describes itself.
    V2026_07_28,
}

/// How a client and a server come to an understanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: an `initialize` handshake opens a session.
    Legacy,
    /// From 2026-07-28: each request carries its version and capabilities in `_meta`.
    Modern,
}

/// The legacy revisions that are served, oldest first.
pub const SUPPORTED_LEGACY: [ProtocolVersion; 3] =
    [ProtocolVersion::V2025_03_26, ProtocolVersion::V2025_06_18, ProtocolVersion::V2025_11_25];

/// The modern revisions that are served, oldest first.
pub const MODERN: [ProtocolVersion; 1] = [ProtocolVersion::V2026_07_28];

const ALL: [ProtocolVersion; 5] = [
    ProtocolVersion::V2024_11_05,
    ProtocolVersion::V2025_03_26,
    ProtocolVersion::V2025_06_18,
    ProtocolVersion::V2025_11_25,
    ProtocolVersion::V2026_07_28,
];

impl ProtocolVersion {
    /// The newest legacy revision that is served: the answer to an `initialize` that asks for anything else.
    pub const NEWEST_LEGACY: Self = SUPPORTED_LEGACY[SUPPORTED_LEGACY.len() - 1];

    /// The newest modern revision that is served.
    pub const NEWEST_MODERN: Self = MODERN[MODERN.len() - 1];

    /// The revision of this name, byte for byte; `None` for a revision that was never published.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    #[must_use]
    pub fn era(self) -> Era {
        if self < Self::V2026_07_28 { Era::Legacy } else { Era::Modern }
    }

    /// Whether agents are offered this revision.
    #[must_use]
    pub fn is_supported(self) -> bool {
        SUPPORTED_LEGACY.contains(&self) || MODERN.contains(&self)
    }

    /// The legacy revision of this name, byte for byte: one that a session can be in. That is any of them, 2024-11-05
    /// too: where a server negotiates it, agent and server go on in it.
    #[must_use]
    pub fn parse_legacy(text: &str) -> Option<Self> {
        Self::parse(text).filter(|version| version.era() == Era::Legacy)
    }

    /// Whether one body may hold several messages: 2025-03-26 brought that, 2025-06-18 took it back.
    #[must_use]
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// What `initialize` answers to a client that asks for `requested`: the same revision where it is a served
    /// legacy one, else [`Self::NEWEST_LEGACY`] (lifecycle, "Version Negotiation").
    #[must_use]
    pub fn negotiate_legacy(requested: &str) -> Self {
        Self::parse(requested).filter(|version| SUPPORTED_LEGACY.contains(version)).unwrap_or(Self::NEWEST_LEGACY)
    }
}

/// Every served revision, newest first: `supported` of error -32022 and `supportedVersions` of `server/discover`.
pub fn supported() -> impl Iterator<Item = ProtocolVersion> {
    ALL.into_iter().rev().filter(|version| version.is_supported())
}

/// Whether a version header names the modern era. A revision yet to come is a date after the first modern one, so
/// that a client of the future is told what is missing rather than served as a legacy one.
#[must_use]
pub fn names_modern_era(text: &str) -> bool {
    let date = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    date && text >= ProtocolVersion::V2026_07_28.as_str()
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_reads_back_from_its_name_and_stands_in_order() {
        for version in ALL {
            assert_eq!(ProtocolVersion::parse(version.as_str()), Some(version));
        }
        assert!(ALL.is_sorted());
        assert_eq!(ProtocolVersion::parse("2025-11-25 "), None);
    }

    #[test]
    fn only_the_handshake_revisions_are_legacy() {
        assert_eq!(ALL.map(ProtocolVersion::era).iter().filter(|era| **era == Era::Modern).count(), 1);
        assert!(SUPPORTED_LEGACY.iter().all(|version| version.era() == Era::Legacy));
        assert!(MODERN.iter().all(|version| version.era() == Era::Modern));
    }

    #[test]
    fn a_handshake_for_an_unserved_revision_gets_the_newest_legacy_one() {
        for served in SUPPORTED_LEGACY {
            assert_eq!(ProtocolVersion::negotiate_legacy(served.as_str()), served);
        }
        for asked in ["2024-11-05", "2026-07-28", "1.0", ""] {
            assert_eq!(ProtocolVersion::negotiate_legacy(asked), ProtocolVersion::V2025_11_25, "{asked}");
        }
    }

    #[test]
    fn a_session_can_be_in_any_legacy_revision_and_in_one_of_them_batches_are_legal() {
        for version in ALL {
            assert_eq!(ProtocolVersion::parse_legacy(version.as_str()).is_some(), version.era() == Era::Legacy);
        }
        let with_batches: Vec<_> = ALL.into_iter().filter(|version| version.has_batches()).collect();
        assert_eq!(with_batches, [ProtocolVersion::V2025_03_26]);
    }

    #[test]
    fn a_date_after_the_first_modern_revision_names_the_modern_era() {
        for text in ["2026-07-28", "2026-12-01", "2031-01-01"] {
            assert!(names_modern_era(text), "{text}");
        }
        for text in ["2025-11-25", "2026-07-27", "modern", "9999", "2026-07-28x", ""] {
            assert!(!names_modern_era(text), "{text}");
        }
    }
}
