//! Reports against sums that the tests compute from the records.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tollgate_proto::usage::v1::UsageRecord;

use super::{Dimension, report, summary};
use crate::{
    error::ApiError,
    grpc::testing::{ControlPlane, run},
    usage::testing::{call_at, deliver},
};

#[tokio::test]
async fn any_span_is_reported_exactly() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let app = &control_plane.app;
        let mut runner = TestRunner::deterministic();
        let drawn = (
            // Seconds of eighty days, in which at least one month is whole.
            prop::collection::vec((0..7_000_000_i64, 0..3_u8, 0..1_000_u64), 80),
            prop::collection::vec((prop::option::of(0..7_000_000_i64), prop::option::of(0..7_000_000_i64)), 40),
        );
        for zone in ["UTC", "Asia/Kathmandu", "America/New_York"] {
            let (calls, spans) = drawn.new_tree(&mut runner).unwrap().current();
            let tenant = database.make_tenant(&zone.to_lowercase().replace(['/', '_'], "-")).await;
            database
                .run(format!(
                    "UPDATE tenants SET time_zone = '{zone}', usage_days_zone = '{zone}' WHERE id = '{}'",
                    tenant.uuid()
                ))
                .await;
            let now = Utc::now();
            let ago = |seconds| now - TimeDelta::seconds(seconds);
            let records: Vec<_> = calls
                .iter()
                .map(|(seconds, agent, tokens)| {
                    let at = ago(*seconds);
                    let agent = format!("agent-{agent}");
                    (at, UsageRecord { agent, input_tokens: *tokens, ..call_at(tenant, at) })
                })
                .collect();
            deliver(app, records.iter().map(|(_, record)| record.clone())).await;
            let mut tx = app.db.tenant(tenant).await.unwrap();
            for (from, to) in spans {
                let (from, to) = (from.map(ago), to.map(ago));
                let within = |at: &DateTime<Utc>| {
                    let at = at.timestamp_millis();
                    from.is_none_or(|from| at >= from.timestamp_millis())
                        && to.is_none_or(|to| at < to.timestamp_millis())
                };
                // Calls are known to the millisecond.
                let whole = |moment: Option<DateTime<Utc>>| {
                    moment.map(|moment| DateTime::from_timestamp_millis(moment.timestamp_millis()).unwrap())
                };
                let mut expected: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
                for (_, record) in records.iter().filter(|(at, _)| within(at)) {
                    let (calls, tokens) = expected.entry(&record.agent).or_default();
                    *calls += 1;
                    *tokens += record.input_tokens.cast_signed();
                }
                let rows = report(&mut tx, Dimension::Agent, whole(from), whole(to)).await.unwrap();
                let reported = rows.iter().map(|row| (&*row.name, (row.calls, row.input_tokens))).collect();
                assert_eq!(expected, reported, "{zone} {from:?} {to:?}");
            }
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn whole_days_and_hours_are_reported_without_their_records() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let times = [0, 1, 30, 60].map(|hours| Utc::now() - TimeDelta::hours(hours));
        deliver(&control_plane.app, times.map(|at| call_at(tenant, at))).await;
        database.run("TRUNCATE usage_records; UPDATE tenants SET usage_kept_from = current_date + 1").await;

        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        let whole = report(&mut tx, Dimension::Tool, None, None).await.unwrap();
        assert_eq!((whole.len(), whole[0].calls, whole[0].input_tokens), (1, 4, 44));
        let hour = super::rollup::hour_of(times[1]);
        let lately = report(&mut tx, Dimension::Tool, Some(hour), None).await.unwrap();
        assert_eq!(lately[0].calls, 2);
        let seen = summary(&mut tx, times[2]).await.unwrap();
        assert_eq!((seen.calls, seen.refused, seen.errors), (3, 0, 0));

        let cut = report(&mut tx, Dimension::Tool, Some(hour + TimeDelta::minutes(5)), None).await.unwrap_err();
        assert!(matches!(&cut, ApiError::Query(why) if why.contains("whole hours")), "{cut}");
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}
