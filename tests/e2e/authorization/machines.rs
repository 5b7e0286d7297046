//! Agents that act for themselves, with the client-credentials providers of the official SDKs: from a bare 401 to a
//! successful call, with a secret and with a private key.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Agent, Answer, Deployment, Http, KeyPair, OauthClient, free_port};

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

#[tokio::test]
async fn an_assertion_is_good_once() {
    let tollgate = Deployment::dev().start().await;
    tollgate.put("teams/stories", json!({"spec": {}})).await;
    let pair = KeyPair::rs256();
    let client_id = signing_agent(&tollgate, "machine", &pair).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    let claims = json!({"iss": client_id, "sub": client_id, "aud": tollgate.issuer(), "exp": now + 60, "iat": now,
                        "jti": "once"});
    let assertion = pair.assertion(&claims);
    let first = ask_with(&tollgate, &assertion).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_refused("the same again", &ask_with(&tollgate, &assertion).await);
    for (what, change) in [
        ("another issuer", json!({"aud": "https://other.example", "jti": "a"})),
        ("another subject", json!({"sub": "agt_somebody", "jti": "b"})),
        ("no id", json!({"jti": null})),
        ("past its end", json!({"exp": now - 120, "jti": "c"})),
        ("too long a life", json!({"exp": now + 86_400, "jti": "d"})),
    ] {
        let mut changed = claims.clone();
        for (name, value) in change.as_object().expect("an object") {
            changed[name] = value.clone();
        }
        assert_refused(what, &ask_with(&tollgate, &pair.assertion(&changed)).await);
    }
    let mut fresh = claims;
    fresh["jti"] = json!("e");
    assert_refused("signed by another key", &ask_with(&tollgate, &KeyPair::rs256().assertion(&fresh)).await);
}

fn assert_refused(what: &str, answer: &Answer) {
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{what}: {}", answer.text());
}

async fn ask_with(tollgate: &Deployment, assertion: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .append_pair("client_assertion", assertion)
        .append_pair("resource", &tollgate.server_url("demo"))
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = Http::default().send(Method::POST, &tollgate.token_url(), &headers, form).await;
    answer.expect("the token endpoint answers")
}

/// An agent that may `echo` and signs. Returns its `client_id`.
async fn signing_agent(tollgate: &Deployment, name: &str, pair: &KeyPair) -> String {
    let spec = json!({"team": "stories", "type": "autonomous", "auth_method": "private_key_jwt", "jwks": pair.jwks()});
    let agent = tollgate.put(&format!("agents/{name}"), json!({"spec": spec})).await;
    let grant = json!({"spec": {"to": {"agent": name}, "scopes": ["demo:echo"]}});
    tollgate.put(&format!("grants/{name}"), grant).await;
    tollgate.policy_in_force().await;
    agent["id"].as_str().expect("an agent has an id").to_owned()
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
        let client_id = signing_agent(&tollgate, &name, &pair).await;
        let identity = json!({"client_id": client_id, "key": pair.pem, "algorithm": pair.algorithm});
        for request in requests {
            calls(&tollgate, client, request, &identity).await;
        }
        let path = format!("agents/{name}/credentials");
        let secret = tollgate.rest(Method::POST, &path, &[], &json!({})).await.json()["client_secret"].clone();
        let secret = secret.as_str().unwrap_or_default();
        let impostor = Agent::with_credential(&tollgate, &name, &client_id, secret);
        assert_refused("a secret in place of the key", &impostor.ask_for_token(&[]).await);
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
