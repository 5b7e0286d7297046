//! A door before a scripted server: only tokens of its own authorization server open it.
//!
//! Invariant: whether a token is good is not judged here: the authorization server is asked each time (RFC 7662).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::json;

use crate::{http::Http, identity_provider::OidcProvider};

/// Where a server's protected-resource metadata is (RFC 9728 section 3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

/// The door.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    issuer: String,
    /// The server's URL, which tokens must be for.
    resource: String,
    /// As the authorization server knows the server: client id and secret.
    client: (String, String),
    http: Http,
    turned_away: Arc<AtomicUsize>,
}

impl Guard {
    pub(super) fn new(provider: &OidcProvider, resource: String, client: (&str, &str)) -> Self {
        let client = (client.0.to_owned(), client.1.to_owned());
        Self {
            issuer: provider.issuer().to_owned(),
            resource,
            client,
            http: Http::default(),
            turned_away: Arc::default(),
        }
    }

    /// How many requests did not come in.
    pub(super) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// The answer to a request that does not come in.
    pub(super) async fn turn_away(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        if method == Method::GET && uri.path() == METADATA {
            let metadata = json!({"resource": self.resource, "authorization_servers": [self.issuer]});
            return Some(axum::Json(metadata).into_response());
        }
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.is_good(authorization.strip_prefix("Bearer ").unwrap_or_default()).await {
            return None;
        }
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        let metadata = self.resource.replace("/mcp", METADATA);
        let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
        Some((StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response())
    }

    async fn is_good(&self, token: &str) -> bool {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", self.client.0, self.client.1)));
        let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let url = format!("{}/token/introspection", self.issuer);
        let answer = self.http.send(Method::POST, &url, &headers, format!("token={token}")).await;
        let said = answer.expect("the authorization server answers").json();
        said["active"] == true && said["aud"] == json!(self.resource)
    }
}
