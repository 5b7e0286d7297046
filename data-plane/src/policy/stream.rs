//! The policy stream, seen from the data plane.
//!
//! Invariant: whatever happens to the stream, the last good policy stays in force; a policy that cannot be served is
//! answered with a NACK and changes nothing. Revocations and heartbeats wait for no policy to be read, and revocations are
//! confirmed once they are in force. No question keeps the stream from being read.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    DataPlaneId,
    feature::POLICY_BYTES_MAX,
    policy::v1::{
        Heartbeat, Held, Hello, Revocations, RevocationsApplied, WatchRequest,
        policy_service_client::PolicyServiceClient, watch_request, watch_response,
    },
};
use tonic::{Status, transport::Channel};

use super::{
    Policies,
    line::{Line, Outcome, Step},
};
use crate::{
    catalog,
    gateway::Gateway,
    inquiry,
    membership::{Link, is_revocation},
    upstream::report::Reporter,
};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Heartbeats come every second: a stream silent for this long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// At most one unacknowledged policy per tenant is in flight, a few questions and one report, so this never fills.
const ANSWERS_QUEUED: usize = 1024;
/// Questions that are being answered. More stay without an answer: whoever asks does not wait for long.
const QUESTIONS_MAX: usize = 8;
/// How often the control plane is told what changed about instances, at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Who watches, and over which connection.
#[derive(Clone)]
pub struct Watcher {
    /// The way to the control plane.
    pub link: Link,
    /// This data plane.
    pub id: DataPlaneId,
}

/// Follows the control plane until `stopping`, reconnecting for as long as it takes.
pub async fn follow(watcher: Watcher, gateway: Arc<Gateway>, stopping: CancellationToken) {
    let (policies, mut reporter) = (&gateway.policies, Reporter::default());
    let mut line = Line::new(Arc::clone(policies));
    let mut backoff = BACKOFF_FIRST;
    let mut link = watcher.link.clone();
    loop {
        let Some(channel) = link.channel() else {
            tokio::select! {
                () = link.replaced() => continue,
                () = stopping.cancelled() => return,
            }
        };
        let ended = tokio::select! {
            ended = watch(&watcher, channel, &gateway, &mut reporter, &mut line) => ended,
            // With a newer certificate: the stream goes on over the newer connection.
            () = link.replaced() => continue,
            () = stopping.cancelled() => return,
        };
        let Err(status) = ended else { continue };
        if is_revocation(&status) {
            watcher.link.revoke();
            return;
        }
        if policies.is_synced() {
            tracing::warn!(reason = %status.message(), "the policy stream ended; the last policy stays in force");
        } else {
            tracing::warn!(reason = %status.message(), "no policy yet: the control plane cannot be watched");
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = stopping.cancelled() => return,
        }
        backoff = if policies.is_synced() { BACKOFF_FIRST } else { (backoff * 2).min(BACKOFF_MAX) };
    }
}

/// One stream, from hello to its end. Never returns `Ok`: a stream that ends is a stream to open again.
async fn watch(
    watcher: &Watcher,
    channel: Channel,
    gateway: &Arc<Gateway>,
    reporter: &mut Reporter,
    line: &mut Line,
) -> Result<(), Status> {
    let policies = &gateway.policies;
    line.begin().await;
    let (answers, outgoing) = mpsc::channel(ANSWERS_QUEUED);
    let send = |message| {
        answers
            .try_send(WatchRequest { message: Some(message) })
            .map_err(|_| Status::resource_exhausted("the control plane does not read our answers"))
    };
    send(watch_request::Message::Hello(hello(watcher, policies)))?;
    let mut client = PolicyServiceClient::new(channel).max_decoding_message_size(POLICY_BYTES_MAX);
    let mut stream = client.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    reporter.begin();
    let mut catalog = catalog::listen(gateway);
    let (mut questions, mut heard_at) = (JoinSet::new(), Instant::now());
    let mut reports = interval(REPORT_EVERY);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.message() => {
                let message = message?.ok_or_else(|| Status::unavailable("the control plane closed the stream"))?;
                heard_at = Instant::now();
                // Without one it is something that a newer control plane says beside the rest.
                message.message.and_then(|message| receive(message, policies, line)).map_or(Ok(()), &send)?;
            }
            outcome = line.next() => match outcome {
                Outcome::Say(answer) => send(answer)?,
                Outcome::Unreadable(error) => {
                    return Err(Status::data_loss(format!("a policy cannot be read: {error}")));
                }
                Outcome::Ask(question) if questions.len() < QUESTIONS_MAX => {
                    questions.spawn(inquiry::answer(Arc::clone(gateway), question));
                }
                // One too many.
                Outcome::Ask(_) => {}
            },
            Some(Ok(answers)) = questions.join_next() => answers.into_iter().try_for_each(&send)?,
            Some(report) = catalog.recv() => send(watch_request::Message::CatalogReport(report))?,
            _ = reports.tick() => {
                let now_ms = chrono::Utc::now().timestamp_millis();
                for report in reporter.report(gateway.upstreams.instances(), &policies.load(), now_ms) {
                    send(watch_request::Message::InstanceReport(report))?;
                }
            }
            () = sleep_until(heard_at + SILENCE_MAX) => {
                return Err(Status::deadline_exceeded("the control plane fell silent"));
            }
        }
    }
}

fn hello(watcher: &Watcher, policies: &Policies) -> Hello {
    let snapshot = policies.load();
    let held = snapshot.tenants().map(|tenant| Held {
        tenant_id: tenant.id.to_string(),
        revision: tenant.revision,
        digest: tenant.digest.clone(),
    });
    let revocations = policies.revocations();
    let applied = revocations
        .iter()
        .map(|(tenant, held)| RevocationsApplied { tenant_id: tenant.to_string(), revision: held.revision() });
    Hello {
        data_plane_id: watcher.id.uuid().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: snapshot.tenants().next().map(|tenant| tenant.epoch.clone()).unwrap_or_default(),
        held: held.collect(),
        revocations: applied.collect(),
    }
}

/// Does what must not wait, and answers it; leaves the rest in the line.
fn receive(message: watch_response::Message, policies: &Policies, line: &mut Line) -> Option<watch_request::Message> {
    let step = match message {
        watch_response::Message::Revocations(revocations) => return revoke(&revocations, policies),
        watch_response::Message::Heartbeat(Heartbeat { lease_ms, data_planes }) => {
            policies.set_data_planes(data_planes);
            let lease = Duration::from_millis(lease_ms);
            if line.is_synced() {
                policies.hear(lease);
                return None;
            }
            Step::Heartbeat(lease)
        }
        watch_response::Message::Policy(policy) => Step::Policy(policy),
        watch_response::Message::Removed(removed) => Step::Removed(removed.tenant_id),
        watch_response::Message::Synced(_) => Step::Synced,
        watch_response::Message::Question(question) => Step::Question(question),
        watch_response::Message::BudgetStates(states) => {
            policies.ledger().hear(&states);
            return None;
        }
    };
    line.push(step);
    None
}

/// Confirms what is in force. What cannot be read whole is not confirmed: the control plane then knows of a data plane
/// that does not refuse what it should.
fn revoke(sent: &Revocations, policies: &Policies) -> Option<watch_request::Message> {
    let (tenant_id, revision) = (sent.tenant_id.clone(), sent.revision);
    match policies.revoke(sent) {
        Ok(()) => Some(watch_request::Message::RevocationsApplied(RevocationsApplied { tenant_id, revision })),
        Err(error) => {
            tracing::error!(%tenant_id, revision, %error, "not every revocation could be read");
            None
        }
    }
}

#[cfg(test)]
mod tests;
