use http::Method;
use serde_json::{Value, json};
use tollgate_proto::AgentId;

use super::SigningAlg;
use crate::{
    caller::Role,
    oauth::{
        client::{self, Keys},
        redirect_uri::RedirectUri,
        testing::Signer,
    },
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
        assert_eq!(agent["status"]["effective"], json!({ "auth_method": "client_secret_basic", "exact_tools": false }));
    })
    .await;
}

async fn refused(bench: &Bench, changes: Value) -> Vec<String> {
    let mut spec = json!({ "team": "platform", "type": "interactive", "redirect_uris": ["https://a.example/cb"] });
    for (name, value) in changes.as_object().expect("an object") {
        spec[name] = value.clone();
    }
    bench.put("agents/new", json!({ "spec": spec })).await.expect(422).problem().1
}

#[tokio::test]
async fn an_interactive_agent_keeps_what_it_is_as_a_client() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let jwks = Signer::new(SigningAlg::EdDsa, "k1").jwks();
        let spec = json!({
            "team": "platform", "type": "interactive", "display_name": "Editor", "signing_alg": "EdDSA",
            "redirect_uris": ["https://a.example/cb"], "auth_method": "private_key_jwt", "jwks": jwks,
        });
        let made = bench.put("agents/editor", json!({ "spec": spec })).await.expect(201).json;
        assert_eq!(made["spec"], spec);
        assert_eq!(made["status"]["origin"], "admin");
        assert_eq!(made["status"]["effective"], json!({ "auth_method": "private_key_jwt", "exact_tools": false }));
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let client = client::find(&mut tx, text(&made["id"])).await.expect("an answer").expect("the client");
        assert_eq!(client.keys, Keys::Inline(jwks));
        assert_eq!(client.grant_types, ["authorization_code", "refresh_token"]);
        assert_eq!(client.redirect_uri(None).map(RedirectUri::as_str), Some("https://a.example/cb"));
        assert_eq!((client.shown_name(), client.signing_alg), ("Editor", Some(SigningAlg::EdDsa)));
        assert!(client.is_active() && !client.is_public());
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_client_is_named_where_it_is() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let mut private = Signer::new(SigningAlg::Es256, "k").jwks();
        private["keys"][0]["d"] = json!("AA");
        let public = Signer::new(SigningAlg::Es256, "k").jwks();
        for (changes, faults) in [
            (json!({ "redirect_uris": [] }), vec!["/spec/redirect_uris required"]),
            (json!({ "redirect_uris": null }), vec!["/spec/redirect_uris required"]),
            (
                json!({ "redirect_uris": ["https://a.example/cb", "http://a.example/", "javascript:alert(1)"] }),
                vec!["/spec/redirect_uris/1 redirect_uri", "/spec/redirect_uris/2 redirect_uri"],
            ),
            (json!({ "redirect_uris": vec!["https://a.example/cb"; 11] }), vec!["/spec/redirect_uris too_many"]),
            (json!({ "redirect_uris": ["cursor://a/cb"] }), vec!["/spec/redirect_uris/0 redirect_uri"]),
            (json!({ "type": "autonomous" }), vec!["/spec/redirect_uris redirect_uris"]),
            (
                json!({ "type": "autonomous", "redirect_uris": null, "auth_method": "none" }),
                vec!["/spec/auth_method auth_method"],
            ),
            (json!({ "auth_method": "private_key_jwt" }), vec!["/spec/jwks required"]),
            (json!({ "auth_method": "private_key_jwt", "jwks": private }), vec!["/spec/jwks keys"]),
            (json!({ "auth_method": "private_key_jwt", "jwks": "keys" }), vec!["/spec/jwks keys"]),
            (
                json!({ "auth_method": "private_key_jwt", "jwks": public, "jwks_uri": "https://a.example/jwks" }),
                vec!["/spec/jwks_uri keys"],
            ),
            (json!({ "auth_method": "private_key_jwt", "jwks_uri": "http://a.example/" }), vec!["/spec/jwks_uri url"]),
            (json!({ "auth_method": "private_key_jwt", "jwks_uri": "keys" }), vec!["/spec/jwks_uri url"]),
            (json!({ "jwks": public }), vec!["/spec/jwks keys"]),
            (json!({ "signing_alg": "ES256" }), vec!["/spec/signing_alg auth_method"]),
            (json!({ "auth_method": "none", "introspect": true }), vec!["/spec/introspect auth_method"]),
            (
                json!({ "introspect": ["https://gw/t/acme/mcp", "https://gw/t/acme/mcp/", "gw", "https://gw/a#b"] }),
                vec!["/spec/introspect/1 url", "/spec/introspect/2 url", "/spec/introspect/3 url"],
            ),
            (json!({ "exact_tools": true }), vec!["/spec/exact_tools interactive"]),
            (json!({ "display_name": "a".repeat(121) }), vec!["/spec/display_name text"]),
            (json!({ "team": "nobody" }), vec!["/spec/team team_unknown"]),
        ] {
            assert_eq!(refused(bench, changes.clone()).await, faults, "{changes}");
        }
        for unknown in [json!({ "auth_method": "client_secret_jwt" }), json!({ "signing_alg": "HS256" })] {
            assert_eq!(refused(bench, unknown.clone()).await.len(), 1, "{unknown}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_scheme_of_an_apps_own_is_for_public_agents_where_the_tenant_takes_it() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let spec = json!({ "team": "platform", "type": "interactive", "auth_method": "none",
                           "redirect_uris": ["cursor://a/cb"] });
        bench.put("agents/editor", json!({ "spec": spec })).await.expect(201);
        let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "\"1\"");
        let policy = json!({ "spec": { "client_registration": { "private_use_schemes": "deny" } } });
        patch.json(policy).await.expect(200);
        let changes = json!({ "auth_method": "none", "redirect_uris": ["cursor://a/cb"] });
        assert_eq!(refused(bench, changes).await, ["/spec/redirect_uris/0 redirect_uri"]);
    })
    .await;
}

