//! What a client says about itself (RFC 7591 section 2), read from a registration request or from a Client ID Metadata
//! Document. Both come through [`ClientMetadata::read`], so that one set of rules holds however a client came.
//!
//! Members that are not known are ignored (RFC 7591 section 2), and `null` is as good as absent (RFC 7592 section
//! 2.2). Grant and response types that no registered client gets here are left out of what is registered; it is
//! refused only when nothing that it can use remains.
//!
//! Invariant: what was accepted can be shown and used as it is. Texts are kept raw, and whoever shows one to people
//! strips it ([`shown_name`]).

use serde_json::Value;

use super::{
    client::CLIENT_CREDENTIALS,
    client_keys::KeysFault,
    redirect_uri::{self, ApplicationType, RedirectFault, RedirectUri},
};
use crate::{
    agents::{AuthMethod, SigningAlg},
    invisible::is_deceptive,
};

mod canonical;
mod members;
#[cfg(test)]
mod tests;

use members::Members;

const REDIRECT_URIS_MAX: usize = 10;
const NAME_CHARS_MAX: usize = 128;
const SHOWN_NAME_CHARS_MAX: usize = 64;
const CONTACTS_MAX: usize = 10;
const CODE: &str = "authorization_code";
const REFRESH: &str = "refresh_token";

/// Validated metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientMetadata {
    /// `client_name`, raw.
    pub client_name: Option<String>,
    /// `redirect_uris`, at least one, each once, in the client's order.
    pub redirect_uris: Vec<RedirectUri>,
    /// `token_endpoint_auth_method`.
    pub auth_method: AuthMethod,
    /// `grant_types`: `authorization_code`, and `refresh_token` if the client wants that; `client_credentials` where
    /// a document with keys asks for it, which the tenant's policy has to permit before it can be used.
    pub grant_types: Vec<&'static str>,
    /// `application_type`; what the redirect URIs say where the client does not.
    pub application_type: ApplicationType,
    /// `jwks` or `jwks_uri`.
    pub keys: Option<Keys>,
    /// `token_endpoint_auth_signing_alg`.
    pub signing_alg: Option<SigningAlg>,
    /// `scope`, as far as these are scopes here; grants decide what a token gets.
    pub scope: Option<String>,
    /// `contacts`, raw.
    pub contacts: Vec<String>,
    /// `client_uri`, `logo_uri`, `tos_uri`, `policy_uri`, `software_id`, `software_version` where given, raw.
    pub about: Vec<(&'static str, String)>,
}

/// The public keys of a client that signs assertions.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// An RFC 7517 JWK Set of public keys.
    Inline(Value),
    /// Where it is: an `https` URL.
    At(String),
}

/// How a client presents its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In a registration request: it may ask for a secret.
    Registration,
    /// In a document that anyone can read: it has a name, and no secret.
    Document,
}

