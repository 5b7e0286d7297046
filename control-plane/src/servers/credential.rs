//! What Tollgate presents to a server: nothing, headers, or tokens of the server's own authorization server.
//!
//! The spec says everything but the secrets. They come in as references (`literal:…`; `tollgate apply` resolves `env:`
//! and `file:` before it sends), are sealed before they are stored, and leave in policies only. A secret that is left out
//! stays as it is, where it still goes to the place that it was given for.
//!
//! Invariant: no spec that is stored, shown or audited holds a secret, and every secret that a spec needs is stored.

use serde::{Deserialize, Serialize};
use tollgate_proto::{ServerId, TenantId};
use utoipa::ToSchema;

use crate::seal::{MasterKey, SealError};

mod meaning;
mod policy;
mod private_key;
mod secret;
#[cfg(test)]
mod tests;

pub(super) use meaning::{Meaning, SecretChange, interpret, passed_headers};
pub(crate) use policy::{StoredSecret, compile};
pub use secret::SecretRef;

/// What Tollgate presents to a server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerCredential {
    /// Nothing.
    None(NoCredential),
    /// The same headers with every request.
    Header(HeaderCredential),
    /// A token that Tollgate gets for itself (RFC 6749 section 4.4) from the server's authorization server.
    OauthClientCredentials(OauthClientCredentials),
}

/// Nothing is presented.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoCredential {}

/// The same headers with every request: one as `name` and `value_ref`, or several as `headers`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderCredential {
    /// The header's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Authorization")]
    pub name: Option<String>,
    /// Its value. Left out, the stored one stays. Never shown again.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(value_type = Option<String>, write_only, example = "literal:Bearer s3cr3t")]
    pub value_ref: Option<SecretRef>,
    /// The headers, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 16)]
    pub headers: Option<Vec<SecretHeader>>,
}

/// One header of several.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretHeader {
    /// The header's name.
    #[schema(example = "X-Api-Key")]
    pub name: String,
    /// Its value. Left out, the stored one stays. Never shown again.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(value_type = Option<String>, write_only, example = "literal:s3cr3t")]
    pub value_ref: Option<SecretRef>,
}

/// A client at the server's own authorization server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthClientCredentials {
    /// The authorization server, whose metadata (RFC 8414) is read. Absent: the server's protected-resource metadata
    /// (RFC 9728) names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://login.example.com")]
    pub issuer: Option<String>,
    /// Its token endpoint, where it publishes no metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// The `client_id` that Tollgate has there.
    pub client_id: String,
    /// How the client proves who it is; `client_secret_basic` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<ClientAuthMethod>,
    /// The client secret; for `private_key_jwt` a P-256 private key, as PEM or JWK. Left out, the stored one stays. Never
    /// shown again.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(value_type = Option<String>, write_only, example = "literal:s3cr3t")]
    pub secret_ref: Option<SecretRef>,
    /// The `kid` of the private key, where it has to be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// What tokens are asked for; nothing in particular unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32)]
    pub scopes: Option<Vec<String>>,
    /// What tokens are for (RFC 8707). Absent: what the server's metadata says, else the URL of its first instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// How Tollgate proves to an authorization server who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// With the secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// With the secret in the body.
    ClientSecretPost,
    /// With an assertion that the private key signs by ES256 (RFC 7523 section 2.2).
    PrivateKeyJwt,
}

impl ServerCredential {
    /// For people: what kind it is.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::None(_) => "none",
            Self::Header(_) => "headers",
            Self::OauthClientCredentials(_) => "OAuth client credentials",
        }
    }

    /// Whether nothing is presented.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None(_))
    }
}

impl HeaderCredential {
    /// Each header with the JSON pointer of its place in the spec.
    fn all(&self) -> Vec<(String, &str, Option<&SecretRef>)> {
        let short = self.name.as_deref().map(|name| (POINTER.to_owned(), name, self.value_ref.as_ref()));
        let listed = self.headers.iter().flatten().enumerate().map(|(index, header)| {
            (format!("{POINTER}/headers/{index}"), header.name.as_str(), header.value_ref.as_ref())
        });
        short.into_iter().chain(listed).collect()
    }

    /// The names of the headers, as they were written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.name.as_deref().into_iter().chain(self.headers.iter().flatten().map(|header| header.name.as_str()))
    }
}

impl OauthClientCredentials {
    /// How the client proves who it is.
    #[must_use]
    pub fn effective_auth_method(&self) -> ClientAuthMethod {
        self.auth_method.unwrap_or(ClientAuthMethod::ClientSecretBasic)
    }

    /// Under which name its secret is stored.
    fn secret_name(&self) -> &'static str {
        match self.effective_auth_method() {
            ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost => "client_secret",
            ClientAuthMethod::PrivateKeyJwt => "private_key",
        }
    }
}

/// Seals the secrets that are new.
///
/// # Errors
/// When the random generator fails.
pub(super) fn seal(
    meaning: &mut Meaning,
    master_key: &MasterKey,
    tenant: TenantId,
    server: ServerId,
) -> Result<(), SealError> {
    for (name, change) in meaning {
        if let SecretChange::Set(value) = change {
            *change = SecretChange::Sealed(master_key.seal(&policy::place(tenant, server, name), value)?);
        }
    }
    Ok(())
}

/// Where a credential stands in the body.
const POINTER: &str = "/spec/credential";

/// Serde and the OpenAPI document take what is skipped on this condition for a field that can be sent.
const fn never_shown(_: &Option<SecretRef>) -> bool {
    true
}

/// Under which name the value of a header is stored.
fn header_secret(name: &str) -> String {
    format!("header:{}", name.to_ascii_lowercase())
}
