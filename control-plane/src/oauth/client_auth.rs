//! How a client proves who it is: `client_secret_basic` and `client_secret_post` (RFC 6749 section 2.3.1). Either is
//! taken from every agent, whichever it registered, because SDKs choose for themselves.
//!
//! Invariant: the text of a secret ends here; what goes on is its digest. What is wrong is never told, and an unknown
//! client costs the same query and the same comparison as a wrong secret.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use tollgate_proto::AgentId;
use uuid::Uuid;

use super::{error::OAuthError, form::Form, sql};
use crate::secret::Digest;

/// A claim to be a client, not yet checked.
#[derive(Debug)]
pub(super) struct Claim {
    agent: Option<AgentId>,
    /// Of the secret that came with it.
    pub(super) digest: Digest,
    /// The issuer, when the claim came in the `Authorization` header and is answered by a challenge.
    realm: Option<String>,
}

impl Claim {
    /// Finds the one method that the request used.
    pub(super) fn read(headers: &HeaderMap, form: &Form, issuer: &str) -> Result<Self, OAuthError> {
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let authorization = authorizations.next();
        let secret = form.get("client_secret");
        let assertion = form.get("client_assertion");
        let methods = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if methods.into_iter().filter(|&used| used).count() > 1 || authorizations.next().is_some() {
            return Err(OAuthError::InvalidRequest("a client authenticates by one method only".into()));
        }
        if let Some(authorization) = authorization {
            return Self::from_header(authorization, form, issuer);
        }
        match (form.get("client_id"), secret) {
            (Some(id), Some(secret)) => Ok(Self::of(id, secret, None)),
            _ => Err(OAuthError::InvalidClient { realm: None }),
        }
    }

    fn from_header(authorization: &HeaderValue, form: &Form, issuer: &str) -> Result<Self, OAuthError> {
        let refused = || OAuthError::InvalidClient { realm: Some(issuer.to_owned()) };
        let (id, secret) = basic(authorization).ok_or_else(refused)?;
        if form.get("client_id").is_some_and(|also| also != id) {
            return Err(OAuthError::InvalidRequest("client_id is not the client that authenticates".into()));
        }
        Ok(Self::of(&id, &secret, Some(issuer.to_owned())))
    }

    fn of(id: &str, secret: &str, realm: Option<String>) -> Self {
        Self { agent: id.parse().ok(), digest: Digest::of(secret), realm }
    }

    /// Whom it claims to be; nothing when that can be no agent.
    pub(super) const fn agent(&self) -> Option<AgentId> {
        self.agent
    }

    /// Whom to look up: when the claim can be no agent, one that does not exist, so that it takes as long.
    pub(super) fn looked_up(&self) -> AgentId {
        self.agent.unwrap_or_else(|| Uuid::nil().into())
    }

    /// Whether `found` is the client and the secret is one of its secrets.
    pub(super) fn proves(&self, found: Option<&sql::Agent>) -> bool {
        const NOBODYS: [u8; 32] = [0; 32];
        let stored = found.and_then(|agent| agent.credential.as_ref()).map_or(&NOBODYS[..], |known| &known.digest);
        self.digest.matches(stored) && found.is_some_and(|agent| agent.active)
    }

    /// The answer to a claim that is not true.
    pub(super) fn refusal(self) -> OAuthError {
        OAuthError::InvalidClient { realm: self.realm }
    }
}

/// Id and secret of a `Basic` header: base64 (RFC 7617) over two form-url-encoded texts (RFC 6749 appendix B).
fn basic(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).expect("base64 is a header value")
    }

    proptest! {
        #[test]
        fn any_id_and_secret_survive_the_encoding_that_the_standard_asks_for(id in "\\PC*", secret in "\\PC*") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let value = header(&format!("{}:{}", encode(&id), encode(&secret)));
            prop_assert_eq!(basic(&value), Some((id, secret)));
        }
    }

    #[test]
    fn a_header_that_is_not_basic_is_nobody() {
        for text in ["Basic", "Basic !!!", "Bearer YTpi", "Basic YWI=", "Basic", "Basic /w=="] {
            assert_eq!(basic(&HeaderValue::from_static(text)), None, "{text}");
        }
        assert_eq!(basic(&header("%ff:secret")), None);
    }

    #[test]
    fn a_colon_in_the_secret_need_not_be_encoded() {
        assert_eq!(basic(&header("id:a:b")), Some(("id".to_owned(), "a:b".to_owned())));
    }
}
