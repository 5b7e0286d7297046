//! What an authorization request asks, decided from the request and the client alone.
//!
//! Invariant: whether there is an address to answer to is decided first ([`reply_to`]) and whether the request makes
//! sense after ([`AuthorizationRequest::read`]): a fault found before is never told to that address.

use std::collections::BTreeSet;

use tollgate_proto::{Name, Scope};

use super::{
    fault::{PageFault, RequestFault},
    parameters::Parameters,
    reply::Reply,
};
use crate::{
    app::Urls,
    oauth::{client::Client, redirect_uri::RedirectUri, target::Target},
};

/// A `state` of more bytes is refused; clients keep a nonce in it, and some a little more.
const STATE_BYTES_MAX: usize = 8 * 1024;
/// Base64url of a SHA-256 (RFC 7636 section 4.2).
const CHALLENGE_LEN: usize = 43;
/// More endpoints than any honest client asks for at once.
const RESOURCES_MAX: usize = 20;
/// More than any honest client asks for at once; each is compared with every grant.
const SCOPES_MAX: usize = 500;
/// Asks for a refresh token (OpenID Connect Core 1.0 section 11). It is no scope of ours.
const OFFLINE_ACCESS: &str = "offline_access";

/// A request that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorizationRequest {
    /// RFC 7636 section 4.2, method `S256`.
    pub(super) code_challenge: String,
    /// The endpoints that tokens are wanted for, at least one.
    pub(super) targets: Vec<Target>,
    /// The scopes asked for; absent asks for all that is granted.
    pub(super) scopes: Option<Vec<Scope>>,
    /// What the user must or must not be shown.
    pub(super) prompt: Prompt,
}

/// `prompt` (OpenID Connect Core 1.0 section 3.1.2.1). Values that nobody defined mean nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// No page at all.
    pub(super) none: bool,
    /// Sign in anew.
    pub(super) login: bool,
    /// Ask for consent, remembered or not.
    pub(super) consent: bool,
}

/// Where the client is answered: the address that it named, when it registered that, or its only one.
pub(super) fn reply_to(parameters: &Parameters, client: &Client, issuer: &str) -> Result<Reply, PageFault> {
    let named = parameters.get("redirect_uri").map_err(|_| PageFault::Repeated("redirect_uri"))?;
    let redirect_uri = match (named, client.redirect_uris.as_slice()) {
        (Some(named), registered) if registered.iter().any(|uri| uri.matches(named)) => named,
        (Some(named), _) => return Err(PageFault::UnknownRedirect(named.chars().take(200).collect())),
        (None, [only]) => only.as_str(),
        (None, _) => return Err(PageFault::NoRedirect),
    };
    // Which of two was meant, or what to do with one too long, is said in the answer; it has no state then.
    let state = parameters.get("state").ok().flatten().filter(|state| state.len() <= STATE_BYTES_MAX);
    Ok(Reply { redirect_uri: redirect_uri.to_owned(), state: state.map(str::to_owned), issuer: issuer.to_owned() })
}

impl AuthorizationRequest {
    /// Reads all but what says where the client is answered.
    pub(super) fn read(
        parameters: &Parameters,
        client: &Client,
        urls: &Urls,
        tenant: &Name,
    ) -> Result<Self, RequestFault> {
        refuse_what_is_not_supported(parameters)?;
        if let Some(repeated) = parameters.repeated() {
            return Err(repeated.into());
        }
        check_shape(parameters)?;
        if !client.may_use("authorization_code") {
            return Err(RequestFault::UnauthorizedClient);
        }
        Ok(Self {
            code_challenge: code_challenge(parameters)?,
            targets: targets(parameters, urls, tenant)?,
            scopes: scopes(parameters, client)?,
            prompt: Prompt::read(parameters)?,
        })
    }
}

