//! One tenant's policy as data planes receive it.
//!
//! Invariant: everything in a policy is what the database held at the revision the policy names, and the same
//! database yields the same bytes.

use std::{fmt::Write as _, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use tokio::task::spawn_blocking;
use tollgate_proto::{
    TenantId,
    feature::{self, POLICY_BYTES_MAX},
    policy::v1::{Server, Staleness, TenantPolicy},
};

use super::sql;
use crate::{
    app::App,
    budgets::{self, InPolicy},
    oauth::keys::{self, KeyError},
    sealing_keys::{self, SealingKeyError},
    servers::credential,
};

/// What the digest and the message around a policy take, and more.
const FRAME_BYTES: usize = 1_024;

/// Why a tenant's policy could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Postgres is away, or holds what cannot be read.
    #[error("cannot read the policy: {0}")]
    Database(#[from] sqlx::Error),
    /// The tenant's keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The keys that its data planes share cannot be read or made.
    #[error(transparent)]
    SealingKeys(#[from] SealingKeyError),
    /// What is presented to a server cannot be read.
    #[error("{0}")]
    Credential(String),
    /// More than data planes take.
    #[error("the policy has {bytes} bytes, and a data plane takes {POLICY_BYTES_MAX} at most")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Postgres takes too long over it.
    #[error("it could not be read within {} s", within.as_secs())]
    Slow {
        /// How long it was waited for.
        within: Duration,
    },
    /// A number that the protocol cannot carry.
    #[error("{what} is {value}, which no policy can hold")]
    Number {
        /// The column.
        what: &'static str,
        /// What it holds.
        value: i64,
    },
}

/// Compiles the tenant's policy; `None` when there is no such tenant. A tenant that has no sealing key yet gets one.
///
/// Expired grants are in it: data planes watch the clock themselves, so that an expiry needs no new revision.
///
/// # Errors
/// When the database cannot be read or holds a number that does not fit.
pub async fn compile(app: &App, tenant: TenantId) -> Result<Option<TenantPolicy>, CompileError> {
    match read(app, tenant).await? {
        Some(policy) if policy.sealing_keys.is_empty() => {
            sealing_keys::ensure(app, tenant).await?;
            read(app, tenant).await
        }
        policy => Ok(policy),
    }
}

/// Whether the database holds no newer revision of the tenant than this.
///
/// # Errors
/// When Postgres is away.
pub async fn is_newest(app: &App, tenant: TenantId, policy: &TenantPolicy) -> Result<bool, sqlx::Error> {
    let mut tx = app.db.tenant_lookup(tenant).await?;
    let head = sql::head(&mut tx, tenant).await?;
    Ok(head.is_some_and(|head| {
        head.epoch.to_string() == policy.epoch && u64::try_from(head.policy_revision) == Ok(policy.revision)
    }))
}

/// The policy as the database has it at one moment.
async fn read(app: &App, tenant: TenantId) -> Result<Option<TenantPolicy>, CompileError> {
    let mut tx = app.db.tenant_snapshot(tenant).await?;
    let Some(head) = sql::head(&mut tx, tenant).await? else { return Ok(None) };
    let agents = sql::agents(&mut tx, tenant).await?;
    let servers = sql::servers(&mut tx, tenant).await?;
    let secrets = sql::server_secrets(&mut tx, tenant).await?;
    let mut catalog = sql::catalog(&mut tx, tenant).await?;
    let grants = sql::grants(&mut tx, tenant).await?;
    let limits = sql::limits(&mut tx, tenant).await?;
    let toolsets = sql::toolsets(&mut tx, tenant).await?;
    let users = sql::users(&mut tx, tenant).await?;
    let jwks = keys::public_jwks(&mut tx).await?;
    let sealing_keys = sealing_keys::all(&mut tx, &app.master_key).await?;
    let InPolicy { budgets, calendars, price_books } = budgets::in_policy(&mut tx, tenant).await?;
    tx.commit().await?;

    let servers = servers.into_iter().map(|row| {
        let compiled = credential::compile(&app.master_key, tenant, row.id, row.credential, &secrets);
        let credential = compiled.map_err(|error| CompileError::Credential(error.to_string()))?;
        let catalog = catalog.remove(&row.id).unwrap_or_default();
        Ok::<_, CompileError>(Server { credential, catalog, ..row.server })
    });
    let servers = servers.collect::<Result<_, _>>()?;
    let max_stale_s = head.max_stale_s.map(|seconds| unsigned("tenants.max_stale_s", seconds.into())).transpose()?;
    let policy = TenantPolicy {
        tenant_id: tenant.to_string(),
        issuer: app.urls.issuer(&head.name),
        tenant: head.name,
        revision: unsigned("tenants.policy_revision", head.policy_revision)?,
        digest: String::new(),
        epoch: head.epoch.to_string(),
        jwks,
        data_url: app.urls.data.clone(),
        egress_allow: head.egress_allow,
        agents,
        servers,
        grants,
        limits: limits.into_iter().map(sql::LimitRow::into_message).collect::<Result<_, _>>()?,
        users,
        sealing_keys,
        toolsets,
        requires: Vec::new(),
        budgets,
        calendars,
        price_books,
        staleness: Some(Staleness { allow_destructive: head.stale_destructive, max_stale_s }),
    };
    // A large one takes longer than a thread of others' should be held for.
    let finished = spawn_blocking(|| finish(policy)).await;
    finished.expect("encoding does not panic, and nobody cancels it").map(Some)
}

/// Says what the policy needs of a data plane, and its digest.
fn finish(mut policy: TenantPolicy) -> Result<TenantPolicy, CompileError> {
    policy.requires = feature::required_by(&policy);
    let encoded = policy.encode_to_vec();
    // One that no data plane takes would end the stream of each, and hold up every other tenant.
    if encoded.len() > POLICY_BYTES_MAX - FRAME_BYTES {
        return Err(CompileError::TooLarge { bytes: encoded.len() });
    }
    policy.digest = hex_sha256(&encoded);
    Ok(policy)
}

/// A count out of the database, which only has signed ones.
pub(super) fn unsigned<U: TryFrom<i64>>(what: &'static str, value: i64) -> Result<U, CompileError> {
    U::try_from(value).map_err(|_| CompileError::Number { what, value })
}

fn hex_sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    })
}
