//! Every route of the HTTP listener: REST with its OpenAPI document, OAuth, the console.
//!
//! Invariant: a JSON route and its entry in the OpenAPI document are one line of [`rest`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, console, error::ApiError, oauth, request, request_id, servers, teams};

mod openapi;

/// All routes, ready to serve.
pub fn build(app: Arc<App>) -> Router {
    let (rest, document) = rest().split_for_parts();
    let rest = rest
        .route("/api/openapi.json", get(Json(document)))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route("/api/{*rest}", any(async || ApiError::NoRoute));
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .merge(rest)
        .merge(oauth::routes())
        .merge(console::routes())
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_id::assign))
        .with_state(app)
}

/// The routes of the REST API, which are its OpenAPI document too.
fn rest() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(teams::api::list, teams::api::create))
        .routes(routes!(teams::api::get, teams::api::replace, teams::api::patch, teams::api::remove))
        .routes(routes!(servers::api::list, servers::api::create))
        .routes(routes!(servers::api::get, servers::api::replace, servers::api::patch, servers::api::remove))
}

/// Ready when the database answers.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.db.platform().await?;
    Ok(Json(json!({ "status": "ready" })).into_response())
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    ApiError::internal(format!("a handler panicked: {}", said.unwrap_or("without a message"))).into_response()
}
