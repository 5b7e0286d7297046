//! Rollups against sums that the tests compute from the records.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use sqlx::PgConnection;
use tollgate_proto::{
    AgentId, DataPlaneId, TenantId,
    usage::v1::{Outcome, UsageRecord},
};
use uuid::Uuid;

use super::hour_of;
use crate::{
    db::Db,
    grpc::testing::{ControlPlane, run},
    usage::intake,
};

/// What the tests compare: calls, refused, tokens in and out, bytes in and out, microseconds in all and of servers.
type Sums = [i64; 8];
/// Agent, tool, outcome and the value of the label `stage`.
type Who = (String, String, String, String);

/// One call of a scenario.
#[derive(Debug, Clone)]
struct Drawn {
    minutes_ago: i64,
    agent: u8,
    tool: u8,
    outcome: Outcome,
    tokens: u32,
}

/// Calls, and two data planes' batches of them (by index), which overlap.
#[derive(Debug)]
struct Scenario {
    calls: Vec<Drawn>,
    zone: &'static str,
    batches: [Vec<Vec<prop::sample::Index>>; 2],
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let outcome =
        prop_oneof![Just(Outcome::Ok), Just(Outcome::Refused), Just(Outcome::ToolError), Just(Outcome::Unknown)];
    let call = (0..10_000_i64, 0..3_u8, 0..3_u8, outcome, any::<u32>())
        .prop_map(|(minutes_ago, agent, tool, outcome, tokens)| Drawn { minutes_ago, agent, tool, outcome, tokens });
    let zone = prop::sample::select(vec!["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"]);
    let batches = || prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..40), 1..6);
    (prop::collection::vec(call, 1..60), zone, batches(), batches()).prop_map(|(calls, zone, one, other)| Scenario {
        calls,
        zone,
        batches: [one, other],
    })
}

fn record(tenant: TenantId, agents: &[AgentId], drawn: &Drawn) -> (DateTime<Utc>, UsageRecord) {
    let at = Utc::now() - TimeDelta::minutes(drawn.minutes_ago);
    let millis = at.timestamp_millis().unsigned_abs();
    let random = Uuid::new_v4().into_bytes();
    let call_id = uuid::Builder::from_unix_timestamp_millis(millis, random.last_chunk().unwrap()).into_uuid();
    let refused = drawn.outcome == Outcome::Refused;
    let record = UsageRecord {
        call_id: call_id.to_string(),
        tenant_id: tenant.to_string(),
        agent_id: agents[usize::from(drawn.agent)].to_string(),
        agent: format!("agent-{}", drawn.agent),
        team: "platform".to_owned(),
        server: "demo".to_owned(),
        tool: format!("tool-{}", drawn.tool),
        method: "tools/call".to_owned(),
        outcome: drawn.outcome.into(),
        decision: if refused { "tool_not_granted" } else { "allowed" }.to_owned(),
        forwarded: !refused,
        http_status: 200,
        input_bytes: 5,
        output_bytes: 7,
        input_tokens: drawn.tokens.into(),
        output_tokens: 3,
        duration_us: 2_000,
        upstream_us: 1_500,
        labels: [("stage".to_owned(), format!("stage-{}", drawn.agent % 2))].into(),
        ..UsageRecord::default()
    };
    (at, record)
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
    [1 - refused, refused, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]]
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

fn add<Period: Ord>(to: &mut BTreeMap<(Period, Who), Sums>, period: Period, record: &UsageRecord) {
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
                    ARRAY[calls, refused, input_tokens::bigint, output_tokens::bigint, input_bytes::bigint,
                          output_bytes::bigint, duration_us::bigint, upstream_us::bigint]
             FROM ",
            $table,
            " AS sums JOIN usage_dimensions ON usage_dimensions.tenant_id = sums.tenant_id
                                                          AND usage_dimensions.id = sums.dimension_id
             WHERE sums.tenant_id = $1"
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

async fn hourly(connection: &mut PgConnection, tenant: TenantId) -> BTreeMap<(DateTime<Utc>, Who), Sums> {
    stored!(connection, tenant, "usage_hourly", "hour", DateTime<Utc>)
}

async fn daily(connection: &mut PgConnection, tenant: TenantId) -> BTreeMap<(NaiveDate, Who), Sums> {
    stored!(connection, tenant, "usage_daily", "day", NaiveDate)
}

async fn deliver(db: &Db, batches: &[Vec<prop::sample::Index>], records: &[(DateTime<Utc>, UsageRecord)]) {
    let data_plane = DataPlaneId::new();
    let mut position = 0;
    for batch in batches {
        let delivered = batch.iter().map(|index| {
            position += 1;
            (position, Some(index.get(records).1.clone()))
        });
        intake::store(db, data_plane, delivered.collect()).await.expect("stored");
    }
}

/// What the records of all batches add up to, each once.
fn expected(
    drawn: &Scenario,
    records: &[(DateTime<Utc>, UsageRecord)],
) -> (BTreeMap<(DateTime<Utc>, Who), Sums>, BTreeMap<(NaiveDate, Who), Sums>) {
    let zone: chrono_tz::Tz = drawn.zone.parse().unwrap();
    let delivered = drawn.batches.iter().flatten().flatten().map(|index| index.get(records));
    let once: BTreeMap<&str, _> = delivered.map(|delivered| (&*delivered.1.call_id, delivered)).collect();
    let (mut by_hour, mut by_day) = (BTreeMap::new(), BTreeMap::new());
    for (at, record) in once.into_values() {
        add(&mut by_hour, hour_of(*at), record);
        add(&mut by_day, at.with_timezone(&zone).date_naive(), record);
    }
    (by_hour, by_day)
}

#[tokio::test]
async fn whatever_comes_late_twice_or_in_any_order_over_two_intakes_is_counted_once() {
    run(async |database| {
        let planes = [ControlPlane::start(database).await, ControlPlane::start(database).await];
        let mut runner = TestRunner::deterministic();
        let mut superuser = database.superuser().await;
        for round in 0..24 {
            let drawn = scenario().new_tree(&mut runner).unwrap().current();
            let tenant = database.make_tenant(&format!("tenant-{round}")).await;
            database
                .run(format!("UPDATE tenants SET time_zone = '{}' WHERE id = '{}'", drawn.zone, tenant.uuid()))
                .await;
            let agents = [AgentId::new(), AgentId::new(), AgentId::new()];
            let records: Vec<_> = drawn.calls.iter().map(|call| record(tenant, &agents, call)).collect();
            let [one, other] = &drawn.batches;
            tokio::join!(deliver(&planes[0].app.db, one, &records), deliver(&planes[1].app.db, other, &records),);
            let (by_hour, by_day) = expected(&drawn, &records);
            assert_eq!(hourly(&mut superuser, tenant).await, by_hour, "{drawn:?}");
            assert_eq!(daily(&mut superuser, tenant).await, by_day, "{drawn:?}");
        }
        for plane in planes {
            plane.stop().await;
        }
    })
    .await;
}
