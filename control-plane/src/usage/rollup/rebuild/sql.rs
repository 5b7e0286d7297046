//! Every query that counts anew.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, types::Json};
use tollgate_proto::TenantId;

use crate::usage::fact::Combination;

/// Waits until nobody else rebuilds the tenant's rollups.
pub(super) async fn take_turn(connection: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    /// Of these locks, which have two numbers.
    const REBUILDS: i32 = 0x7265_6275;
    let [.., a, b, c, d] = tenant.uuid().into_bytes();
    sqlx::query!("SELECT pg_advisory_xact_lock($1, $2)", REBUILDS, i32::from_be_bytes([a, b, c, d]))
        .execute(connection)
        .await
        .map(drop)
}

/// Every combination of the records of a time.
pub(super) async fn unnamed_combinations(
    connection: &mut PgConnection,
    tenant: TenantId,
    span: &Range<DateTime<Utc>>,
) -> Result<Vec<Combination>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT DISTINCT team_id, team, cost_center, agent_id, agent, user_id, user_email, server_id, server, tool, method,
                  outcome, COALESCE(last.currency, r.currency) AS "currency!",
                  labels AS "labels: Json<BTreeMap<String, String>>"
           FROM usage_records AS r
           LEFT JOIN LATERAL last_rating(r.tenant_id, r.event_day, r.call_id) AS last ON true
           WHERE tenant_id = $1 AND at >= $2 AND at < $3
             AND event_day >= ($2::timestamptz AT TIME ZONE 'UTC')::date
             AND event_day <= ($3::timestamptz AT TIME ZONE 'UTC')::date"#,
        tenant.uuid(),
        span.start,
        span.end,
    )
    .map(|row| Combination {
        team_id: row.team_id,
        team: row.team,
        cost_center: row.cost_center,
        agent_id: row.agent_id,
        agent: row.agent,
        user_id: row.user_id,
        user: row.user_email,
        server_id: row.server_id,
        server: row.server,
        tool: row.tool,
        method: row.method,
        outcome: Cow::Owned(row.outcome),
        currency: row.currency,
        labels: row.labels.0,
    })
    .fetch_all(connection)
    .await
}

/// Adds to `$table` the difference between what the `$counted` rows of `$source` add up to by `$by` and what is held where
/// `$held`; answers how many rows were wrong.
macro_rules! mend {
    ($connection:expr, $tenant:expr, $span:expr, $counted:literal, $source:literal, $by:literal, $table:literal, $period:literal, $held:literal $(, $date:expr)?) => {
        sqlx::query!(
            "WITH counted AS (
                 SELECT " + $by + " AS period, dimension_id, " + $counted + " AS records, sum(calls) AS calls,
                        sum(refused) AS refused, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
                        sum(input_bytes) AS input_bytes, sum(output_bytes) AS output_bytes,
                        sum(duration_us) AS duration_us, sum(upstream_us) AS upstream_us, sum(cost) AS cost,
                        sum(unpriced_calls) AS unpriced_calls
                 FROM " + $source + " GROUP BY 1, 2
                 UNION ALL
                 SELECT " + $period + ", dimension_id, -records, -calls, -refused, -input_tokens, -output_tokens,
                        -input_bytes, -output_bytes, -duration_us, -upstream_us, -cost, -unpriced_calls
                 FROM " + $table + " WHERE tenant_id = $1 AND " + $held + "
             ), wrong AS (
                 SELECT period, dimension_id, sum(records) AS records, sum(calls) AS calls, sum(refused) AS refused,
                        sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
                        sum(input_bytes) AS input_bytes, sum(output_bytes) AS output_bytes,
                        sum(duration_us) AS duration_us, sum(upstream_us) AS upstream_us, sum(cost) AS cost,
                        sum(unpriced_calls) AS unpriced_calls
                 FROM counted GROUP BY 1, 2
             )
             INSERT INTO " + $table + " AS held
                 (tenant_id, " + $period + ", dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes,
                  output_bytes, duration_us, upstream_us, cost, unpriced_calls)
             SELECT $1, wrong.* FROM wrong
             WHERE (records, calls, refused, input_tokens, output_tokens, input_bytes, output_bytes, duration_us, upstream_us,
                    cost, unpriced_calls) <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
             ORDER BY 2, 3
             ON CONFLICT (tenant_id, " + $period + ", dimension_id) DO UPDATE SET
                 records = held.records + excluded.records,
                 calls = held.calls + excluded.calls,
                 refused = held.refused + excluded.refused,
                 input_tokens = held.input_tokens + excluded.input_tokens,
                 output_tokens = held.output_tokens + excluded.output_tokens,
                 input_bytes = held.input_bytes + excluded.input_bytes,
                 output_bytes = held.output_bytes + excluded.output_bytes,
                 duration_us = held.duration_us + excluded.duration_us,
                 upstream_us = held.upstream_us + excluded.upstream_us,
                 cost = held.cost + excluded.cost,
                 unpriced_calls = held.unpriced_calls + excluded.unpriced_calls",
            $tenant.uuid(),
            $span.start,
            $span.end
            $(, $date)?
        )
        .execute($connection)
        .await
        .map(|done| done.rows_affected())
    };
}

