//! What comes over the policy stream and takes its time, done one after the other beside the stream.
//!
//! Invariant: everything in the line is done in the order in which it came, and nothing of a stream after the next one has
//! begun. What must not wait never stands in it.

use std::{collections::VecDeque, future::pending, panic, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tollgate_proto::policy::v1::{Ack, Nack, Question, TenantPolicy, watch_request::Message as Answer};

use super::Policies;

/// Something that has to wait for what came before it.
#[derive(Debug)]
pub(super) enum Step {
    /// A tenant's policy is another one.
    Policy(Bytes),
    /// A tenant is gone.
    Removed(String),
    /// Every tenant's policy has arrived.
    Synced,
    /// The first heartbeats: they speak of what came before them.
    Heartbeat(Duration),
    /// Asked about the policies that came before it.
    Question(Question),
}

/// What comes out of the line.
#[derive(Debug)]
pub(super) enum Outcome {
    /// To be told to the control plane.
    Say(Answer),
    /// To be answered now.
    Ask(Question),
    /// A policy that is none, so that nobody can say whose it was: nothing more of this stream can be trusted.
    Unreadable(DecodeError),
}

/// The line of one stream at a time.
#[derive(Debug)]
pub(super) struct Line {
    policies: Arc<Policies>,
    waiting: VecDeque<Step>,
    at_work: Option<JoinHandle<Option<Outcome>>>,
    is_synced: bool,
}

impl Line {
    pub(super) const fn new(policies: Arc<Policies>) -> Self {
        Self { policies, waiting: VecDeque::new(), at_work: None, is_synced: false }
    }

    /// Begins anew: forgets what waits, and waits for what cannot be stopped any more.
    pub(super) async fn begin(&mut self) {
        self.waiting.clear();
        self.is_synced = false;
        if let Some(at_work) = &mut self.at_work {
            let done = at_work.await;
            self.at_work = None;
            finished(done);
        }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.waiting.push_back(step);
    }

    /// Whether everything that the stream began with is in force.
    pub(super) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Goes on until something comes out. Cancel safe.
    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            if let Some(at_work) = &mut self.at_work {
                let done = at_work.await;
                self.at_work = None;
                if let Some(outcome) = finished(done) {
                    return outcome;
                }
            }
            match self.waiting.pop_front() {
                None => pending().await,
                Some(Step::Question(question)) => return Outcome::Ask(question),
                Some(Step::Synced) => {
                    self.is_synced = true;
                    self.policies.mark_synced();
                }
                Some(Step::Heartbeat(lease)) => self.policies.hear(lease),
                Some(Step::Policy(policy)) => {
                    let policies = Arc::clone(&self.policies);
                    self.at_work = Some(spawn_blocking(move || Some(apply(policy, &policies))));
                }
                Some(Step::Removed(tenant)) => {
                    let policies = Arc::clone(&self.policies);
                    self.at_work = Some(spawn_blocking(move || {
                        remove(&tenant, &policies);
                        None
                    }));
                }
            }
        }
    }
}

fn finished(done: Result<Option<Outcome>, JoinError>) -> Option<Outcome> {
    // Nobody cancels it.
    done.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
}

fn apply(encoded: Bytes, policies: &Policies) -> Outcome {
    match TenantPolicy::decode(encoded) {
        Ok(policy) => Outcome::Say(put(&policy, policies)),
        Err(error) => Outcome::Unreadable(error),
    }
}

fn put(policy: &TenantPolicy, policies: &Policies) -> Answer {
    let (tenant_id, revision) = (policy.tenant_id.clone(), policy.revision);
    match policies.put(policy) {
        Ok(()) => Answer::Ack(Ack { tenant_id, revision }),
        Err(error) => {
            tracing::error!(%tenant_id, revision, %error, "policy refused; the last good one stays in force");
            Answer::Nack(Nack { tenant_id, revision, reason: error.to_string() })
        }
    }
}

fn remove(tenant: &str, policies: &Policies) {
    match tenant.parse() {
        Ok(tenant) => policies.remove(tenant),
        Err(error) => tracing::error!(%error, "the control plane removed a tenant that has no id"),
    }
}