#[tokio::test]
async fn consent_was_given_to_what_an_agent_was_as_a_client() {
    run(async |bench| {
        let id = agent(bench).await["id"].clone();
        let digest = async || {
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            client::find(&mut tx, text(&id)).await.expect("an answer").expect("the client").metadata_digest
        };
        let change = async |spec: Value| {
            let etag = bench.get("agents/ci-bot").await.header("etag").to_owned();
            let call = bench.call(Method::PATCH, "agents/ci-bot").header("if-match", &etag);
            call.json(json!({ "spec": spec })).await.expect(200);
            digest().await
        };
        let first = digest().await;
        assert_eq!(first.len(), 32);
        bench.put("teams/other", json!({ "spec": {} })).await.expect(201);
        assert_eq!(change(json!({ "team": "other" })).await, first, "a team is no matter of consent");
        let redirects = json!({ "type": "interactive", "redirect_uris": ["https://a.example/", "https://b.example/"] });
        let second = change(redirects).await;
        assert_ne!(second, first);
        let reordered = change(json!({ "redirect_uris": ["https://b.example/", "https://a.example/"] })).await;
        assert_eq!(reordered, second);
        let keys = Signer::new(SigningAlg::Es256, "k").jwks();
        assert_ne!(change(json!({ "auth_method": "private_key_jwt", "jwks": keys })).await, second);
    })
    .await;
}

#[tokio::test]
async fn only_an_admin_lets_an_agent_introspect_what_is_not_its_own() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let body = json!({ "spec": { "team": "platform", "type": "autonomous", "introspect": true } });
        let put = |role| bench.call(Method::PUT, "agents/resource-server").by(role).json(body.clone());
        assert_eq!(put(Role::Operator).await.expect(403).problem().0, "role_insufficient");
        assert_eq!(put(Role::Admin).await.expect(201).json["spec"]["introspect"], true);
    })
    .await;
}

