//! What a modern server's question is known by on its way to a legacy agent and back: sealed, so that any data plane
//! knows who waits for the answer, and nobody else can give one.
//!
//! Invariant: an id opens only for the session whose agent was asked.

use crate::{
    mcp::message::RequestId,
    policy::Tenant,
    seal::{self, Purpose, SealError},
    store::{MailboxId, Owner, SessionId},
};

/// What tells these ids from those that name a legacy server's question.
const KIND: &[u8] = b"mailbox";

/// Which question of which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionId {
    /// Where its answer is waited for.
    pub mailbox: MailboxId,
    /// Of which round.
    pub round: u8,
    /// Which of the round's.
    pub number: u8,
}

/// The id for the agent, until `expires_at` (unix seconds).
///
/// # Errors
/// When nothing can be sealed.
pub fn seal(
    tenant: &Tenant,
    owner: Owner,
    session: &SessionId,
    expires_at: i64,
    question: QuestionId,
) -> Result<RequestId, SealError> {
    let plain = [question.mailbox.to_bytes().as_slice(), &[question.round, question.number]].concat();
    let sealed =
        bound(owner, session, |bound_to| seal::seal(tenant, Purpose::ServerRequestId, bound_to, expires_at, &plain))?;
    Ok(RequestId::Text(sealed.into()))
}

/// The question that an agent's response names, if it was put to this session and can still be answered.
pub fn open(tenant: &Tenant, owner: Owner, session: &SessionId, id: &RequestId) -> Option<QuestionId> {
    let RequestId::Text(sealed) = id else { return None };
    let now = chrono::Utc::now().timestamp();
    let plain = bound(owner, session, |bound_to| seal::open(tenant, Purpose::ServerRequestId, bound_to, now, sealed))?;
    let (mailbox, rest) = plain.split_first_chunk()?;
    let [round, number] = rest.try_into().ok()?;
    Some(QuestionId { mailbox: MailboxId::from_bytes(*mailbox), round, number })
}

fn bound<T>(owner: Owner, session: &SessionId, run: impl FnOnce(&[&[u8]]) -> T) -> T {
    let (agent, user) = (owner.agent.uuid(), owner.user.map(|user| user.uuid()));
    let user: &[u8] = user.as_ref().map_or(&[], |user| user.as_bytes());
    run(&[agent.as_bytes(), user, session.to_string().as_bytes(), KIND])
}
