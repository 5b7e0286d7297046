//! Every query of reports: sums of months and days, told apart by what calls have in common.

use chrono::NaiveDate;
use serde_json::Value;
use tollgate_proto::{TenantId, rating::CHARGED_METHODS};
use uuid::Uuid;

use super::{Figures, Filter, Grouping, Key, Line, Period};
use crate::db::TenantTx;

pub(super) async fn time_zone(tx: &mut TenantTx, tenant: TenantId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT time_zone FROM tenants WHERE id = $1", tenant.uuid()).fetch_one(&mut **tx).await
}

/// At most so many lines, in the order of their keys and currencies, without a currency first; and what all of them come to
/// by currency.
pub(super) async fn lines(
    tx: &mut TenantTx,
    period: Period,
    grouping: &Grouping,
    filter: &Filter,
    lines_max: usize,
) -> Result<Lines, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let keys = grouping.keys();
    let by: Vec<String> = keys.iter().map(Key::to_string).collect();
    let by = |index: usize| by.get(index).map(String::as_str).unwrap_or_default();
    // Added up by what is asked for at once: the keys are expressions over combinations, whose statistics tell Postgres how
    // few lines there will be. Days are read only where they have to be told apart.
    let rows = sqlx::query_as!(
        LineRow,
        r#"WITH sums AS (
               SELECT dimension_id, NULL::date AS day, records, calls, refused, input_tokens, output_tokens, cost,
                      unpriced_calls
               FROM usage_of_days($1, $2, $3) WHERE NOT $7
               UNION ALL
               SELECT dimension_id, day, records, calls, refused, input_tokens, output_tokens, cost, unpriced_calls
               FROM usage_daily WHERE $7 AND tenant_id = $1 AND day >= $2 AND day < $3
           ), named AS (
               SELECT sums.*, d.outcome, d.currency, usage_key(d, owner.team, day, $4) AS first,
                      usage_key(d, owner.team, day, $5) AS second, usage_key(d, owner.team, day, $6) AS third
               FROM sums JOIN usage_dimensions AS d ON d.tenant_id = $1 AND d.id = sums.dimension_id
               LEFT JOIN (SELECT servers.id, teams.name AS team FROM servers JOIN teams ON teams.id = servers.team_id)
                   AS owner ON owner.id = d.server_id
               WHERE ($8::text IS NULL OR d.team = $8) AND ($9::text IS NULL OR d.cost_center = $9)
                 AND ($10::text IS NULL OR d.agent = $10) AND ($11::text IS NULL OR d.user_email = $11)
                 AND ($12::text IS NULL OR d.server = $12) AND ($13::text IS NULL OR d.tool = $13)
           ), lines AS MATERIALIZED (
               SELECT first, second, third, currency, sum(calls) AS calls, sum(refused) AS refused,
                      sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost,
                      COALESCE(sum(cost) FILTER (WHERE outcome NOT IN ('ok', 'unknown')), 0) AS error_cost,
                      COALESCE(sum(cost) FILTER (WHERE outcome = 'unknown'), 0) AS uncertain_cost,
                      sum(unpriced_calls) AS unpriced_calls
               FROM named GROUP BY 1, 2, 3, 4 HAVING sum(records) > 0
           ), shown AS (
               (SELECT false AS is_total, lines.* FROM lines
                ORDER BY first COLLATE "C", second COLLATE "C", third COLLATE "C", currency LIMIT $14)
               UNION ALL
               SELECT true, NULL, NULL, NULL, currency, sum(calls), sum(refused), sum(input_tokens), sum(output_tokens),
                      sum(cost), sum(error_cost), sum(uncertain_cost), sum(unpriced_calls)
               FROM lines GROUP BY currency
           )
           SELECT is_total AS "is_total!", ARRAY[first, second, third] AS "names!: Vec<Option<String>>",
                  currency AS "currency!", calls::bigint AS "calls!", refused::bigint AS "refused!",
                  LEAST(input_tokens, 9223372036854775807)::bigint AS "input_tokens!",
                  LEAST(output_tokens, 9223372036854775807)::bigint AS "output_tokens!",
                  trim_scale(cost)::text AS "cost!", trim_scale(error_cost)::text AS "error_cost!",
                  trim_scale(uncertain_cost)::text AS "uncertain_cost!", unpriced_calls::bigint AS "unpriced_calls!"
           FROM shown
           ORDER BY is_total, first COLLATE "C", second COLLATE "C", third COLLATE "C", currency"#,
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
    let (totals, lines): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_total);
    let read = |rows: Vec<LineRow>, keys| rows.into_iter().map(|row| row.line(keys)).collect();
    Ok(Lines { lines: read(lines, keys.len()), totals: read(totals, 0) })
}

/// What was asked for, and what it comes to.
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// One for each currency, and one without.
    pub(super) totals: Vec<Line>,
}

/// A line as the query answers it.
struct LineRow {
    is_total: bool,
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
        let currency = Some(self.currency).filter(|code| !code.is_empty());
        Line { values: self.names, currency, figures, budget: None }
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
