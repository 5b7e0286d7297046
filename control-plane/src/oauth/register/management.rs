//! A client's look at its own registration, and its changes to it (RFC 7592).
//!
//! Invariant: a token manages the one client it was made for. Shown for another it is void from then on.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tollgate_proto::AgentId;

use super::{Registration, RegistrationRefusal, has_secret, request, sql, unstored};
use crate::{
    agents::{AgentSpec, AuthMethod},
    app::App,
    audit,
    db::TenantTx,
    oauth::{
        client_metadata::{ClientMetadata, Source},
        enrolment::{self, Enrolment, Origin},
        error::{self, OAuthError},
        issuer::Issuer,
    },
    policy,
    resource::{Kind as _, Removable as _},
    secret::{self, Digest, Purpose},
    tenants,
};

/// What the server alone says (RFC 7592 section 2.2).
const SERVERS_OWN: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];

/// `GET` of a registration.
pub(in crate::oauth) async fn show(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    Path((_, client_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    let (held, tx) = hold(&app, &issuer, &client_id, &headers).await?;
    tx.commit().await?;
    let token = request::bearer(&headers).unwrap_or_default();
    Ok(unstored(StatusCode::OK, held.registration().shown(&issuer, held.metadata, held.auth_method, token)))
}

/// `PUT` of a registration: all of it anew.
pub(in crate::oauth) async fn replace(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    Path((_, client_id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let document = request::read(&parts.headers, body).await?;
    let (held, mut tx) = hold(&app, &issuer, &client_id, &parts.headers).await?;
    check(&mut tx, &held, &document).await?;
    let policy = tenants::registration_policy(&mut tx).await?;
    let schemes = policy.private_use_schemes.meaning();
    let metadata =
        ClientMetadata::read(&document, Source::Registration, &schemes).map_err(RegistrationRefusal::from)?;
    if !interchangeable(metadata.auth_method, held.auth_method) {
        let why = "`token_endpoint_auth_method` cannot change to another kind: register anew";
        return Err(RegistrationRefusal::Body(why).into());
    }
    let changed = !metadata.digest().matches(&held.digest);
    if changed && metadata.is_public() {
        let why = "a client without credentials is known by its metadata: register the new metadata anew";
        return Err(RegistrationRefusal::Body(why).into());
    }
    let token = secret::generate(Purpose::RegistrationAccessToken);
    if changed {
        app.registration_pace.take(issuer.tenant)?;
        policy::bump(&mut tx).await?;
        let origin = Origin::Registration { token: &token.digest };
        let enrolment = Enrolment { issuer: &issuer, policy: &policy, metadata: &metadata, origin };
        enrolment::update(&app, &mut tx, &enrolment, held.agent).await?;
    }
    sql::set_token(&mut tx, held.agent, Some(&token.digest)).await?;
    tx.commit().await?;
    let shown = held.registration().shown(&issuer, metadata.to_json(), metadata.auth_method, &token.text);
    Ok(unstored(StatusCode::OK, shown))
}

/// `DELETE` of a registration: the client is no more, nor are its tokens.
pub(in crate::oauth) async fn remove(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    Path((_, client_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    let (held, mut tx) = hold(&app, &issuer, &client_id, &headers).await?;
    if held.auth_method == AuthMethod::None && held.is_relied_on {
        return Err(RegistrationRefusal::Shared.into());
    }
    app.registration_pace.take(issuer.tenant)?;
    policy::bump(&mut tx).await?;
    AgentSpec::delete(&mut tx, held.agent, &held.name).await.map_err(|error| OAuthError::Unavailable(error.into()))?;
    record(&mut tx, &held, "agent.delete").await?;
    tx.commit().await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    error::never_store(response.headers_mut());
    Ok(response)
}

/// The registration that the request's token manages, in an open transaction.
async fn hold(
    app: &App,
    issuer: &Issuer,
    client_id: &str,
    headers: &HeaderMap,
) -> Result<(sql::Held, TenantTx), OAuthError> {
    let shown = request::bearer(headers);
    let refused = || RegistrationRefusal::token(issuer, shown).into();
    let wanted: Option<AgentId> = client_id.parse().ok();
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let token = shown.filter(|shown| secret::well_formed(Purpose::RegistrationAccessToken, shown)).map(Digest::of);
    let held = match &token {
        Some(digest) => sql::held(&mut tx, digest).await?,
        None => None,
    };
    match held {
        Some(held) if Some(held.agent) == wanted => Ok((held, tx)),
        Some(held) => {
            sql::set_token(&mut tx, held.agent, None).await?;
            record(&mut tx, &held, "agent.registration_token.revoke").await?;
            tx.commit().await?;
            Err(refused())
        }
        None => match wanted {
            Some(agent) if sql::is_not_registered(&mut tx, agent).await? => Err(RegistrationRefusal::NotManaged.into()),
            _ => Err(refused()),
        },
    }
}

/// What a replacement has to say, and must not (RFC 7592 section 2.2).
async fn check(tx: &mut TenantTx, held: &sql::Held, document: &Value) -> Result<(), OAuthError> {
    let refused = |why| Err(RegistrationRefusal::Body(why).into());
    if document.get("client_id").and_then(Value::as_str) != Some(held.agent.to_string().as_str()) {
        return refused("`client_id` must be the client's");
    }
    if SERVERS_OWN.iter().any(|member| document.get(member).is_some()) {
        return refused("leave out what only the server says: the registration's address and token, and the times");
    }
    match document.get("client_secret") {
        None => Ok(()),
        Some(Value::String(secret)) if sql::has_secret(tx, held.agent, &Digest::of(secret)).await? => Ok(()),
        Some(_) => refused("`client_secret` is not the client's"),
    }
}

/// Secrets may be sent in either way; everything else is another kind of client.
fn interchangeable(one: AuthMethod, other: AuthMethod) -> bool {
    one == other || (has_secret(one) && has_secret(other))
}

async fn record(tx: &mut TenantTx, held: &sql::Held, action: &str) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &format!("agent:{}", held.agent),
        action,
        object_kind: AgentSpec::NOUN,
        object_id: &held.agent.to_string(),
        object_name: &held.name,
        detail: json!({ "origin": "registration" }),
    };
    audit::record(tx, event).await
}

impl sql::Held {
    const fn registration(&self) -> Registration {
        Registration { agent: self.agent, created_at: self.created_at, secret: None, again: true }
    }
}
