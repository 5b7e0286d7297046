//! When servers are asked what they offer: as soon as one is registered or changed, every ten minutes, and when somebody
//! wants to see it. A data plane asks, since only data planes speak to servers.
//!
//! Invariant: a server that is due is claimed by one statement, so that of many control planes one has it read; one that
//! has no data plane claims nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    ServerId, TenantId,
    policy::v1::{ReadCatalog, question::What},
};

use super::sql;
use crate::{
    app::App,
    caller::{Caller, Role},
    error::ApiError,
    invisible,
    policy::Silence,
    resource,
    servers::Server,
};

/// How often all tenants are looked at; one whose policy changes is looked at at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Servers of one tenant that are claimed at a time.
const CLAIMED_MAX: i64 = 32;
/// Characters of a reason that a data plane gives.
const DETAIL_CHARS_MAX: usize = 300;
/// Servers that are read at a time.
const READ_AT_ONCE: usize = 4;

/// Why a server was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// By the data plane that was asked.
    #[error(transparent)]
    Unheard(#[from] Silence),
    /// It was, but is in no catalog yet.
    #[error("what was read could not be written down; that is tried again every second")]
    Unwritten,
}

/// Has servers read that are due, until `stopping`.
pub async fn follow(app: Arc<App>, stopping: CancellationToken) {
    let mut known = app.policy_changes.subscribe();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: HashMap<TenantId, u64> = HashMap::new();
    loop {
        tokio::select! {
            _ = look.tick() => seen.clear(),
            // The sender lives in `app`, so that waiting cannot fail.
            _ = known.changed() => {}
            () = stopping.cancelled() => return,
        }
        let newest: HashMap<_, _> =
            known.borrow_and_update().policies().map(|(tenant, policy)| (tenant, policy.revision)).collect();
        if app.policy_changes.connected().is_empty() {
            continue;
        }
        let all_at_once = seen.is_empty();
        let changed = newest.iter().filter(|(tenant, revision)| seen.get(tenant) != Some(revision));
        let changed: Vec<TenantId> = changed.map(|(tenant, _)| *tenant).collect();
        seen = newest;
        let round = async {
            for tenant in changed {
                if let Err(error) = read_due(&app, tenant).await {
                    tracing::warn!(%tenant, %error, "cannot have servers read that are due; the next round tries again");
                }
            }
            if all_at_once {
                count(&app, seen.keys().copied().collect()).await;
            }
        };
        if stopping.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// Has a server's lists read now; answers the server as it is known then.
///
/// # Errors
/// [`ApiError::DataPlanesSilent`] when no data plane can be asked, the one that was could not read them, or what it read could
/// not be written;
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn read_now(app: &App, caller: &Caller, name: &str) -> Result<Server, ApiError> {
    caller.require(Role::Operator)?;
    let server: Server = resource::get(app, caller, name).await?;
    read(app, caller.tenant, server.id).await.map_err(|unread| ApiError::DataPlanesSilent(said(&unread)))?;
    resource::get(app, caller, name).await
}

/// Of one tenant.
pub(super) async fn read_due(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let due = sql::claim_due(&mut tx, CLAIMED_MAX).await?;
    tx.commit().await?;
    let reading = due.into_iter().map(|server| async move { (server, read(app, tenant, server).await) });
    let read: Vec<_> = stream::iter(reading).buffer_unordered(READ_AT_ONCE).collect().await;
    let failed: Vec<_> = read.iter().filter(|(_, read)| read.is_err()).map(|(server, _)| server.uuid()).collect();
    if !failed.is_empty() {
        let mut tx = app.db.tenant(tenant).await?;
        sql::read_soon(&mut tx, &failed).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// By one data plane. What it read has been taken in when this ends well.
async fn read(app: &App, tenant: TenantId, server: ServerId) -> Result<(), Unread> {
    let what = What::ReadCatalog(ReadCatalog { server_id: server.to_string() });
    let answer = app.policy_changes.connected().ask_one(tenant, &what).await;
    // Lists that could be read are reported beside the reason why others could not.
    let is_written = !matches!(answer, Ok(_) | Err(Silence::Failed(_))) || app.catalog_reports.settled(server).await;
    let read = match answer {
        Ok(_) if !is_written => Err(Unread::Unwritten),
        answer => answer.map(drop).map_err(Unread::from),
    };
    app.metrics.catalog_read(read.is_ok());
    read
}

/// How much waits for somebody, of all tenants.
async fn count(app: &App, tenants: Vec<TenantId>) {
    let mut waiting = 0;
    for tenant in tenants {
        let Ok(mut tx) = app.db.tenant(tenant).await else { return };
        let Ok(count) = sql::count_waiting(&mut tx).await else { return };
        waiting += count;
    }
    app.metrics.catalog_waiting(waiting);
}

fn said(unread: &Unread) -> String {
    match unread {
        Unread::Unwritten => unread.to_string(),
        Unread::Unheard(Silence::Gone) => {
            "no data plane that is connected to this control plane could be asked; those that are connected \
                          to others ask by themselves, every ten minutes"
                .to_owned()
        }
        Unread::Unheard(other) => {
            let detail = invisible::visible(&other.to_string(), DETAIL_CHARS_MAX);
            format!("the data plane that was asked could not read what the server offers: {detail}")
        }
    }
}
