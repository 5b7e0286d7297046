//! How much of limits is used.

use chrono::{DurationRound as _, TimeDelta, Utc};
use tollgate_proto::{
    DataPlaneId, LimitId,
    policy::v1::Reply,
    usage::v1::{Outcome, UsageRecord},
};

use super::*;
use crate::{
    caller::Role,
    limits::testing::counting,
    policy::testing::Answering,
    testing::text,
    usage::testing::{call_at, deliver},
};

/// A limit of everything; answers its id.
async fn limit(bench: &Bench, name: &str) -> LimitId {
    let rate = |count: i64| json!({ "count": count, "per": "1m" });
    let spec = json!({ "to": { "tenant": "acme" }, "requests": rate(60), "tokens": rate(1_000), "concurrency": 5 });
    let made = bench.put(&format!("limits/{name}"), json!({ "spec": spec })).await.expect(201);
    text(&made.json["id"]).parse().expect("an id")
}

async fn use_of(bench: &Bench, name: &str) -> Value {
    bench.get(&format!("limits/{name}/use")).await.expect(200).json
}

#[tokio::test]
async fn what_one_store_counts_is_counted_once_and_several_are_added_up() {
    run(async |bench| {
        let id = limit(bench, "calm").await;
        let _one = counting(bench, "a", 20);
        let _same = counting(bench, "a", 21);
        let known = use_of(bench, "calm").await;
        assert_eq!((&known["id"], &known["name"], &known["stores"]), (&json!(id), &json!("calm"), &json!(1)));
        assert!([20, 21].contains(&known["requests"]["used"].as_u64().expect("a number")), "{known}");
        assert_eq!((&known["complete"], &known["unanswered"]), (&json!(true), &json!([])));
        let _other = counting(bench, "b", 100);
        let known = use_of(bench, "calm").await;
        assert!([120, 121].contains(&known["requests"]["used"].as_u64().expect("a number")), "{known}");
        assert_eq!((&known["requests"]["lists"], &known["stores"]), (&json!(2), &json!(2)));
        assert_eq!(known["tokens"], json!({ "used": 84, "count": 1_000, "window_s": 60 }));
        assert_eq!(known["concurrency"], json!({ "used": 2, "count": 5 }));
    })
    .await;
}

#[tokio::test]
async fn all_limits_are_listed_page_by_page_with_their_use() {
    run(async |bench| {
        for name in ["a", "b", "c"] {
            limit(bench, name).await;
        }
        let _plane = counting(bench, "s", 7);
        let (mut names, mut path) = (Vec::new(), "limit-uses?limit=2".to_owned());
        loop {
            let page = bench.call(http::Method::GET, &path).by(Role::Viewer).send().await.expect(200).json;
            for item in page["items"].as_array().expect("a list") {
                assert_eq!(item["requests"], json!({ "used": 7, "lists": 1, "count": 60, "window_s": 60 }));
                names.push(text(&item["name"]).to_owned());
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("limit-uses?limit=2&cursor={cursor}");
        }
        assert_eq!(names, ["a", "b", "c"]);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_said_is_not_zero_and_who_did_not_answer_is_named() {
    run(async |bench| {
        limit(bench, "calm").await;
        let silent = bench.get("limits/calm/use").await.expect(503);
        assert_eq!(silent.problem().0, "data_planes_silent");
        assert!(text(&silent.json["detail"]).contains("no data plane is connected"), "{}", silent.text);
        // One of before does not know the question, another has no such limit yet.
        let old = DataPlaneId::new();
        let failure = || Reply { failure: "the question cannot be read".to_owned(), ..Reply::default() };
        let _old = Answering::connect(&bench.app, old, move |_| failure());
        let silent = bench.get("limit-uses").await.expect(503);
        assert!(text(&silent.json["detail"]).contains(&old.to_string()), "{}", silent.text);
        let _new = Answering::connect(&bench.app, DataPlaneId::new(), |_| Reply::default());
        let known = use_of(bench, "calm").await;
        assert_eq!((&known["requests"]["used"], &known["stores"]), (&Value::Null, &json!(0)));
        assert_eq!((&known["complete"], &known["unanswered"][0]["data_plane"]), (&json!(false), &json!(old)));
        bench.get("limits/none/use").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_limit_says_how_many_calls_it_refused_of_late() {
    run(async |bench| {
        let (id, other) = (limit(bench, "calm").await, limit(bench, "other").await);
        let _plane = counting(bench, "s", 7);
        let hour = (Utc::now() - TimeDelta::minutes(2)).duration_trunc(TimeDelta::hours(1)).expect("an hour");
        let refused = |limit: LimitId, at| UsageRecord {
            limit_id: limit.to_string(),
            outcome: Outcome::Refused.into(),
            decision: "rate_limited_requests".to_owned(),
            forwarded: false,
            ..call_at(bench.acme, at)
        };
        let long_ago = hour - TimeDelta::hours(3);
        deliver(&bench.app, (1..4).map(|second| refused(id, hour + TimeDelta::seconds(second)))).await;
        deliver(&bench.app, [refused(other, hour), refused(id, long_ago)]).await;
        for (name, expected) in [("calm", 3), ("other", 1)] {
            let known = use_of(bench, name).await;
            let of_hours = ["this_hour", "hour_before"].map(|hour| known["refused"][hour].as_i64().expect("a number"));
            assert_eq!(of_hours.iter().sum::<i64>(), expected, "{known}");
        }
    })
    .await;
}

#[tokio::test]
async fn use_is_shown_within_its_tenant() {
    run(async |bench| {
        limit(bench, "calm").await;
        let _plane = counting(bench, "s", 7);
        let key = bench.key(bench.tenant("other").await, Role::Owner).await;
        for path in ["limits/calm/use", "limit-uses"] {
            let path = format!("/api/v1/tenants/acme/{path}");
            bench.call(http::Method::GET, &path).with_key(&key).send().await.expect(404);
        }
    })
    .await;
}
