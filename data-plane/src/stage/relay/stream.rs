//! The conversation that a call is while its answer is under way: one loop that hears the server, hands what it says
//! to the call's [`Translation`](crate::stage::forward::translation::Translation) and does what that says.
//!
//! It runs in a task of its own. Invariant: whoever may no longer make the call gets no more of its answer: every
//! change of policy or revocations is a reason to look. A request is always answered, unless its agent went away or
//! can go on elsewhere.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tollgate_proto::usage::v1::Outcome;

use super::agent::Agent;
use crate::{
    bridge::to_legacy::question::Pending,
    call::{Call, Ending},
    front::AnswerBody,
    mcp::{message::Response, method::ServerNotice, sse},
    refusal::Refusal,
    stage::{
        authorize::Standing,
        currency::require_unexpired,
        forward::{
            Passing,
            ask::Fault,
            exchange::FromServer,
            news::News,
            translation::{Farewell, Parting, Step},
            watch::Watch,
        },
        identify::Caller,
        relay, settle,
    },
    upstream::answer::AnswerFault,
};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long the head of the answer waits for the server's first words: if they are the answer, no stream is needed.
const FIRST_WORDS_WAIT: Duration = Duration::from_millis(100);

/// An answer that is a stream, about to begin.
#[derive(Debug)]
pub(in crate::stage) struct Conversation {
    passing: Passing,
    standing: Standing,
    /// What the server has said already.
    first: Option<Step>,
}

/// What the server said before the agent's answer has a form.
pub(super) enum First {
    /// The answer, which needs no stream.
    Answer(StatusCode, Response),
    /// Something else, or nothing yet.
    Stream(Box<Conversation>),
}

/// Where a conversation comes to a rest.
enum Turn {
    /// It is over.
    End(End),
    /// It waits for the agent's answer to this.
    Park(Pending),
}

/// How a stream ended.
struct End {
    outcome: Outcome,
    rpc_error_code: i64,
    /// Whether the server's end of it may serve again.
    is_whole: bool,
}

/// Listens to the server's first words.
///
/// # Errors
/// How the server failed before it said anything.
pub(super) async fn begin(mut passing: Passing, standing: Standing) -> Result<First, Refusal> {
    let mut first = None;
    passing.exchange.be_heard();
    passing.exchange.be_patient();
    if passing.request.is_some() {
        let said = tokio::time::timeout(FIRST_WORDS_WAIT, passing.exchange.next()).await;
        if let Ok(said) = said {
            let fault = |fault: AnswerFault| {
                let exchange = &passing.exchange;
                exchange.ask().refusal_of(exchange.server_name(), &Fault::from(fault))
            };
            match said.map_err(fault)? {
                Some(said) => first = Some(passing.heard(said)),
                // The loop goes on with it.
                None if passing.translation.resumes() => {}
                None => return Err(fault(AnswerFault::ended_early())),
            }
        }
    }
    match first {
        Some(Step::End(response, _)) => {
            let status = passing.translation.status(&response, passing.exchange.status());
            tokio::spawn(passing.exchange.finish());
            return Ok(First::Answer(status, response));
        }
        Some(Step::Park(question)) => {
            let (ask, server) = (passing.exchange.ask().clone(), passing.exchange.server_name().to_owned());
            let parked = passing.park(question, standing).await;
            let response = parked.map_err(|fault| ask.refusal_of(&server, &Fault::from(fault)))?;
            return Ok(First::Answer(StatusCode::OK, response));
        }
        _ => {}
    }
    Ok(First::Stream(Box::new(Conversation { passing, standing, first })))
}

/// The body that passes the stream on; the call is closed when the stream ends.
pub(in crate::stage) fn pass_on(call: Call, conversation: Conversation) -> AnswerBody {
    let (agent, body) = Agent::new();
    let Conversation { passing, standing, first } = conversation;
    let gateway = Arc::clone(call.gateway());
    let relay = Relay { call, standing, passing, agent, agent_is_there: true };
    gateway.calls.spawn(relay.run(first));
    body
}

struct Relay {
    call: Call,
    standing: Standing,
    passing: Passing,
    agent: Agent,
    agent_is_there: bool,
}

impl Relay {
    async fn run(mut self, first: Option<Step>) {
        let gateway = Arc::clone(self.call.gateway());
        gateway.metrics.stream_opened();
        let turn = self.converse(first).await;
        gateway.metrics.stream_closed();
        match turn {
            Turn::End(end) => self.close(end).await,
            Turn::Park(question) => self.park(question).await,
        }
    }

