//! Records for tests, and what they add up to.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;
use tollgate_proto::{
    AgentId, DataPlaneId, TenantId,
    usage::v1::{Outcome, UsageRecord},
};
use uuid::Uuid;

use super::intake;
use crate::app::App;

/// What the tests compare: records, calls, refused, tokens in and out, bytes in and out, microseconds in all and of servers.
pub(super) type Sums = [i64; 9];
/// Agent, tool, outcome and the value of the label `stage`.
pub(super) type Who = (String, String, String, String);

/// Sums by period.
pub(super) type Sheet<Period> = BTreeMap<(Period, Who), Sums>;

/// A record of a successful call that arrived then.
pub(crate) fn call_at(tenant: TenantId, at: DateTime<Utc>) -> UsageRecord {
    let random = Uuid::new_v4().into_bytes();
    let millis = at.timestamp_millis().unsigned_abs();
    let call_id = uuid::Builder::from_unix_timestamp_millis(millis, random.last_chunk().unwrap()).into_uuid();
    UsageRecord {
        call_id: call_id.to_string(),
        tenant_id: tenant.to_string(),
        agent_id: AgentId::from(Uuid::from_u128(1)).to_string(),
        agent: "bot".to_owned(),
        team: "platform".to_owned(),
        server: "demo".to_owned(),
        tool: "echo".to_owned(),
        method: "tools/call".to_owned(),
        outcome: Outcome::Ok.into(),
        decision: "allowed".to_owned(),
        forwarded: true,
        http_status: 200,
        input_bytes: 5,
        output_bytes: 7,
        input_tokens: 11,
        output_tokens: 3,
        duration_us: 2_000,
        upstream_us: 1_500,
        labels: [("stage".to_owned(), "prod".to_owned())].into(),
        ..UsageRecord::default()
    }
}

/// Delivers records from a data plane that has delivered nothing yet.
pub(crate) async fn deliver(app: &App, records: impl IntoIterator<Item = UsageRecord>) {
    let delivered = (1..).zip(records.into_iter().map(Some)).collect();
    intake::store(app, DataPlaneId::new(), delivered).await.expect("stored");
}

/// What records add up to, by hour and by day in the zone.
pub(super) fn added_up<'a>(
    records: impl IntoIterator<Item = &'a (DateTime<Utc>, UsageRecord)>,
    zone: &str,
) -> (Sheet<DateTime<Utc>>, Sheet<NaiveDate>) {
    let zone: chrono_tz::Tz = zone.parse().unwrap();
    let (mut by_hour, mut by_day) = (BTreeMap::new(), BTreeMap::new());
    for (at, record) in records {
        add(&mut by_hour, at.duration_trunc(TimeDelta::hours(1)).unwrap(), record);
        add(&mut by_day, at.with_timezone(&zone).date_naive(), record);
    }
    (by_hour, by_day)
}

fn sums_of(record: &UsageRecord) -> Sums {
    let refused = i64::from(record.outcome == i32::from(Outcome::Refused));
    let counts = [
        record.input_tokens,
        record.output_tokens,
        record.input_bytes,
        record.output_bytes,
        record.duration_us,
        record.upstream_us,
    ];
    let counts = counts.map(u64::cast_signed);
    [1, 1 - refused, refused, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]]
}

fn who(record: &UsageRecord) -> Who {
    let outcome = match Outcome::try_from(record.outcome).unwrap() {
        Outcome::Ok => "ok",
        Outcome::Refused => "refused",
        Outcome::ToolError => "tool_error",
        _ => "unknown",
    };
    (record.agent.clone(), record.tool.clone(), outcome.to_owned(), record.labels["stage"].clone())
}

fn add<Period: Ord>(to: &mut Sheet<Period>, period: Period, record: &UsageRecord) {
    let sums = to.entry((period, who(record))).or_default();
    for (sum, more) in sums.iter_mut().zip(sums_of(record)) {
        *sum += more;
    }
}

/// What is stored of a tenant, by hour or by day.
macro_rules! stored {
    ($connection:expr, $tenant:expr, $table:literal, $period:literal, $type:ty) => {{
        let rows: Vec<($type, String, String, String, String, Vec<i64>)> = sqlx::query_as(concat!(
            "SELECT ",
            $period,
            ", agent, tool, outcome, labels->>'stage',
                    ARRAY[records, calls, refused, input_tokens::bigint, output_tokens::bigint, input_bytes::bigint,
                          output_bytes::bigint, duration_us::bigint, upstream_us::bigint]
             FROM ",
            $table,
            " AS sums JOIN usage_dimensions ON usage_dimensions.tenant_id = sums.tenant_id
                                                          AND usage_dimensions.id = sums.dimension_id
             WHERE sums.tenant_id = $1 AND records > 0"
        ))
        .bind($tenant.uuid())
        .fetch_all($connection)
        .await
        .unwrap();
        rows.into_iter()
            .map(|(period, agent, tool, outcome, stage, sums)| {
                ((period, (agent, tool, outcome, stage)), Sums::try_from(sums).unwrap())
            })
            .collect::<BTreeMap<_, _>>()
    }};
}

pub(super) async fn hourly(connection: &mut PgConnection, tenant: TenantId) -> Sheet<DateTime<Utc>> {
    stored!(connection, tenant, "usage_hourly", "hour", DateTime<Utc>)
}

/// With a look at the months: they are what the days add up to.
pub(super) async fn daily(connection: &mut PgConnection, tenant: TenantId) -> Sheet<NaiveDate> {
    assert_eq!(wrong_months(connection, tenant).await, 0, "months are not what their days add up to");
    stored!(connection, tenant, "usage_daily", "day", NaiveDate)
}

/// How many sums of months are not what those of their days add up to.
pub(super) async fn wrong_months(connection: &mut PgConnection, tenant: TenantId) -> i64 {
    sqlx::query_scalar(
        "WITH held AS (
             SELECT date_trunc('month', day::timestamp)::date AS month, dimension_id, records, calls, refused, input_tokens,
                    output_tokens, input_bytes, output_bytes, duration_us, upstream_us, cost, unpriced_calls
             FROM usage_daily WHERE tenant_id = $1
             UNION ALL
             SELECT month, dimension_id, -records, -calls, -refused, -input_tokens, -output_tokens, -input_bytes,
                    -output_bytes, -duration_us, -upstream_us, -cost, -unpriced_calls
             FROM usage_monthly WHERE tenant_id = $1
         ), difference AS (
             SELECT ARRAY[sum(records), sum(calls), sum(refused), sum(input_tokens), sum(output_tokens), sum(input_bytes),
                          sum(output_bytes), sum(duration_us), sum(upstream_us), sum(cost), sum(unpriced_calls)] AS sums
             FROM held GROUP BY month, dimension_id
         )
         SELECT count(*) FROM difference WHERE sums <> array_fill(0::numeric, ARRAY[11])",
    )
    .bind(tenant.uuid())
    .fetch_one(connection)
    .await
    .unwrap()
}
