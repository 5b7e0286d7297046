//! Dynamic client registration (RFC 7591) and its management by the client itself (RFC 7592).
//!
//! Public clients are known by their metadata: whoever registers the same gets the same `client_id`, so that a
//! program that registers at every start makes one agent. Everyone can therefore hold the token that manages such a
//! registration, which is why it cannot be changed by that, nor be deleted once someone relies on it.
//!
//! Invariant: a registration that is refused leaves nothing behind, and no use of an initial access token is lost.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tollgate_proto::AgentId;
use zeroize::Zeroizing;

use super::{
    client_metadata::{ClientMetadata, Source},
    enrolment::{self, Enrolment, EnrolmentError, Origin},
    error::{self, OAuthError},
    issuer::Issuer,
};
use crate::{
    agents::{AuthMethod, credentials},
    app::App,
    db::TenantTx,
    initial_access_tokens, policy,
    secret::{self, Digest, Generated, Purpose},
    tenants::{
        self,
        client_registration::{DynamicRegistration, RegistrationPolicy},
    },
};

pub(super) mod management;
mod pace;
mod reap;
mod refusal;
mod request;
mod sql;

pub use pace::Pace;
pub use reap::reap;
pub use refusal::RegistrationRefusal;

/// `POST` of the registration endpoint.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let document = request::read(&parts.headers, body).await?;
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let policy = tenants::registration_policy(&mut tx).await?;
    match policy.registration {
        DynamicRegistration::Off => return Err(RegistrationRefusal::Off.into()),
        DynamicRegistration::InitialAccessToken => {
            let shown = request::bearer(&parts.headers);
            if !initial_access_tokens::consume(&mut tx, shown.unwrap_or_default()).await? {
                return Err(RegistrationRefusal::token(&issuer, shown).into());
            }
        }
        DynamicRegistration::Open | DynamicRegistration::Approval => {}
    }
    let schemes = policy.private_use_schemes.meaning();
    let metadata =
        ClientMetadata::read(&document, Source::Registration, &schemes).map_err(RegistrationRefusal::from)?;
    let token = secret::generate(Purpose::RegistrationAccessToken);
    let registration = register(&app, &mut tx, &issuer, &policy, &metadata, &token.digest).await?;
    tx.commit().await?;
    tracing::info!(tenant = %issuer.name, agent = %registration.agent, again = registration.again, "a client registered");
    let answer = registration.shown(&issuer, metadata.to_json(), metadata.auth_method, &token.text);
    Ok(unstored(StatusCode::CREATED, answer))
}

/// An agent that has just been registered, or registered again.
struct Registration {
    agent: AgentId,
    created_at: DateTime<Utc>,
    secret: Option<Zeroizing<String>>,
    again: bool,
}

/// Finds the agent of a public client that is known, else makes one.
async fn register(
    app: &App,
    tx: &mut TenantTx,
    issuer: &Issuer,
    policy: &RegistrationPolicy,
    metadata: &ClientMetadata,
    token: &Digest,
) -> Result<Registration, OAuthError> {
    let digest = metadata.digest();
    if metadata.is_public() {
        if let Some((agent, created_at)) = sql::again(tx, &digest, token).await? {
            return Ok(Registration { agent, created_at, secret: None, again: true });
        }
        // Who was first at registering the same thing is done when the tenant's row is ours.
        super::sql::lock_tenant(tx).await?;
        if let Some((agent, created_at)) = sql::again(tx, &digest, token).await? {
            return Ok(Registration { agent, created_at, secret: None, again: true });
        }
    }
    app.registration_pace.take(issuer.tenant)?;
    policy::bump(tx).await?;
    let enrolment = Enrolment { issuer, policy, metadata, origin: Origin::Registration { token } };
    let made = enrolment::enrol(app, tx, &enrolment).await?;
    let secret = if has_secret(metadata.auth_method) {
        let Generated { text, digest } = secret::generate(Purpose::Client);
        credentials::add(tx, made.agent, &digest, &format!("agent:{}", made.agent)).await?;
        Some(text)
    } else {
        None
    };
    Ok(Registration { agent: made.agent, created_at: made.created_at, secret, again: false })
}

impl Registration {
    /// The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3).
    fn shown(&self, issuer: &Issuer, metadata: Map<String, Value>, method: AuthMethod, token: &str) -> Value {
        let mut shown = metadata;
        shown.insert("client_id".to_owned(), json!(self.agent));
        shown.insert("client_id_issued_at".to_owned(), json!(self.created_at.timestamp()));
        shown.insert("registration_client_uri".to_owned(), json!(client_uri(issuer, self.agent)));
        shown.insert("registration_access_token".to_owned(), json!(token));
        if let Some(secret) = &self.secret {
            shown.insert("client_secret".to_owned(), json!(secret.as_str()));
        }
        if has_secret(method) {
            // Zero: it does not expire.
            shown.insert("client_secret_expires_at".to_owned(), json!(0));
        }
        Value::Object(shown)
    }
}

impl From<EnrolmentError> for OAuthError {
    fn from(error: EnrolmentError) -> Self {
        match error {
            EnrolmentError::Full => RegistrationRefusal::Full.into(),
            EnrolmentError::Storage(error) => error.into(),
            error @ EnrolmentError::Rule(_) => Self::Unavailable(error.into()),
        }
    }
}

const fn has_secret(method: AuthMethod) -> bool {
    matches!(method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
}

fn client_uri(issuer: &Issuer, agent: AgentId) -> String {
    format!("{}/oauth/register/{agent}", issuer.url)
}

fn unstored(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    error::never_store(response.headers_mut());
    response
}