impl Prompt {
    fn read(parameters: &Parameters) -> Result<Self, RequestFault> {
        let mut prompt = Self::default();
        for value in parameters.get("prompt")?.unwrap_or_default().split(' ') {
            match value {
                "none" => prompt.none = true,
                "login" | "select_account" => prompt.login = true,
                "consent" => prompt.consent = true,
                _ => {}
            }
        }
        if prompt.none && (prompt.login || prompt.consent) {
            return Err(RequestFault::InvalidRequest("`none` stands alone in `prompt`".into()));
        }
        Ok(prompt)
    }
}

/// Whether the answer goes to an address that others than the client may listen at.
pub(super) fn leads_to_device(redirect_uri: &RedirectUri) -> bool {
    redirect_uri.is_loopback() || redirect_uri.is_private_use()
}

fn refuse_what_is_not_supported(parameters: &Parameters) -> Result<(), RequestFault> {
    let has = |name| parameters.all(name).next().is_some();
    match () {
        () if has("request") => Err(RequestFault::RequestNotSupported),
        () if has("request_uri") => Err(RequestFault::RequestUriNotSupported),
        () if has("registration") => Err(RequestFault::RegistrationNotSupported),
        () => Ok(()),
    }
}

fn check_shape(parameters: &Parameters) -> Result<(), RequestFault> {
    match parameters.get("response_type")? {
        Some("code") => {}
        Some(_) => return Err(RequestFault::UnsupportedResponseType),
        None => return Err(RequestFault::InvalidRequest("`response_type` is missing".into())),
    }
    if !matches!(parameters.get("response_mode")?, None | Some("query")) {
        return Err(RequestFault::InvalidRequest("the only response_mode is `query`".into()));
    }
    if parameters.get("state")?.is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(RequestFault::InvalidRequest("`state` is longer than 8 KiB".into()));
    }
    Ok(())
}

/// RFC 7636 sections 4.3 and 4.4.1. No method means `plain` there, which is not taken.
fn code_challenge(parameters: &Parameters) -> Result<String, RequestFault> {
    let Some(challenge) = parameters.get("code_challenge")? else {
        return Err(RequestFault::InvalidRequest("code challenge required".into()));
    };
    if parameters.get("code_challenge_method")? != Some("S256") {
        return Err(RequestFault::InvalidRequest("transform algorithm not supported: use S256".into()));
    }
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if challenge.len() != CHALLENGE_LEN || !challenge.bytes().all(base64url) {
        return Err(RequestFault::InvalidRequest(
            "`code_challenge` is not the base64url form of a SHA-256, which has 43 characters".into(),
        ));
    }
    Ok(challenge.to_owned())
}

/// RFC 8707 section 2; the tenant's federated endpoint when the request names none.
fn targets(parameters: &Parameters, urls: &Urls, tenant: &Name) -> Result<Vec<Target>, RequestFault> {
    let mut targets = Vec::new();
    for resource in parameters.all("resource") {
        let target = Target::parse(resource, urls, tenant)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() > RESOURCES_MAX {
        return Err(RequestFault::InvalidRequest("more than 20 resources".into()));
    }
    if targets.is_empty() {
        targets.push(Target::Federated);
    }
    Ok(targets)
}

/// RFC 6749 section 3.3: scope-tokens divided by spaces.
fn scopes(parameters: &Parameters, client: &Client) -> Result<Option<Vec<Scope>>, RequestFault> {
    let Some(text) = parameters.get("scope")? else { return Ok(None) };
    let tokens = text.split(' ').filter(|token| !token.is_empty());
    let tokens = tokens.filter(|token| *token != OFFLINE_ACCESS || !client.may_use("refresh_token"));
    let scopes: BTreeSet<Scope> = tokens
        .map(str::parse)
        .collect::<Result<_, tollgate_proto::ScopeError>>()
        .map_err(|error| RequestFault::InvalidScope(error.to_string()))?;
    if scopes.len() > SCOPES_MAX {
        return Err(RequestFault::InvalidScope("more than 500 scopes: leave `scope` out to ask for all".to_owned()));
    }
    // `offline_access` alone asks for nothing in particular.
    Ok((!scopes.is_empty()).then(|| scopes.into_iter().collect()))
}
