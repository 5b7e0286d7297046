//! Queries about budgets, and about what was spent.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use tollgate_proto::{BudgetId, Name, TenantId};
use uuid::Uuid;

use super::{Meaning, Period, Span, Subject, Target};
use crate::{
    calendar::{TimeZone, UnknownTimeZone},
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object('agent_id', agent_id, 'team_id', team_id, 'currency', currency) AS "facts!"
           FROM budgets
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

/// The currency of the budget with this name, which is there.
pub(super) async fn currency(tx: &mut TenantTx, name: &Name) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT currency FROM budgets WHERE name = $1", name.as_str()).fetch_one(&mut **tx).await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let Meaning { target, period, currency, terms } = meaning;
    let (agent, team) = match target {
        Target::Agent(id) => (Some(id.uuid()), None),
        Target::Team(id) => (None, Some(id.uuid())),
        Target::Tenant => (None, None),
    };
    sqlx::query!(
        "INSERT INTO budgets (tenant_id, id, name, labels, spec, revision, created_by, agent_id, team_id, whole_tenant,
             period, amount, currency, hard, on_store_outage)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(), agent_id = $8,
             team_id = $9, whole_tenant = $10, period = $11, amount = $12, currency = $13, hard = $14,
             on_store_outage = $15",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        agent,
        team,
        *target == Target::Tenant,
        period.as_str(),
        terms.amount,
        currency,
        terms.hard,
        terms.on_store_outage.as_str(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: BudgetId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM budgets WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}

/// The tenant's time zone, and the moment by Postgres' clock, which is the same for all control planes.
pub(super) async fn clock(tx: &mut TenantTx) -> Result<(String, DateTime<Utc>), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(r#"SELECT time_zone, clock_timestamp() AS "now!" FROM tenants WHERE id = $1"#, tenant)
        .map(|row| (row.time_zone, row.now))
        .fetch_one(&mut **tx)
        .await
}

/// A zone as it is stored.
pub(super) fn zone(stored: &str) -> Result<TimeZone, sqlx::Error> {
    stored.parse().map_err(|error: UnknownTimeZone| sqlx::Error::Decode(error.into()))
}

/// What calls of one agent that one team pays for come to in a span.
pub(super) struct Sum {
    /// Its place.
    pub(super) span: usize,
    pub(super) agent_id: Option<Uuid>,
    pub(super) team_id: Option<Uuid>,
    pub(super) currency: String,
    pub(super) cost: Decimal,
    pub(super) unpriced_calls: i64,
}

/// Each span by itself, so that its own months and days are read by their index, and no others.
pub(super) async fn sums(
    connection: &mut PgConnection,
    tenant: TenantId,
    spans: &[Span],
) -> Result<Vec<Sum>, sqlx::Error> {
    let days = |day: fn(&Span) -> NaiveDate| spans.iter().map(day).collect::<Vec<_>>();
    sqlx::query!(
        r#"SELECT span.place AS "place!", of.agent_id, of.team_id, of.currency AS "currency!", sum(used.cost) AS "cost!",
                  sum(used.unpriced_calls)::bigint AS "unpriced_calls!"
           FROM UNNEST($2::date[], $3::date[]) WITH ORDINALITY AS span (first_day, until, place)
           CROSS JOIN LATERAL (
               SELECT dimension_id, sum(cost) AS cost, sum(unpriced_calls) AS unpriced_calls
               FROM usage_of_days($1, span.first_day, span.until)
               WHERE cost <> 0 OR unpriced_calls <> 0
               GROUP BY dimension_id
           ) AS used
           JOIN usage_dimensions of ON of.tenant_id = $1 AND of.id = used.dimension_id
           GROUP BY span.place, of.agent_id, of.team_id, of.currency"#,
        tenant.uuid(),
        &days(|span| span.from),
        &days(|span| span.to),
    )
    .map(|row| Sum {
        // Postgres counts from 1.
        span: usize::try_from(row.place - 1).unwrap_or_default(),
        agent_id: row.agent_id,
        team_id: row.team_id,
        currency: row.currency,
        cost: row.cost,
        unpriced_calls: row.unpriced_calls,
    })
    .fetch_all(connection)
    .await
}

/// What a budget allows, and for whom.
pub(super) struct Allotment {
    pub(super) name: String,
    pub(super) agent_id: Option<Uuid>,
    pub(super) team_id: Option<Uuid>,
    agent: Option<String>,
    team: Option<String>,
    pub(super) amount: Decimal,
    pub(super) currency: String,
}

impl Allotment {
    pub(super) fn on(&self) -> Subject<String> {
        let agent = self.agent.clone().map(Subject::Agent);
        agent.or_else(|| self.team.clone().map(Subject::Team)).unwrap_or(Subject::Tenant)
    }
}

/// The budgets of this period, the smallest first.
pub(super) async fn allotments(
    connection: &mut PgConnection,
    tenant: TenantId,
    period: Period,
) -> Result<Vec<Allotment>, sqlx::Error> {
    sqlx::query_as!(
        Allotment,
        r#"SELECT budgets.name, budgets.agent_id, budgets.team_id, agents.name AS "agent?", teams.name AS "team?", amount,
                  currency
           FROM budgets LEFT JOIN agents ON agents.tenant_id = $1 AND agents.id = budgets.agent_id
           LEFT JOIN teams ON teams.tenant_id = $1 AND teams.id = budgets.team_id
           WHERE budgets.tenant_id = $1 AND period = $2 ORDER BY amount, budgets.name"#,
        tenant.uuid(),
        period.as_str(),
    )
    .fetch_all(connection)
    .await
}

/// A budget that turns calls away.
pub(super) struct HardRow {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) agent_id: Option<Uuid>,
    pub(super) team_id: Option<Uuid>,
    pub(super) period: String,
    pub(super) amount: Decimal,
    pub(super) currency: String,
    pub(super) on_store_outage: String,
}

pub(super) async fn hard(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<HardRow>, sqlx::Error> {
    sqlx::query_as!(
        HardRow,
        "SELECT id, name, agent_id, team_id, period, amount, currency, on_store_outage
         FROM budgets WHERE tenant_id = $1 AND hard ORDER BY id",
        tenant.uuid(),
    )
    .fetch_all(connection)
    .await
}

/// What the budgets of a policy depend on beside themselves.
pub(super) struct Frame {
    pub(super) time_zone: String,
    pub(super) budget_year: i32,
    pub(super) policy_revised_at: DateTime<Utc>,
}

pub(super) async fn frame(connection: &mut PgConnection, tenant: TenantId) -> Result<Frame, sqlx::Error> {
    sqlx::query_as!(
        Frame,
        "SELECT time_zone, budget_year, policy_revised_at FROM tenants WHERE id = $1",
        tenant.uuid(),
    )
    .fetch_one(connection)
    .await
}

/// Moves the year on; answers whether it was an earlier one.
pub(super) async fn set_budget_year(tx: &mut TenantTx, year: i32) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let set = sqlx::query!("UPDATE tenants SET budget_year = $2 WHERE id = $1 AND budget_year < $2", tenant, year);
    Ok(set.execute(&mut **tx).await?.rows_affected() > 0)
}
