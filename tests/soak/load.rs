//! What is put on the deployment: agents that call, in sessions and without, tokens of every kind, clients that
//! register and never come back, revocations, changes of policy.
//!
//! Invariant: each worker asserts every answer, and keeps nothing from one round to the next.

use std::{pin::Pin, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tokio::time::interval;
use tollgate_tests::{Agent, Deployment, Http, InteractiveAgent, KeyPair, McpClient, Person, code_of, eventually_true};
use uuid::Uuid;

use crate::DATA_PLANES;

const TOOL: &str = "test_simple_text";
const SCOPES: [&str; 2] = ["modern:*", "legacy:*"];
/// Calls that one token is used for.
const CALLS: usize = 20;
/// Refreshes of one grant family.
const REFRESHES: usize = 5;
/// One call of each worker that calls, and one round of anything else, is begun within such a time. What a busy machine
/// delays is made up for: the load is the same throughout.
const CALL_EVERY: Duration = Duration::from_millis(200);
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// Registrations and changes of policy make the policy anew, which nobody does all the time.
const CHANGE_EVERY: Duration = Duration::from_secs(2);

/// Something that goes on until it is stopped.
pub(crate) type Worker<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Who is there to work.
pub(crate) struct Load<'a> {
    tollgate: &'a Deployment,
    /// One for each control plane, which it asks for its tokens.
    agents: [Agent; 2],
    app: InteractiveAgent,
    signs: Signing,
    person: Person,
}

/// An agent that signs instead of holding a secret.
struct Signing {
    client_id: String,
    key: KeyPair,
}

impl<'a> Load<'a> {
    /// Makes everybody who works.
    pub(crate) async fn prepare(tollgate: &'a Deployment) -> Self {
        let agent = tollgate.agent("caller").grant(SCOPES[0]).grant(SCOPES[1]).create().await;
        let app = tollgate.interactive_agent("app").grant(SCOPES[0]).confidential("client_secret_post").create().await;
        let agents = [agent.clone(), agent.through(&tollgate.second_control_url())];
        Self { tollgate, agents, app, signs: Signing::create(tollgate).await, person: Person::owner(tollgate).await }
    }

    /// Their work, which has no end.
    pub(crate) fn workers(&self) -> [Worker<'_>; 8] {
        [
            Box::pin(self.calls(0)),
            Box::pin(self.calls(1)),
            Box::pin(self.sessions()),
            Box::pin(self.families()),
            Box::pin(self.assertions()),
            Box::pin(self.revocations()),
            Box::pin(self.registrations()),
            Box::pin(self.changes()),
        ]
    }

    /// Calls servers of both eras at one data plane, with tokens of one control plane.
    async fn calls(&self, index: usize) {
        let mut pace = interval(CALL_EVERY);
        loop {
            for server in ["modern", "legacy"] {
                let client = self.client(index, server).await.through(self.tollgate.data_plane_url(index));
                for _ in 0..CALLS {
                    pace.tick().await;
                    succeeds(&client).await;
                }
            }
        }
    }

    /// Opens sessions, listens, goes on at the other data plane, and forgets every fourth session.
    async fn sessions(&self) {
        let mut pace = interval(ROUND_EVERY);
        for round in 0_usize.. {
            pace.tick().await;
            let server = ["modern", "legacy"][round % 2];
            let client = self.client(0, server).await;
            let [here, there] = [round, round + 1].map(|at| self.tollgate.data_plane_url(at % DATA_PLANES));
            let session = client.through(here).initialize("2025-11-25").await;
            let listening = session.stream(None).await;
            succeeds(&session.clone().through(there)).await;
            drop(listening);
            if round % 4 != 0 {
                assert!(matches!(session.terminate().await.status, 200 | 204));
            }
        }
    }

    /// Lets a person allow the application something, and lets it refresh what it got. Every third family is given
    /// back.
    async fn families(&self) {
        let mut person = self.person.clone();
        let mut pace = interval(ROUND_EVERY);
        let (app, resource) = (&self.app, self.tollgate.server_url("modern"));
        let resource = [("resource", resource.as_str())];
        for round in 0_usize.. {
            let back = person.allow(&app.authorize_url(&resource)).await;
            let mut tokens = granted(&app.redeem(&code_of(&back), &resource).await);
            for _ in 0..REFRESHES {
                pace.tick().await;
                tokens = granted(&app.refresh(text(&tokens, "refresh_token"), &[]).await);
                let access = text(&tokens, "access_token");
                assert_eq!(app.introspect(access).await.json()["active"], true);
                succeeds(&McpClient::new(resource[0].1).with_token(access)).await;
            }
            if round % 3 == 0 {
                assert_eq!(app.revoke(text(&tokens, "refresh_token")).await.status, 200);
            }
        }
    }

