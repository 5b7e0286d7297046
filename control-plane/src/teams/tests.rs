use http::Method;
use serde_json::json;

use crate::testing::run;

#[tokio::test]
async fn a_team_lives_through_create_get_replace_patch_and_delete() {
    run(async |bench| {
        let spec = json!({ "display_name": "Platform", "cost_center": "4711" });
        let created =
            bench.post("teams", json!({ "name": "platform", "labels": { "env": "prod" }, "spec": spec })).await;
        let created = created.expect(201);
        assert_eq!(created.header("location"), "/api/v1/tenants/acme/teams/platform");
        assert_eq!(created.header("etag"), "\"1\"");
        assert_eq!(created.json["spec"], spec);
        assert_eq!(created.json["status"], json!({ "agents": 0, "servers": 0 }));
        assert_eq!(created.json["created_by"], "api-key:owner");

        let id = created.json["id"].as_str().expect("an id");
        assert!(id.starts_with("tea_"));
        for key in ["platform", id] {
            assert_eq!(bench.get(&format!("teams/{key}")).await.expect(200).json, created.json);
        }

        let replace = bench.call(Method::PUT, "teams/platform").header("if-match", "\"1\"");
        let replaced = replace.json(json!({ "spec": { "cost_center": "1" } })).await.expect(200);
        assert_eq!(replaced.json["spec"], json!({ "cost_center": "1" }));
        assert_eq!(replaced.json["labels"], json!({}));
        assert_eq!(replaced.header("etag"), "\"2\"");

        let patch = bench.call(Method::PATCH, &format!("teams/{id}")).header("if-match", "\"2\"");
        let patched = patch.json(json!({ "labels": { "a": "b" }, "spec": { "cost_center": null } })).await.expect(200);
        assert_eq!(patched.json["spec"], json!({}));
        assert_eq!(patched.json["labels"], json!({ "a": "b" }));

        bench.call(Method::DELETE, "teams/platform").header("if-match", "\"3\"").send().await.expect(204);
        assert_eq!(bench.get("teams/platform").await.expect(404).problem().0, "not_found");
        bench.call(Method::DELETE, "teams/platform").header("if-match", "\"3\"").send().await.expect(404);
        assert_eq!(
            bench.audit().await,
            ["team.create platform", "team.update platform", "team.update platform", "team.delete platform"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_team_that_owns_something_is_not_deleted() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
        let instances = json!([{ "url": "http://127.0.0.1:3001/mcp" }]);
        bench.put("servers/demo", json!({ "spec": { "team": "platform", "instances": instances } })).await.expect(201);
        assert_eq!(bench.get("teams/platform").await.json["status"], json!({ "agents": 1, "servers": 1 }));

        let refused = bench.call(Method::DELETE, "teams/platform").header("if-match", "*").send().await.expect(409);
        assert_eq!(refused.problem().0, "in_use");
        let detail = refused.json["detail"].as_str().expect("a detail");
        assert!(detail.contains("agent ci-bot, server demo"), "{detail}");
    })
    .await;
}

#[tokio::test]
async fn texts_have_bounds() {
    run(async |bench| {
        let spec = json!({ "display_name": "a".repeat(121), "cost_center": "a\nb" });
        let refused = bench.put("teams/platform", json!({ "spec": spec })).await.expect(422);
        assert_eq!(
            refused.problem(),
            ("text", vec!["/spec/display_name text".into(), "/spec/cost_center text".into()])
        );
    })
    .await;
}
