//! Clients that are known by a document and ask for tokens of their own.

use std::sync::Arc;

use axum::body::Body;
use form_urlencoded::Serializer;
use http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Scene, scene, settings};
use crate::{
    agents::{AgentSpec, SigningAlg},
    oauth::{
        testing::{Bed, Signer, approval::FEDERATED, run},
        tests::token::verified,
    },
    policy,
    resource::Removable as _,
    router,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A host with a client that signs and wants to act for itself.
struct Machine<'a> {
    scene: Scene<'a>,
    signer: Signer,
    url: String,
}

impl<'a> Machine<'a> {
    /// Its document says this beside what such a document says.
    async fn new(bed: &'a Bed, changes: Value) -> Self {
        let (scene, signer) = (scene(bed).await, Signer::new(SigningAlg::Es256, "k"));
        bed.server("demo").await;
        let mut document = json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
            "redirect_uris": ["https://client.example/callback"],
            "grant_types": ["authorization_code", "client_credentials"],
        });
        document.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let url = scene.serves(document);
        Self { scene, signer, url }
    }

    fn assertion(&self, signer: &Signer) -> String {
        let now = chrono::Utc::now().timestamp();
        let jti = uuid::Uuid::new_v4();
        signer
            .jwt(&json!({ "iss": self.url, "sub": self.url, "aud": "https://h/t/acme", "exp": now + 300, "jti": jti }))
    }

    /// Status and body of a token request with these parameters.
    async fn ask(&self, parameters: &[(&str, &str)]) -> (u16, Value) {
        let form = Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::post("/t/acme/oauth/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .expect("a request");
        let answer = router::build(Arc::clone(&self.scene.app)).oneshot(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn sign_in(&self, signer: &Signer) -> (u16, Value) {
        let assertion = self.assertion(signer);
        self.ask(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ])
        .await
    }

    /// The error of a token request that is signed as it should be; `issued` when there is none.
    async fn outcome(&self) -> String {
        let (_, body) = self.sign_in(&self.signer).await;
        body["error"].as_str().unwrap_or("issued").to_owned()
    }
}

/// What an admin sets who lets the machine in and gives it something to do.
fn trusting() -> Value {
    let rules = json!([{ "match": { "host": "client.example", "origin": "client_document" }, "scopes": ["demo:*"] }]);
    json!({ "client_credentials_hosts": ["client.example"], "rules": rules })
}

#[tokio::test]
async fn a_listed_host_lets_its_client_act_for_itself_from_its_first_request_on() {
    run(async |bed| {
        let machine = Machine::new(bed, json!({})).await;
        settings(bed, trusting()).await;
        let (status, issued) = machine.sign_in(&machine.signer).await;
        assert_eq!((status, &issued["scope"]), (200, &json!("demo:*")), "{issued}");
        assert_eq!(issued.get("refresh_token"), None);
        let token = issued["access_token"].as_str().expect("a token");
        let claims = verified(bed, token, FEDERATED).await;
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(machine.url), &json!(machine.url)));
        assert_eq!(claims.get("gid"), None, "no user allowed it");
        assert_eq!(machine.outcome().await, "issued");
        assert_eq!(machine.scene.fetches(), 1, "a document is read once");
        assert_eq!(machine.scene.audited().await, ["agent.register"]);
    })
    .await;
}

#[tokio::test]
async fn a_document_alone_gets_no_token_and_is_not_even_fetched() {
    run(async |bed| {
        let machine = Machine::new(bed, json!({})).await;
        for unwilling in [
            json!({}),
            json!({ "document_hosts": { "allow": ["client.example"] } }),
            json!({ "client_credentials_hosts": ["other.example", "lient.example", "client.example.evil.example"] }),
        ] {
            settings(bed, unwilling.clone()).await;
            assert_eq!(machine.outcome().await, "invalid_client", "{unwilling}: nobody knows it yet");
            assert_eq!((machine.scene.fetches(), machine.scene.host.look_ups()), (0, 0), "{unwilling}");
        }
        machine.scene.resolve(&machine.url).await.expect("a user brings it");
        assert_eq!(machine.outcome().await, "unauthorized_client");
        settings(bed, trusting()).await;
        assert_eq!(machine.outcome().await, "invalid_scope", "it may ask, and nothing is granted to it");
        settings(bed, json!({})).await;
        assert_eq!(machine.outcome().await, "unauthorized_client", "struck off, at once");
    })
    .await;
}

