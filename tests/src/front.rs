//! A reverse proxy in front of the control plane, as deployments have one, whose metadata an administrator edited.
//!
//! Invariant: it changes nothing but one member of the authorization server's metadata; `Host` stays.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
};

use axum::{Router, body::to_bytes, extract::Request, response::Response};
use http::{Method, header};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::http::{Answer, Http};

const METHODS: &str = "token_endpoint_auth_methods_supported";
const BODY_BYTES_MAX: usize = 1 << 20;

/// The proxy.
#[derive(Debug, Clone)]
pub struct Front {
    pub(crate) url: String,
    target: Arc<OnceLock<String>>,
    _serving: Arc<Serving>,
}

#[derive(Debug)]
struct Serving(JoinHandle<()>);

impl Front {
    /// Starts it. Of the methods by which clients authenticate, only `methods` are still advertised.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn advertising(methods: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let target = Arc::new(OnceLock::new());
        let known = Arc::clone(&target);
        let forward = move |request| {
            let known: Arc<OnceLock<String>> = Arc::clone(&known);
            async move { forward(known.get().expect("the control plane is there first"), request, methods).await }
        };
        let serving = tokio::spawn(async move {
            let _serves_to_the_end = axum::serve(listener, Router::new().fallback(forward)).await;
        });
        Self { url, target, _serving: Arc::new(Serving(serving)) }
    }

    /// Where it is, which is what the control plane's URLs begin with.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says where the control plane is.
    pub(crate) fn forward_to(&self, target: &str) {
        let _set_by_the_first_start = self.target.set(target.to_owned());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn forward(target: &str, request: Request, methods: &[&str]) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let headers = parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    let headers: Vec<_> = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let answer = Http::default().send(parts.method.clone(), &format!("{target}{path}"), &headers, body).await;
    let Ok(answer) = answer else {
        return Response::builder().status(502).body("".into()).expect("a status makes a response");
    };
    let edited = (parts.method == Method::GET && path.contains("oauth-authorization-server") && answer.status == 200)
        .then(|| edit(&answer, methods));
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    let body = edited.map_or(answer.body, Into::into);
    response.body(body.into()).expect("the control plane's headers are legal")
}

fn edit(answer: &Answer, methods: &[&str]) -> String {
    let mut metadata: Value = answer.json();
    if let Some(advertised) = metadata[METHODS].as_array_mut() {
        advertised.retain(|method| methods.iter().any(|wanted| method == wanted));
    }
    metadata.to_string()
}
