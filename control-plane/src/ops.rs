//! Health and metrics on a port of their own, for operators and never for the public.
//!
//! `/healthz`: the process lives. `/readyz`: the database answers. `/metrics`: Prometheus.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{app::App, router};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All routes, ready to serve.
pub fn routes(app: Arc<App>) -> Router {
    Router::new().merge(router::health()).route("/metrics", get(metrics)).with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], app.metrics.render(app.db.pool(), app.policy_changes.connected()))
        .into_response()
}
