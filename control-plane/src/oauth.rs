//! The authorization server of every tenant.

use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// Routes of all OAuth endpoints.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
