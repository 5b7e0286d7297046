//! Tells who wants to know of it how far budgets have come: an alert for each share that one warns at, and one when the
//! forecast says that it will not last.
//!
//! Invariant: of one period of a budget each of these is told once, by however many control planes and however the amount
//! is changed meanwhile.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_proto::{BudgetId, TenantId};

use super::{
    sql,
    standing::{self, Measured},
};
use crate::{
    alerts::{self, Alert, AlertKind},
    app::App,
    resource::{Row, Which},
    usage,
};

/// Raises what there is to be told of the tenant's budgets.
///
/// # Errors
/// When Postgres is away.
pub async fn raise(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    raise_at(app, tenant, Utc::now()).await
}

pub(super) async fn raise_at(app: &App, tenant: TenantId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let rows = sql::select(&mut tx, Which::default()).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let zone = usage::time_zone(&mut tx).await?;
    let measured = standing::measure(&mut tx, &rows, zone, now).await?;
    for alert in rows.iter().zip(&measured).flat_map(|(row, measured)| measured.alerts(row)) {
        alerts::raise(&mut tx, tenant, &alert).await?;
    }
    tx.commit().await
}

impl Measured {
    fn alerts(&self, row: &Row) -> Vec<Alert> {
        let terms = &self.plan.terms;
        let is_reached = |share: &&Decimal| self.cost >= **share * terms.amount;
        let key = format!("{}/{}", BudgetId::from(row.id), self.standing.start.timestamp());
        let reached = terms.soft.iter().filter(is_reached).map(|share| Alert {
            kind: AlertKind::BudgetThreshold,
            key: format!("{key}/{share}"),
            data: self.data(row, Some(*share)),
        });
        let exceeds = self.forecast.is_some_and(|forecast| forecast > terms.amount);
        let forecast =
            exceeds.then(|| Alert { kind: AlertKind::BudgetForecast, key: key.clone(), data: self.data(row, None) });
        reached.chain(forecast).collect()
    }

    fn data(&self, row: &Row, threshold: Option<Decimal>) -> Value {
        let mut data = json!({
            "budget": { "id": BudgetId::from(row.id), "name": row.name },
            "to": row.spec["to"],
            "period": self.plan.period,
            "start": self.standing.start,
            "end": self.standing.end,
            "currency": self.plan.currency,
            "amount": self.plan.terms.amount.to_string(),
            "spent": self.standing.spent,
            "share": self.standing.share,
        });
        let said =
            [("threshold", threshold.map(|share| share.to_string())), ("forecast", self.standing.forecast.clone())];
        for (name, value) in said {
            if let Some(value) = value {
                data[name] = json!(value);
            }
        }
        data
    }
}
