//! The gRPC listener: policy stream and usage intake.
//!
//! Invariant: nothing is answered before the enrollment token was presented.

#[cfg(test)]
pub(crate) mod testing;

use std::{error::Error, sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::{
    policy::v1::policy_service_server::PolicyServiceServer, usage::v1::usage_service_server::UsageServiceServer,
};
use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::interceptor::InterceptedService,
    transport::{Server, server::TcpIncoming},
};

use crate::{app::App, policy::PolicyStreams, secret::Digest, usage::UsageIntake};

/// A connection that does not answer a ping is closed, so that a vanished data plane does not count as connected.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Of one message from a data plane.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Serves data planes until `stopping`.
pub async fn serve(app: Arc<App>, listener: TcpListener, stopping: CancellationToken) {
    let streams = TaskTracker::new();
    let expected = Digest::of(app.enrollment_token.expose_secret());
    let admit = move |request: Request<()>| match presented(request.metadata()) {
        Some(token) if Digest::of(token).matches(expected.as_bytes()) => Ok(request),
        _ => Err(Status::unauthenticated("present the enrollment token as `authorization: Bearer …`")),
    };
    let policy = PolicyStreams::new(Arc::clone(&app), stopping.clone(), streams.clone());
    let policy = PolicyServiceServer::new(policy).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let usage = UsageServiceServer::new(UsageIntake::new(app)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .add_service(InterceptedService::new(policy, admit))
        .add_service(InterceptedService::new(usage, admit))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopping.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn Error, "the gRPC listener failed");
    }
    streams.close();
    streams.wait().await;
}

fn presented(metadata: &MetadataMap) -> Option<&str> {
    let (scheme, token) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
