//! From the records of refused calls to the alert.

use chrono::{DurationRound as _, SecondsFormat, TimeDelta};
use tollgate_proto::{
    LimitId,
    usage::v1::{Outcome, UsageRecord},
};

use super::*;
use crate::{
    alerts::saturation::REFUSED_MIN,
    usage::testing::{call_at, deliver},
};

/// Makes an agent `bot` with a limit; answers the limit's id.
async fn limit(bench: &Bench) -> LimitId {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
    let spec = json!({ "to": { "agent": "bot" }, "requests": { "count": 1, "per": "1m" } });
    let made = bench.put("limits/calm", json!({ "spec": spec })).await.expect(201);
    text(&made.json["id"]).parse().expect("an id")
}

/// The record of a call that the limit refused.
fn refused(tenant: TenantId, limit: LimitId, at: DateTime<Utc>) -> UsageRecord {
    UsageRecord {
        limit_id: limit.to_string(),
        outcome: Outcome::Refused.into(),
        decision: "rate_limited_requests".to_owned(),
        forwarded: false,
        ..call_at(tenant, at)
    }
}

async fn listed(bench: &Bench) -> Vec<Value> {
    bench.get("alerts").await.expect(200).json["items"].as_array().expect("a list").clone()
}

/// The start of the present hour or, at the very start of one, of the hour before: always past, and not long.
fn an_hour() -> DateTime<Utc> {
    (Utc::now() - TimeDelta::minutes(2)).duration_trunc(TimeDelta::hours(1)).expect("an hour")
}

#[tokio::test]
async fn a_limit_that_refuses_many_calls_in_an_hour_is_told_of_once() {
    with_bench(async |bench| {
        let (limit, hour) = (limit(bench).await, an_hour());
        let at = |second: i64| refused(bench.acme, limit, hour + TimeDelta::seconds(second));
        deliver(&bench.app, (1..REFUSED_MIN).map(at)).await;
        assert_eq!(listed(bench).await, Vec::<Value>::new(), "one less is no news");
        let last = at(0);
        let record = bench.get("usage-records?decision=rate_limited_requests&limit=1").await.expect(200).json;
        assert_eq!(record["items"][0]["limit_id"], limit.to_string());

        // Twice, as after a restart of its data plane: it is one call.
        deliver(&bench.app, [last.clone()]).await;
        deliver(&bench.app, [last]).await;
        deliver(&bench.app, (0..50).map(|_| at(30))).await;
        let alerts = listed(bench).await;
        assert_eq!(alerts.len(), 1);
        let expected = json!({
            "limit": "calm", "limit_id": limit, "on": { "agent": "bot" }, "refused": REFUSED_MIN,
            "since": hour.to_rfc3339_opts(SecondsFormat::Millis, true),
            "hour": hour.to_rfc3339_opts(SecondsFormat::Secs, true),
        });
        assert_eq!((&alerts[0]["type"], &alerts[0]["data"]), (&json!("limit.saturated"), &expected));

        deliver(&bench.app, (0..REFUSED_MIN).map(|_| at(-1))).await;
        assert_eq!(listed(bench).await.len(), 2, "another hour is news");
    })
    .await;
}

#[tokio::test]
async fn what_is_long_past_or_of_no_limit_raises_nothing() {
    with_bench(async |bench| {
        let limit = limit(bench).await;
        let long_ago = Utc::now() - TimeDelta::hours(25);
        deliver(&bench.app, (0..20).map(|_| refused(bench.acme, limit, long_ago))).await;
        deliver(&bench.app, (0..20).map(|_| refused(bench.acme, LimitId::new(), an_hour()))).await;
        let of_none = || UsageRecord { limit_id: String::new(), ..refused(bench.acme, limit, an_hour()) };
        deliver(&bench.app, (0..20).map(|_| of_none())).await;
        assert_eq!(listed(bench).await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn refusals_that_two_data_planes_deliver_are_added_up() {
    with_bench(async |bench| {
        let (limit, hour) = (limit(bench).await, an_hour());
        let half = || (0..REFUSED_MIN / 2).map(|_| refused(bench.acme, limit, hour));
        tokio::join!(deliver(&bench.app, half()), deliver(&bench.app, half()));
        assert_eq!(listed(bench).await.len(), 1);
    })
    .await;
}
