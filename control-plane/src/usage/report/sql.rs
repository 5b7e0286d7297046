//! Every query of reports.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use super::{Dimension, ReportRow, span::Pieces};

pub(super) async fn report(
    connection: &mut PgConnection,
    tenant: TenantId,
    by: Dimension,
    Pieces { days, hours, moments }: &Pieces,
) -> Result<Vec<ReportRow>, sqlx::Error> {
    let starts = |ranges: &[std::ops::Range<DateTime<Utc>>]| ranges.iter().map(|range| range.start).collect::<Vec<_>>();
    let ends = |ranges: &[std::ops::Range<DateTime<Utc>>]| ranges.iter().map(|range| range.end).collect::<Vec<_>>();
    // Summed by combination first, which is by number; names are looked at once for each. What is shown stops at the
    // largest bigint: a data plane that counts wrongly must not take the report away.
    sqlx::query_as!(
        ReportRow,
        r#"WITH sums AS (
               SELECT dimension_id, records, calls, refused, input_tokens, output_tokens, cost
               FROM usage_of_days($1, $3, $4)
               UNION ALL
               SELECT dimension_id, records, calls, refused, input_tokens, output_tokens, cost
               FROM UNNEST($5::timestamptz[], $6::timestamptz[]) AS span (first, last)
               JOIN usage_hourly ON tenant_id = $1 AND hour >= first AND hour < last
           ), combined AS (
               SELECT dimension_id, sum(records) AS records, sum(calls) AS calls, sum(refused) AS refused,
                      sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost
               FROM sums GROUP BY dimension_id
           ), named AS (
               SELECT team, agent, user_email, server, tool, currency, records, calls, refused, input_tokens, output_tokens,
                      cost
               FROM combined JOIN usage_dimensions ON tenant_id = $1 AND id = dimension_id
               UNION ALL
               SELECT team, agent, user_email, server, tool, COALESCE(rating.currency, r.currency), 1, forwarded::int,
                      (outcome = 'refused')::int, input_tokens, output_tokens, COALESCE(rating.cost, r.cost)
               FROM UNNEST($7::timestamptz[], $8::timestamptz[]) AS span (first, last)
               JOIN usage_records AS r ON tenant_id = $1 AND at >= first AND at < last
                   AND event_day >= (first AT TIME ZONE 'UTC')::date AND event_day <= (last AT TIME ZONE 'UTC')::date
               LEFT JOIN LATERAL last_rating(r.tenant_id, r.event_day, r.call_id) AS rating ON true
           )
           SELECT CASE $2 WHEN 'team' THEN team WHEN 'agent' THEN agent WHEN 'user' THEN user_email
                          WHEN 'server' THEN server ELSE tool END AS "name!",
                  CASE $2 WHEN 'tool' THEN server END AS server,
                  sum(calls)::bigint AS "calls!",
                  sum(refused)::bigint AS "refused!",
                  LEAST(sum(input_tokens), 9223372036854775807)::bigint AS "input_tokens!",
                  LEAST(sum(output_tokens), 9223372036854775807)::bigint AS "output_tokens!",
                  trim_scale(sum(cost))::text AS "cost!", NULLIF(currency, '') AS currency
           FROM named
           WHERE records > 0 AND ($2 <> 'tool' OR tool <> '')
           GROUP BY 1, 2, named.currency
           ORDER BY 1, 2, named.currency"#,
        tenant.uuid(),
        by.as_str(),
        days.start,
        days.end,
        &starts(hours),
        &ends(hours),
        &starts(moments),
        &ends(moments),
    )
    .fetch_all(connection)
    .await
}

/// Calls, refused calls and errors since an hour.
pub(super) async fn counts(
    connection: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
) -> Result<(i64, i64, i64), sqlx::Error> {
    sqlx::query!(
        r#"SELECT COALESCE(sum(calls), 0)::bigint AS "calls!", COALESCE(sum(refused), 0)::bigint AS "refused!",
                  COALESCE(sum(calls) FILTER (WHERE outcome NOT IN ('ok', 'abandoned')), 0)::bigint AS "errors!"
           FROM usage_hourly JOIN usage_dimensions
               ON usage_dimensions.tenant_id = usage_hourly.tenant_id AND usage_dimensions.id = dimension_id
           WHERE usage_hourly.tenant_id = $1 AND hour >= $2"#,
        tenant.uuid(),
        since,
    )
    .map(|row| (row.calls, row.refused, row.errors))
    .fetch_one(connection)
    .await
}

/// Forwarded calls since an hour by bucket of overhead, in the order of buckets.
pub(super) async fn overhead(
    connection: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
) -> Result<Vec<(i32, i64)>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT bucket, sum(calls)::bigint AS "calls!" FROM usage_overhead
           WHERE tenant_id = $1 AND hour >= $2 GROUP BY bucket ORDER BY bucket"#,
        tenant.uuid(),
        since,
    )
    .map(|row| (row.bucket, row.calls))
    .fetch_all(connection)
    .await
}
