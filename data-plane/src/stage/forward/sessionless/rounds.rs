//! One request of a legacy agent at a modern server, however often the server asks something first: to the rest of the
//! gateway, the answer of a server of the agent's own era.
//!
//! Each round is a request of its own to the server. Between two of them the questions are with the agent, whose
//! answers reach the call's mailbox from whichever data plane they were sent to.
//!
//! Invariant: the server gets the request once per round, with an answer to everything that it asked; nothing is lost
//! when [`Rounds::next`] is dropped half way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    answer::Answer,
    call::Call,
    question_id::{self, QuestionId},
};
use crate::{
    bridge::to_modern::{
        Outcome, Round, Taken,
        outcome::{self, INTERNAL_ERROR, error_of},
        question::InputRequired,
        request::Retry,
        round::ROUNDS_MAX,
    },
    mcp::{
        json::Raw,
        message::{Notification, RequestId, Response},
        sse,
    },
    stage::forward::{
        ask::Fault,
        exchange::{Exchange, FromServer},
        mirror,
        single::HEADER_MISMATCH,
        speech::Speech,
    },
    store::{Announcements, MailboxId},
    upstream::{UpstreamError, answer::AnswerFault},
};

/// How long an agent may take to the answers of one round, in seconds.
const ANSWER_WITHIN_S: u64 = 600;
/// How long a server that only wants to be asked again is left alone: at first, and twice as long each time.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The rounds of one request.
pub struct Rounds {
    call: Arc<Call>,
    announcements: Announcements,
    mailbox: Option<MailboxId>,
    /// Of the last answer that was read.
    position: u64,
    /// How many rounds there were.
    count: u8,
    /// What is to be said to the agent.
    said: VecDeque<Bytes>,
    state: State,
}

/// What the next thing will come from.
enum State {
    /// The server answers.
    Hearing(Box<Exchange>),
    /// The agent answers.
    Asking(Round, Instant),
    /// The request is sent again.
    Sending(AbortOnDropHandle<Result<Exchange, Fault>>),
    /// Nothing comes any more.
    Over,
}

impl Rounds {
    /// Sends the request for the first time, and waits for the head of its answer.
    ///
    /// # Errors
    /// How the server failed, and [`AnswerFault::Cancelled`] when the agent wants no answer any more.
    pub(super) async fn open(mut call: Call, mut announcements: Announcements) -> Result<Self, Fault> {
        let (id, first) = (call.asked.request.id.clone(), Retry::default());
        let sent_at = std::time::Instant::now();
        let mut exchange = tokio::select! {
            () = call.cancelled(&mut announcements) => return Err(AnswerFault::Cancelled.into()),
            sent = call.send(id.clone(), &first) => sent?,
        };
        if exchange.error_code() == Some(HEADER_MISMATCH)
            && let Some(mirrored) = call.asked.mirrored()
            && let Some(params) = mirror::anew(&call.ask, &call.speech, mirrored, sent_at, &call.asked.params).await
        {
            // What its headers are wrong for is not executed, so sending it once more repeats nothing.
            call.asked.params = params;
            exchange = call.send(id, &first).await?;
        }
        let state = State::hearing(exchange);
        let (call, said) = (Arc::new(call), VecDeque::new());
        Ok(Self { call, announcements, mailbox: None, position: 0, count: 0, said, state })
    }

    /// How the server is spoken to.
    pub fn speech(&self) -> &Speech {
        &self.call.speech
    }

    /// What the agent hears next; `None` after the answer. Cancel safe.
    ///
    /// # Errors
    /// When the server fails, and [`AnswerFault::Cancelled`] when the agent wants no answer any more.
    pub async fn next(&mut self) -> Result<Option<sse::Event>, AnswerFault> {
        loop {
            if let Some(data) = self.said.pop_front() {
                let event = Some("message".into());
                return Ok(Some(sse::Event { event, data: Some(data), ..sse::Event::default() }));
            }
            let Self { call, announcements, state, .. } = self;
            let next = tokio::select! {
                biased;
                () = call.cancelled(announcements) => return Err(AnswerFault::Cancelled),
                next = state.next(call, self.mailbox, self.position) => next,
            };
            match next {
                Next::Said(said) => self.heard(said?)?,
                Next::Sent(sent) => self.state = State::hearing(sent.map_err(flat)?),
                Next::Answers(answers) => self.answered(answers),
                Next::Nothing => return Ok(None),
            }
        }
    }

    /// Whether nothing goes on before the agent answers.
    pub const fn awaits_agent(&self) -> bool {
        matches!(self.state, State::Asking(..))
    }

    /// The answer could not be used, as the span is to say.
    pub fn failed(&self, reason: &str) {
        if let State::Hearing(exchange) = &self.state {
            exchange.failed(reason);
        }
    }

    fn heard(&mut self, said: Option<FromServer>) -> Result<(), AnswerFault> {
        match said.ok_or_else(AnswerFault::ended_early)? {
            FromServer::Priming(_) => {}
            FromServer::Notification(notification, event) => {
                self.said.extend(event.data.filter(|_| is_about_the_request(&notification)));
            }
            FromServer::Asked(asked, _) => {
                tracing::warn!(method = %asked.method, "a request on a modern stream was dropped: MCP has none");
            }
            FromServer::Answer(response, _) => {
                let read = outcome::read(self.call.asked.method, &response.outcome);
                match read.map_err(|wrong| AnswerFault::Invalid(wrong.to_owned()))? {
                    Outcome::Answer(outcome) => self.end(outcome),
                    Outcome::Input(asked) => self.ask(asked),
                }
            }
        }
        Ok(())
    }

