//! From a bare 401 to a successful call, with the OAuth clients inside the official SDKs and a person before a browser.
//!
//! Each client comes in each way that it knows: by its metadata document, by registering itself, and as an agent that
//! an administrator made.

use serde_json::{Value, json};
use tollgate_tests::{KeyPair, OauthClient, free_port};

use super::Desk;

#[tokio::test]
async fn the_python_sdk_comes_with_a_metadata_document() {
    let mut story = Story::begin().await;
    let document = story.publish("/client.json", &json!({}));
    story.connects(OauthClient::Python, json!({}), json!({"document": document})).await;
    assert_eq!(story.desk.site.visits("/client.json"), 1, "the document is fetched once");
}

#[tokio::test]
async fn the_python_sdk_registers_itself() {
    let mut story = Story::begin().await;
    for method in ["none", "client_secret_post", "client_secret_basic"] {
        story.connects(OauthClient::Python, json!({}), json!({"register": method})).await;
    }
}

#[tokio::test]
async fn the_python_sdk_comes_as_a_known_agent() {
    let mut story = Story::begin().await;
    for method in ["none", "client_secret_post", "client_secret_basic"] {
        let client = story.known(method).await;
        story.connects(OauthClient::Python, json!({}), client).await;
    }
}

#[tokio::test]
async fn the_typescript_sdks_come_with_a_metadata_document() {
    let mut story = Story::begin().await;
    for sdk in SDKS {
        let document = story.publish(&format!("/{sdk}.json"), &json!({}));
        story.connects(OauthClient::TypeScript, json!({"sdk": sdk}), json!({"document": document})).await;
    }
}

#[tokio::test]
async fn the_typescript_sdks_come_with_a_metadata_document_and_sign_with_the_keys_it_names() {
    let mut story = Story::begin().await;
    for (sdk, pair) in SDKS.into_iter().zip([KeyPair::es256(), KeyPair::rs256()]) {
        let keys = format!("/{sdk}/keys.json");
        story.desk.site.publish(&keys, &pair.jwks());
        let more = json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": pair.algorithm,
            "jwks_uri": story.desk.site.url(&keys),
        });
        let document = story.publish(&format!("/{sdk}.json"), &more);
        let client = json!({"document": document, "key": pair.pem, "algorithm": pair.algorithm});
        story.connects(OauthClient::TypeScript, json!({"sdk": sdk}), client).await;
        assert!(story.desk.site.visits(&keys) >= 1, "the keys are where the document says");
    }
}

#[tokio::test]
async fn the_typescript_sdks_register_themselves() {
    let mut story = Story::begin().await;
    for (sdk, method) in SDKS.into_iter().zip(["none", "client_secret_post"]) {
        story.connects(OauthClient::TypeScript, json!({"sdk": sdk}), json!({"register": method})).await;
    }
}

#[tokio::test]
async fn the_typescript_sdks_come_as_known_agents() {
    let mut story = Story::begin().await;
    for sdk in SDKS {
        for method in ["none", "client_secret_basic"] {
            let client = story.known(method).await;
            story.connects(OauthClient::TypeScript, json!({"sdk": sdk}), client).await;
        }
    }
}

const SDKS: [&str; 2] = ["client", "sdk"];

struct Story {
    desk: Desk,
    port: u16,
    agents: usize,
}

impl Story {
    async fn begin() -> Self {
        Self { desk: Desk::set().await, port: free_port(), agents: 0 }
    }

    fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }

    /// A metadata document, whose redirect URI leaves the port open as documents of native clients do.
    fn publish(&self, path: &str, more: &Value) -> String {
        self.desk.site.publish_client(path, "http://127.0.0.1/callback", more)
    }

    /// An agent that an administrator made.
    async fn known(&mut self, method: &'static str) -> Value {
        self.agents += 1;
        let name = format!("known-{}", self.agents);
        let draft = self.desk.tollgate.interactive_agent(&name).grant("demo:echo").grant("demo:countdown");
        let draft = draft.redirect_uri(&self.redirect_uri());
        let agent = if method == "none" { draft } else { draft.confidential(method) }.create().await;
        json!({"client_id": agent.client_id, "client_secret": agent.client_secret, "method": method})
    }

    /// The client is told an address and nothing else, sends the owner to a page once, and calls a tool.
    async fn connects(&mut self, client: OauthClient, mut request: Value, identity: Value) {
        request["url"] = json!(self.desk.tollgate.server_url("demo"));
        request["client"] = identity;
        request["redirect_port"] = json!(self.port);
        request["steps"] = json!([{"list": true}, {"call": "echo", "arguments": {"text": "hello"}}]);
        let redirect_uri = self.redirect_uri();
        let mut shown = Vec::new();
        let outcome = client
            .run(&request, async |url| {
                let journey = self.desk.allow(&url, &redirect_uri, &[]).await;
                shown.push(journey.consents.clone());
                journey.url
            })
            .await;
        assert_eq!(outcome["steps"][1]["text"], "hello", "{request}: {outcome}");
        let mut tools: Vec<_> = outcome["steps"][0]["tools"].as_array().into_iter().flatten().collect();
        tools.sort_by_key(|tool| tool.to_string());
        assert_eq!(tools, ["countdown", "echo"], "{outcome}");
        assert_eq!(shown.len(), 1, "the person is sent to a page once: {outcome}");
        let [(text, scopes)] = shown[0].as_slice() else { panic!("one consent page: {shown:?}") };
        assert!(text.contains("127.0.0.1"), "the page names the host that is answered: {text}");
        assert!(scopes.iter().any(|(scope, ticked)| scope == "demo:echo" && *ticked), "{scopes:?}");
    }
}
