//! How records leave: each tenant keeps its own for so many days, and what they added up to for ever.
//!
//! Invariant: no record of a time is taken any more before the first of that time is removed, so that none can be stored
//! twice.

mod sql;

use chrono::Utc;
use serde_json::json;
use tollgate_proto::TenantId;

use super::terms;
use crate::{app::App, audit, resource::Kind as _, tenants::TenantSpec};

/// How many records one statement deletes, so that none holds its locks for long.
const BATCH: i32 = 10_000;

/// Settles from which day on the tenant's records are kept; before it nothing is taken any more. Waits while days are
/// counted anew, which needs the records.
///
/// # Errors
/// When Postgres is away.
pub async fn expire(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let terms = terms::read(&mut tx).await?;
    let keeps_from = terms.keeps_from(Utc::now());
    if !terms.days_are_counted() || terms.kept_from.is_some_and(|kept_from| kept_from >= keeps_from) {
        return Ok(());
    }
    terms::change(&mut tx).await?;
    if !sql::keep_from(&mut tx, tenant, keeps_from).await? {
        return Ok(());
    }
    if sql::any_before(&mut tx, tenant, keeps_from).await? {
        let name = sql::name(&mut tx, tenant).await?;
        let event = audit::Event {
            actor: "system",
            action: "usage.expire",
            object_kind: TenantSpec::NOUN,
            object_id: &tenant.to_string(),
            object_name: &name,
            detail: json!({ "records_before": keeps_from }),
        };
        audit::record(&mut tx, event).await?;
    }
    tx.commit().await
}

/// Deletes what the tenant no longer keeps, a batch in a transaction.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    loop {
        let mut tx = app.db.tenant(tenant).await?;
        let deleted = sql::purge(&mut tx, BATCH).await?;
        tx.commit().await?;
        if deleted < i64::from(BATCH) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
