use serde_json::{Value, json};

use crate::testing::{Bench, run};

mod standing;

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
        let requests = json!({ "count": 60, "window_s": 60 });
        let effective = json!({ "requests": requests, "on_store_outage": "local", "mode": "strict" });
        assert_eq!(created.json["status"], json!({ "effective": effective }));
    })
    .await;
}

#[tokio::test]
async fn a_limit_is_on_one_thing_and_has_up_to_three_parts() {
    run(async |bench| {
        world(bench).await;
        let instances = json!([{ "url": "https://mcp.example.com/mcp" }]);
        bench.put("servers/files", json!({ "spec": { "instances": instances } })).await.expect(201);
        bench.post("users", json!({ "email": "ada@example.com", "spec": { "role": "viewer" } })).await.expect(201);
        for (name, to) in [
            ("of-agent", json!({ "agent": "ci-bot" })),
            ("of-team", json!({ "team": "platform" })),
            ("of-user", json!({ "user": "Ada@example.com" })),
            ("of-server", json!({ "server": "files" })),
            ("of-tool", json!({ "tool": "files:read" })),
            ("of-tenant", json!({ "tenant": "acme" })),
        ] {
            let rate = |count: i64| json!({ "count": count, "per": "1m" });
            let spec = json!({
                "to": to, "requests": rate(60), "tokens": rate(4_000_000_000), "concurrency": 10,
                "on_store_outage": "deny", "mode": "leased",
            });
            let created = bench.put(&format!("limits/{name}"), json!({ "spec": spec })).await.expect(201).json;
            assert_eq!(created["spec"], spec, "{name}");
            let rate = |count: i64| json!({ "count": count, "window_s": 60 });
            let effective = json!({
                "requests": rate(60), "tokens": rate(4_000_000_000), "concurrency": 10,
                "on_store_outage": "deny", "mode": "leased",
            });
            assert_eq!(created["status"]["effective"], effective, "{name}");
        }
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
            (json!({ "to": to }), vec!["/spec required"]),
            (json!({ "to": to, "requests": { "count": 0, "per": "1m" } }), vec!["/spec/requests/count out_of_range"]),
            (
                json!({ "to": to, "requests": { "count": 1_000_001, "per": "2d" } }),
                vec!["/spec/requests/count out_of_range", "/spec/requests/per out_of_range"],
            ),
            (json!({ "to": to, "requests": { "count": 1, "per": "soon" } }), vec!["/spec/requests/per duration"]),
            (json!({ "to": { "agent": "nobody" }, "requests": rate }), vec!["/spec/to/agent agent_unknown"]),
            (json!({ "to": {}, "requests": rate }), vec!["/spec/to exactly_one"]),
            (
                json!({ "to": { "agent": "ci-bot", "team": "platform" }, "requests": rate }),
                vec!["/spec/to exactly_one"],
            ),
            (json!({ "to": { "team": "nobody" }, "requests": rate }), vec!["/spec/to/team team_unknown"]),
            (json!({ "to": { "user": "x@example.com" }, "requests": rate }), vec!["/spec/to/user user_unknown"]),
            (json!({ "to": { "server": "none" }, "requests": rate }), vec!["/spec/to/server server_unknown"]),
            (json!({ "to": { "tool": "none:read" }, "requests": rate }), vec!["/spec/to/tool server_unknown"]),
            (json!({ "to": { "tool": "none:*" }, "requests": rate }), vec!["/spec/to/tool shape"]),
            (json!({ "to": { "tenant": "other" }, "requests": rate }), vec!["/spec/to/tenant tenant_unknown"]),
            (json!({ "to": to, "tokens": { "count": -1, "per": "1m" } }), vec!["/spec/tokens/count out_of_range"]),
            (
                json!({ "to": to, "tokens": { "count": i64::MAX, "per": "1s" } }),
                vec!["/spec/tokens/count out_of_range"],
            ),
            (json!({ "to": to, "concurrency": 0 }), vec!["/spec/concurrency out_of_range"]),
            (json!({ "to": to, "requests": rate, "on_store_outage": "panic" }), vec!["/spec/on_store_outage shape"]),
        ] {
            assert_eq!(faults(spec).await, expected);
        }
    })
    .await;
}
