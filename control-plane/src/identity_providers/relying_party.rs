//! OpenID Connect towards a provider (Core 1.0 section 3.1): where people are sent, and what to believe when they come
//! back.
//!
//! Invariant: nobody is proven but by an ID token that the provider signed with a key of its own, for us and for this
//! attempt. Every request goes through the guarded fetcher, which follows no redirect.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdToken, IdTokenClaims, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    TokenResponse as _, UserInfoClaims,
    core::{
        CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreIdTokenVerifier,
        CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreTokenResponse,
    },
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{
    Provider,
    attempt::Attempt,
    discovery::{Metadata, discover, http, with_new_keys},
    redirect_uri,
};
use crate::{app::App, error::ApiError};

/// Core 1.0 section 2.
pub(super) const SUBJECT_LEN_MAX: usize = 255;
const GROUPS_MAX: usize = 1_000;
/// How far the clock of a provider may be behind ours, where we asked it to let somebody prove anew who they are.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// What is never accepted is what a client could have signed itself (HS*) and what nobody signed (`none`).
pub(super) const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Every claim that the library does not know; groups are among them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MoreClaims(Map<String, Value>);

impl AdditionalClaims for MoreClaims {}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;
type Token = IdToken<MoreClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<MoreClaims, CoreGenderClaim>;
type MoreInfo = UserInfoClaims<MoreClaims, CoreGenderClaim>;

/// A sign-in that leaves for the provider.
pub struct Departure {
    /// Where to send the browser.
    pub url: Url,
    /// What it brings back.
    pub state: String,
    /// What the browser keeps meanwhile.
    pub sealed: String,
}

/// What a provider sends back with the browser (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Callback {
    /// The `state` of the departure.
    #[serde(default)]
    pub state: String,
    /// What to redeem.
    pub code: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// Who answers.
    pub iss: Option<String>,
}

/// Who somebody proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What the provider calls them, for ever.
    pub subject: String,
    /// Their address, unless the provider says that nobody verified it.
    pub email: Option<String>,
    /// Their name.
    pub display_name: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// What the provider calls its session with them (`sid`).
    pub session: Option<String>,
    /// When they proved to the provider who they are, if it says so.
    pub proven_at: Option<DateTime<Utc>>,
}

/// Where a sign-in leads, and how it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Where to go afterwards.
    pub next: &'a str,
    /// Whether the user has to prove anew who they are, though the provider knows them still.
    pub anew: bool,
}

/// Why a provider proved nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or what it answers is not OpenID Connect.
    #[error("the identity provider cannot be used: {0}")]
    Unusable(String),
    /// It sent the browser back with an error; this code.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// Its answer is not to be believed.
    #[error("the identity provider's answer is not to be believed: {0}")]
    Untrusted(String),
    /// A defect of ours, or Postgres is away.
    #[error(transparent)]
    Ours(#[from] ApiError),
}

/// Begins a sign-in.
///
/// # Errors
/// [`ProviderError::Unusable`] when the provider cannot be asked how.
pub async fn begin(app: &App, provider: &Provider, wish: Wish<'_>) -> Result<Departure, ProviderError> {
    let metadata = discover(app, provider).await?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let client = client(app, provider, &metadata)?;
    let mut request =
        client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
    for scope in provider.spec.effective_scopes() {
        // The library asks for `openid` by itself.
        if scope != "openid" {
            request = request.add_scope(Scope::new(scope));
        }
    }
    if wish.anew {
        request = request.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO);
    }
    let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
    let attempt = Attempt::new(provider, nonce.secret(), verifier.secret(), wish, Utc::now());
    let state = state.into_secret();
    let sealed = attempt.seal(app, &state)?;
    Ok(Departure { url, state, sealed })
}

