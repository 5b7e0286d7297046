//! Stage 8, forward: the errand is run. Whatever a server is asked goes through [`ask::Ask`].
//!
//! Invariant: the agent's token never reaches a server, and of its headers those alone that the server's registration
//! names; a tool call is sent once and never repeated, unless the server said that it did not take it.

pub mod ask;
mod backoff;
mod bridged;
mod era;
pub mod exchange;
pub mod federated;
mod held;
mod here;
mod joined;
mod leg;
mod legs;
pub mod linked;
pub mod merge;
mod mirror;
pub mod news;
pub mod offer;
mod sessionless;
mod single;
pub mod speech;
mod streams;
pub mod tasks;
pub mod translation;
mod united;
pub mod watch;
pub mod wrapping;

use http::StatusCode;
use tollgate_proto::Name;

use crate::{
    bridge::to_legacy::question::Pending,
    call::Call,
    mcp::{
        json::Raw,
        message::{RequestId, Response},
        method::ListKind,
    },
    refusal::Refusal,
    stage::{
        authorize::{Permit, Standing},
        identify::Caller,
        record::Recorded,
        route::{Errand, Listen, Route},
    },
    store::SessionId,
    upstream::answer::AnswerFault,
};

pub use bridged::legs::Opening;

use ask::Ask;
use exchange::{Exchange, FromServer};
use news::News;
use translation::{Step, Translation};
use watch::Watch;
use wrapping::Wrapping;

pub use merge::Merged;

/// Evidence that the errand was run, with what came of it.
#[derive(Debug)]
pub struct Forwarded {
    pub(super) reply: Reply,
    /// The session that was opened for the agent.
    pub(super) opened: Option<SessionId>,
}

/// What came of an errand.
#[derive(Debug)]
pub enum Reply {
    /// Tollgate's own result.
    Result(Raw),
    /// Nothing to say beyond the status.
    Status(StatusCode),
    /// A server's response, read whole.
    Response(StatusCode, Response),
    /// A server's list, read whole, not yet filtered.
    List(ListKind, Name, Response),
    /// A page of the lists of several servers, not yet filtered.
    Merged(Merged),
    /// A server's answer that is passed on as it arrives.
    Passing(Box<Passing>),
}

/// An answer that is passed on as it arrives.
#[derive(Debug)]
pub struct Passing {
    pub(super) exchange: Exchange,
    /// The agent's request; `None`: a stream that answers none.
    pub(super) request: Option<RequestId>,
    pub(super) translation: Translation,
    /// What ends it from elsewhere, where it is a session's own stream.
    pub(super) watch: Option<Box<Watch>>,
    /// What is said beside what the server says, where it is a stream that goes on for ever.
    pub(super) news: Option<Box<News>>,
    /// How the URIs in it become those of a federated endpoint.
    pub(super) wrapping: Option<Wrapping>,
}

impl Passing {
    /// As the translation has it, with nothing beside.
    const fn new(exchange: Exchange, request: Option<RequestId>, translation: Translation) -> Self {
        Self { exchange, request, translation, watch: None, news: None, wrapping: None }
    }

    /// The policy was looked at again: this is what the caller may do by now, at `now` in unix seconds.
    pub(super) fn seen(&mut self, caller: &Caller, now: i64) {
        if let Some(news) = &mut self.news {
            news.seen(caller, now);
        }
    }

    /// What is done about something that the server said.
    pub(super) fn heard(&mut self, said: FromServer) -> Step {
        if let Some(news) = &mut self.news {
            news.heard(&said);
        }
        let said = match &self.wrapping {
            Some(wrapping) => wrapping.heard(said),
            None => said,
        };
        self.translation.heard(said)
    }

    /// What comes of the request, once it is answered; what is said before goes nowhere.
    async fn answer(mut self) -> Result<Response, AnswerFault> {
        while let Some(said) = self.exchange.next().await? {
            match self.heard(said) {
                Step::Pass(_) | Step::Drop => {}
                Step::Reply(id, outcome) => self.exchange.reply(&id, outcome),
                // A list waits for nobody.
                Step::Park(question) => {
                    question.id.iter().for_each(|id| self.exchange.reply(id, Err(exchange::cannot_be_asked())));
                }
                Step::End(response, _) => {
                    tokio::spawn(self.exchange.finish());
                    return Ok(response);
                }
            }
        }
        Err(AnswerFault::ended_early())
    }

    /// Lets the call wait for its agent's answers; the response puts the questions.
    ///
    /// # Errors
    /// When the server's stream fails first.
    pub(super) async fn park(self, first: Pending, standing: Standing) -> Result<Response, AnswerFault> {
        match self.translation {
            Translation::ToLegacy(translation) => bridged::park(self.exchange, *translation, first, standing).await,
            Translation::Same(_) | Translation::Done => {
                Err(AnswerFault::Invalid("a question that no era has".to_owned()))
            }
        }
    }
}

impl Forwarded {
    const fn plain(reply: Reply) -> Self {
        Self { reply, opened: None }
    }

    /// The same, where it is a stream, with what is said beside.
    fn with_news(self, news: Option<News>) -> Self {
        let reply = match self.reply {
            Reply::Passing(passing) => Reply::Passing(Box::new(Passing { news: news.map(Box::new), ..*passing })),
            reply => reply,
        };
        Self { reply, ..self }
    }

    fn wrapped(self, wrapping: Option<Wrapping>) -> Self {
        let reply = match (self.reply, wrapping) {
            (Reply::Passing(passing), wrapping) => Reply::Passing(Box::new(Passing { wrapping, ..*passing })),
            (Reply::Response(status, response), Some(wrapping)) => Reply::Response(status, wrapping.answer(response)),
            (reply, _) => reply,
        };
        Self { reply, ..self }
    }
}

/// Runs the errand.
///
/// # Errors
/// When the server or the store fails it.
pub async fn forward(
    call: &mut Call,
    caller: &Caller,
    route: Route,
    permit: &Permit,
    recorded: &Recorded,
) -> Result<Forwarded, Refusal> {
    let admitted = recorded.admitted();
    let ask = Ask::new(call, caller, admitted);
    let forwarded = match route.into_errand() {
        Errand::Here(errand) => here::answer(&ask, caller, admitted, permit.view(), errand).await,
        Errand::Server(errand) => {
            let wrapping = Wrapping::of(caller, &errand);
            single::forward(&ask, caller, admitted, errand).await.map(|forwarded| forwarded.wrapped(wrapping))
        }
        Errand::Listen(Listen::Session) => joined::of_session(&ask, caller, admitted).await,
        Errand::Listen(Listen::Request(request)) => joined::of_request(&ask, caller, request),
        Errand::Legs(notification) => legs::tell(&ask, caller, admitted, &notification).await,
        Errand::Merge(errand) => merge::list(&ask, caller, admitted, permit.view(), errand).await,
    };
    call.upstream_took(ask.upstream_took());
    if let Some(root) = ask.round_of() {
        call.belongs_to(root);
    }
    forwarded
}