/// Mends the sums of whole hours.
pub(super) async fn mend_hours(
    connection: &mut PgConnection,
    tenant: TenantId,
    hours: &Range<DateTime<Utc>>,
) -> Result<u64, sqlx::Error> {
    mend!(
        connection,
        tenant,
        hours,
        "count(*)",
        "counted_usage($1, $2, $3)",
        "date_trunc('hour', at, 'UTC')",
        "usage_hourly",
        "hour",
        "hour >= $2 AND hour < $3"
    )
}

/// Mends the sums of a day.
pub(super) async fn mend_day(
    connection: &mut PgConnection,
    tenant: TenantId,
    date: NaiveDate,
    span: &Range<DateTime<Utc>>,
) -> Result<u64, sqlx::Error> {
    mend!(
        connection,
        tenant,
        span,
        "count(*)",
        "counted_usage($1, $2, $3)",
        "$4::date",
        "usage_daily",
        "day",
        "day = $4",
        date
    )
}

/// Mends the sums of a month, by those of its days.
pub(super) async fn mend_month(
    connection: &mut PgConnection,
    tenant: TenantId,
    days: &Range<NaiveDate>,
) -> Result<u64, sqlx::Error> {
    mend!(
        connection,
        tenant,
        days,
        "sum(records)",
        "usage_daily WHERE tenant_id = $1 AND day >= $2 AND day < $3",
        "$2::date",
        "usage_monthly",
        "month",
        "month = $2"
    )
}

/// Mends how many calls of whole hours lie in each bucket of overhead.
pub(super) async fn mend_overhead(
    connection: &mut PgConnection,
    tenant: TenantId,
    hours: &Range<DateTime<Utc>>,
    bounds: &[i64],
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "WITH counted AS (
             SELECT date_trunc('hour', at, 'UTC') AS hour,
                    width_bucket(GREATEST(duration_us - upstream_us, 0), $4::bigint[]) AS bucket, sum(calls) AS calls
             FROM counted_usage($1, $2, $3) WHERE calls > 0 GROUP BY 1, 2
             UNION ALL
             SELECT hour, bucket, -calls FROM usage_overhead WHERE tenant_id = $1 AND hour >= $2 AND hour < $3
         ), wrong AS (
             SELECT hour, bucket, sum(calls) AS calls FROM counted GROUP BY 1, 2
         )
         INSERT INTO usage_overhead AS held (tenant_id, hour, bucket, calls)
         SELECT $1, wrong.* FROM wrong WHERE calls <> 0 ORDER BY 2, 3
         ON CONFLICT (tenant_id, hour, bucket) DO UPDATE SET calls = held.calls + excluded.calls",
        tenant.uuid(),
        hours.start,
        hours.end,
        bounds,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// Adds what the records of a time add up to, times `sign`, to a day.
pub(super) async fn add_to_day(
    connection: &mut PgConnection,
    tenant: TenantId,
    day: NaiveDate,
    span: &Range<DateTime<Utc>>,
    sign: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO usage_daily AS held
             (tenant_id, day, dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes,
              output_bytes, duration_us, upstream_us, cost, unpriced_calls)
         SELECT $1, $4, dimension_id, $5::bigint * count(*), $5 * sum(calls), $5 * sum(refused), $5 * sum(input_tokens),
                $5 * sum(output_tokens), $5 * sum(input_bytes), $5 * sum(output_bytes), $5 * sum(duration_us),
                $5 * sum(upstream_us), $5 * sum(cost), $5 * sum(unpriced_calls)
         FROM counted_usage($1, $2, $3) GROUP BY dimension_id ORDER BY dimension_id
         ON CONFLICT (tenant_id, day, dimension_id) DO UPDATE SET
             records = held.records + excluded.records,
             calls = held.calls + excluded.calls,
             refused = held.refused + excluded.refused,
             input_tokens = held.input_tokens + excluded.input_tokens,
             output_tokens = held.output_tokens + excluded.output_tokens,
             input_bytes = held.input_bytes + excluded.input_bytes,
             output_bytes = held.output_bytes + excluded.output_bytes,
             duration_us = held.duration_us + excluded.duration_us,
             upstream_us = held.upstream_us + excluded.upstream_us,
             cost = held.cost + excluded.cost,
             unpriced_calls = held.unpriced_calls + excluded.unpriced_calls",
        tenant.uuid(),
        span.start,
        span.end,
        day,
        sign,
    )
    .execute(connection)
    .await
    .map(drop)
}
