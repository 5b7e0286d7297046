//! The gRPC listener: enrolment, policy stream and usage intake, over TLS with certificates of the installation's own
//! authority (`tls.rs`).
//!
//! Invariant: to a client without a certificate only `Introduce` and `Enroll` answer; to a data plane that was revoked
//! nothing does (`admission.rs`).

pub(crate) mod admission;
mod enrollment;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

use std::{error::Error, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::{
    enrollment::v1::enrollment_service_server::EnrollmentServiceServer,
    policy::v1::policy_service_server::PolicyServiceServer, usage::v1::usage_service_server::UsageServiceServer,
};
use tonic::{service::interceptor::InterceptedService, transport::Server};

use crate::{app::App, data_planes, policy::PolicyStreams, usage::UsageIntake};
use enrollment::Enrolling;
pub use tls::Certificates;

/// A connection that does not answer a ping is closed, so that a vanished data plane does not count as connected.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Of one message from a data plane.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Of one message from somebody who is not known yet.
const ENROLLMENT_BYTES_MAX: usize = 16 << 10;

/// Serves data planes until `stopping`.
pub async fn serve(app: Arc<App>, listener: TcpListener, certificates: Certificates, stopping: CancellationToken) {
    let streams = TaskTracker::new();
    let (records, recording) = data_planes::records(app.db.clone(), app.policy_changes.connected().clone());
    let recording = tokio::spawn(recording);
    let policy = PolicyStreams::new(Arc::clone(&app), records, stopping.clone(), streams.clone());
    let policy = PolicyServiceServer::new(policy).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let usage =
        UsageServiceServer::new(UsageIntake::new(Arc::clone(&app))).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let enrollment =
        EnrollmentServiceServer::new(Enrolling::new(Arc::clone(&app))).max_decoding_message_size(ENROLLMENT_BYTES_MAX);
    let connections = tls::accept(listener, certificates.config(app), stopping.clone());
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .add_service(enrollment)
        .add_service(InterceptedService::new(policy, admission::require_certificate))
        .add_service(InterceptedService::new(usage, admission::require_certificate))
        .serve_with_incoming_shutdown(connections, stopping.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn Error, "the gRPC listener failed");
    }
    streams.close();
    streams.wait().await;
    // It ends with the last stream.
    let _ = recording.await;
}
