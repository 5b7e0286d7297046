//! HTTP connections: who may open one, how long a request's head may take and be, how they end.
//!
//! Invariant: a connection that says nothing is closed; when the control plane stops, running requests end first.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, response::IntoResponse as _};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

const CONNECTIONS_MAX: usize = 10_000;
/// From a connection's start, or the last answer, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer heads are answered with 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const BETWEEN_FAILURES: Duration = Duration::from_millis(50);

/// Accepts until `stopping`, then waits until every connection has ended its running request.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        // Past the cap nothing is accepted: the kernel's queue is the place to wait.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stopping) = (router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection(router, peer, stream, stopping).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BETWEEN_FAILURES).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(router: Router, peer: SocketAddr, stream: TcpStream, stopping: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection ended at once");
        return;
    }
    let service = service_fn(move |request| answer(router.clone(), peer, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "the connection ended");
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if head_bytes(&request) > HEAD_BYTES_MAX {
        return Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request.map(Body::new)).await
}

/// Of a head as it was sent, but for blanks. Hyper gives up reading at its bound, but lets pass what it has read by then.
fn head_bytes<B>(request: &Request<B>) -> usize {
    const COLON_BLANK_AND_END: usize = 4;
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + COLON_BLANK_AND_END;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + request.headers().iter().map(line).sum::<usize>()
}

#[cfg(test)]
mod tests;