#[tokio::test]
async fn what_an_agent_said_about_itself_is_not_rewritten_and_approving_it_is_audited() {
    run(async |bench| {
        let id = agent(bench).await["id"].clone();
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let sql = "UPDATE agents SET origin = 'registration', state = 'waiting' WHERE id = $1";
        let agent: AgentId = text(&id).parse().expect("an id");
        sqlx::query(sql).bind(agent.uuid()).execute(&mut *tx).await.expect("waiting");
        tx.commit().await.expect("committed");
        let shown = bench.get("agents/ci-bot").await.json;
        assert_eq!((text(&shown["status"]["origin"]), text(&shown["status"]["state"])), ("registration", "waiting"));
        let change = async |spec: Value| {
            let etag = bench.get("agents/ci-bot").await.header("etag").to_owned();
            let call = bench.call(Method::PATCH, "agents/ci-bot").header("if-match", &etag);
            call.json(json!({ "spec": spec })).await
        };
        let refused = change(json!({ "auth_method": "client_secret_post" })).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec self_registered"]);
        bench.put("teams/other", json!({ "spec": {} })).await.expect(201);
        assert_eq!(change(json!({ "team": "other" })).await.expect(200).json["spec"]["team"], "other");
        let approved = bench.call(Method::POST, "agents/ci-bot:activate").send().await.expect(200);
        assert_eq!(approved.json["status"]["state"], "active");
        assert_eq!(bench.audit().await.last().map(String::as_str), Some("agent.approve ci-bot"));
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

async fn revocations(bench: &Bench) -> Vec<(String, String)> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_as("SELECT kind, reason FROM revocations ORDER BY revision").fetch_all(&mut *tx).await.expect("rows")
}

#[tokio::test]
async fn revoking_an_agent_voids_its_tokens_and_spares_its_secrets() {
    run(async |bench| {
        agent(bench).await;
        bench.call(Method::POST, "agents/ci-bot/credentials").send().await.expect(201);
        let revision = bench.policy_revision().await;
        for number in 1..=2 {
            let done = bench.call(Method::POST, "agents/ci-bot:revoke").send().await.expect(200);
            assert_eq!(done.json, json!({ "revision": number, "applied": 0, "connected": 0 }));
        }
        let agent = bench.get("agents/ci-bot").await.expect(200);
        assert_eq!(
            (&agent.json["status"]["state"], &agent.json["status"]["credentials"]),
            (&json!("active"), &json!(1))
        );
        assert_eq!(bench.policy_revision().await, revision, "data planes need no new policy for it");
        assert_eq!(bench.audit().await.last().map(String::as_str), Some("agent.revoke ci-bot"));
        bench.call(Method::POST, "agents/nobody:revoke").send().await.expect(404);
        bench.call(Method::POST, "agents/ci-bot:revoke").by(Role::Viewer).send().await.expect(403);
    })
    .await;
}

#[tokio::test]
async fn suspending_and_deleting_an_agent_revoke_its_tokens_and_deleting_a_secret_does_not() {
    run(async |bench| {
        agent(bench).await;
        let secret = bench.call(Method::POST, "agents/ci-bot/credentials").send().await.expect(201);
        let secret = format!("agents/ci-bot/credentials/{}", text(&secret.json["id"]));
        bench.call(Method::DELETE, &secret).send().await.expect(204);
        assert!(revocations(bench).await.is_empty());

        for action in ["suspend", "suspend", "activate"] {
            bench.call(Method::POST, &format!("agents/ci-bot:{action}")).send().await.expect(200);
        }
        let etag = bench.get("agents/ci-bot").await.header("etag").to_owned();
        bench.call(Method::DELETE, "agents/ci-bot").header("if-match", &etag).send().await.expect(204);
        let of_agent = |reason: &str| ("agent".to_owned(), reason.to_owned());
        let expected = [of_agent("the agent was suspended"), of_agent("the agent was deleted")];
        assert_eq!(revocations(bench).await, expected);
    })
    .await;
}