    /// Puts the server's questions to the agent.
    fn ask(&mut self, asked: InputRequired) {
        if let Err(outcome) = asked.permitted(self.call.asked.method, self.call.introduction.can()) {
            return self.end(outcome);
        }
        self.count += 1;
        if self.count > ROUNDS_MAX {
            return self.end(Err(error_of(INTERNAL_ERROR, "the server asks without end")));
        }
        let round = Round::new(asked);
        if let Some(retry) = round.unasked() {
            let pause = PAUSE.saturating_mul(1 << self.count.min(6)).min(PAUSE_MAX);
            return self.send(retry, pause);
        }
        match self.write(&round) {
            Ok(questions) => {
                self.said.extend(questions);
                self.state = State::Asking(round, Instant::now() + Duration::from_secs(ANSWER_WITHIN_S));
            }
            Err(error) => {
                tracing::error!(%error, "a server's question could not be put to its agent");
                self.end(Err(error_of(INTERNAL_ERROR, "the server's question could not be put to the client")));
            }
        }
    }

    fn write(&mut self, round: &Round) -> Result<Vec<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        let mailbox = match self.mailbox {
            Some(mailbox) => mailbox,
            None => *self.mailbox.insert(MailboxId::generate()?),
        };
        let Call { tenant, owner, session, introduction, .. } = &*self.call;
        let expires_at = chrono::Utc::now().timestamp() + ANSWER_WITHIN_S.cast_signed();
        let mut questions = Vec::new();
        for (question, number) in round.questions().iter().zip(0..) {
            let id = QuestionId { mailbox, round: self.count, number };
            let id = question_id::seal(tenant, *owner, session, expires_at, id)?;
            questions.push(question.write(&id, introduction));
        }
        Ok(questions)
    }

    fn answered(&mut self, answers: Option<Vec<Answer>>) {
        let State::Asking(round, _) = &mut self.state else { return };
        let Some(answers) = answers else {
            return self.end(Err(error_of(INTERNAL_ERROR, "the client did not answer the server's question in time")));
        };
        let mut taken = Taken::Waiting;
        for answer in answers {
            self.position = answer.position;
            if answer.round == self.count && matches!(taken, Taken::Waiting) {
                taken = round.take(answer.number.into(), &answer.outcome);
            }
        }
        match taken {
            Taken::Waiting => {}
            Taken::Complete(retry) => self.send(retry, Duration::ZERO),
            Taken::Ends(error) => self.end(Err(error)),
        }
    }

    /// Sends the request again, under an id of its own.
    fn send(&mut self, retry: Retry, pause: Duration) {
        let call = Arc::clone(&self.call);
        self.state = State::Sending(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            call.send(RequestId::Text(Uuid::new_v4().to_string().into()), &retry).await
        })));
    }

    fn end(&mut self, outcome: Result<Raw, Raw>) {
        let id = &self.call.asked.request.id;
        self.said.push_back(Response { id: Some(id.clone()), outcome }.write(Some(id)));
        let ended = std::mem::replace(&mut self.state, State::Over);
        if let State::Hearing(exchange) = ended {
            tokio::spawn(exchange.finish());
        }
        if let Some(mailbox) = self.mailbox.take() {
            let call = Arc::clone(&self.call);
            tokio::spawn(async move {
                if let Err(error) = call.ask.gateway().store.discard_mail(call.owner, mailbox).await {
                    tracing::debug!(%error, "a mailbox is left to expire");
                }
            });
        }
    }
}

/// What came first.
enum Next {
    Said(Result<Option<FromServer>, AnswerFault>),
    Sent(Result<Exchange, Fault>),
    /// `None`: not in time.
    Answers(Option<Vec<Answer>>),
    Nothing,
}

impl State {
    fn hearing(mut exchange: Exchange) -> Self {
        exchange.be_patient();
        Self::Hearing(Box::new(exchange))
    }

    /// Cancel safe: each part is.
    async fn next(&mut self, call: &Call, mailbox: Option<MailboxId>, position: u64) -> Next {
        match self {
            Self::Over => Next::Nothing,
            Self::Hearing(exchange) => Next::Said(Box::pin(exchange.next()).await),
            Self::Sending(sending) => {
                Next::Sent(sending.await.unwrap_or_else(|_ended| Err(AnswerFault::ended_early().into())))
            }
            Self::Asking(_, until) => {
                let Some(mailbox) = mailbox else { return Next::Answers(None) };
                let store = &call.ask.gateway().store;
                let wait = until.saturating_duration_since(Instant::now());
                let mail = store.receive_mail(call.owner, mailbox, position, wait).await.unwrap_or_default();
                let answers: Vec<_> = mail.iter().filter_map(Answer::read).collect();
                Next::Answers((!answers.is_empty()).then_some(answers))
            }
        }
    }
}

/// Only progress and log messages belong to a request (MCP 2026-07-28, basic/transports/streamable-http).
fn is_about_the_request(notification: &Notification) -> bool {
    matches!(&*notification.method, "notifications/progress" | "notifications/message")
}

/// A failure to send again, which comes in the middle of an answer.
fn flat(fault: Fault) -> AnswerFault {
    match fault {
        Fault::Answered(fault) => fault,
        Fault::Unanswered(UpstreamError::Timeout(timeout)) => AnswerFault::Timeout(timeout),
        Fault::Unanswered(UpstreamError::Unreachable(_) | UpstreamError::Broken(_) | UpstreamError::Credential(_)) => {
            AnswerFault::Unavailable(StatusCode::BAD_GATEWAY)
        }
    }
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Hearing(_) => "hearing",
            State::Asking(..) => "asking",
            State::Sending(_) => "sending",
            State::Over => "over",
        };
        f.debug_struct("Rounds").field("count", &self.count).field("state", &state).finish_non_exhaustive()
    }
}
