//! Servers that want to know who asks: what Tollgate presents to them, and what becomes of a call when it cannot.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_tests::{
    Deployment, KeyPair, McpClient, OidcDraft, OidcProvider, Plan, Reply, ScriptedServer, eventually_true,
};

use crate::scene::{Refused, Scene, assert_refusal};

mod real_servers;

const CLIENT: &str = "tollgate";
const SECRET: &str = "correct-horse-battery-staple";
/// As the authorization server knows the server itself.
const SERVER: (&str, &str) = ("files", "the-servers-own-secret");
const UNAUTHENTICATED: Refused = Refused { status: 502, code: 50200, reason: "upstream_credential" };

/// A server that demands tokens of its own authorization server, behind Tollgate.
struct Guarded {
    tollgate: Deployment,
    server: ScriptedServer,
    provider: OidcProvider,
    client: McpClient,
}

impl Guarded {
    /// With the credential `credential` but for what every client has.
    async fn set(plan: Plan, script: tollgate_tests::Script, prepare: Prepare, credential: Value) -> Self {
        let server = script.tool("read", Reply::text("content")).start().await;
        let draft = prepare(OidcProvider::plan().resource(&server.url(), "read"));
        let provider = draft.client(machine(SERVER.0, &json!({"client_secret": SERVER.1}))).start().await;
        server.demand_tokens(&provider, SERVER);
        let tollgate = plan.start().await;
        tollgate.remember_secret(SECRET);
        tollgate.allow_loopback_servers().await;
        let mut guarded = Self { client: McpClient::new(""), tollgate, server, provider };
        guarded.present(credential).await;
        guarded.client = guarded.tollgate.agent("ci").grant("files:*").create().await.at_server("files").await;
        guarded
    }

    async fn with_secret(plan: Plan, script: tollgate_tests::Script) -> Self {
        Self::set(plan, script, by_secret, json!({"secret_ref": format!("literal:{SECRET}")})).await
    }

    /// Registers the server with this credential.
    async fn present(&self, more: Value) {
        let mut credential = json!({"type": "oauth_client_credentials", "client_id": CLIENT});
        for (name, value) in more.as_object().expect("an object") {
            credential[name] = value.clone();
        }
        let spec = json!({"instances": [{"url": self.server.url()}], "credential": credential});
        self.tollgate.put("servers/files", json!({"spec": spec})).await;
        self.tollgate.policy_in_force().await;
    }

    async fn assert_served(&self) {
        assert_eq!(self.client.call("read", json!({})).await.text(), "content");
    }

    /// How many tokens were asked for.
    async fn tokens(&self) -> u64 {
        self.provider.requests("/token").await
    }
}

type Prepare = fn(OidcDraft) -> OidcDraft;

fn by_secret(draft: OidcDraft) -> OidcDraft {
    draft.client(machine(CLIENT, &json!({"client_secret": SECRET})))
}

