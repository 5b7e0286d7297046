//! How severe a log message is (RFC 5424 section 6.2.1, as MCP names the levels).
//!
//! Invariant: levels are ordered, the least severe first.

/// A level of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// What happens as it should.
    Info,
    /// Normal but remarkable.
    Notice,
    /// What may become an error.
    Warning,
    /// What went wrong.
    Error,
    /// A part of the server fails.
    Critical,
    /// Somebody has to act at once.
    Alert,
    /// The server is unusable.
    Emergency,
}

const ALL: [Level; 8] = [
    Level::Debug,
    Level::Info,
    Level::Notice,
    Level::Warning,
    Level::Error,
    Level::Critical,
    Level::Alert,
    Level::Emergency,
];

impl Level {
    /// The level of this name, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back_from_its_name_and_stands_in_order() {
        for level in ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
        }
        assert!(ALL.is_sorted());
        assert_eq!(Level::parse("Warning"), None);
    }
}