    async fn assertions(&self) {
        let Signing { client_id, key } = &self.signs;
        let (url, resource) = (self.tollgate.token_url(), self.tollgate.server_url("modern"));
        let issuer = self.tollgate.issuer();
        let mut pace = interval(ROUND_EVERY);
        loop {
            pace.tick().await;
            let expires =
                self.tollgate.sql("SELECT floor(extract(epoch FROM now()) + 60)::bigint::text").await.concat();
            let expires: i64 = expires.parse().expect("a time");
            let claims = json!({"iss": client_id, "sub": client_id, "aud": issuer, "iat": expires - 60,
                                "exp": expires, "jti": Uuid::new_v4()});
            let assertion = key.assertion(&claims);
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "client_credentials")
                .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .append_pair("client_assertion", &assertion)
                .append_pair("resource", &resource)
                .finish();
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            let answer = Http::default().send(Method::POST, &url, &headers, form).await.expect("it is there");
            let tokens = granted(&answer);
            succeeds(&McpClient::new(&resource).with_token(text(&tokens, "access_token"))).await;
        }
    }

    /// Takes tokens that are used, and gives them back.
    async fn revocations(&self) {
        let resource = self.tollgate.server_url("modern");
        let mut pace = interval(ROUND_EVERY);
        for round in 0_usize.. {
            pace.tick().await;
            let agent = &self.agents[round % 2];
            let token = token(agent, &resource).await;
            let client =
                McpClient::new(&resource).with_token(&token).through(self.tollgate.data_plane_url(round % DATA_PLANES));
            succeeds(&client).await;
            assert_eq!(agent.revoke(&token).await.status, 200);
            eventually_true("the token to be refused", || async { client.call(TOOL, json!({})).await.status == 401 })
                .await;
        }
    }

    /// Clients that register and never come back.
    async fn registrations(&self) {
        let url = format!("{}/oauth/register", self.tollgate.issuer());
        let mut pace = interval(CHANGE_EVERY);
        loop {
            pace.tick().await;
            let document = json!({"client_name": format!("visitor {}", Uuid::new_v4()), "token_endpoint_auth_method": "none",
                                  "redirect_uris": ["http://127.0.0.1/callback"]});
            let headers = [("content-type", "application/json")];
            let answer = Http::default().send(Method::POST, &url, &headers, document.to_string()).await;
            let answer = answer.expect("the control plane is there");
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }

    /// Grants come and go, and so do opaque tokens.
    async fn changes(&self) {
        let mut pace = interval(CHANGE_EVERY);
        for round in 0_usize.. {
            pace.tick().await;
            let spec = json!({"to": {"agent": "app"}, "scopes": [SCOPES[round % 2]]});
            self.tollgate.put("grants/now-and-then", json!({ "spec": spec })).await;
            pace.tick().await;
            let format = ["opaque", "jwt"][round % 2];
            self.tollgate.change_tenant(json!({ "access_token_format": format })).await;
        }
    }

    /// A client of a server's endpoint with a token of the control plane `index`.
    async fn client(&self, index: usize, server: &str) -> McpClient {
        let resource = self.tollgate.server_url(server);
        let token = token(&self.agents[index], &resource).await;
        McpClient::new(&resource).with_token(&token)
    }
}

impl Signing {
    async fn create(tollgate: &Deployment) -> Self {
        let key = KeyPair::rs256();
        let spec =
            json!({"team": "stories", "type": "autonomous", "auth_method": "private_key_jwt", "jwks": key.jwks()});
        let agent = tollgate.put("agents/signs", json!({ "spec": spec })).await;
        tollgate.put("grants/signs", json!({"spec": {"to": {"agent": "signs"}, "scopes": [SCOPES[0]]}})).await;
        tollgate.policy_in_force().await;
        Self { client_id: text(&agent, "id").to_owned(), key }
    }
}

/// Not remembered by the harness, which would grow itself.
async fn token(agent: &Agent, resource: &str) -> String {
    let tokens = granted(&agent.ask_for_token(&[("resource", resource)]).await);
    text(&tokens, "access_token").to_owned()
}

fn granted(answer: &tollgate_tests::Answer) -> Value {
    assert_eq!(answer.status, 200, "no token: {}", answer.text());
    answer.json()
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_else(|| panic!("no {member}"))
}

async fn succeeds(client: &McpClient) {
    let answer = client.call(TOOL, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.result()["content"].is_array(), "{}", answer.body);
}
