//! Rollups against sums that the tests compute from the records.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tollgate_proto::{
    AgentId, DataPlaneId, TenantId,
    usage::v1::{Outcome, UsageRecord},
};

use crate::{
    app::App,
    grpc::testing::{ControlPlane, run},
    usage::{
        intake,
        testing::{added_up, call_at, daily, hourly},
    },
};

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
    let call = (0..120_000_i64, 0..3_u8, 0..3_u8, outcome, any::<u32>())
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
    let refused = drawn.outcome == Outcome::Refused;
    let record = UsageRecord {
        agent_id: agents[usize::from(drawn.agent)].to_string(),
        agent: format!("agent-{}", drawn.agent),
        tool: format!("tool-{}", drawn.tool),
        outcome: drawn.outcome.into(),
        decision: if refused { "tool_not_granted" } else { "allowed" }.to_owned(),
        forwarded: !refused,
        input_tokens: drawn.tokens.into(),
        labels: [("stage".to_owned(), format!("stage-{}", drawn.agent % 2))].into(),
        ..call_at(tenant, at)
    };
    (at, record)
}

async fn deliver(app: &App, batches: &[Vec<prop::sample::Index>], records: &[(DateTime<Utc>, UsageRecord)]) {
    let data_plane = DataPlaneId::new();
    let mut position = 0;
    for batch in batches {
        let delivered = batch.iter().map(|index| {
            position += 1;
            (position, Some(index.get(records).1.clone()))
        });
        intake::store(app, data_plane, delivered.collect()).await.expect("stored");
    }
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
            tokio::join!(deliver(&planes[0].app, one, &records), deliver(&planes[1].app, other, &records),);
            let delivered = drawn.batches.iter().flatten().flatten().map(|index| index.get(&records));
            let once: BTreeMap<&str, _> = delivered.map(|delivered| (&*delivered.1.call_id, delivered)).collect();
            let (by_hour, by_day) = added_up(once.into_values(), drawn.zone);
            assert_eq!(hourly(&mut superuser, tenant).await, by_hour, "{drawn:?}");
            assert_eq!(daily(&mut superuser, tenant).await, by_day, "{drawn:?}");
        }
        for plane in planes {
            plane.stop().await;
        }
    })
    .await;
}