/// What the provider's answer to `attempt` proves.
///
/// # Errors
/// [`ProviderError`].
pub async fn finish(
    app: &App,
    provider: &Provider,
    attempt: &Attempt,
    callback: Callback,
) -> Result<Proof, ProviderError> {
    let metadata = discover(app, provider).await?;
    check_issuer(provider, &metadata, callback.iss.as_deref())?;
    if let Some(error) = callback.error {
        let code: String = error.chars().filter(char::is_ascii_graphic).take(60).collect();
        return Err(ProviderError::Refused(code));
    }
    let code = callback.code.ok_or_else(|| untrusted("there is neither a code nor an error"))?;
    let client = client(app, provider, &metadata)?;
    let answer = redeem(app, provider, &client, attempt, code).await?;
    let token = answer.id_token().ok_or_else(|| untrusted("there is no ID token"))?;
    // The same token again, with the claims that the library does not know.
    let token: Token = token.to_string().parse().map_err(|error| untrusted(format!("the ID token: {error}")))?;
    let claims = verify(app, provider, &metadata, &token, &answer, attempt).await?;
    let info = more_info(app, provider, &client, &claims, &answer).await?;
    let proof = prove(provider, &claims, info.as_ref())?;
    if attempt.anew { proven_anew(proof, attempt) } else { Ok(proof) }
}

fn client(app: &App, provider: &Provider, metadata: &Metadata) -> Result<Client, ProviderError> {
    let secret = provider.secret.as_ref();
    let secret = secret.map(|secret| openidconnect::ClientSecret::new(secret.expose_secret().to_owned()));
    let methods = metadata.token_endpoint_auth_methods_supported();
    // Basic where the provider does not say (Discovery 1.0 section 3).
    let basic = methods.is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
    let redirect = RedirectUrl::new(redirect_uri(app)).map_err(ApiError::internal)?;
    let id = ClientId::new(provider.spec.client_id.clone());
    Ok(CoreClient::from_provider_metadata(metadata.clone(), id, secret)
        .set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody })
        .set_redirect_uri(redirect))
}

/// The answer comes from whom the browser was sent to (RFC 9207 section 2.4).
fn check_issuer(provider: &Provider, metadata: &Metadata, iss: Option<&str>) -> Result<(), ProviderError> {
    match iss {
        Some(iss) if iss == provider.spec.issuer => Ok(()),
        Some(_) => Err(untrusted("another issuer answers")),
        None if metadata.additional_metadata().authorization_response_iss_parameter_supported => {
            Err(untrusted("the answer does not name its issuer, which it promises to do"))
        }
        None => Ok(()),
    }
}

async fn redeem(
    app: &App,
    provider: &Provider,
    client: &Client,
    attempt: &Attempt,
    code: String,
) -> Result<CoreTokenResponse, ProviderError> {
    let request = client.exchange_code(AuthorizationCode::new(code)).map_err(unusable)?;
    let request = request.set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()));
    request.request_async(&http(app, provider)).await.map_err(|error| match error {
        RequestTokenError::ServerResponse(response) => untrusted(format!("the code: {}", response.error())),
        RequestTokenError::Request(error) => unusable(error),
        RequestTokenError::Parse(error, _) => untrusted(format!("the token response: {error}")),
        RequestTokenError::Other(error) => untrusted(error),
    })
}

/// The claims of an ID token that is to be believed (Core 1.0 section 3.1.3.7). A key that is not known may be one
/// that the provider has only just begun to use: then its keys are read again, once.
async fn verify(
    app: &App,
    provider: &Provider,
    metadata: &Metadata,
    token: &Token,
    answer: &CoreTokenResponse,
    attempt: &Attempt,
) -> Result<Claims, ProviderError> {
    let nonce = Nonce::new(attempt.nonce.clone());
    let unknown_key = ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey);
    let mut metadata = Arc::new(metadata.clone());
    let mut verifier = verifier(provider, &metadata);
    let claims = match token.claims(&verifier, &nonce) {
        Err(error) if error == unknown_key => {
            metadata = with_new_keys(app, provider, &metadata).await?;
            verifier = self::verifier(provider, &metadata);
            token.claims(&verifier, &nonce)
        }
        claims => claims,
    };
    let claims = claims.map_err(untrusted)?;
    if claims.authorized_party().is_some_and(|party| party.as_str() != provider.spec.client_id) {
        return Err(untrusted("the ID token is for another client (azp)"));
    }
    if let Some(expected) = claims.access_token_hash() {
        let algorithm = token.signing_alg().map_err(untrusted)?;
        let key = token.signing_key(&verifier).map_err(untrusted)?;
        let actual = AccessTokenHash::from_token(answer.access_token(), algorithm, key).map_err(untrusted)?;
        if actual != *expected {
            return Err(untrusted("the ID token belongs to another access token (at_hash)"));
        }
    }
    Ok(claims.clone())
}

