//! Every route of the HTTP listener: REST with its OpenAPI document, OAuth, the console.
//!
//! Invariant: a JSON route and its entry in the OpenAPI document are one line of [`rest`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header::STRICT_TRANSPORT_SECURITY},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access_checks, agents, alerts,
    app::App,
    audit, budgets, catalog, chargeback, client_address, console, data_planes, enrollment_tokens,
    error::ApiError,
    grants, identity_providers, initial_access_tokens, limits, oauth, price_books,
    request::{self, body},
    request_id, servers, sessions, statements, teams, tenants, toolsets, usage, users, webhooks,
};

mod openapi;
#[cfg(test)]
mod tests;

/// A year, for this host alone: what else lives in the domain is not ours to decide.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// All routes, ready to serve.
pub fn build(app: Arc<App>) -> Router {
    let (rest, document) = rest().split_for_parts();
    let rest = rest
        .route("/api/openapi.json", get(Json(document)))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route("/api/", any(no_route))
        .route("/api/{*rest}", any(no_route));
    health()
        .merge(rest)
        .merge(oauth::routes(&app))
        .merge(users::provider_logout::api::routes())
        .merge(console::routes(&app))
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), body::hurry))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), client_address::find))
        .layer(middleware::from_fn(request_id::assign))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), insist_on_tls))
        .with_state(app)
}

/// Whether the process lives and whether it can serve.
pub fn health() -> Router<Arc<App>> {
    Router::new().route("/healthz", get(async || Json(json!({ "status": "ok" })))).route("/readyz", get(ready))
}

/// The routes of the REST API, which are its OpenAPI document too.
fn rest() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(tenants::api::get, tenants::api::patch))
        .route("/api/v1/tenants/{tenant}", post(tenants::api::act))
        .routes(routes!(teams::api::list, teams::api::create))
        .routes(routes!(teams::api::get, teams::api::replace, teams::api::patch, teams::api::remove))
        .routes(routes!(servers::api::list, servers::api::create))
        .routes(routes!(servers::api::get, servers::api::replace, servers::api::patch, servers::api::remove))
        .route("/api/v1/tenants/{tenant}/servers/{name}", post(servers::api::act))
        .routes(routes!(catalog::api::list))
        .routes(routes!(catalog::api::approve_all))
        .routes(routes!(catalog::api::get))
        .route("/api/v1/tenants/{tenant}/catalog-items/{id}", post(catalog::api::act))
        .routes(routes!(toolsets::api::list, toolsets::api::create))
        .routes(routes!(toolsets::api::get, toolsets::api::replace, toolsets::api::patch, toolsets::api::remove))
        .routes(routes!(agents::api::list, agents::api::create))
        .routes(routes!(agents::api::get, agents::api::replace, agents::api::patch, agents::api::remove))
        .route("/api/v1/tenants/{tenant}/agents/{name}", post(agents::api::act))
        .routes(routes!(agents::credentials::api::list, agents::credentials::api::create))
        .routes(routes!(agents::credentials::api::remove))
        .routes(routes!(initial_access_tokens::api::list, initial_access_tokens::api::create))
        .routes(routes!(initial_access_tokens::api::remove))
        .routes(routes!(grants::api::list, grants::api::create))
        .routes(routes!(grants::api::get, grants::api::replace, grants::api::patch, grants::api::remove))
        .routes(routes!(access_checks::api::create))
        .routes(routes!(limits::api::list, limits::api::create))
        .routes(routes!(limits::api::get, limits::api::replace, limits::api::patch, limits::api::remove))
        .routes(routes!(limits::api::uses))
        .routes(routes!(limits::api::use_of))
        .routes(routes!(alerts::api::list))
        .routes(routes!(webhooks::api::list, webhooks::api::create))
        .routes(routes!(webhooks::api::get, webhooks::api::replace, webhooks::api::patch, webhooks::api::remove))
        .route("/api/v1/tenants/{tenant}/webhooks/{name}", post(webhooks::api::act))
        .routes(routes!(webhooks::api::deliveries))
        .routes(routes!(users::api::list, users::api::create))
        .routes(routes!(users::api::get, users::api::patch, users::api::remove))
        .route("/api/v1/tenants/{tenant}/users/{email}", post(users::api::act))
        .routes(routes!(identity_providers::api::list, identity_providers::api::create))
        .routes(routes!(
            identity_providers::api::get,
            identity_providers::api::replace,
            identity_providers::api::patch,
            identity_providers::api::remove
        ))
        .routes(routes!(oauth::consent::api::list))
        .routes(routes!(oauth::consent::api::remove))
        .routes(routes!(oauth::keys::api::list))
        .routes(routes!(oauth::keys::api::rotate))
        .route("/api/v1/tenants/{tenant}/signing-keys/{kid}", post(oauth::keys::api::act))
        .routes(routes!(sessions::api::list))
        .routes(routes!(sessions::api::get, sessions::api::end))
        .routes(routes!(data_planes::api::list))
        .routes(routes!(data_planes::api::revoke))
        .routes(routes!(enrollment_tokens::api::list, enrollment_tokens::api::create))
        .routes(routes!(enrollment_tokens::api::remove))
        .routes(routes!(audit::api::list))
        .merge(money())
}

/// Those of what calls use and cost.
fn money() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(price_books::api::list, price_books::api::create))
        .routes(routes!(
            price_books::api::get,
            price_books::api::replace,
            price_books::api::patch,
            price_books::api::remove
        ))
        .routes(routes!(price_books::api::version))
        .routes(routes!(budgets::api::list, budgets::api::create))
        .routes(routes!(budgets::api::get, budgets::api::replace, budgets::api::patch, budgets::api::remove))
        .routes(routes!(budgets::api::periods))
        .routes(routes!(usage::api::records))
        .routes(routes!(usage::api::report))
        .routes(routes!(usage::api::rebuild))
        .routes(routes!(usage::rerate::api::rerate))
        .routes(routes!(chargeback::api::report))
        .routes(routes!(statements::api::list, statements::api::close))
        .routes(routes!(statements::api::get))
}

/// Where the control plane is reached over https, browsers are told to never come without it (RFC 6797).
async fn insist_on_tls(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if app.urls.control.starts_with("https:") {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

async fn no_route() -> ApiError {
    ApiError::NoRoute
}

/// Ready when the database answers.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.db.platform().await?;
    Ok(Json(json!({ "status": "ready" })).into_response())
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    ApiError::internal(format!("a handler panicked: {}", said.unwrap_or("without a message"))).into_response()
}
