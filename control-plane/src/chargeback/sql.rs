//! Every query of reports: sums of days, told apart by what calls have in common.

use chrono::NaiveDate;
use serde_json::Value;
use tollgate_proto::{TenantId, rating::CHARGED_METHODS};
use uuid::Uuid;

use super::{Figures, Filter, Grouping, Key, Line, Period};
use crate::db::TenantTx;

pub(super) async fn time_zone(tx: &mut TenantTx, tenant: TenantId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT time_zone FROM tenants WHERE id = $1", tenant.uuid()).fetch_one(&mut **tx).await
}

/// At most so many lines, in the order of their keys and currencies; without a currency first.
pub(super) async fn lines(
    tx: &mut TenantTx,
    period: Period,
    grouping: &Grouping,
    filter: &Filter,
    lines_max: usize,
) -> Result<Vec<Line>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let keys = grouping.keys();
    let by: Vec<String> = keys.iter().map(Key::to_string).collect();
    let by = |index: usize| by.get(index).map(String::as_str).unwrap_or_default();
    // Days are added up before anything is looked up: a month has thirty times as many rows as combinations.
    let rows = sqlx::query_as!(
        LineRow,
        r#"WITH sums AS (
               SELECT dimension_id, CASE WHEN $7 THEN day END AS day, sum(calls) AS calls, sum(refused) AS refused,
                      sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost,
                      sum(unpriced_calls) AS unpriced_calls
               FROM usage_daily WHERE tenant_id = $1 AND day >= $2 AND day < $3
               GROUP BY 1, 2 HAVING sum(records) > 0
           ), named AS (
               SELECT sums.*, d.outcome, d.currency, ARRAY(
                   SELECT NULLIF(CASE key
                       WHEN 'team' THEN d.team WHEN 'cost_center' THEN d.cost_center WHEN 'agent' THEN d.agent
                       WHEN 'user' THEN d.user_email WHEN 'server' THEN d.server
                       WHEN 'tool' THEN CASE WHEN d.tool <> '' THEN d.server || ':' || d.tool END
                       WHEN 'server_team' THEN (SELECT teams.name FROM servers JOIN teams ON teams.id = servers.team_id
                                                WHERE servers.id = d.server_id)
                       WHEN 'day' THEN sums.day::text
                       ELSE d.labels ->> substr(key, 7) END, '')
                   FROM unnest(ARRAY[$4, $5, $6]) WITH ORDINALITY AS keys (key, position)
                   ORDER BY position) AS names
               FROM sums JOIN usage_dimensions AS d ON d.tenant_id = $1 AND d.id = sums.dimension_id
               WHERE ($8::text IS NULL OR d.team = $8) AND ($9::text IS NULL OR d.cost_center = $9)
                 AND ($10::text IS NULL OR d.agent = $10) AND ($11::text IS NULL OR d.user_email = $11)
                 AND ($12::text IS NULL OR d.server = $12) AND ($13::text IS NULL OR d.tool = $13)
           )
           SELECT names AS "names!: Vec<Option<String>>", currency AS "currency!",
                  sum(calls)::bigint AS "calls!", sum(refused)::bigint AS "refused!",
                  LEAST(sum(input_tokens), 9223372036854775807)::bigint AS "input_tokens!",
                  LEAST(sum(output_tokens), 9223372036854775807)::bigint AS "output_tokens!",
                  trim_scale(sum(cost))::text AS "cost!",
                  trim_scale(COALESCE(sum(cost) FILTER (WHERE outcome NOT IN ('ok', 'unknown')), 0))::text AS "error_cost!",
                  trim_scale(COALESCE(sum(cost) FILTER (WHERE outcome = 'unknown'), 0))::text AS "uncertain_cost!",
                  sum(unpriced_calls)::bigint AS "unpriced_calls!"
           FROM named GROUP BY names, currency
           ORDER BY names COLLATE "C", currency LIMIT $14"#,
        tenant,
        period.from,
        period.to,
        by(0),
        by(1),
        by(2),
        keys.contains(&Key::Day),
        filter.team.as_deref(),
        filter.cost_center.as_deref(),
        filter.agent.as_deref(),
        filter.user.as_deref(),
        filter.server.as_deref(),
        filter.tool.as_deref(),
        i64::try_from(lines_max).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.line(keys.len())).collect())
}

/// A line as the query answers it.
struct LineRow {
    names: Vec<Option<String>>,
    currency: String,
    calls: i64,
    refused: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: String,
    error_cost: String,
    uncertain_cost: String,
    unpriced_calls: i64,
}

impl LineRow {
    /// With so many keys: the query names three, whether they are there or not.
    fn line(mut self, keys: usize) -> Line {
        self.names.truncate(keys);
        let figures = Figures {
            calls: self.calls,
            refused: self.refused,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost: self.cost,
            error_cost: self.error_cost,
            uncertain_cost: self.uncertain_cost,
            unpriced_calls: self.unpriced_calls,
        };
        Line { values: self.names, currency: Some(self.currency).filter(|code| !code.is_empty()), figures }
    }
}

/// What was charged, or would have been, on one day, of calls that have everything in common.
pub(super) struct Charge {
    pub(super) day: NaiveDate,
    pub(super) team_id: Option<Uuid>,
    pub(super) team: String,
    pub(super) cost_center: String,
    pub(super) agent_id: Option<Uuid>,
    pub(super) agent: String,
    pub(super) user: String,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) method: String,
    pub(super) outcome: String,
    pub(super) currency: String,
    pub(super) labels: Value,
    pub(super) calls: i64,
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) cost: String,
    pub(super) unpriced_calls: i64,
}

/// At most so many charges, in the order of days and of what they are for.
pub(super) async fn charges(tx: &mut TenantTx, period: Period, charges_max: usize) -> Result<Vec<Charge>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Charge,
        r#"SELECT sums.day, d.team_id, d.team, d.cost_center, d.agent_id, d.agent, d.user_email AS "user", d.server, d.tool,
                  d.method, d.outcome, d.currency, d.labels, sums.calls,
                  LEAST(sums.input_tokens, 9223372036854775807)::bigint AS "input_tokens!",
                  LEAST(sums.output_tokens, 9223372036854775807)::bigint AS "output_tokens!",
                  trim_scale(sums.cost)::text AS "cost!", sums.unpriced_calls
           FROM usage_daily AS sums JOIN usage_dimensions AS d ON d.tenant_id = $1 AND d.id = sums.dimension_id
           WHERE sums.tenant_id = $1 AND sums.day >= $2 AND sums.day < $3 AND sums.calls > 0 AND d.method = ANY ($4)
           ORDER BY sums.day, d.team COLLATE "C", d.agent COLLATE "C", d.user_email COLLATE "C", d.server COLLATE "C",
                    d.tool COLLATE "C", d.method, d.outcome, d.id
           LIMIT $5"#,
        tenant,
        period.from,
        period.to,
        &CHARGED_METHODS.map(str::to_owned),
        i64::try_from(charges_max).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut **tx)
    .await
}
