//! What a caller is told whose token does not do: what is wrong with it, and where to get another one.
//!
//! Invariant: what stands in the header is visible ASCII, whatever it was made of.

use http::HeaderValue;
use tollgate_proto::Scope;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// None was presented.
    #[error("a bearer token is needed")]
    Missing,
    /// Not a token of this tenant.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It, its approval, its key, its agent or its user was revoked, suspended or removed.
    #[error("the token has been revoked")]
    Revoked,
    /// Issued for another endpoint.
    #[error("the token was issued for another resource")]
    Audience,
}

/// What a `WWW-Authenticate` header says beside the error (RFC 9728 section 5.1, RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// URL of the RFC 9728 document.
    pub resource_metadata: String,
    /// The scope that would do, where the client may ask for it.
    pub scope: Option<Scope>,
}

impl TokenFault {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::Audience => "audience_mismatch",
        }
    }
}

impl Challenge {
    /// The header's value. `error` is absent where no token was presented (RFC 6750 section 3.1).
    pub(super) fn header(&self, error: Option<(&str, &str)>) -> HeaderValue {
        let mut parameters = Vec::new();
        if let Some((error, description)) = error {
            parameters.push(format!("error=\"{error}\""));
            parameters.push(format!("error_description=\"{}\"", quotable(description)));
        }
        if let Some(scope) = &self.scope {
            parameters.push(format!("scope=\"{scope}\""));
        }
        parameters.push(format!("resource_metadata=\"{}\"", quotable(&self.resource_metadata)));
        let header = format!("Bearer {}", parameters.join(", "));
        // Scopes and `quotable` texts are visible ASCII.
        HeaderValue::try_from(header).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// What may stand between quotes without escaping (RFC 6750 section 3), the rest as an apostrophe or question mark.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '`' | '"' => '\'',
            ' '..='~' if char != '\\' => char,
            _ => '?',
        })
        .collect()
}