/// Why metadata is not accepted. The texts are for the client's developer and quote nothing long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// `invalid_redirect_uri`: none at all.
    #[error("`redirect_uris` must name at least one redirect URI")]
    NoRedirectUri,
    /// `invalid_redirect_uri`.
    #[error("redirect URI {place}: {fault}")]
    RedirectUri {
        /// Which one, from 0.
        place: usize,
        /// What is wrong with it.
        fault: RedirectFault,
    },
    /// `invalid_software_statement`: no JWT. One that is a JWT is ignored, since no issuer of them is trusted.
    #[error("`software_statement` is no JWT")]
    SoftwareStatement,
    /// `invalid_client_metadata`: a member is of the wrong type or makes no sense.
    #[error("`{member}` {fault}")]
    Member {
        /// Which member.
        member: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// `invalid_client_metadata`: the keys.
    #[error("`jwks`: {0}")]
    Keys(#[from] KeysFault),
    /// `invalid_client_metadata`: something that concerns several members, or the whole.
    #[error("{0}")]
    Whole(&'static str),
}

impl ClientMetadata {
    /// Reads metadata.
    ///
    /// # Errors
    /// The first [`MetadataFault`].
    pub fn read(
        document: &Value,
        source: Source,
        private_use_schemes: &redirect_uri::PrivateUseSchemes,
    ) -> Result<Self, MetadataFault> {
        let members = Members::of(document)?;
        members.software_statement()?;
        let client_name = name(&members, source)?;
        let auth_method = auth_method(&members, source)?;
        let keys = members.keys()?;
        if auth_method == AuthMethod::PrivateKeyJwt && keys.is_none() {
            return Err(MetadataFault::Whole("`private_key_jwt` needs `jwks` or `jwks_uri`"));
        }
        let grant_types = grant_types(&members, source, auth_method)?;
        let declared_type = application_type(&members)?;
        let registration = redirect_uri::Registration {
            application_type: declared_type,
            public: auth_method == AuthMethod::None,
            private_use_schemes,
        };
        let redirect_uris = redirect_uris(&members, &registration)?;
        Ok(Self {
            application_type: declared_type.unwrap_or_else(|| suggested_type(&redirect_uris)),
            signing_alg: members.signing_alg()?,
            scope: members.scope()?,
            contacts: members.texts("contacts", CONTACTS_MAX)?,
            about: members.about()?,
            client_name,
            redirect_uris,
            auth_method,
            grant_types,
            keys,
        })
    }

    /// Whether the client has no way to prove who it is.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth_method == AuthMethod::None
    }

    /// `response_types`: what belongs to its grant types (RFC 7591 section 2.1).
    #[must_use]
    pub fn response_types(&self) -> &'static [&'static str] {
        if self.grant_types.contains(&CODE) { &["code"] } else { &[] }
    }

    /// `jwks`, if the keys are here.
    #[must_use]
    pub const fn jwks(&self) -> Option<&Value> {
        match &self.keys {
            Some(Keys::Inline(jwks)) => Some(jwks),
            Some(Keys::At(_)) | None => None,
        }
    }

    /// `jwks_uri`, if the keys are elsewhere.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        match &self.keys {
            Some(Keys::At(url)) => Some(url),
            Some(Keys::Inline(_)) | None => None,
        }
    }
}

impl MetadataFault {
    /// The error code of RFC 7591 section 3.2.2.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRedirectUri | Self::RedirectUri { .. } => "invalid_redirect_uri",
            Self::SoftwareStatement => "invalid_software_statement",
            Self::Member { .. } | Self::Keys(_) | Self::Whole(_) => "invalid_client_metadata",
        }
    }
}

/// A client's name as people may see it: without control, bidirectional and other invisible characters, and not long.
#[must_use]
pub fn shown_name(raw: &str) -> String {
    let shown: String = raw.chars().filter(|&char| !is_deceptive(char)).take(SHOWN_NAME_CHARS_MAX).collect();
    shown.trim().to_owned()
}

fn name(members: &Members<'_>, source: Source) -> Result<Option<String>, MetadataFault> {
    const MEMBER: &str = "client_name";
    let fault = |fault| MetadataFault::Member { member: MEMBER, fault };
    let name = members.text(MEMBER)?.filter(|name| !name.is_empty());
    match name {
        Some(name) if name.chars().count() > NAME_CHARS_MAX => Err(fault("is longer than 128 characters")),
        Some(name) => Ok(Some(name.to_owned())),
        None if source == Source::Document => Err(fault("is missing")),
        None => Ok(None),
    }
}

/// RFC 7591 section 2; in documents, what `token_endpoint_auth_methods_supported` (OpenID Connect Relying Party
/// Metadata Choices) offers decides where no method is named.
fn auth_method(members: &Members<'_>, source: Source) -> Result<AuthMethod, MetadataFault> {
    const MEMBER: &str = "token_endpoint_auth_method";
    let secret = "needs a secret, which a document that anyone can read has not";
    let fault = |fault| MetadataFault::Member { member: MEMBER, fault };
    if source == Source::Document && members.has_any(&["client_secret", "client_secret_expires_at"]) {
        return Err(MetadataFault::Whole("a document that anyone can read has no `client_secret`"));
    }
    let offered = members.optional_texts("token_endpoint_auth_methods_supported", 20)?;
    match (members.text(MEMBER)?, source) {
        (Some("none"), _) => Ok(AuthMethod::None),
        (Some("private_key_jwt"), _) => Ok(AuthMethod::PrivateKeyJwt),
        (Some("client_secret_basic"), Source::Registration) | (None, Source::Registration) => {
            Ok(AuthMethod::ClientSecretBasic)
        }
        (Some("client_secret_post"), Source::Registration) => Ok(AuthMethod::ClientSecretPost),
        (Some(method), Source::Document) if method.starts_with("client_secret_") => Err(fault(secret)),
        (Some(_), _) => Err(fault("is none of `none`, `private_key_jwt`, `client_secret_basic`, `client_secret_post`")),
        (None, Source::Document) => offered_method(offered.as_deref()),
    }
}

