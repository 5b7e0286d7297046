//! Every query of statements.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use tollgate_proto::{PriceBookVersionId, StatementId, rating::CHARGED_METHODS};
use uuid::Uuid;

use super::{Difference, Statement, StatementLine, name};
use crate::{calendar::TimeZone, chargeback::Period, db::TenantTx};

/// The tenant's time zone; nobody else closes anything until the transaction ends.
pub(super) async fn hold_tenant(tx: &mut TenantTx) -> Result<String, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT time_zone FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(&mut **tx)
        .await
}

/// The first day of the last month that was closed.
pub(super) async fn last_closed(tx: &mut TenantTx) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!("SELECT max(first_day) FROM closed_periods").fetch_one(&mut **tx).await
}

pub(super) async fn close(tx: &mut TenantTx, month: Period, zone: TimeZone, actor: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO closed_periods (tenant_id, first_day, time_zone, closed_by, price_book_versions)
         SELECT $1, $2, $3, $4, ARRAY(
             SELECT id FROM price_book_versions
             WHERE effective_from < $6 AND (effective_until IS NULL OR effective_until > GREATEST($5, effective_from))
             ORDER BY effective_from, id)",
        tenant,
        month.from,
        zone.to_string(),
        actor,
        zone.start_of(month.from),
        zone.start_of(month.to),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What differs between what is known of closed months and what was stated, in the order of teams, currencies, months and
/// what it is for.
pub(super) async fn differences(tx: &mut TenantTx, closing: NaiveDate) -> Result<Vec<Difference>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Difference,
        r#"WITH used AS (
               SELECT closed.first_day AS month, d.team, d.currency, d.cost_center, d.agent, d.server, d.tool,
                      sum(sums.calls) AS calls, sum(sums.input_tokens) AS input_tokens,
                      sum(sums.output_tokens) AS output_tokens, sum(sums.unpriced_calls) AS unpriced_calls,
                      sum(sums.cost) AS cost
               FROM closed_periods AS closed
               JOIN usage_monthly AS sums ON sums.tenant_id = $1 AND sums.month = closed.first_day
               JOIN usage_dimensions AS d ON d.tenant_id = $1 AND d.id = sums.dimension_id
               WHERE closed.first_day <= $2 AND d.currency <> '' AND d.method = ANY ($3)
               GROUP BY 1, 2, 3, 4, 5, 6, 7
           ), stated AS (
               SELECT line.month, statement.team, statement.currency, line.cost_center, line.agent, line.server, line.tool,
                      sum(line.calls) AS calls, sum(line.input_tokens) AS input_tokens,
                      sum(line.output_tokens) AS output_tokens, sum(line.unpriced_calls) AS unpriced_calls,
                      sum(line.cost) AS cost
               FROM statement_lines AS line JOIN statements AS statement ON statement.id = line.statement_id
               GROUP BY 1, 2, 3, 4, 5, 6, 7
           ), difference AS (
               SELECT month, team, currency, cost_center, agent, server, tool,
                      COALESCE(used.calls, 0) - COALESCE(stated.calls, 0) AS calls,
                      COALESCE(used.input_tokens, 0) - COALESCE(stated.input_tokens, 0) AS input_tokens,
                      COALESCE(used.output_tokens, 0) - COALESCE(stated.output_tokens, 0) AS output_tokens,
                      COALESCE(used.unpriced_calls, 0) - COALESCE(stated.unpriced_calls, 0) AS unpriced_calls,
                      COALESCE(used.cost, 0) - COALESCE(stated.cost, 0) AS cost
               FROM used FULL JOIN stated USING (month, team, currency, cost_center, agent, server, tool)
           )
           SELECT month AS "month!", difference.team AS "team!", difference.currency AS "currency!",
                  corrected.id AS "corrects?", cost_center AS "cost_center!", agent AS "agent!", server AS "server!",
                  tool AS "tool!", calls::text AS "calls!", input_tokens::text AS "input_tokens!",
                  output_tokens::text AS "output_tokens!", unpriced_calls::text AS "unpriced_calls!",
                  trim_scale(cost)::text AS "cost!"
           FROM difference LEFT JOIN statements AS corrected
                ON corrected.first_day = month AND corrected.team = difference.team
               AND corrected.currency = difference.currency AND month < $2
           WHERE calls <> 0 OR input_tokens <> 0 OR output_tokens <> 0 OR unpriced_calls <> 0 OR cost <> 0
           ORDER BY difference.team COLLATE "C", difference.currency, month, cost_center COLLATE "C", agent COLLATE "C",
                    server COLLATE "C", tool COLLATE "C""#,
        tenant,
        closing,
        &CHARGED_METHODS.map(str::to_owned),
    )
    .fetch_all(&mut **tx)
    .await
}

