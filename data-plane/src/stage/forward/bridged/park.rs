//! A call that waits for its agent's answers: its stream is held by a task of this data plane, and what it yields goes
//! to the call's mailbox, since the agent's retry may arrive at any data plane.
//!
//! Invariant: a held call ends: with the server's answer, when the agent cancels or may no longer make it, or when no
//! answers came in time; then the server is told that nobody waits.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval, sleep, sleep_until, timeout_at};

use super::{
    super::{
        exchange::{Exchange, FromServer, cannot_be_asked},
        translation::Step,
    },
    ToLegacy,
    parcel::{self, FromHolder, ToHolder},
    ticket::ANSWER_WITHIN_S,
    translation::internal,
};
use crate::{
    bridge::to_legacy::{question::Pending, state::Parked},
    gateway::Gateway,
    mcp::message::{RequestId, Response},
    stage::{authorize::Standing, forward::speech::Tongue},
    store::{MailboxId, Owner, StoreError},
    upstream::answer::AnswerFault,
};

/// Questions that follow one another this closely are put in one round.
const GATHERED_WITHIN: Duration = Duration::from_millis(50);
/// How long the agent may take to its answers.
const ANSWERED_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN_S);
/// How long a tool may think that goes on with its answers.
const SILENT_MAX: Duration = Duration::from_secs(300);
/// For how long a holder's word counts that it lives, in seconds.
const HELD_FOR_S: u64 = 6;
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long the holder waits for news of those who go on with the call before it looks after itself.
const LISTEN_FOR: Duration = Duration::from_secs(60);
/// Between two attempts to put something into a full mailbox.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Lets the call wait; the response puts the questions to the agent. Where the server answers meanwhile, it is that
/// answer.
///
/// # Errors
/// When the server's stream fails before there is anything to wait for.
pub async fn park(
    mut exchange: Exchange,
    translation: ToLegacy,
    first: Pending,
    standing: Standing,
) -> Result<Response, AnswerFault> {
    let mut pending = vec![first];
    let gathered_at = Instant::now() + GATHERED_WITHIN;
    while let Ok(said) = timeout_at(gathered_at, exchange.next()).await {
        match said?.map(|said| translation.heard(said)) {
            Some(Step::Park(question)) => pending.push(question),
            Some(Step::Reply(id, outcome)) => exchange.reply(&id, outcome),
            Some(Step::End(response, _)) => {
                tokio::spawn(exchange.finish());
                return Ok(response);
            }
            Some(Step::Pass(_) | Step::Drop) => {}
            // Whoever goes on resumes the stream, if the server lets that be.
            None => break,
        }
    }
    let put = put(exchange, &translation, pending, standing).await;
    let outcome = put.map_err(|error| {
        tracing::warn!(%error, "a call could not be parked");
        internal("the server's question could not be passed on")
    });
    Ok(Response { id: None, outcome })
}

#[derive(Debug, thiserror::Error)]
enum ParkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    #[error("the server is not spoken to in a session")]
    NoLeg,
}

async fn put(
    mut exchange: Exchange,
    translation: &ToLegacy,
    pending: Vec<Pending>,
    standing: Standing,
) -> Result<crate::mcp::json::Raw, ParkError> {
    let ticket = &translation.ticket;
    let tongue = exchange.speech().map(|speech| &speech.tongue);
    let (Some(Tongue::Legacy(leg)), RequestId::Text(upstream_id)) = (tongue, &translation.alias.id) else {
        return Err(ParkError::NoLeg);
    };
    let (leg, upstream_id) = (leg.clone(), upstream_id.clone());
    let last_event = exchange.last_event_id().map(Into::into);
    // A call that waited before is held already, maybe elsewhere.
    if let Some(parcel) = exchange.parcel() {
        parcel.tell(&ToHolder::Parked).await?;
        let (waiting, round, read_to) = (parcel.waiting, parcel.round + 1, parcel.read_to);
        let parked = Parked { holder: parcel.holder.to_bytes(), leg, upstream_id, read_to, last_event };
        return Ok(ticket.input_required(pending, waiting, round, Some(parked))?);
    }
    let (waiting, inbox) = (MailboxId::generate()?, MailboxId::generate()?);
    let parked = Parked { holder: inbox.to_bytes(), leg, upstream_id, read_to: 0, last_event };
    let open = pending.iter().filter_map(|question| question.id.clone()).collect();
    let gateway = Arc::clone(exchange.ask().shared());
    gateway.store.hold(ticket.owner, waiting, HELD_FOR_S).await?;
    let result = ticket.input_required(pending, waiting, 1, Some(parked))?;
    exchange.be_endless();
    let holder = Holder { gateway, exchange, owner: ticket.owner, waiting, inbox, standing, is_read: false, open };
    let calls = holder.gateway.calls.clone();
    calls.spawn(holder.run());
    Ok(result)
}

/// Reads the stream of a waiting call.
struct Holder {
    gateway: Arc<Gateway>,
    exchange: Exchange,
    owner: Owner,
    waiting: MailboxId,
    inbox: MailboxId,
    standing: Standing,
    /// Whether somebody goes on with the call: only then is progress of any use.
    is_read: bool,
    /// The server's questions that nobody has answered.
    open: Vec<RequestId>,
}

