//! An agent's answer to a question, on its way through a mailbox to the call that waits for it.
//!
//! Invariant: what is read is what [`deliver`] wrote on some data plane, or nothing.

use super::question_id::QuestionId;
use crate::{
    mcp::json::{self, Bounds, Raw},
    refusal::Refusal,
    stage::forward::ask::Ask,
    store::{Mail, Owner},
};

/// An agent's answer, on its way through a mailbox.
pub(super) struct Answer {
    /// Where it stood in the mailbox.
    pub(super) position: u64,
    pub(super) round: u8,
    pub(super) number: u8,
    pub(super) outcome: Result<Raw, Raw>,
}

impl Answer {
    /// `None` for what no data plane of this version has written.
    pub(super) fn read(Mail { position, message }: &Mail) -> Option<Self> {
        let members = json::parse(message, &Bounds::AGENT).ok()?.object()?;
        let number = |key| members.get(key).and_then(Raw::as_u64).and_then(|number| u8::try_from(number).ok());
        let outcome = match (members.get("result"), members.get("error")) {
            (Some(result), _) => Ok(result.clone()),
            (None, error) => Err(error?.clone()),
        };
        Some(Self { position: *position, round: number("round")?, number: number("number")?, outcome })
    }
}

/// How long an answer waits to be read, in seconds.
const MAIL_TTL_S: u64 = 600;

/// Takes an answer to the call that waits for it.
///
/// # Errors
/// When the store is away.
pub(super) async fn deliver(
    ask: &Ask,
    owner: Owner,
    question: QuestionId,
    outcome: &Result<Raw, Raw>,
) -> Result<(), Refusal> {
    let message = json::object(|answer| {
        answer.unsigned("round", question.round.into());
        answer.unsigned("number", question.number.into());
        match outcome {
            Ok(result) => answer.raw("result", result),
            Err(error) => answer.raw("error", error),
        }
    });
    let store = &ask.gateway().store;
    Ok(store.send_mail(owner, question.mailbox, message.to_bytes(), MAIL_TTL_S).await?)
}
