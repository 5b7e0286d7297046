//! Empties the outbox: every control plane looks what is due, and who claims a webhook delivers to it.
//!
//! Invariant: one control plane at a time delivers to a webhook, one alert after the other, in a task of its own, so that a
//! receiver that hangs holds up nobody else's deliveries. An attempt is claimed before it is made; when its control plane
//! dies meanwhile, the claim lapses and another one follows: a receiver gets every alert at least once.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{AlertId, TenantId, WebhookId};

use super::{
    posting::{self, Attempt, Failure, GONE, Outcome},
    sql,
};
use crate::{app::App, audit, resource::Kind as _, tenants};

/// An alert comes at most so much later than it is raised.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Webhooks that one control plane delivers to at a time.
const AT_ONCE_MAX: usize = 256;
/// What is under way may come to its end when the control plane stops; the rest is tried again by another one.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Delivers what is due, until `stopping`.
pub async fn follow(app: Arc<App>, stopping: CancellationToken) {
    let mut under_way = JoinSet::new();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stopping.cancelled() => break,
        }
        while under_way.try_join_next().is_some() {}
        match due(&app, AT_ONCE_MAX - under_way.len()).await {
            Ok(due) => {
                for (tenant, webhook) in due {
                    under_way.spawn(deliver_all(Arc::clone(&app), tenant, webhook, stopping.clone()));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look which alerts are to be delivered; that is tried again"),
        }
    }
    let all = async { while under_way.join_next().await.is_some() {} };
    // Whatever takes longer is tried again.
    let _ = timeout(END_WITHIN, all).await;
}

/// The webhooks that have something due, those that wait longest first.
async fn due(app: &App, at_most: usize) -> Result<Vec<(TenantId, WebhookId)>, sqlx::Error> {
    let mut tx = app.db.platform().await?;
    app.metrics.alerts_overdue(sql::overdue_s(&mut tx).await?);
    sql::due(&mut tx, i32::try_from(at_most).unwrap_or(i32::MAX)).await
}

/// Delivers to a webhook until nothing is due, or another control plane is at it.
async fn deliver_all(app: Arc<App>, tenant: TenantId, webhook: WebhookId, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        match deliver(&app, tenant, webhook, None).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%webhook, error = &error as &dyn Error, "cannot deliver alerts; that is tried again");
                return;
            }
        }
    }
}

/// Makes one attempt: of this alert, or of the one that has been due for longest. False when there is none to make, or
/// another control plane is at it.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn deliver(
    app: &App,
    tenant: TenantId,
    webhook: WebhookId,
    alert: Option<AlertId>,
) -> Result<bool, sqlx::Error> {
    let Some(attempt) = claim(app, tenant, webhook, alert).await? else { return Ok(false) };
    let outcome = posting::post(app, &attempt).await;
    settle(app, &attempt, &outcome).await?;
    app.metrics.alert_attempt(outcome.label());
    Ok(true)
}

async fn claim(
    app: &App,
    tenant: TenantId,
    webhook: WebhookId,
    alert: Option<AlertId>,
) -> Result<Option<Attempt>, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let Some(held) = sql::hold(&mut tx, webhook).await? else { return Ok(None) };
    // Nothing was held when this is dropped.
    let Some(claimed) = sql::claim(&mut tx, webhook, alert).await? else { return Ok(None) };
    let egress = tenants::egress(&mut tx).await?;
    tx.commit().await?;
    Ok(Some(Attempt {
        tenant,
        webhook,
        url: held.url,
        egress,
        secrets: std::iter::once(held.secret_sealed).chain(held.former_secret_sealed).collect(),
        alert: claimed.alert_id.into(),
        kind: claimed.kind,
        at: claimed.at,
        data: claimed.data,
        number: claimed.attempts,
        held_until: held.held_until,
    }))
}

/// Writes down how it went, and lets the webhook go.
async fn settle(app: &App, attempt: &Attempt, outcome: &Outcome) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(attempt.tenant).await?;
    match outcome {
        Outcome::Delivered { status } => sql::delivered(&mut tx, attempt, *status).await?,
        Outcome::Failed(failure) => sql::failed(&mut tx, attempt, failure).await?,
        Outcome::Gone => {
            sql::failed(&mut tx, attempt, &Failure::of_gone()).await?;
            sql::give_up_all(&mut tx, attempt.webhook, GONE).await?;
            if let Some(name) = sql::set_gone(&mut tx, attempt.webhook).await? {
                let event = audit::Event {
                    actor: "system",
                    action: "webhook.gone",
                    object_kind: super::WebhookSpec::NOUN,
                    object_id: &attempt.webhook.to_string(),
                    object_name: &name,
                    detail: serde_json::json!({ "alert": attempt.alert }),
                };
                audit::record(&mut tx, event).await?;
            }
        }
    }
    sql::let_go(&mut tx, attempt).await?;
    tx.commit().await
}

impl Outcome {
    /// As metrics count it.
    const fn label(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Gone => "gone",
            Self::Failed(failure) if failure.again_in.is_some() => "failed",
            Self::Failed(_) => "given_up",
        }
    }
}
