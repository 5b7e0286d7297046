//! One simulated data plane: joined like a real one, and quick to agree.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::membership::Membership;
use tollgate_proto::{
    DataPlaneId, EnrollmentToken,
    feature::POLICY_BYTES_MAX,
    policy::v1::{
        Ack, Hello, RevocationsApplied, TenantPolicy, WatchRequest, policy_service_client::PolicyServiceClient,
        watch_request, watch_response,
    },
};
use tonic::{Streaming, transport::Channel};

use crate::setting;

/// What is under way to the control plane.
const ANSWERS_QUEUED: usize = 16;

/// A data plane that watches.
pub(crate) struct Watcher {
    newest: watch::Receiver<u64>,
    /// Each revision that it acknowledged, and when.
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
}

impl Watcher {
    /// Joins with the installation's token, and watches from now on.
    pub(crate) async fn join(folder: PathBuf) -> Self {
        let token = EnrollmentToken::read(&setting::<String>("TOLLGATE_ENROLLMENT_TOKEN")).expect("a token");
        let (id, url) = (DataPlaneId::new(), setting::<String>("TOLLGATE_GRPC_URL"));
        let (membership, mut link) = Membership::open(&folder, id, &url, Some(token)).expect("it can join");
        tokio::spawn(membership.keep(CancellationToken::new()));
        link.replaced().await;
        let channel = link.channel().expect("a certificate was issued");
        let (answers, outgoing) = mpsc::channel(ANSWERS_QUEUED);
        let hello = Hello {
            data_plane_id: id.uuid().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Hello::default()
        };
        answers.try_send(request(watch_request::Message::Hello(hello))).expect("there is room for the first");
        let mut client: PolicyServiceClient<Channel> =
            PolicyServiceClient::new(channel).max_decoding_message_size(POLICY_BYTES_MAX);
        let stream = client.watch(ReceiverStream::new(outgoing)).await.expect("it may watch").into_inner();
        let (tell, newest) = watch::channel(0);
        let acknowledged = Arc::default();
        tokio::spawn(agree(stream, answers, tell, Arc::clone(&acknowledged)));
        let watcher = Self { newest, acknowledged };
        watcher.acknowledges(1).await;
        watcher
    }

    /// Waits until it has acknowledged this revision or a later one.
    pub(crate) async fn acknowledges(&self, revision: u64) {
        let mut newest = self.newest.clone();
        newest.wait_for(|newest| *newest >= revision).await.expect("the stream goes on");
    }

    /// How long each change took: the first of them made the revision after `before`. One that a later one overtook was
    /// in force with that.
    pub(crate) fn times(&self, before: u64, sent: &[Instant]) -> Vec<Duration> {
        let acknowledged = self.acknowledged.lock().expect("nobody panicked");
        let time = |(sent, revision): (&Instant, u64)| {
            let first = acknowledged.partition_point(|(acknowledged, _)| *acknowledged < revision);
            acknowledged[first].1 - *sent
        };
        sent.iter().zip(before + 1..).map(time).collect()
    }
}

/// Acknowledges whatever comes, for as long as the process runs.
async fn agree(
    mut stream: Streaming<tollgate_proto::policy::v1::WatchResponse>,
    answers: mpsc::Sender<WatchRequest>,
    tell: watch::Sender<u64>,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
) {
    while let Some(message) = stream.message().await.expect("the stream goes on") {
        let answer = match message.message {
            Some(watch_response::Message::Policy(policy)) => {
                let policy = TenantPolicy::decode(policy).expect("a policy");
                let revision = policy.revision;
                acknowledged.lock().expect("nobody panicked").push((revision, Instant::now()));
                tell.send_replace(revision);
                watch_request::Message::Ack(Ack { tenant_id: policy.tenant_id, revision })
            }
            Some(watch_response::Message::Revocations(sent)) => {
                let (tenant_id, revision) = (sent.tenant_id, sent.revision);
                watch_request::Message::RevocationsApplied(RevocationsApplied { tenant_id, revision })
            }
            _ => continue,
        };
        answers.send(request(answer)).await.expect("the control plane reads on");
    }
}

const fn request(message: watch_request::Message) -> WatchRequest {
    WatchRequest { message: Some(message) }
}