/// A client that acts for itself (RFC 7591).
fn machine(id: &str, more: &Value) -> Value {
    let mut client =
        json!({"client_id": id, "grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []});
    for (name, value) in more.as_object().expect("an object") {
        client[name] = value.clone();
    }
    client
}

fn dev() -> Plan {
    Deployment::dev().argument("--no-demo")
}

#[tokio::test]
async fn a_server_that_names_its_authorization_server_gets_tokens_of_it() {
    for script in [ScriptedServer::modern(), ScriptedServer::legacy()] {
        let is_legacy = format!("{script:?}").contains("Legacy");
        let mut guarded = Guarded::with_secret(dev(), script).await;
        if is_legacy {
            guarded.client = guarded.client.initialize("2025-11-25").await;
        }
        guarded.assert_served().await;
        guarded.assert_served().await;
        if is_legacy {
            assert!(matches!(guarded.client.terminate().await.status, 200 | 204));
        }
        assert_eq!(guarded.tokens().await, 1);
        assert!(guarded.server.turned_away() >= 1, "its challenge says who gives tokens");
        let shown = guarded.tollgate.get("servers/files").await.to_string();
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn fifty_first_calls_share_one_token() {
    let guarded = Guarded::with_secret(dev(), ScriptedServer::modern()).await;
    for answer in join_all((0..50).map(|_| guarded.client.call("read", json!({})))).await {
        assert_eq!(answer.text(), "content");
    }
    assert_eq!(guarded.tokens().await, 1);
}

#[tokio::test]
async fn each_of_two_data_planes_has_a_token() {
    let guarded = Guarded::with_secret(Deployment::separate(2), ScriptedServer::modern()).await;
    for index in [0, 1, 0, 1] {
        let client = guarded.client.clone().through(guarded.tollgate.data_plane_url(index));
        assert_eq!(client.call("read", json!({})).await.text(), "content");
    }
    assert_eq!(guarded.tokens().await, 2);
}

#[tokio::test]
async fn tokens_that_expire_cost_no_call() {
    let prepare: Prepare = |draft| by_secret(draft).token_life(6);
    let issued = json!({"secret_ref": format!("literal:{SECRET}")});
    let guarded = Guarded::set(dev(), ScriptedServer::modern(), prepare, issued).await;
    eventually_true("the third token", || async {
        guarded.assert_served().await;
        guarded.tokens().await >= 3
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_and_the_call_made_once() {
    let guarded = Guarded::with_secret(dev(), ScriptedServer::modern()).await;
    guarded.assert_served().await;
    let first = guarded.server.calls()[0].header("authorization").expect("a token").to_owned();
    guarded.provider.revoke(first.trim_start_matches("Bearer "), CLIENT, SECRET).await;
    guarded.assert_served().await;
    assert_eq!(guarded.server.calls().len(), 2);
    assert_ne!(guarded.server.calls()[1].header("authorization"), Some(first.as_str()));
    assert_eq!(guarded.tokens().await, 2);
}

#[tokio::test]
async fn a_client_may_prove_itself_in_every_way() {
    let key = KeyPair::es256();
    let pem = key.pem.clone();
    let public = key.jwks();
    let server = ScriptedServer::modern().tool("read", Reply::text("content")).start().await;
    let provider = OidcProvider::plan()
        .resource(&server.url(), "read")
        .client(machine(SERVER.0, &json!({"client_secret": SERVER.1})))
        .client(machine("basic", &json!({"client_secret": SECRET})))
        .client(machine("post", &json!({"client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post"})))
        .client(machine(
            "signing",
            &json!({
                "jwks": public,
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_signing_alg": "ES256",
            }),
        ))
        .start()
        .await;
    server.demand_tokens(&provider, SERVER);
    let tollgate = dev().start().await;
    tollgate.remember_secret(SECRET);
    tollgate.remember_secret(pem.lines().nth(1).expect("a body"));
    let issuer = provider.issuer();
    for (name, credential) in [
        ("basic", json!({"issuer": issuer, "secret_ref": format!("literal:{SECRET}"), "scopes": ["read"]})),
        (
            "post",
            json!({"token_endpoint": format!("{issuer}/token"), "auth_method": "client_secret_post",
                        "secret_ref": format!("literal:{SECRET}")}),
        ),
        ("signing", json!({"auth_method": "private_key_jwt", "secret_ref": format!("literal:{pem}")})),
    ] {
        let mut credential = credential;
        credential["type"] = json!("oauth_client_credentials");
        credential["client_id"] = json!(name);
        let spec = json!({"instances": [{"url": server.url()}], "credential": credential});
        tollgate.put(&format!("servers/{name}"), json!({"spec": spec})).await;
    }
    let agent = tollgate.agent("ci").grant("basic:*").grant("post:*").grant("signing:*").create().await;
    for name in ["basic", "post", "signing"] {
        let answer = agent.at_server(name).await.call("read", json!({})).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(answer.text(), "content", "{name}");
    }
}

#[tokio::test]
async fn a_new_secret_costs_no_call_even_when_it_is_wrong_at_first() {
    let guarded = Guarded::with_secret(dev(), ScriptedServer::modern()).await;
    guarded.assert_served().await;
    guarded.present(json!({"secret_ref": "literal:not-yet-known-there"})).await;
    eventually_true("the new secret to be tried", || async {
        guarded.assert_served().await;
        guarded.tokens().await >= 2
    })
    .await;
    guarded.assert_served().await;
    guarded.present(json!({"secret_ref": format!("literal:{SECRET}")})).await;
    let first = guarded.server.calls()[0].header("authorization").map(str::to_owned);
    eventually_true("another token", || async {
        guarded.assert_served().await;
        guarded.server.calls().last().and_then(|call| call.header("authorization").map(str::to_owned)) != first
    })
    .await;
}

#[tokio::test]
async fn an_authorization_server_that_refuses_or_is_away_is_no_secret_and_not_asked_again_and_again() {
    let wrong = json!({"secret_ref": "literal:wrong-secret"});
    let guarded = Guarded::set(dev(), ScriptedServer::modern(), by_secret, wrong).await;
    guarded.tollgate.remember_secret("wrong-secret");
    for answer in join_all((0..20).map(|_| guarded.client.call("read", json!({})))).await {
        assert_refusal(&answer, UNAUTHENTICATED);
        for private in ["wrong-secret", guarded.provider.issuer(), "invalid_client", CLIENT] {
            let told = answer.error()["message"].as_str().expect("a message").replace("Tollgate", "");
            assert!(!told.contains(private), "{told}");
        }
    }
    assert!(guarded.tokens().await < 5, "{} requests for a token", guarded.tokens().await);
    assert!(guarded.server.calls().is_empty());
    let away = OidcProvider::plan().issuer();
    guarded.present(json!({"issuer": away, "secret_ref": format!("literal:{SECRET}")})).await;
    let answer = guarded.client.call("read", json!({})).await;
    assert_refusal(&answer, UNAUTHENTICATED);
    assert!(!answer.body.contains(&away), "{}", answer.body);
    let record = guarded.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str()), ("allowed", "upstream_error"));

    guarded.present(json!({"secret_ref": format!("literal:{SECRET}")})).await;
    guarded.assert_served().await;
}

#[tokio::test]
async fn a_server_that_accepts_no_token_is_not_worth_one_for_each_call() {
    let guarded = Guarded::with_secret(dev(), ScriptedServer::modern()).await;
    guarded.assert_served().await;
    // It cannot ask about tokens any more, so none is good enough.
    guarded.server.demand_tokens(&guarded.provider, ("files", "no longer its secret"));
    for _ in 0..3 {
        assert_refusal(&guarded.client.call("read", json!({})).await, UNAUTHENTICATED);
    }
    assert_eq!(guarded.tokens().await, 2);
    assert_eq!(guarded.server.calls().len(), 1);
}

#[tokio::test]
async fn static_headers_reach_the_server_and_of_the_agents_headers_only_those_that_are_listed() {
    let scene = Scene::modern().await;
    scene.tollgate.remember_secret(SECRET);
    let manifest = format!(
        "apiVersion: tollgate/v1\nkind: Server\nmetadata: {{name: files}}\nspec:\n  instances: [{{url: {}}}]\n  \
         credential: {{type: header, headers: [{{name: Authorization, value_ref: \"literal:Bearer {SECRET}\"}}, \
         {{name: X-Account, value_ref: \"literal:42\"}}]}}\n  passed_headers: [X-Request-Id]\n",
        scene.server.url()
    );
    let output = scene.tollgate.apply(&manifest).await;
    assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET));
    let sent = [("x-request-id", "r-1"), ("x-account", "7"), ("x-other", "o"), ("cookie", "c=1")];
    let body = crate::scene::modern_call("read").to_string();
    assert_eq!(scene.client.post_as_call_with(&sent, "read", body).await.text(), "content");
    let call = &scene.server.calls()[0];
    assert_eq!(call.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(call.header("x-account"), Some("42"));
    assert_eq!(call.header("x-request-id"), Some("r-1"));
    assert_eq!((call.header("x-other"), call.header("cookie")), (None, None));
    let exported = scene.tollgate.command(&["get", "servers", "-o", "yaml"]).await.success();
    assert!(exported.stdout.contains("X-Account") && !exported.stdout.contains(SECRET), "{}", exported.stdout);
    scene.tollgate.apply(&exported.stdout).await;
    scene.assert_goes_on().await;
    assert_eq!(scene.server.calls().last().and_then(|call| call.header("x-account")), Some("42"));
}