/// Why a held call ends.
enum End {
    /// The server has said its last word.
    Answered,
    /// Nobody waits for it.
    Cancelled,
    /// The gateway stops. The call is gone on with elsewhere.
    Left,
}

impl Holder {
    async fn run(mut self) {
        let end = self.hold().await;
        if let End::Cancelled = end {
            for question in &self.open {
                self.exchange.reply(question, Err(cannot_be_asked()));
            }
            self.exchange.cancel();
        }
        let released = self.gateway.store.release(self.owner, self.waiting).await;
        if let Err(error) = released {
            tracing::debug!(%error, "a held call was not released: its time runs out");
        }
        let _forgotten = self.gateway.store.discard_mail(self.owner, self.inbox).await;
        if let End::Answered = end {
            tokio::spawn(self.exchange.finish());
        }
    }

    async fn hold(&mut self) -> End {
        let mut changes = self.gateway.policies.changes();
        let mut renewal = interval(RENEW_EVERY);
        let mut deadline = Instant::now() + ANSWERED_WITHIN;
        let mut heard_to = 0;
        let gateway = Arc::clone(&self.gateway);
        loop {
            tokio::select! {
                _ = changes.changed() => {
                    if self.standing.recheck(&gateway.policies, gateway.now()).is_err() {
                        return End::Cancelled;
                    }
                }
                _ = renewal.tick() => {
                    if let Err(error) = gateway.store.hold(self.owner, self.waiting, HELD_FOR_S).await {
                        tracing::warn!(%error, "a held call was not renewed");
                    }
                }
                said = self.exchange.next() => {
                    if self.is_read {
                        deadline = Instant::now() + SILENT_MAX;
                    }
                    if let Some(end) = self.hear(said).await {
                        return end;
                    }
                }
                mail = gateway.store.receive_mail(self.owner, self.inbox, heard_to, LISTEN_FOR) => {
                    let Ok(mail) = mail else {
                        sleep(RENEW_EVERY).await;
                        continue;
                    };
                    for mail in mail {
                        heard_to = mail.position;
                        match parcel::read(&mail.message) {
                            Ok(ToHolder::Cancelled) => return End::Cancelled,
                            Ok(ToHolder::Resumed) => {
                                self.is_read = true;
                                self.open.clear();
                                deadline = Instant::now() + SILENT_MAX;
                            }
                            Ok(ToHolder::Parked) => {
                                self.is_read = false;
                                deadline = Instant::now() + ANSWERED_WITHIN;
                            }
                            Err(fault) => tracing::warn!(%fault, "a holder got mail that it cannot read"),
                        }
                    }
                }
                // Whoever goes on with the call is waited for; who has not come yet resumes the stream, or begins anew.
                () = gateway.stopping.cancelled(), if !self.is_read => {
                    let is_resumable = self.exchange.last_event_id().is_some();
                    return if is_resumable { End::Left } else { End::Cancelled };
                }
                () = sleep_until(deadline) => {
                    if self.is_read {
                        self.fail(&AnswerFault::Timeout(SILENT_MAX)).await;
                    }
                    return End::Cancelled;
                }
            }
        }
    }

    /// Hands on what the server said; `Some` when that was the last thing.
    async fn hear(&mut self, said: Result<Option<FromServer>, AnswerFault>) -> Option<End> {
        let (event, is_last) = match said {
            Ok(Some(FromServer::Priming(_))) => return None,
            Ok(Some(FromServer::Notification(notice, event))) => {
                let withdraws = &*notice.method == "notifications/cancelled";
                if !self.is_read && !withdraws {
                    return None;
                }
                (event, false)
            }
            Ok(Some(FromServer::Asked(asked, event))) => {
                self.open.push(asked.id);
                (event, false)
            }
            Ok(Some(FromServer::Answer(_, event))) => (event, true),
            Ok(None) => match self.exchange.resume() {
                Ok(()) => return None,
                Err(fault) => return Some(self.fail(&fault).await),
            },
            Err(fault) => return Some(self.fail(&fault).await),
        };
        let data = event.data.unwrap_or_default();
        let data = String::from_utf8_lossy(&data).into_owned();
        self.send(&FromHolder::Said { data, id: event.id }, is_last).await;
        is_last.then_some(End::Answered)
    }

    async fn fail(&mut self, fault: &AnswerFault) -> End {
        self.send(&FromHolder::Failed(fault.to_string()), true).await;
        End::Answered
    }

    /// A full mailbox is waited for, as a slow agent is: nothing that a call needs is left out.
    async fn send(&self, what: &FromHolder, is_last: bool) {
        let message = parcel::write(what);
        let give_up_at = Instant::now() + ANSWERED_WITHIN;
        loop {
            let sent = self.gateway.store.send_mail(self.owner, self.waiting, message.clone(), ANSWER_WITHIN_S).await;
            match sent {
                Ok(()) => return,
                Err(error) if Instant::now() >= give_up_at => {
                    tracing::warn!(%error, is_last, "what a held call heard is lost");
                    return;
                }
                Err(_) => {
                    let _renewed = self.gateway.store.hold(self.owner, self.waiting, HELD_FOR_S).await;
                    sleep(FULL_PAUSE).await;
                }
            }
        }
    }
}
