//! Agents: how they are made, and how they get their tokens.
//!
//! Invariant: every secret and every token of an agent is remembered by its deployment, whose logs must not hold it.

use http::Method;
use serde_json::{Value, json};

use crate::{
    deployment::{Deployment, Secrets},
    http::{Answer, Http},
    mcp::McpClient,
};

/// An agent that is yet to be made.
#[derive(Debug)]
pub struct AgentDraft<'a> {
    deployment: &'a Deployment,
    name: String,
    scopes: Vec<String>,
}

/// An agent and its credential.
#[derive(Debug, Clone)]
pub struct Agent {
    token_url: String,
    data_url: String,
    secrets: Secrets,
    /// Its name.
    pub name: String,
    /// Its `client_id`.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl<'a> AgentDraft<'a> {
    pub(crate) fn new(deployment: &'a Deployment, name: &str) -> Self {
        Self { deployment, name: name.to_owned(), scopes: Vec::new() }
    }

    /// Grants it a scope (`server:tool`, `server:*` or `toolset/name`).
    #[must_use]
    pub fn grant(mut self, scope: &str) -> Self {
        self.scopes.push(scope.to_owned());
        self
    }

    /// Makes it, with its grants and a secret, and waits until they are in force.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn create(self) -> Agent {
        let (deployment, name) = (self.deployment, self.name);
        deployment.put("teams/stories", json!({"spec": {}})).await;
        deployment.put(&format!("agents/{name}"), json!({"spec": {"team": "stories", "type": "autonomous"}})).await;
        if !self.scopes.is_empty() {
            let spec = json!({"to": {"agent": name}, "scopes": self.scopes});
            deployment.put(&format!("grants/{name}"), json!({"spec": spec})).await;
        }
        let path = format!("agents/{name}/credentials");
        let credential = deployment.rest(Method::POST, &path, &[], &json!({})).await;
        assert_eq!(credential.status, 201, "POST {path}: {}", credential.text());
        let credential = credential.json();
        let member = |name: &str| credential[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        deployment.policy_in_force().await;
        Agent::with_credential(deployment, &name, &member("client_id"), &member("client_secret"))
    }
}

impl Agent {
    /// An agent that exists already.
    #[must_use]
    pub fn with_credential(deployment: &Deployment, name: &str, client_id: &str, client_secret: &str) -> Self {
        deployment.remember_secret(client_secret);
        Self {
            token_url: deployment.token_url(),
            data_url: deployment.data_url().to_owned(),
            secrets: deployment.secrets().clone(),
            name: name.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
        }
    }

    /// The same agent, which asks the control plane at `base` itself for its tokens.
    #[must_use]
    pub fn through(mut self, base: &str) -> Self {
        let path = self.token_url.find("/t/").expect("a tenant's URL");
        self.token_url = format!("{base}{}", &self.token_url[path..]);
        self
    }

    /// Asks the token endpoint with these form parameters beside `grant_type`.
    ///
    /// # Panics
    /// When the control plane cannot be reached.
    pub async fn ask_for_token(&self, parameters: &[(&str, &str)]) -> Answer {
        self.try_ask_for_token(parameters).await.unwrap_or_else(|error| panic!("{}: {error:#}", self.token_url))
    }

    /// As [`Self::ask_for_token`], while processes come and go.
    ///
    /// # Errors
    /// When the control plane cannot be reached or breaks off.
    pub async fn try_ask_for_token(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let parameters = [&[("grant_type", "client_credentials")], parameters].concat();
        self.post(&self.token_url, &parameters).await
    }

    /// Gives a token back (RFC 7009).
    ///
    /// # Panics
    /// When the control plane cannot be reached.
    pub async fn revoke(&self, token: &str) -> Answer {
        self.try_revoke(token).await.unwrap_or_else(|error| panic!("{}: {error:#}", self.token_url))
    }

    /// As [`Self::revoke`], while processes come and go.
    ///
    /// # Errors
    /// When the control plane cannot be reached or breaks off.
    pub async fn try_revoke(&self, token: &str) -> anyhow::Result<Answer> {
        self.post(&self.token_url.replace("/oauth/token", "/oauth/revoke"), &[("token", token)]).await
    }

    async fn post(&self, url: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let credentials = [self.client_id.as_str(), self.client_secret.as_str()].join(":");
        let basic =
            format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, credentials));
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        Http::default().send(Method::POST, url, &headers, form).await
    }

    /// A token for a resource, with everything that is granted there.
    ///
    /// # Panics
    /// When none is given.
    pub async fn token(&self, resource: &str) -> String {
        let answer = self.ask_for_token(&[("resource", resource)]).await;
        assert_eq!(answer.status, 200, "no token for {resource}: {}", answer.text());
        let body: Value = answer.json();
        let token = body["access_token"].as_str().expect("a token answer has a token").to_owned();
        self.secrets.remember(&token);
        token
    }

    /// A modern client of one server's endpoint, with a token for it.
    pub async fn at_server(&self, server: &str) -> McpClient {
        self.at(&format!("{}/t/default/mcp/{server}", self.data_url)).await
    }

    /// A modern client of the federated endpoint, with a token for it.
    pub async fn at_all_servers(&self) -> McpClient {
        self.at(&format!("{}/t/default/mcp", self.data_url)).await
    }

    /// A modern client of a toolset's endpoint, with a token for it.
    pub async fn at_toolset(&self, toolset: &str) -> McpClient {
        self.at(&format!("{}/t/default/toolsets/{toolset}", self.data_url)).await
    }

    /// A modern client of any endpoint, with a token for it.
    pub async fn at(&self, resource: &str) -> McpClient {
        McpClient::new(resource).with_token(&self.token(resource).await)
    }
}