/// The strongest method that is offered; `none` where nothing is said.
fn offered_method(offered: Option<&[String]>) -> Result<AuthMethod, MetadataFault> {
    let Some(offered) = offered else { return Ok(AuthMethod::None) };
    let has = |method| offered.iter().any(|offered| offered == method);
    match (has("private_key_jwt"), has("none")) {
        (true, _) => Ok(AuthMethod::PrivateKeyJwt),
        (false, true) => Ok(AuthMethod::None),
        (false, false) => Err(MetadataFault::Member {
            member: "token_endpoint_auth_methods_supported",
            fault: "has neither `none` nor `private_key_jwt`",
        }),
    }
}

/// RFC 7591 section 2.1: grant types and response types have to fit.
fn grant_types(
    members: &Members<'_>,
    source: Source,
    auth_method: AuthMethod,
) -> Result<Vec<&'static str>, MetadataFault> {
    let grant_types = members.optional_texts("grant_types", 20)?;
    let response_types = members.optional_texts("response_types", 20)?;
    let grants =
        |wanted: &str| grant_types.as_ref().map_or(wanted == CODE, |given| given.iter().any(|one| one == wanted));
    let acts_for_itself =
        source == Source::Document && auth_method == AuthMethod::PrivateKeyJwt && grants(CLIENT_CREDENTIALS);
    if acts_for_itself && !grants(CODE) {
        return Ok(vec![CLIENT_CREDENTIALS]);
    }
    if !grants(CODE) {
        let fault = "has no grant type that a client which registers itself can use: `authorization_code`";
        return Err(MetadataFault::Member { member: "grant_types", fault });
    }
    if response_types.is_some_and(|given| !given.iter().any(|one| one == "code")) {
        let fault = "has to hold `code`, which belongs to `authorization_code`";
        return Err(MetadataFault::Member { member: "response_types", fault });
    }
    let mut usable: Vec<_> = [CODE, REFRESH].into_iter().filter(|&known| grants(known)).collect();
    usable.extend(acts_for_itself.then_some(CLIENT_CREDENTIALS));
    Ok(usable)
}

fn application_type(members: &Members<'_>) -> Result<Option<ApplicationType>, MetadataFault> {
    const MEMBER: &str = "application_type";
    match members.text(MEMBER)? {
        None => Ok(None),
        Some("native") => Ok(Some(ApplicationType::Native)),
        Some("web") => Ok(Some(ApplicationType::Web)),
        Some(_) => Err(MetadataFault::Member { member: MEMBER, fault: "is neither `native` nor `web`" }),
    }
}

fn suggested_type(redirect_uris: &[RedirectUri]) -> ApplicationType {
    let on_device = |uri: &RedirectUri| uri.is_loopback() || uri.is_private_use();
    if redirect_uris.iter().any(on_device) { ApplicationType::Native } else { ApplicationType::Web }
}

fn redirect_uris(
    members: &Members<'_>,
    registration: &redirect_uri::Registration<'_>,
) -> Result<Vec<RedirectUri>, MetadataFault> {
    const MEMBER: &str = "redirect_uris";
    let texts = members.texts(MEMBER, REDIRECT_URIS_MAX)?;
    if texts.is_empty() {
        return Err(MetadataFault::NoRedirectUri);
    }
    let mut accepted = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let uri =
            RedirectUri::parse(text, registration).map_err(|fault| MetadataFault::RedirectUri { place, fault })?;
        if !accepted.contains(&uri) {
            accepted.push(uri);
        }
    }
    Ok(accepted)
}
