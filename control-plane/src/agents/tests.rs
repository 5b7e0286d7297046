use http::Method;
use serde_json::{Value, json};

use crate::{
    caller::Role,
    secret::{Purpose, well_formed},
    testing::{Bench, run, text},
};

async fn agent(bench: &Bench) -> Value {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201).json
}

#[tokio::test]
async fn an_agent_is_its_client_id_and_starts_active() {
    run(async |bench| {
        let agent = agent(bench).await;
        assert_eq!(agent["status"]["client_id"], agent["id"]);
        assert_eq!(agent["status"]["state"], "active");
        assert_eq!(agent["status"]["credentials"], 0);
        assert_eq!(agent["status"]["effective"], json!({ "auth_method": "client_secret_basic" }));
    })
    .await;
}

#[tokio::test]
async fn what_agents_cannot_be_yet_is_refused() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let spec = json!({
            "team": "platform", "type": "interactive", "redirect_uris": ["https://a/"],
            "auth_method": "private_key_jwt", "jwks": {}, "jwks_uri": "https://a/",
        });
        let refused = bench.put("agents/ci-bot", json!({ "spec": spec })).await.expect(422);
        let fields = ["type", "redirect_uris", "jwks", "jwks_uri", "auth_method"];
        let expected = fields.map(|field| format!("/spec/{field} not_available"));
        assert_eq!(refused.problem(), ("not_available", expected.to_vec()));

        let refused = bench.put("agents/ci-bot", json!({ "spec": { "team": "nobody", "type": "autonomous" } })).await;
        assert_eq!(refused.expect(422).problem().1, ["/spec/team team_unknown"]);
    })
    .await;
}

#[tokio::test]
async fn suspending_and_activating_is_audited_once_and_reaches_the_policy() {
    run(async |bench| {
        agent(bench).await;
        let before = bench.policy_revision().await;
        for _ in 0..2 {
            let suspended = bench.call(Method::POST, "agents/ci-bot:suspend").send().await.expect(200);
            assert_eq!(suspended.json["status"]["state"], "suspended");
            assert_eq!(suspended.header("etag"), "\"2\"");
        }
        assert_eq!(bench.policy_revision().await, before + 1);
        let replace = bench.call(Method::PUT, "agents/ci-bot").header("if-match", "\"2\"");
        let spec = json!({ "team": "platform", "type": "autonomous", "auth_method": "client_secret_post" });
        let replaced = replace.json(json!({ "spec": spec })).await.expect(200);
        assert_eq!(replaced.json["status"]["state"], "suspended", "a spec does not activate");
        let activated = bench.call(Method::POST, "agents/ci-bot:activate").send().await.expect(200);
        assert_eq!(activated.json["status"]["state"], "active");
        let events = bench.audit().await;
        assert_eq!(events[2..], ["agent.suspend ci-bot", "agent.update ci-bot", "agent.activate ci-bot"]);

        bench.call(Method::POST, "agents/nobody:suspend").send().await.expect(404);
        bench.call(Method::POST, "agents/ci-bot:explode").send().await.expect(404);
        bench.call(Method::POST, "agents/ci-bot").send().await.expect(405);
        bench.call(Method::POST, "agents/ci-bot:suspend").by(Role::Viewer).send().await.expect(403);
    })
    .await;
}

