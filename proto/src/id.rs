//! Identifiers: UUIDv7 inside, a type prefix and base32 outside (`agt_01jd…`, the TypeID form).
//!
//! Invariant: a value of one id type never parses as another, so that an agent's id cannot stand for a server's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Crockford base32 in lower case: 26 digits carry the 128 bits of a UUID.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ENCODED_LEN: usize = 26;

/// What each byte counts as a digit; [`NO_DIGIT`] for all others.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
};
const NO_DIGIT: u8 = u8::MAX;

/// A text that is no id of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {kind} id: expected `{prefix}_` and {ENCODED_LEN} base32 digits")]
pub struct IdError {
    given: String,
    kind: &'static str,
    prefix: &'static str,
}

fn encode(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    (0..ENCODED_LEN).rev().map(|digit| char::from(ALPHABET[((bits >> (5 * digit)) & 31) as usize])).collect()
}

fn decode(text: &str) -> Option<Uuid> {
    // 26 digits hold 130 bits: a first digit above 7 would not fit.
    if text.len() != ENCODED_LEN || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes()
        .try_fold(0u128, |bits, byte| match DIGITS[usize::from(byte)] {
            NO_DIGIT => None,
            digit => Some((bits << 5) | u128::from(digit)),
        })
        .map(Uuid::from_u128)
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Uuid);

        impl $type {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, ordered by the time it was made.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "every id is another")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID, as Postgres stores it.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $type {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$type> for Uuid {
            fn from(id: $type) -> Self {
                id.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| IdError { given: text.to_owned(), kind: $kind, prefix: $prefix })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A tenant: the isolation boundary.
    TenantId, "tnt", "tenant"
);
id!(
    /// A team: a cost centre inside a tenant.
    TeamId, "tea", "team"
);
id!(
    /// A human.
    UserId, "usr", "user"
);
id!(
    /// An agent; also its OAuth `client_id`.
    AgentId, "agt", "agent"
);
id!(
    /// One of an agent's client secrets.
    CredentialId, "crd", "credential"
);
id!(
    /// A registered MCP server.
    ServerId, "srv", "server"
);
id!(
    /// A toolset: tools of several servers, offered as one endpoint.
    ToolsetId, "tls", "toolset"
);
id!(
    /// One thing that a server offers.
    CatalogItemId, "itm", "catalog item"
);
id!(
    /// One running copy of a server.
    InstanceId, "ins", "instance"
);
id!(
    /// A grant of scopes.
    GrantId, "grt", "grant"
);
id!(
    /// A limit.
    LimitId, "lim", "limit"
);
id!(
    /// A price book.
    PriceBookId, "pbk", "price book"
);
id!(
    /// A budget: how much may be spent in a period.
    BudgetId, "bdg", "budget"
);
id!(
    /// One version of a price book.
    PriceBookVersionId, "pbv", "price book version"
);
id!(
    /// A re-rating: calls of some days charged anew.
    ReratingId, "rrt", "re-rating"
);
id!(
    /// A statement: what a team is charged for a month.
    StatementId, "stm", "statement"
);
id!(
    /// A webhook: where alerts are sent.
    WebhookId, "whk", "webhook"
);
id!(
    /// An alert.
    AlertId, "alr", "alert"
);
id!(
    /// A grant family: all codes and tokens that descend from one approval by a user. The `gid` of a token.
    AuthorizationId, "aut", "authorization"
);
id!(
    /// An OpenID provider that a tenant's people sign in with.
    IdentityProviderId, "idp", "identity provider"
);
id!(
    /// An initial access token (RFC 7591 section 3).
    InitialAccessTokenId, "iat", "initial access token"
);
id!(
    /// A key for the REST API.
    ApiKeyId, "key", "API key"
);
id!(
    /// A key that a tenant's data planes share.
    SealingKeyId, "slk", "sealing key"
);
id!(
    /// A data plane.
    DataPlaneId, "dpl", "data plane"
);
id!(
    /// What people call a session by: it leads to the session, and cannot be used in its place.
    SessionHandle, "ses", "session"
);
id!(
    /// A token with which data planes join.
    EnrollmentTokenId, "ent", "enrollment token"
);

/// One governed call: a UUIDv7 minted at ingress, shown in the usual UUID form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Uuid);

impl CallId {
    /// A new id; its timestamp says when the call arrived.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "every id is another")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID, as Postgres stores it.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_round_trip() {
        let id = AgentId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("agt_"));
    }

    #[test]
    fn an_id_of_one_type_is_no_id_of_another() {
        let agent = AgentId::new().to_string();
        assert!(agent.parse::<ServerId>().is_err());
    }

    #[test]
    fn the_extremes_survive() {
        for uuid in [Uuid::nil(), Uuid::max()] {
            let id = ServerId::from(uuid);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn what_does_not_fit_128_bits_is_refused() {
        assert!("agt_80000000000000000000000000".parse::<AgentId>().is_err());
        assert!("agt_".parse::<AgentId>().is_err());
        assert!("agt_0000000000000000000000000U".parse::<AgentId>().is_err());
    }
}