    /// The agent's stream ends with the questions; the server's is held for its answers.
    async fn park(self, question: Pending) {
        let Self { mut call, standing, passing, mut agent, .. } = self;
        let (ask, request) = (passing.exchange.ask().clone(), passing.request.clone());
        let server = passing.exchange.server_name().to_owned();
        let (event, outcome, rpc_error_code) = match passing.park(question, standing).await {
            Ok(response) => {
                let event = message(relay::write(request.as_ref(), &response), None);
                (event, relay::outcome(&mut call, &response), response.error_code().unwrap_or_default())
            }
            Err(fault) => {
                let refusal = ask.refusal_of(&server, &Fault::from(fault));
                call.refused(&refusal);
                let event = message(settle::error_body(&call, &refusal, request.as_ref()), None);
                (event, Outcome::UpstreamError, refusal.facts().code)
            }
        };
        agent.hear(&event).await;
        let output_bytes = agent.heard_bytes();
        drop(agent);
        call.upstream_took(ask.upstream_took());
        call.close(Ending { outcome, status: StatusCode::OK, rpc_error_code, output_bytes });
    }

    async fn close(self, end: End) {
        let End { outcome, rpc_error_code, is_whole } = end;
        let Self { mut call, passing, agent, .. } = self;
        let output_bytes = agent.heard_bytes();
        // The agent's stream ends here, whatever the server's does.
        drop(agent);
        call.upstream_took(passing.exchange.ask().upstream_took());
        call.close(Ending { outcome, status: StatusCode::OK, rpc_error_code, output_bytes });
        if outcome != Outcome::Ok {
            passing.exchange.failed(outcome.as_str_name());
        }
        if is_whole {
            tokio::spawn(passing.exchange.finish());
        }
    }

