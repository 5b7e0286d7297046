//! The address that each HTTP request is from, through the proxies that the settings trust.
//!
//! Invariant: whatever counts or writes down addresses takes them from here, never from a header or a connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};

use crate::app::App;

tokio::task_local! {
    static CURRENT: Option<IpAddr>;
}

/// Who sent the request being answered; absent outside of one, and where the transport has no addresses.
#[must_use]
pub fn current() -> Option<IpAddr> {
    CURRENT.try_with(|address| *address).ok().flatten()
}

/// Middleware that finds out where every request is from.
pub async fn find(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let connected = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    let address = connected.map(|peer| app.trusted_proxies.client(peer, request.headers()));
    CURRENT.scope(address, next.run(request)).await
}
