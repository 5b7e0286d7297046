//! Asking the control plane what an opaque token says (the service's `Introspect`, as RFC 7662 has it for others).
//!
//! Invariant: however many calls bring the same token at once, it is asked for once; and no call waits longer than the
//! deadline. The token itself does not travel: its SHA-256 does.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::OnceCell;
use tollgate_proto::{
    TenantId,
    policy::v1::{AccessToken, IntrospectRequest, policy_service_client::PolicyServiceClient},
};

use super::cache::TokenDigest;
use crate::membership::Link;

const DEADLINE: Duration = Duration::from_secs(2);
/// Questions under way; a control plane that is slow must not make a queue here.
const ASKED_MAX: usize = 1_024;

/// The control plane gave no answer: nothing is known about the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unavailable;

/// What the control plane said; none: the tenant has no such token, or not any more.
type Answer = Result<Option<AccessToken>, Unavailable>;

type Key = (TenantId, TokenDigest);
type Asked = Mutex<HashMap<Key, Arc<OnceCell<Answer>>>>;

/// Asks the control plane.
pub struct Introspector {
    link: Link,
    pub(super) deadline: Duration,
    asked: Asked,
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").finish_non_exhaustive()
    }
}

impl Introspector {
    /// Over this connection.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { link, deadline: DEADLINE, asked: Asked::default() }
    }

    /// What the token of this digest says at this tenant.
    pub(super) async fn ask(&self, tenant: TenantId, digest: TokenDigest) -> Answer {
        let question = Question::join(&self.asked, (tenant, digest)).ok_or(Unavailable)?;
        question.answer.get_or_init(|| self.send(tenant, digest)).await.clone()
    }

    async fn send(&self, tenant: TenantId, digest: TokenDigest) -> Answer {
        let message = IntrospectRequest { tenant_id: tenant.to_string(), token_digest: digest.as_bytes().to_vec() };
        let mut client = PolicyServiceClient::new(self.link.channel().ok_or(Unavailable)?);
        match tokio::time::timeout(self.deadline, client.introspect(message)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().token),
            Ok(Err(status)) => {
                tracing::warn!(%tenant, reason = %status.message(), "a token could not be introspected");
                Err(Unavailable)
            }
            Err(_elapsed) => {
                tracing::warn!(%tenant, "a token could not be introspected within the deadline");
                Err(Unavailable)
            }
        }
    }
}

/// One of those who wait for the same answer. The last one to go, answered or not, takes the question away.
struct Question<'a> {
    asked: &'a Asked,
    key: Key,
    answer: Arc<OnceCell<Answer>>,
}

impl<'a> Question<'a> {
    /// `None` when too many are under way.
    fn join(asked: &'a Asked, key: Key) -> Option<Self> {
        let mut questions = lock(asked);
        if questions.len() >= ASKED_MAX && !questions.contains_key(&key) {
            return None;
        }
        let answer = Arc::clone(questions.entry(key).or_default());
        Some(Self { asked, key, answer })
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut questions = lock(self.asked);
        // The table's and this one.
        if Arc::strong_count(&self.answer) <= 2 {
            questions.remove(&self.key);
        }
    }
}

fn lock(asked: &Asked) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Answer>>>> {
    // Entries are inserted whole, so a panic elsewhere leaves the map usable.
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
