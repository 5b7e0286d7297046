//! Authorization server metadata (RFC 8414), the same bytes at both path forms that clients try.
//!
//! Invariant: what is advertised works. Every value is true of every tenant, but those that its registration policy
//! decides; these are known for two seconds at a time, and longer only while Postgres is away.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use tollgate_proto::TenantId;

use super::{document, error::OAuthError, issuer::Issuer};
use crate::{
    app::App,
    tenants::{
        self,
        client_registration::{DynamicRegistration, Switch},
    },
};

const MAX_AGE_S: u32 = 300;
/// How long a change of the policy may go unnoticed by a control plane.
const POLICY_KNOWN_FOR: Duration = Duration::from_secs(2);

const CLIENT_AUTH_METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
/// A public client may revoke its tokens, but learns nothing about any (RFC 7662 section 4).
const INTROSPECTION_AUTH_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
const ASSERTION_ALGS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];

/// RFC 8414 section 2, RFC 7009, RFC 7662, RFC 9207, RFC 9728 section 4, Client ID Metadata Documents section 5. Scopes
/// are not listed: they are the tenant's and not public.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    revocation_endpoint: String,
    introspection_endpoint: String,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 3],
    code_challenge_methods_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    authorization_response_iss_parameter_supported: bool,
    client_id_metadata_document_supported: bool,
    protected_resources: [String; 1],
}

/// How a tenant lets agents register themselves, as far as everybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WaysIn {
    /// RFC 7591.
    registration: bool,
    /// Client ID Metadata Documents.
    client_documents: bool,
}

impl WaysIn {
    async fn read(app: &App, tenant: TenantId) -> Result<Self, sqlx::Error> {
        let mut tx = app.db.tenant(tenant).await?;
        let policy = tenants::registration_policy(&mut tx).await?;
        tx.commit().await?;
        Ok(Self {
            registration: policy.registration != DynamicRegistration::Off,
            client_documents: policy.client_documents == Switch::On,
        })
    }
}

/// What was last read of the tenants' policies.
#[derive(Debug, Default)]
pub struct Policies(RwLock<HashMap<TenantId, (Instant, WaysIn)>>);

/// `GET`, `HEAD` of a tenant's metadata.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    let ways_in = app.registration_policies.of(&app, issuer.tenant).await?;
    let json = serde_json::to_string(&Metadata::of(&app, &issuer, ways_in));
    Ok(document::answer(&headers, json.expect("strings, arrays of strings and booleans always serialise"), MAX_AGE_S))
}

/// The places where clients look and there is nothing: the bare well-known path, which is no tenant's, and every
/// `openid-configuration`, because no id_tokens are issued. JSON, so that a probe is no parse error, and cacheable.
pub(super) async fn absent() -> Response {
    let body = json!({ "error": "not_found", "error_description": "there is no such document" });
    let headers = [(header::CACHE_CONTROL, format!("public, max-age={MAX_AGE_S}"))];
    (StatusCode::NOT_FOUND, headers, Json(body)).into_response()
}

impl<'a> Metadata<'a> {
    fn of(app: &App, issuer: &'a Issuer, ways_in: WaysIn) -> Self {
        let endpoint = |name: &str| format!("{}/oauth/{name}", issuer.url);
        Self {
            issuer: &issuer.url,
            authorization_endpoint: endpoint("authorize"),
            token_endpoint: endpoint("token"),
            jwks_uri: endpoint("jwks"),
            registration_endpoint: ways_in.registration.then(|| endpoint("register")),
            revocation_endpoint: endpoint("revoke"),
            introspection_endpoint: endpoint("introspect"),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: ["authorization_code", "refresh_token", "client_credentials"],
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
            token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGS,
            revocation_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
            revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGS,
            introspection_endpoint_auth_methods_supported: INTROSPECTION_AUTH_METHODS,
            introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGS,
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: ways_in.client_documents,
            protected_resources: [app.urls.federated(issuer.name.as_str())],
        }
    }
}

impl Policies {
    /// What the tenant's policy says, from memory if it was read lately or cannot be read.
    async fn of(&self, app: &App, tenant: TenantId) -> Result<WaysIn, OAuthError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).copied();
        if let Some((at, ways_in)) = known
            && at.elapsed() < POLICY_KNOWN_FOR
        {
            return Ok(ways_in);
        }
        match (WaysIn::read(app, tenant).await, known) {
            (Ok(ways_in), _) => {
                let entry = (Instant::now(), ways_in);
                self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, entry);
                Ok(ways_in)
            }
            (Err(error), Some((_, ways_in))) => {
                tracing::warn!(%tenant, %error, "cannot read a tenant's policy: its metadata stays as it was");
                Ok(ways_in)
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}