#[tokio::test]
async fn an_agent_has_at_most_two_secrets_each_shown_once() {
    run(async |bench| {
        let id = agent(bench).await["id"].clone();
        let create = async || bench.call(Method::POST, "agents/ci-bot/credentials").send().await;
        let first = create().await.expect(201);
        assert!(well_formed(Purpose::Client, text(&first.json["client_secret"])));
        assert_eq!(first.json["client_id"], id);
        assert_eq!(first.header("cache-control"), "no-store");
        create().await.expect(201);
        assert_eq!(create().await.expect(409).problem().0, "credential_limit");

        let listed = bench.get("agents/ci-bot/credentials").await.expect(200);
        assert_eq!(listed.json["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(listed.json["items"][0]["id"], first.json["id"]);
        assert!(text(&listed.json["items"][0]["fingerprint"]).starts_with("sha256:"));
        assert!(!listed.json.to_string().contains("tgs_"));
        assert_eq!(bench.get("agents/ci-bot").await.json["status"]["credentials"], 2);

        let path = first.header("location").to_owned();
        bench.call(Method::DELETE, &path).send().await.expect(204);
        bench.call(Method::DELETE, &path).send().await.expect(404);
        bench.call(Method::DELETE, "agents/ci-bot/credentials/nonsense").send().await.expect(404);
        create().await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn two_secrets_asked_for_at_once_keep_the_bound() {
    run(async |bench| {
        agent(bench).await;
        let create = || bench.call(Method::POST, "agents/ci-bot/credentials").send();
        let answers = tokio::join!(create(), create(), create(), create());
        let mut statuses = [answers.0, answers.1, answers.2, answers.3].map(|answer| answer.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 409, 409]);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_agent_takes_its_secrets_grants_and_limits_along() {
    run(async |bench| {
        agent(bench).await;
        bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
        bench.call(Method::POST, "agents/ci-bot/credentials").send().await.expect(201);
        let to = json!({ "agent": "ci-bot" });
        bench.put("grants/g", json!({ "spec": { "to": to, "scopes": ["demo:*"] } })).await.expect(201);
        bench
            .put("limits/l", json!({ "spec": { "to": to, "requests": { "count": 1, "per": "1m" } } }))
            .await
            .expect(201);
        bench.call(Method::DELETE, "agents/ci-bot").header("if-match", "\"1\"").send().await.expect(204);
        bench.get("grants/g").await.expect(404);
        bench.get("limits/l").await.expect(404);
        bench.get("agents/ci-bot/credentials").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_registered_itself_waits_until_it_is_approved() {
    run(async |bench| {
        let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "*");
        let settings = json!({ "spec": { "client_registration": { "registration": "approval" } } });
        patch.json(settings).await.expect(200);
        let metadata = json!({
            "client_name": "Cursor", "token_endpoint_auth_method": "none",
            "redirect_uris": ["cursor://cb/", "https://app.example/cb", "http://localhost:1/cb"],
        });
        let register = bench.call(Method::POST, "/t/acme/oauth/register").anonymous();
        let registered = register.json(metadata).await.expect(201).json;

        let agent = bench.get("agents/cursor").await.expect(200).json;
        assert_eq!(agent["status"]["client_id"], registered["client_id"]);
        assert_eq!(
            (&agent["status"]["state"], &agent["status"]["origin"]),
            (&json!("waiting"), &json!("registration"))
        );
        let expected = json!({
            "client_name": "Cursor", "document_host": null, "granted": false,
            "redirect_hosts": ["app.example", "cursor:", "localhost"],
        });
        assert_eq!(agent["status"]["registered_as"], expected);
        assert_eq!(agent["spec"]["team"], "default");

        let before = bench.policy_revision().await;
        bench.call(Method::POST, "agents/cursor:approve").by(Role::Viewer).send().await.expect(403);
        for _ in 0..2 {
            let approved =
                bench.call(Method::POST, "agents/cursor:approve").by(Role::Operator).send().await.expect(200);
            assert_eq!(approved.json["status"]["state"], "active");
        }
        assert_eq!(bench.policy_revision().await, before + 1);
        assert_eq!(bench.audit().await.last().map(String::as_str), Some("agent.approve cursor"));
        bench.call(Method::POST, "agents/cursor:suspend").send().await.expect(200);
        let refused = bench.call(Method::POST, "agents/cursor:approve").send().await.expect(409);
        assert_eq!(refused.problem().0, "agent_suspended");
    })
    .await;
}
