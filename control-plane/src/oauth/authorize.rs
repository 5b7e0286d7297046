//! The authorization endpoint of a server whose agents are all autonomous.
//!
//! Invariant: it never redirects, because no agent has a redirection URI (RFC 6749 section 4.1.2.1), and no web page
//! may read it.

use super::{error::OAuthError, issuer::Issuer};

/// Says that no agent may use it, and what to do instead.
pub(super) async fn refuse(_: Issuer) -> OAuthError {
    OAuthError::NotInteractive
}
