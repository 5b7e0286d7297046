//! Agents that act for themselves, with the client-credentials providers of the official SDKs: from a bare 401 to a
//! successful call, with a secret and with a private key.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, KeyPair, OauthClient, free_port};

#[tokio::test]
async fn the_python_sdk_acts_for_itself_with_a_secret() {
    with_secret(OauthClient::Python, &[json!({})]).await;
}

#[tokio::test]
async fn the_python_sdk_acts_for_itself_with_a_key() {
    with_key(OauthClient::Python, &[json!({})]).await;
}

#[tokio::test]
async fn the_typescript_sdks_act_for_themselves_with_a_secret() {
    with_secret(OauthClient::TypeScript, &[json!({"sdk": "client"}), json!({"sdk": "sdk"})]).await;
}

#[tokio::test]
async fn the_typescript_sdks_act_for_themselves_with_a_key() {
    with_key(OauthClient::TypeScript, &[json!({"sdk": "client"}), json!({"sdk": "sdk"})]).await;
}

async fn with_secret(client: OauthClient, requests: &[Value]) {
    let tollgate = Deployment::dev().start().await;
    let agent = tollgate.agent("machine").grant("demo:echo").create().await;
    let identity = json!({"client_id": agent.client_id, "client_secret": agent.client_secret});
    for request in requests {
        calls(&tollgate, client, request, &identity).await;
    }
}

async fn with_key(client: OauthClient, requests: &[Value]) {
    let tollgate = Deployment::dev().start().await;
    tollgate.put("teams/stories", json!({"spec": {}})).await;
    for pair in [KeyPair::es256(), KeyPair::rs256()] {
        let name = format!("machine-{}", pair.algorithm.to_lowercase());
        let spec =
            json!({"team": "stories", "type": "autonomous", "auth_method": "private_key_jwt", "jwks": pair.jwks()});
        let agent = tollgate.put(&format!("agents/{name}"), json!({"spec": spec})).await;
        let grant = json!({"spec": {"to": {"agent": name}, "scopes": ["demo:echo"]}});
        tollgate.put(&format!("grants/{name}"), grant).await;
        tollgate.policy_in_force().await;
        let identity = json!({"client_id": agent["id"], "key": pair.pem, "algorithm": pair.algorithm});
        for request in requests {
            calls(&tollgate, client, request, &identity).await;
        }
        let path = format!("agents/{name}/credentials");
        let refused = tollgate.rest(Method::POST, &path, &[], &json!({})).await;
        assert!(refused.status >= 400, "an agent that signs has no secret: {}", refused.text());
    }
}

async fn calls(tollgate: &Deployment, client: OauthClient, request: &Value, identity: &Value) {
    let mut request = request.clone();
    request["url"] = json!(tollgate.server_url("demo"));
    request["client"] = identity.clone();
    request["client"]["issuer"] = json!(tollgate.issuer());
    request["redirect_port"] = json!(free_port());
    request["steps"] = json!([{"list": true}, {"call": "echo", "arguments": {"text": "hello"}}]);
    let nobody = async |url: String| -> String { panic!("a machine sent a person to {url}") };
    let outcome = client.run(&request, nobody).await;
    assert_eq!(outcome["steps"][0]["tools"], json!(["echo"]), "{outcome}");
    assert_eq!(outcome["steps"][1]["text"], "hello", "{outcome}");
}