fn verifier(provider: &Provider, metadata: &Metadata) -> CoreIdTokenVerifier<'static> {
    let client = ClientId::new(provider.spec.client_id.clone());
    // As for a public client: the secret is no key to verify with.
    CoreIdTokenVerifier::new_public_client(client, metadata.issuer().clone(), metadata.jwks().clone())
        .set_allowed_algs(ALGORITHMS)
}

/// What the userinfo endpoint says, where the ID token leaves out the address or the groups.
async fn more_info(
    app: &App,
    provider: &Provider,
    client: &Client,
    claims: &Claims,
    answer: &CoreTokenResponse,
) -> Result<Option<MoreInfo>, ProviderError> {
    let groups = provider.spec.effective_groups_claim();
    let complete = claims.email().is_some() && claims.additional_claims().0.contains_key(groups);
    if complete || client.user_info_url().is_none() {
        return Ok(None);
    }
    // Only about the subject that was proven (Core 1.0 section 5.3.2).
    let request = client.user_info(answer.access_token().clone(), Some(claims.subject().clone())).map_err(unusable)?;
    match request.request_async(&http(app, provider)).await {
        Ok(info) => Ok(Some(info)),
        Err(openidconnect::UserInfoError::Request(error)) => Err(unusable(error)),
        Err(error) => Err(untrusted(format!("the userinfo response: {error}"))),
    }
}

fn prove(provider: &Provider, claims: &Claims, info: Option<&MoreInfo>) -> Result<Proof, ProviderError> {
    let subject = claims.subject().as_str();
    if subject.is_empty() || subject.len() > SUBJECT_LEN_MAX || subject.chars().any(char::is_control) {
        return Err(untrusted("the subject is empty or too long"));
    }
    let (email, verified) = match (claims.email(), info) {
        (None, Some(info)) => (info.email(), info.email_verified()),
        (email, _) => (email, claims.email_verified()),
    };
    let claim = provider.spec.effective_groups_claim();
    let groups = claims.additional_claims().0.get(claim);
    let groups = groups.or_else(|| info.and_then(|info| info.additional_claims().0.get(claim)));
    let name = claims.name().or_else(|| info.and_then(UserInfoClaims::name)).and_then(|name| name.get(None));
    let printable = |char: &char| !char.is_control();
    let session = claims.additional_claims().0.get("sid").and_then(Value::as_str);
    Ok(Proof {
        subject: subject.to_owned(),
        email: email.filter(|_| verified != Some(false)).map(|email| email.as_str().to_owned()),
        display_name: name.map(|name| name.chars().filter(printable).take(120).collect()).unwrap_or_default(),
        groups: groups.map(texts).unwrap_or_default(),
        session: session.filter(|sid| !sid.is_empty() && sid.len() <= SUBJECT_LEN_MAX).map(str::to_owned),
        proven_at: claims.auth_time(),
    })
}

/// The proof of who was to prove anew who they are: that it happened in this attempt (Core 1.0 section 3.1.2.1,
/// `max_age`).
fn proven_anew(proof: Proof, attempt: &Attempt) -> Result<Proof, ProviderError> {
    match proof.proven_at {
        None => Err(untrusted("the ID token does not say when the user signed in (auth_time)")),
        Some(at) if at + LEEWAY < attempt.began_at() => Err(untrusted("the user signed in too long ago (auth_time)")),
        // By our own clock, which is the one that it will be compared with.
        Some(_) => Ok(Proof { proven_at: Some(Utc::now()), ..proof }),
    }
}

/// A list of texts, or one text.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).take(GROUPS_MAX).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are handed over")]
pub(super) fn unusable(error: impl ToString) -> ProviderError {
    ProviderError::Unusable(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "errors are handed over")]
pub(super) fn untrusted(error: impl ToString) -> ProviderError {
    ProviderError::Untrusted(error.to_string())
}
