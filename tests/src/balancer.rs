//! A load balancer before data planes, which adds a bearer token for clients that cannot.
//!
//! Invariant: it changes nothing else. `Host` and `Origin` stay, streams are passed as they come, who leaves on one side
//! leaves on the other, and no two requests have a data plane in common but by chance.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{StatusCode, header::AUTHORIZATION};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use crate::http::Http;

const BODY_BYTES_MAX: usize = 16 << 20;

/// The load balancer.
#[derive(Debug, Clone)]
pub struct Balancer {
    url: String,
    way: Arc<Way>,
    _serving: Arc<Serving>,
}

#[derive(Debug, Default)]
struct Way {
    targets: OnceLock<Vec<String>>,
    bearer: OnceLock<String>,
}

#[derive(Debug)]
struct Serving(JoinHandle<()>);

impl Balancer {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let way = Arc::new(Way::default());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&way));
        let serving = tokio::spawn(async move {
            let _serves_to_the_end = axum::serve(listener, router).await;
        });
        Self { url, way, _serving: Arc::new(Serving(serving)) }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says where the data planes are.
    pub(crate) fn lead_to(&self, targets: Vec<String>) {
        let _set_by_the_first_start = self.way.targets.set(targets);
    }

    /// Adds this token to requests that bring none.
    ///
    /// # Panics
    /// When it has one already.
    pub fn lend(&self, token: &str) {
        self.way.bearer.set(format!("Bearer {token}")).expect("one token is lent");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return bare(StatusCode::PAYLOAD_TOO_LARGE) };
    let mut headers: Vec<_> =
        parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    if !parts.headers.contains_key(AUTHORIZATION) {
        headers.extend(way.bearer.get().map(|bearer| ("authorization", bearer.as_str())));
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = format!("{}{path}", way.any_target());
    match Http::default().open(parts.method.clone(), &target, &headers, body).await {
        Ok(response) => response.map(Body::new),
        Err(_) => bare(StatusCode::BAD_GATEWAY),
    }
}

impl Way {
    fn any_target(&self) -> &str {
        let targets = self.targets.get().expect("the data planes are there first");
        let chance = usize::from(Uuid::new_v4().into_bytes()[0]);
        &targets[chance % targets.len()]
    }
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
