//! What has to be done from time to time and by one control plane only: removing what has expired, rotating keys.
//!
//! Invariant: a round of a lane runs under a Postgres advisory lock, so that of many control planes one does it; every job may
//! be repeated, and a job that fails keeps no other from its turn.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tollgate_proto::TenantId;

use crate::{
    alerts,
    app::App,
    budgets, catalog, enrollment_tokens, instance_health, oauth, revocations, usage,
    users::{self, provider_logout},
};

mod sql;
#[cfg(test)]
mod tests;

/// What jobs run one after the other. Those of one lane do not wait for those of another.
#[derive(Debug, Clone, Copy)]
enum Lane {
    /// What is done soon.
    Short,
    /// What reads many records.
    Usage,
}

const ROUND_EVERY: Duration = Duration::from_secs(60);
/// What the log has for the tenant of a job that is for no single one.
const ALL: &str = "all";

/// Runs a round of all jobs each minute until `stopping`.
pub async fn follow(app: Arc<App>, stopping: CancellationToken) {
    tokio::join!(follow_lane(&app, Lane::Short, &stopping), follow_lane(&app, Lane::Usage, &stopping));
}

async fn follow_lane(app: &App, lane: Lane, stopping: &CancellationToken) {
    let mut round = interval(ROUND_EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = stopping.cancelled() => return,
        }
        let ran = tokio::select! {
            ran = run_lane(app, lane) => ran,
            () = stopping.cancelled() => return,
        };
        if let Err(error) = ran {
            tracing::warn!(%error, "the background jobs could not run; the next round tries again");
        }
    }
}

/// One round over all tenants, but for what another control plane is at.
///
/// # Errors
/// When Postgres is away before the first job.
pub async fn run(app: &App) -> Result<(), sqlx::Error> {
    run_lane(app, Lane::Short).await?;
    run_lane(app, Lane::Usage).await
}

async fn run_lane(app: &App, lane: Lane) -> Result<(), sqlx::Error> {
    // The lock lives as long as this transaction, whatever happens to the process.
    let mut lock = app.db.platform().await?;
    if !sql::try_lock(&mut lock, lane as i64).await? {
        return Ok(());
    }
    let tenants = sql::tenants(&mut lock).await?;
    match lane {
        Lane::Short => tend_all(app, &tenants).await,
        Lane::Usage => tend_usage(app, &tenants).await,
    }
    lock.commit().await
}

async fn tend_all(app: &App, tenants: &[TenantId]) {
    note(app, ALL, "users.purge", users::purge(app).await);
    note(app, ALL, "enrollment_tokens.purge", enrollment_tokens::purge(app).await);
    for tenant in tenants {
        tend(app, *tenant).await;
    }
    app.metrics.jobs_done();
}

/// Whole partitions first: what is dropped needs not be deleted.
async fn tend_usage(app: &App, tenants: &[TenantId]) {
    note(app, ALL, "usage.make_partitions", usage::partitions::make(app).await);
    for tenant in tenants {
        note(app, tenant, "usage.follow_zone", usage::recount::follow_zone(app, *tenant).await);
        note(app, tenant, "usage.expire", usage::retention::expire(app, *tenant).await);
    }
    note(app, ALL, "usage.drop_partitions", usage::partitions::drop_old(app).await);
    for tenant in tenants {
        note(app, tenant, "usage.purge", usage::retention::purge(app, *tenant).await);
    }
}

/// Every job of one tenant.
async fn tend(app: &App, tenant: TenantId) {
    note(app, tenant, "oauth.purge", oauth::purge(app, tenant).await);
    note(app, tenant, "oauth.reap", oauth::reap(app, tenant).await);
    note(app, tenant, "signing_keys.tend", oauth::keys::rotation::tend(app, tenant).await);
    note(app, tenant, "revocations.purge", revocations::purge(app, tenant).await);
    note(app, tenant, "instance_health.purge", instance_health::purge(app, tenant).await);
    note(app, tenant, "alerts.purge", alerts::purge(app, tenant).await);
    note(app, tenant, "catalog.purge", catalog::purge(app, tenant).await);
    note(app, tenant, "budgets.warn", budgets::raise_warnings(app, tenant).await);
    note(app, tenant, "budgets.move_on", budgets::move_on(app, tenant).await);
    note(app, tenant, "provider_logout.purge", provider_logout::purge(app, tenant).await);
}

fn note<T, E: Display>(app: &App, tenant: impl Display, job: &'static str, ran: Result<T, E>) {
    app.metrics.job(job, ran.is_ok());
    if let Err(error) = ran {
        tracing::error!(%tenant, job, %error, "a background job failed; the next round tries again");
    }
}
