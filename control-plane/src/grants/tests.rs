use serde_json::{Value, json};

use http::Method;

use crate::testing::{Bench, run};

async fn world(bench: &Bench) {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
    bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
}

async fn faults(bench: &Bench, spec: Value) -> Vec<String> {
    bench.put("grants/g", json!({ "spec": spec })).await.expect(422).problem().1
}

#[tokio::test]
async fn a_grant_shows_what_was_sent() {
    run(async |bench| {
        world(bench).await;
        for to in [json!({ "agent": "ci-bot" }), json!({ "team": "platform" })] {
            let spec = json!({ "to": to, "scopes": ["demo:echo", "demo:*"], "deny": false, "expires_at": "2999-01-01T00:00:00+01:00" });
            let created = bench.call(Method::PUT, "grants/g").header("if-match", "*").json(json!({ "spec": spec }));
            assert_eq!(created.await.expect(412).problem().0, "precondition_failed");
            let created = bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
            assert_eq!(created.json["spec"], spec);
            assert_eq!(created.json["status"], json!({ "expired": false, "effective": { "deny": false } }));
            bench.call(Method::DELETE, "grants/g").header("if-match", "\"1\"").send().await.expect(204);
        }
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_grant_is_named_where_it_is() {
    run(async |bench| {
        world(bench).await;
        let to = json!({ "agent": "ci-bot" });
        let scopes = json!(["demo:echo", "nowhere:echo", "demo", "demo:@read", "nowhere:*"]);
        let expected = [
            "/spec/scopes/2 scope",
            "/spec/scopes/3 scope",
            "/spec/scopes/1 server_unknown",
            "/spec/scopes/4 server_unknown",
            "/spec/expires_at time_past",
        ];
        let past = "2020-01-01T00:00:00Z";
        assert_eq!(faults(bench, json!({ "to": to, "scopes": scopes, "expires_at": past })).await, expected);
        for (spec, expected) in [
            (json!({ "to": to, "scopes": [] }), "/spec/scopes required"),
            (json!({ "to": to, "scopes": vec!["demo:*"; 201] }), "/spec/scopes too_many"),
            (json!({ "to": to, "scopes": ["demo:*"], "expires_at": "tomorrow" }), "/spec/expires_at time"),
            (json!({ "to": {}, "scopes": ["demo:*"] }), "/spec/to exactly_one"),
            (json!({ "to": { "agent": "ci-bot", "team": "platform" }, "scopes": ["demo:*"] }), "/spec/to exactly_one"),
            (json!({ "to": { "role": "owner" }, "scopes": ["demo:*"] }), "/spec/to/role not_available"),
            (json!({ "to": { "agent": "nobody" }, "scopes": ["demo:*"] }), "/spec/to/agent agent_unknown"),
            (json!({ "to": { "team": "nobody" }, "scopes": ["demo:*"] }), "/spec/to/team team_unknown"),
            (json!({ "to": { "agent": "No Name" }, "scopes": ["demo:*"] }), "/spec/to/agent shape"),
        ] {
            assert_eq!(faults(bench, spec).await, [expected]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_grant_that_has_ended_can_be_edited_but_not_made() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "agent": "ci-bot" }, "scopes": ["demo:*"], "expires_at": "2999-01-01T00:00:00Z" });
        bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let past = r#"UPDATE grants SET spec = jsonb_set(spec, '{expires_at}', '"2020-01-01T00:00:00Z"')"#;
        sqlx::query(past).execute(&mut *tx).await.expect("time passes");
        tx.commit().await.expect("committed");

        let ended = bench.get("grants/g").await.expect(200);
        assert_eq!(ended.json["status"]["expired"], true);
        let patch = async |tag: &str, change: Value| {
            bench.call(Method::PATCH, "grants/g").header("if-match", tag).json(json!({ "spec": change })).await
        };
        patch("\"1\"", json!({ "deny": true })).await.expect(200);
        let refused = patch("\"2\"", json!({ "expires_at": "2021-01-01T00:00:00Z" })).await.expect(422);
        assert_eq!(refused.problem().0, "time_past");
    })
    .await;
}
