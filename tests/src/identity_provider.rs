//! A real OpenID provider: people sign in through it, and its answers are compared with Tollgate's.
//!
//! Invariant: it is `oidc-provider` as its authors ship it; `tests/clients/oidc_provider.mjs` only says who has an
//! account and lets its page be clicked.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use crate::{
    authority::Authority,
    drivers::{client_modules, node, repository_root},
    http::Http,
    ports::free_port,
    process::Process,
};

/// The draft of an [`OidcProvider`].
#[derive(Debug)]
pub struct OidcDraft {
    port: u16,
    setup: Value,
    /// What vouches for the sites that it asks: PEM.
    trusted: Option<PathBuf>,
}

/// A running provider.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    _process: Process,
}

impl OidcProvider {
    /// A provider without accounts and clients.
    #[must_use]
    pub fn plan() -> OidcDraft {
        let port = free_port();
        OidcDraft { port, setup: json!({"port": port, "accounts": [], "clients": []}), trusted: None }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How many requests came to a path. Over plain http only.
    ///
    /// # Panics
    /// When the provider is away.
    pub async fn requests(&self, path: &str) -> u64 {
        let counts = Http::default().get(&format!("{}/requests", self.issuer)).await.json();
        counts[path].as_u64().unwrap_or_default()
    }

    /// Ends a token before its time, as its client. Over plain http only.
    ///
    /// # Panics
    /// When the provider is away, or does not know the client.
    pub async fn revoke(&self, token: &str, client_id: &str, client_secret: &str) {
        let form = format!("token={token}&client_id={client_id}&client_secret={client_secret}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let url = format!("{}/token/revocation", self.issuer);
        let answer = Http::default().send(Method::POST, &url, &headers, form).await.expect("the provider answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Replaces all accounts. Over plain http only.
    ///
    /// # Panics
    /// When the provider is away.
    pub async fn set_accounts(&self, accounts: &Value) {
        let url = format!("{}/accounts", self.issuer);
        let answer = Http::default().send(Method::PUT, &url, &[], accounts.to_string()).await;
        assert_eq!(answer.expect("the provider answers").status, 204);
    }
}

impl OidcDraft {
    /// Its issuer, before it is started.
    #[must_use]
    pub fn issuer(&self) -> String {
        let scheme = if self.setup["tls"].is_null() { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Adds an account: its claims, `sub` among them.
    #[must_use]
    pub fn account(mut self, claims: Value) -> Self {
        self.setup["accounts"].as_array_mut().expect("a list").push(claims);
        self
    }

    /// Adds a client: RFC 7591 metadata with `client_id`, and `client_secret` where it has one.
    #[must_use]
    pub fn client(mut self, metadata: Value) -> Self {
        self.setup["clients"].as_array_mut().expect("a list").push(metadata);
        self
    }

    /// Lets tokens be for a resource with these scopes.
    #[must_use]
    pub fn resource(mut self, url: &str, scope: &str) -> Self {
        self.setup["resource"] = json!({"url": url, "scope": scope});
        self
    }

    /// Lets the tokens of clients live so many seconds.
    #[must_use]
    pub fn token_life(mut self, seconds: u32) -> Self {
        self.setup["life"] = json!(seconds);
        self
    }

    /// Serves over https, with a certificate of `authority`.
    #[must_use]
    pub fn over_tls(mut self, authority: &Authority) -> Self {
        let (certificate, key) = authority.leaf();
        self.setup["tls"] = json!({"cert": certificate, "key": key});
        self
    }

    /// Lets clients be known by metadata documents, at hosts with certificates of `authority` and at any address.
    #[must_use]
    pub fn reading_documents(mut self, authority: &Authority) -> Self {
        self.setup["documents"] = json!(true);
        self.trusted = Some(authority.certificate());
        self
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> OidcProvider {
        let mut command = node();
        command
            .arg(repository_root().join("tests/clients/oidc_provider.mjs"))
            .arg(self.setup.to_string())
            .env("TOLLGATE_TEST_MODULES", client_modules())
            .envs(self.trusted.as_ref().map(|trusted| ("NODE_EXTRA_CA_CERTS", trusted)));
        let mut process = Process::spawn("the OpenID provider", command);
        process.stdout_line("the OpenID provider to listen", |line| line == "listening").await;
        OidcProvider { issuer: self.issuer(), _process: process }
    }
}
