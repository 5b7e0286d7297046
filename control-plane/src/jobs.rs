//! What has to be done from time to time and by one control plane only: removing what has expired, rotating keys.
//!
//! Invariant: a round runs under a Postgres advisory lock, so that of many control planes one does it; every job may
//! be repeated, and a job that fails keeps no other from its turn.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tollgate_proto::TenantId;

use crate::{
    app::App,
    catalog, enrollment_tokens, instance_health, oauth, revocations,
    users::{self, provider_logout},
};

mod sql;
#[cfg(test)]
mod tests;

const ROUND_EVERY: Duration = Duration::from_secs(60);
/// What the log has for the tenant of a job that is for no single one.
const ALL: &str = "all";

/// Runs a round of all jobs each minute until `stopping`.
pub async fn follow(app: Arc<App>, stopping: CancellationToken) {
    let mut round = interval(ROUND_EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = stopping.cancelled() => return,
        }
        let ran = tokio::select! {
            ran = run(&app) => ran,
            () = stopping.cancelled() => return,
        };
        if let Err(error) = ran {
            tracing::warn!(%error, "the background jobs could not run; the next round tries again");
        }
    }
}

/// One round over all tenants; nothing when another control plane is at it.
///
/// # Errors
/// When Postgres is away before the first job.
pub async fn run(app: &App) -> Result<(), sqlx::Error> {
    // The lock lives as long as this transaction, whatever happens to the process.
    let mut lock = app.db.platform().await?;
    if !sql::try_lock(&mut lock).await? {
        return Ok(());
    }
    note(app, ALL, "users.purge", users::purge(app).await);
    note(app, ALL, "enrollment_tokens.purge", enrollment_tokens::purge(app).await);
    for tenant in sql::tenants(&mut lock).await? {
        tend(app, tenant).await;
    }
    app.metrics.jobs_done();
    lock.commit().await
}

/// Every job of one tenant.
async fn tend(app: &App, tenant: TenantId) {
    note(app, tenant, "oauth.purge", oauth::purge(app, tenant).await);
    note(app, tenant, "oauth.reap", oauth::reap(app, tenant).await);
    note(app, tenant, "signing_keys.tend", oauth::keys::rotation::tend(app, tenant).await);
    note(app, tenant, "revocations.purge", revocations::purge(app, tenant).await);
    note(app, tenant, "instance_health.purge", instance_health::purge(app, tenant).await);
    note(app, tenant, "catalog.purge", catalog::purge(app, tenant).await);
    note(app, tenant, "provider_logout.purge", provider_logout::purge(app, tenant).await);
}

fn note<T, E: Display>(app: &App, tenant: impl Display, job: &'static str, ran: Result<T, E>) {
    app.metrics.job(job, ran.is_ok());
    if let Err(error) = ran {
        tracing::error!(%tenant, job, %error, "a background job failed; the next round tries again");
    }
}
