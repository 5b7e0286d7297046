//! Every route of the HTTP listener: REST with its OpenAPI document, OAuth, the console.

use std::sync::Arc;

use axum::Router;

use crate::{app::App, console, oauth};

/// All routes, ready to serve.
pub fn build(app: Arc<App>) -> Router {
    Router::new().merge(oauth::routes()).merge(console::routes()).with_state(app)
}