#[tokio::test]
async fn a_denied_host_and_a_client_that_waits_stay_out() {
    run(async |bed| {
        let machine = Machine::new(bed, json!({})).await;
        let mut denied = trusting();
        denied["document_hosts"] = json!({ "deny": ["client.example"] });
        let mut off = trusting();
        off["client_documents"] = json!("off");
        for closed in [denied, off] {
            settings(bed, closed.clone()).await;
            assert_eq!(machine.outcome().await, "invalid_client", "{closed}");
            assert_eq!(machine.scene.fetches(), 0, "{closed}");
        }
        let mut approval = trusting();
        approval["registration"] = json!("approval");
        settings(bed, approval).await;
        assert_eq!(machine.outcome().await, "invalid_client", "until somebody approves it");
        bed.change("UPDATE agents SET state = 'active'").await;
        assert_eq!(machine.outcome().await, "issued");
    })
    .await;
}

#[tokio::test]
async fn only_the_keys_of_the_document_open() {
    run(async |bed| {
        let machine = Machine::new(bed, json!({})).await;
        settings(bed, trusting()).await;
        let stranger = Signer::new(SigningAlg::Es256, "k");
        let (status, refused) = machine.sign_in(&stranger).await;
        assert_eq!((status, &refused["error"]), (401, &json!("invalid_client")));
        let (status, refused) = machine.ask(&[("grant_type", "client_credentials"), ("client_id", &machine.url)]).await;
        assert_eq!((status, &refused["error"]), (401, &json!("invalid_client")), "who has keys uses them");
        assert_eq!(machine.outcome().await, "issued");
    })
    .await;
}

#[tokio::test]
async fn a_client_without_keys_or_without_the_wish_does_not_act_for_itself() {
    run(async |bed| {
        let without_keys = Machine::new(bed, json!({ "token_endpoint_auth_method": "none", "jwks": null })).await;
        settings(bed, trusting()).await;
        let asked = [("grant_type", "client_credentials"), ("client_id", without_keys.url.as_str())];
        assert_eq!(
            without_keys.ask(&asked).await.1["error"],
            "invalid_client",
            "it proves nothing, so nothing is read"
        );
        assert_eq!(without_keys.scene.fetches(), 0);
        without_keys.scene.resolve(&without_keys.url).await.expect("a user brings it");
        assert_eq!(without_keys.ask(&asked).await.1["error"], "unauthorized_client");
    })
    .await;
    run(async |bed| {
        let unwilling = Machine::new(bed, json!({ "grant_types": ["authorization_code"] })).await;
        settings(bed, trusting()).await;
        assert_eq!(unwilling.outcome().await, "unauthorized_client");
    })
    .await;
    run(async |bed| {
        let alone = Machine::new(bed, json!({ "grant_types": ["client_credentials"] })).await;
        settings(bed, trusting()).await;
        assert_eq!(alone.outcome().await, "issued", "a client that no user comes with");
    })
    .await;
}

#[tokio::test]
async fn the_tokens_of_a_deleted_agent_stay_dead_when_its_document_makes_it_anew() {
    run(async |bed| {
        let machine = Machine::new(bed, json!({})).await;
        settings(bed, trusting()).await;
        let token = async || machine.sign_in(&machine.signer).await.1["access_token"].as_str().expect("one").to_owned();
        let server = bed.agent("resource-server", &[]).await;
        bed.run("UPDATE agents SET spec = '{\"introspect\": true}' WHERE id = $1", server.agent.uuid()).await;
        let is_alive = async |token: &str| {
            let answer = bed.post("introspect", Some(&server.basic()), &format!("token={token}")).await;
            answer.json()["active"] == true
        };
        let old = token().await;
        assert!(is_alive(&old).await);
        let agent = machine.scene.resolve(&machine.url).await.expect("a client").agent;
        let mut tx = bed.tx().await;
        policy::bump(&mut tx).await.expect("bumped");
        AgentSpec::delete(&mut tx, agent, "").await.expect("deleted");
        tx.commit().await.expect("committed");
        assert!(!is_alive(&old).await);

        let new = token().await;
        assert_eq!((is_alive(&old).await, is_alive(&new).await), (false, true));
        let again = machine.scene.resolve(&machine.url).await.expect("a client").agent;
        assert_eq!(again, agent, "the revocation that data planes have names it");
        assert_eq!(bed.count("revocations").await, 1);
    })
    .await;
}