    async fn converse(&mut self, first: Option<Step>) -> Turn {
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE_EVERY);
        keep_alive.reset();
        let mut changes = self.call.gateway().policies.changes();
        let stopping = self.call.gateway().stopping.clone();
        let (mut next, mut stopped) = (first, false);
        loop {
            if let Some(step) = next.take() {
                keep_alive.reset();
                if let Some(turn) = self.take(step).await {
                    return turn;
                }
            }
            if !self.agent_is_there && self.passing.exchange.awaits_agent() {
                return Turn::End(End::new(Outcome::Abandoned, 0));
            }
            tokio::select! {
                biased;
                // The sender lives as long as the gateway, so waiting cannot fail.
                _ = changes.changed() => {
                    let now = self.call.gateway().now();
                    match self.recheck(now) {
                        Ok(caller) => self.passing.seen(&caller, now),
                        Err(refusal) => return Turn::End(self.cut_off(&refusal).await),
                    }
                }
                () = self.agent.room(), if self.agent.is_behind() => self.agent.pass_waiting(),
                said = self.passing.exchange.next(), if !self.agent.is_behind() => match said {
                    Ok(Some(said)) => next = Some(self.heard(said)),
                    Ok(None) => if let Some(end) = self.ended().await {
                        return Turn::End(end);
                    },
                    Err(AnswerFault::Cancelled) => return Turn::End(End::new(Outcome::Abandoned, 0)),
                    Err(fault) => return Turn::End(self.fail(fault).await),
                },
                event = news(self.passing.news.as_deref_mut()) => next = Some(Step::Pass(event)),
                () = over(self.passing.watch.as_deref_mut()) => return Turn::End(End::new(Outcome::Ok, 0)),
                // A stream that nobody caused would hold up the stop for as long as the server likes, and so would an answer
                // that nobody hears.
                () = stopping.cancelled(), if !stopped || !self.agent_is_there => {
                    stopped = true;
                    if !self.agent_is_there {
                        return Turn::End(End::new(Outcome::Abandoned, 0));
                    }
                    if let Some(end) = self.farewell().await {
                        return Turn::End(end);
                    }
                }
                () = self.agent.gone(), if self.agent_is_there => match self.parting() {
                    Parting::HangUp => return Turn::End(End::new(Outcome::Abandoned, 0)),
                    Parting::Cancel => {
                        self.passing.exchange.cancel();
                        return Turn::End(End::new(Outcome::Abandoned, 0));
                    }
                    Parting::ReadOn => self.agent_is_there = false,
                },
                _ = keep_alive.tick(), if self.agent_is_there => self.agent.keep_alive(),
            }
        }
    }

    /// What is done about something that the server said. A result that comes beside the answer to this request, because
    /// it is another request's or a task's, is counted as it passes.
    fn heard(&mut self, said: FromServer) -> Step {
        let result = match &said {
            FromServer::Answer(response, _) if self.passing.request.is_none() => {
                response.outcome.as_ref().ok().cloned()
            }
            FromServer::Notification(notice, _) if ServerNotice::parse(&notice.method) == Some(ServerNotice::Tasks) => {
                notice.params.get("result").cloned()
            }
            _ => None,
        };
        let step = self.passing.heard(said);
        if let (Some(result), Step::Pass(_)) = (&result, &step) {
            self.call.passed_by(result);
        }
        step
    }

    /// Who calls, by the policy of now, if the call may go on.
    fn recheck(&self, now: i64) -> Result<Caller, Refusal> {
        let policies = &self.call.gateway().policies;
        let caller = self.standing.recheck(policies, now)?;
        require_unexpired(policies, &caller)?;
        Ok(caller)
    }

    /// Does what the translation says; `Some` at the end of the call.
    async fn take(&mut self, step: Step) -> Option<Turn> {
        match step {
            Step::Pass(event) => self.agent.pass(&event),
            Step::Drop => {}
            Step::Reply(id, outcome) => self.passing.exchange.reply(&id, outcome),
            Step::Park(question) => return Some(Turn::Park(question)),
            Step::End(response, event_id) => return Some(Turn::End(self.answer(&response, event_id).await)),
        }
        None
    }

    async fn answer(&mut self, response: &Response, event_id: Option<Box<str>>) -> End {
        let written = relay::write(self.passing.request.as_ref(), response);
        self.agent.hear(&message(written, event_id)).await;
        self.call.answered(response);
        let rpc_error_code = response.error_code().unwrap_or_default();
        End { is_whole: true, ..End::new(relay::outcome(&mut self.call, response), rpc_error_code) }
    }

    /// The gateway stops: a call is waited for, what could go on for ever is not.
    async fn farewell(&mut self) -> Option<End> {
        match self.passing.translation.farewell(self.passing.request.as_ref())? {
            Farewell::Answer(response) => {
                self.agent.hear_last(message(relay::write(self.passing.request.as_ref(), &response), None)).await;
                Some(End::new(relay::outcome(&mut self.call, &response), response.error_code().unwrap_or_default()))
            }
            Farewell::Silent => Some(End::new(Outcome::Ok, 0)),
        }
    }

    /// The server's stream ended without an answer; `None` when it goes on.
    async fn ended(&mut self) -> Option<End> {
        let Passing { exchange, translation, .. } = &mut self.passing;
        if translation.resumes() {
            return match exchange.resume() {
                Ok(()) => None,
                Err(fault) => Some(self.fail(fault).await),
            };
        }
        if self.passing.translation.may_end_early(self.is_resumable()) {
            return Some(End::new(Outcome::Ok, 0));
        }
        Some(self.fail(AnswerFault::ended_early()).await)
    }

    /// The stream cannot go on: the agent gets an error for its request, and the stream ends.
    async fn fail(&mut self, fault: AnswerFault) -> End {
        let (server, fault) = (self.passing.exchange.server_name(), Fault::from(fault));
        tracing::warn!(call_id = %self.call.id(), server, %fault, "the server failed a stream");
        let refusal = fault.refusal(server);
        self.call.refused(&refusal);
        if let Some(error) = self.error(&refusal) {
            self.agent.hear_last(error).await;
        }
        let outcome =
            if matches!(refusal, Refusal::UpstreamTimeout { .. }) { Outcome::Timeout } else { Outcome::UpstreamError };
        End::new(outcome, refusal.facts().code)
    }

    /// The caller may no longer make this call: it is told so, and the server's answer is read no further.
    async fn cut_off(&mut self, refusal: &Refusal) -> End {
        self.call.cut_off(refusal);
        self.passing.exchange.cancel();
        if let Some(error) = self.error(refusal) {
            self.agent.hear_last(error).await;
        }
        End::new(Outcome::CutOff, refusal.facts().code)
    }

    /// The event that answers the request with an error; a stream that answers none just ends.
    fn error(&self, refusal: &Refusal) -> Option<sse::Event> {
        let request = self.passing.request.as_ref()?;
        Some(message(settle::error_body(&self.call, refusal, Some(request)), None))
    }

    fn parting(&self) -> Parting {
        self.passing.translation.parting(self.is_resumable())
    }

    fn is_resumable(&self) -> bool {
        self.passing.exchange.last_event_id().is_some()
    }
}

/// What the agent is to hear that the server did not say on this stream.
async fn news(news: Option<&mut News>) -> sse::Event {
    match news {
        Some(news) => news.next().await,
        None => std::future::pending().await,
    }
}

/// Until a stream has to end for what happened elsewhere: never, where nothing can.
async fn over(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.over().await,
        None => std::future::pending().await,
    }
}

impl End {
    const fn new(outcome: Outcome, rpc_error_code: i64) -> Self {
        Self { outcome, rpc_error_code, is_whole: false }
    }
}

fn message(data: Bytes, id: Option<Box<str>>) -> sse::Event {
    sse::Event { event: Some("message".into()), id, retry: None, data: Some(data) }
}
