//! What every installation has from its first start.
//!
//! Invariant: it is made once. Control planes that start at the same time on one empty database wait for each other,
//! and the database opens only to the master key that it was made with.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tollgate_proto::{TeamId, TenantId};
use zeroize::Zeroizing;

use crate::{
    api_keys::{self, NewKey},
    app::App,
    caller::Role,
    db::TenantTx,
    oauth::keys::{self, KeyError},
    seal::SealError,
    users,
};

mod sql;
#[cfg(test)]
mod tests;

/// The tenant of an installation that has not made another.
pub const TENANT: &str = "default";
const TEAM: &str = "default";
const OWNER: &str = "admin@localhost";
const ADMIN_KEY: &str = "bootstrap";
/// Who made what nobody asked for.
const ACTOR: &str = "system";

const CANARY_PLACE: &str = "deployment|canary";
const CANARY: &[u8] = b"tollgate";

/// Why the first start failed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Postgres is away.
    #[error("cannot prepare the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The database was made with another master key.
    #[error("this database was made with another master key: start with the one it was made with")]
    OtherMasterKey,
    /// The canary could not be sealed, or is damaged.
    #[error("cannot check the master key against the database: {0}")]
    Canary(#[source] SealError),
    /// The tenant's signing key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An empty database, and nowhere to put the administrator's token.
    #[error(
        "the database is empty, and the first start makes an administrator's token: say where to write it with \
         `--admin-token-file` or `TOLLGATE_ADMIN_TOKEN_FILE`"
    )]
    NoAdminTokenFile,
    /// The administrator's token could not be written.
    #[error("cannot write the administrator's token to {}: {source}", path.display())]
    AdminTokenFile {
        /// Where it should go.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes, on an empty database, tenant `default` with a team, an owner, a signing key and an administrator's token; on
/// any other, checks that the master key is the database's.
///
/// # Errors
/// When the database or the token's file cannot be written, or the master key is another.
pub async fn run(app: &App, admin_token_file: Option<&Path>) -> Result<(), BootstrapError> {
    let mut tx = app.db.platform().await?;
    sql::wait_for_others(&mut tx).await?;
    match sql::canary(&mut tx).await? {
        Some(canary) => check_master_key(app, &canary)?,
        None => {
            let canary = app.master_key.seal(CANARY_PLACE, CANARY).map_err(BootstrapError::Canary)?;
            sql::set_canary(&mut tx, &canary).await?;
        }
    }
    if sql::has_tenants(&mut tx).await? {
        return Ok(tx.commit().await?);
    }
    let path = admin_token_file.ok_or(BootstrapError::NoAdminTokenFile)?;
    let tenant = TenantId::new();
    sql::insert_tenant(&mut tx, tenant, TENANT, ACTOR).await?;
    let mut tx = TenantTx::within(tx, tenant).await?;
    sql::insert_team(&mut tx, tenant, TeamId::new(), TEAM, ACTOR).await?;
    users::ensure(&mut tx, ACTOR, OWNER, Role::Owner).await?;
    let new = NewKey { tenant, name: ADMIN_KEY, role: Role::Owner, platform: true };
    let token = api_keys::create(&mut tx, new).await?;
    // Before the commit: a token that works and that nobody has would lock everyone out.
    write_token(path, token)
        .await
        .map_err(|source| BootstrapError::AdminTokenFile { path: path.to_owned(), source })?;
    tx.commit().await?;
    // The first policy that data planes get then holds the key that signs the first token.
    keys::ensure(app, tenant).await?;
    tracing::info!(tenant = TENANT, token_file = %path.display(), "prepared an empty database");
    Ok(())
}

fn check_master_key(app: &App, canary: &[u8]) -> Result<(), BootstrapError> {
    match app.master_key.open(CANARY_PLACE, canary) {
        Ok(_) => Ok(()),
        Err(SealError::OtherKey) => Err(BootstrapError::OtherMasterKey),
        Err(error) => Err(BootstrapError::Canary(error)),
    }
}

async fn write_token(path: &Path, token: Zeroizing<String>) -> io::Result<()> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || replace_file(&path, &token)).await.map_err(io::Error::other)?
}

/// Whoever looks at `path` sees the old file or the whole new one, and only the owner may read it.
fn replace_file(path: &Path, token: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The error that matters is the one of the writing.
        let _ = fs::remove_file(&new);
    }
    written
}