/// A statement to be stored.
pub(super) struct New<'a> {
    pub(super) id: Uuid,
    pub(super) first_day: NaiveDate,
    pub(super) team: &'a str,
    pub(super) currency: &'a str,
    pub(super) total: Decimal,
    pub(super) digest: &'a [u8],
}

pub(super) async fn insert(tx: &mut TenantTx, new: &New<'_>, lines: &[StatementLine]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO statements (tenant_id, id, first_day, team, currency, total, lines, digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        new.id,
        new.first_day,
        new.team,
        new.currency,
        new.total,
        i64::try_from(lines.len()).unwrap_or(i64::MAX),
        new.digest,
    )
    .execute(&mut **tx)
    .await?;
    let texts = |of: fn(&StatementLine) -> &String| lines.iter().map(|line| of(line).clone()).collect::<Vec<String>>();
    sqlx::query!(
        "INSERT INTO statement_lines (tenant_id, statement_id, position, month, corrects, cost_center, agent, server, tool,
                                      calls, input_tokens, output_tokens, unpriced_calls, cost, amount)
         SELECT $1, $2, new.position, (new.month || '-01')::date, new.corrects, new.cost_center, new.agent, new.server,
                new.tool, new.calls::numeric, new.input_tokens::numeric, new.output_tokens::numeric,
                new.unpriced_calls::numeric, new.cost::numeric, new.amount::numeric
         FROM unnest($3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                     $11::text[], $12::text[], $13::text[], $14::text[])
              WITH ORDINALITY AS new (month, corrects, cost_center, agent, server, tool, calls, input_tokens, output_tokens,
                                      unpriced_calls, cost, amount, position)",
        tenant,
        new.id,
        &texts(|line| &line.period),
        &lines.iter().map(|line| line.corrects.map(|id| id.uuid())).collect::<Vec<_>>() as &[Option<Uuid>],
        &texts(|line| &line.cost_center),
        &texts(|line| &line.agent),
        &texts(|line| &line.server),
        &texts(|line| &line.tool),
        &texts(|line| &line.calls),
        &texts(|line| &line.input_tokens),
        &texts(|line| &line.output_tokens),
        &texts(|line| &line.unpriced_calls),
        &texts(|line| &line.cost),
        &texts(|line| &line.amount),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Those of a month or with an id, where one is given; the newest month first, then by team and currency.
pub(super) async fn statements(
    tx: &mut TenantTx,
    first_day: Option<NaiveDate>,
    id: Option<Uuid>,
) -> Result<Vec<Statement>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT s.id, s.first_day, s.team, s.currency, s.total::text AS "total!", s.lines,
                  encode(s.digest, 'hex') AS "sha256!", closed.time_zone, closed.price_book_versions, closed.closed_at,
                  closed.closed_by
           FROM statements AS s
           JOIN closed_periods AS closed ON closed.tenant_id = s.tenant_id AND closed.first_day = s.first_day
           WHERE ($1::date IS NULL OR s.first_day = $1) AND ($2::uuid IS NULL OR s.id = $2)
           ORDER BY s.first_day DESC, s.team COLLATE "C", s.currency"#,
        first_day,
        id,
    )
    .map(|row| Statement {
        id: StatementId::from(row.id),
        period: name(row.first_day),
        team: Some(row.team).filter(|team| !team.is_empty()),
        currency: row.currency,
        total: row.total,
        lines: row.lines,
        sha256: row.sha256,
        time_zone: row.time_zone,
        price_book_versions: row.price_book_versions.into_iter().map(PriceBookVersionId::from).collect(),
        closed_at: row.closed_at,
        closed_by: row.closed_by,
    })
    .fetch_all(&mut **tx)
    .await
}

/// The lines of a statement, in their order.
pub(super) async fn lines(tx: &mut TenantTx, statement: Uuid) -> Result<Vec<StatementLine>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT month, corrects, cost_center, agent, server, tool, calls::text AS "calls!",
                  input_tokens::text AS "input_tokens!", output_tokens::text AS "output_tokens!",
                  unpriced_calls::text AS "unpriced_calls!", cost::text AS "cost!", amount::text AS "amount!"
           FROM statement_lines WHERE statement_id = $1 ORDER BY position"#,
        statement,
    )
    .map(|row| StatementLine {
        period: name(row.month),
        corrects: row.corrects.map(StatementId::from),
        cost_center: row.cost_center,
        agent: row.agent,
        server: row.server,
        tool: row.tool,
        calls: row.calls,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        unpriced_calls: row.unpriced_calls,
        cost: row.cost,
        amount: row.amount,
    })
    .fetch_all(&mut **tx)
    .await
}
