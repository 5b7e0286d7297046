use serde_json::{Value, json};

use crate::testing::{Bench, run};

async fn world(bench: &Bench) {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
}

#[tokio::test]
async fn a_limit_says_what_the_data_planes_apply() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "agent": "ci-bot" }, "requests": { "count": 60, "per": "1m" } });
        let created = bench.post("limits", json!({ "name": "calm", "spec": spec })).await.expect(201);
        assert_eq!(created.json["spec"], spec);
        assert_eq!(created.json["status"], json!({ "effective": { "requests": 60, "window_s": 60 } }));
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_limit_is_named_where_it_is() {
    run(async |bench| {
        world(bench).await;
        let faults = async |spec: Value| bench.put("limits/l", json!({ "spec": spec })).await.expect(422).problem().1;
        let to = json!({ "agent": "ci-bot" });
        let rate = json!({ "count": 60, "per": "1m" });
        for (spec, expected) in [
            (json!({ "to": to }), vec!["/spec/requests required"]),
            (json!({ "to": to, "requests": { "count": 0, "per": "1m" } }), vec!["/spec/requests/count out_of_range"]),
            (
                json!({ "to": to, "requests": { "count": 1_000_001, "per": "2d" } }),
                vec!["/spec/requests/count out_of_range", "/spec/requests/per out_of_range"],
            ),
            (json!({ "to": to, "requests": { "count": 1, "per": "soon" } }), vec!["/spec/requests/per duration"]),
            (json!({ "to": { "agent": "nobody" }, "requests": rate }), vec!["/spec/to/agent agent_unknown"]),
            (json!({ "to": {}, "requests": rate }), vec!["/spec/to exactly_one"]),
            (json!({ "to": { "team": "platform" }, "requests": rate }), vec!["/spec/to/team not_available"]),
            (json!({ "to": { "planet": "mars" }, "requests": rate }), vec!["/spec/to shape"]),
            (
                json!({ "to": to, "requests": rate, "tokens": rate, "concurrency": 10, "on_store_outage": "deny" }),
                vec![
                    "/spec/tokens not_available",
                    "/spec/concurrency not_available",
                    "/spec/on_store_outage not_available",
                ],
            ),
        ] {
            assert_eq!(faults(spec).await, expected);
        }
    })
    .await;
}
