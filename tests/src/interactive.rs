//! Agents that act for a user: what such a client sends to the authorization server.
//!
//! Invariant: it sends what OAuth 2.1 asks for, unless the story changes a parameter; its secrets and tokens are
//! remembered by its deployment, whose logs must not hold them.

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{
    deployment::{Deployment, Secrets},
    http::{Answer, Http},
    mcp::McpClient,
    person::Person,
};

/// The pair of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Nobody listens there: the story reads where the browser is sent.
const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An interactive agent that is yet to be made.
#[derive(Debug)]
pub struct InteractiveDraft<'a> {
    deployment: &'a Deployment,
    name: String,
    scopes: Vec<String>,
    redirect_uris: Vec<String>,
    auth_method: &'static str,
    jwks: Option<Value>,
}

/// An interactive agent.
#[derive(Debug, Clone)]
pub struct InteractiveAgent {
    http: Http,
    issuer: String,
    secrets: Secrets,
    /// Its name.
    pub name: String,
    /// Its `client_id`.
    pub client_id: String,
    /// Its secret, where it has one.
    pub client_secret: Option<String>,
    /// Its first redirect URI.
    pub redirect_uri: String,
}

/// What a token endpoint gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// What the access token is good for.
    pub scope: String,
}

impl<'a> InteractiveDraft<'a> {
    pub(crate) fn new(deployment: &'a Deployment, name: &str) -> Self {
        let redirect_uris = vec![REDIRECT_URI.to_owned()];
        Self { deployment, name: name.to_owned(), scopes: Vec::new(), redirect_uris, auth_method: "none", jwks: None }
    }

    /// Grants it a scope, which users may then allow it.
    #[must_use]
    pub fn grant(mut self, scope: &str) -> Self {
        self.scopes.push(scope.to_owned());
        self
    }

    /// Sends users back to there.
    #[must_use]
    pub fn redirect_uri(mut self, uri: &str) -> Self {
        self.redirect_uris = vec![uri.to_owned()];
        self
    }

    /// Gives it a secret, and says how it presents it.
    #[must_use]
    pub fn confidential(mut self, auth_method: &'static str) -> Self {
        self.auth_method = auth_method;
        self
    }

    /// Lets it authenticate with keys of its own.
    #[must_use]
    pub fn keys(mut self, jwks: Value) -> Self {
        self.auth_method = "private_key_jwt";
        self.jwks = Some(jwks);
        self
    }

    /// Makes it, with its grants, and waits until they are in force.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn create(self) -> InteractiveAgent {
        let (deployment, name) = (self.deployment, self.name);
        deployment.put("teams/stories", json!({"spec": {}})).await;
        let mut spec = json!({"team": "stories", "type": "interactive", "auth_method": self.auth_method,
                              "redirect_uris": self.redirect_uris});
        if let Some(jwks) = self.jwks {
            spec["jwks"] = jwks;
        }
        let agent = deployment.put(&format!("agents/{name}"), json!({"spec": spec})).await;
        if !self.scopes.is_empty() {
            let spec = json!({"to": {"agent": name}, "scopes": self.scopes});
            deployment.put(&format!("grants/{name}"), json!({"spec": spec})).await;
        }
        let client_secret = if self.auth_method.starts_with("client_secret") {
            let path = format!("agents/{name}/credentials");
            let credential = deployment.rest(Method::POST, &path, &[], &json!({})).await;
            assert_eq!(credential.status, 201, "POST {path}: {}", credential.text());
            let secret = credential.json()["client_secret"].as_str().expect("a credential has a secret").to_owned();
            deployment.remember_secret(&secret);
            Some(secret)
        } else {
            None
        };
        deployment.policy_in_force().await;
        InteractiveAgent {
            http: Http::default(),
            issuer: deployment.issuer(),
            secrets: deployment.secrets().clone(),
            name,
            client_id: agent["id"].as_str().expect("an agent has an id").to_owned(),
            client_secret,
            redirect_uri: self.redirect_uris[0].clone(),
        }
    }
}

impl InteractiveAgent {
    /// An authorization request; `changes` replace its parameters or add some, an empty value leaves one out.
    #[must_use]
    pub fn authorize_url(&self, changes: &[(&str, &str)]) -> String {
        let usual = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "the state"),
        ];
        format!("{}/oauth/authorize?{}", self.issuer, encode(&changed(&usual, changes)))
    }

    /// A token request for a code.
    pub async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        self.post("token", &changed(&usual, changes)).await
    }

    /// A token request with a refresh token.
    pub async fn refresh(&self, refresh_token: &str, changes: &[(&str, &str)]) -> Answer {
        let usual = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.post("token", &changed(&usual, changes)).await
    }

    /// Asks the introspection endpoint.
    pub async fn introspect(&self, token: &str) -> Answer {
        self.post("introspect", &[("token", token)]).await
    }

    /// Asks the revocation endpoint.
    pub async fn revoke(&self, token: &str) -> Answer {
        self.post("revoke", &[("token", token)]).await
    }

    /// Posts a form to an endpoint, authenticated in the body.
    ///
    /// # Panics
    /// When the control plane cannot be reached.
    pub async fn post(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_id", self.client_id.as_str())];
        all.extend(self.client_secret.as_deref().map(|secret| ("client_secret", secret)));
        all.extend(parameters);
        let url = format!("{}/oauth/{endpoint}", self.issuer);
        let answer = self.http.send(Method::POST, &url, &[FORM], encode(&all)).await;
        answer.unwrap_or_else(|error| panic!("{url}: {error:#}"))
    }

    /// Lets a person allow everything that is asked, and takes the tokens.
    ///
    /// # Panics
    /// When no code or no token is given.
    pub async fn tokens(&self, person: &mut Person, resource: &str) -> Tokens {
        let back = person.allow(&self.authorize_url(&[("resource", resource)])).await;
        let answer = self.redeem(&code_of(&back), &[("resource", resource)]).await;
        self.read(&answer)
    }

    /// Reads a token answer.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(&self, answer: &Answer) -> Tokens {
        assert_eq!(answer.status, 200, "no token: {}", answer.text());
        let body = answer.json();
        let member =
            |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name} in a token answer")).to_owned();
        let (access_token, refresh_token) = (member("access_token"), member("refresh_token"));
        self.secrets.remember(&access_token);
        self.secrets.remember(&refresh_token);
        Tokens { access_token, refresh_token, scope: member("scope") }
    }
}

impl Tokens {
    /// A client of an endpoint that presents the access token.
    #[must_use]
    pub fn at(&self, url: &str) -> McpClient {
        McpClient::new(url).with_token(&self.access_token)
    }
}

/// The code that a browser brought back.
///
/// # Panics
/// When it brought none.
#[must_use]
pub fn code_of(back: &Url) -> String {
    let code = back.query_pairs().find(|(name, _)| name == "code");
    code.unwrap_or_else(|| panic!("no code in {back}")).1.into_owned()
}

fn changed<'a>(usual: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(change, _)| change != name));
    kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect()
}

fn encode(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}
