//! The admin web UI.

use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// Routes of all pages and their static files.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
