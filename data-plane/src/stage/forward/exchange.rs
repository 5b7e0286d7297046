//! One request at one server, and everything that the server says until it is answered: the server's side of a
//! conversation, whatever carries it.
//!
//! Invariant: what comes out was read strictly; an exchange for a request ends with the answer to that request, and
//! nothing is heard after it.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::{
    ask::{Ask, Fault, Outgoing},
    speech::{Speech, Tongue},
};
use crate::{
    mcp::{
        json::{self, Raw},
        message::{Message, MetaValue, Notification, Request, RequestId, Response, write_notice},
        method::{Method, Notice},
        sse,
    },
    telemetry::span::UpstreamSpan,
    upstream::answer::{self, AnswerFault, Body, Events, Received},
};

/// JSON-RPC: the method is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// One request at one server, or one stream that answers no request.
#[derive(Debug)]
pub struct Exchange {
    ask: Ask,
    speech: Speech,
    /// The request as the server knows it; `None`: a stream.
    id: Option<RequestId>,
    status: StatusCode,
    source: Source,
    sent_at: Instant,
    span: UpstreamSpan,
    last_event_id: Option<Box<str>>,
}

/// Where messages come from.
#[derive(Debug)]
enum Source {
    /// One message, which has arrived whole.
    Whole(Response, Bytes),
    /// An event stream, still arriving.
    Events(Box<Events>),
    /// Nothing more comes.
    Ended,
}

/// What a server says, with the event that carried it.
#[derive(Debug)]
pub enum FromServer {
    /// No message: an id to resume from, or a time to wait.
    Priming(sse::Event),
    /// Something that asks for no answer.
    Notification(Notification, sse::Event),
    /// A question to the agent.
    Asked(Request, sse::Event),
    /// The answer to the request; on a stream, to one that was sent elsewhere.
    Answer(Response, sse::Event),
}

impl Exchange {
    /// Sends a request and waits for the head of what it is answered with. `id`: the request's, as it is written.
    ///
    /// # Errors
    /// How the server failed.
    pub async fn open(ask: &Ask, speech: &Speech, id: RequestId, outgoing: Outgoing<'_>) -> Result<Self, Fault> {
        let received = ask.send(&speech.instance, outgoing).await?;
        Ok(Self::over(ask, speech, Some(id), received))
    }

    /// The exchange of a request whose answer's head has arrived.
    pub fn over(ask: &Ask, speech: &Speech, id: Option<RequestId>, received: Received) -> Self {
        let Received { status, body, sent_at, span, .. } = received;
        let source = match body {
            Body::Empty => Source::Ended,
            Body::Whole(response, bytes) => Source::Whole(response, bytes),
            Body::Events(events) => Source::Events(Box::new(events)),
        };
        let (ask, speech) = (ask.clone(), speech.clone());
        Self { ask, speech, id, status, source, sent_at, span, last_event_id: None }
    }

    /// HTTP status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The code of the error that the request was answered with, where nothing else can come.
    pub fn error_code(&self) -> Option<i64> {
        match &self.source {
            Source::Whole(response, _) => response.error_code(),
            Source::Events(_) | Source::Ended => None,
        }
    }

    /// How the server is spoken to.
    pub const fn speech(&self) -> &Speech {
        &self.speech
    }

    /// On behalf of which call.
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Whether more than one message may come.
    pub const fn is_stream(&self) -> bool {
        matches!(self.source, Source::Events(_))
    }

    /// The id of the last event that had one: where a broken stream can be resumed.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Waits as long as a tool may think, or as long as a stream may be silent.
    pub fn be_patient(&mut self) {
        let source = std::mem::replace(&mut self.source, Source::Ended);
        let is_stream = self.id.is_none();
        self.source = match source {
            Source::Events(events) if is_stream => Source::Events(Box::new(events.endless())),
            Source::Events(events) => Source::Events(Box::new(events.patient())),
            other => other,
        };
    }

    /// What the server says next; `None` when the stream ended. Nothing is lost when this is dropped half way.
    ///
    /// # Errors
    /// When the stream breaks or goes silent, or what arrives is no MCP or answers another request.
    pub async fn next(&mut self) -> Result<Option<FromServer>, AnswerFault> {
        let event = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Ended => return Ok(None),
            Source::Whole(response, data) => {
                let response = self.checked(response)?;
                return Ok(Some(FromServer::Answer(
                    response,
                    sse::Event { data: Some(data), ..sse::Event::default() },
                )));
            }
            Source::Events(events) => {
                self.source = Source::Events(events);
                let Source::Events(events) = &mut self.source else { return Ok(None) };
                events.next().await?
            }
        };
        self.ask.was_busy(self.sent_at);
        let Some(event) = event else { return Ok(None) };
        if let Some(id) = &event.id {
            self.last_event_id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        self.read(event).map(Some)
    }

    /// Reads on to the answer and hands it out; the server's questions on the way are declined.
    ///
    /// # Errors
    /// As [`Exchange::next`], and when the stream ends before the answer.
    pub async fn answer(mut self) -> Result<Response, AnswerFault> {
        while let Some(said) = self.next().await? {
            match said {
                FromServer::Answer(response, _) => {
                    tokio::spawn(self.finish());
                    return Ok(response);
                }
                FromServer::Asked(asked, _) => self.reply(&asked.id, declined(&asked)),
                FromServer::Notification(..) | FromServer::Priming(_) => {}
            }
        }
        Err(AnswerFault::ended_early())
    }

    /// Answers a question of the server, off the caller's clock. A server of the modern era asks none.
    pub fn reply(&self, id: &RequestId, outcome: Result<Raw, Raw>) {
        let response = Response { id: Some(id.clone()), outcome };
        let body = response.write(response.id.as_ref());
        self.tell("response", body);
    }

    /// Tells the server that nobody waits for the answer any more; dropping the stream tells a modern one.
    pub fn cancel(&self) {
        let Some(id) = &self.id else { return };
        let method = Notice::Cancelled.as_str();
        let body = write_notice(method, |params| params.raw("requestId", &id.to_raw()));
        self.tell(method, body);
    }

    /// Reads to the end of a stream whose answer has arrived: a connection that is left in the middle of an answer has
    /// to be closed.
    pub async fn finish(self) {
        if let Source::Events(events) = self.source {
            events.finish().await;
        }
    }

    /// The answer could not be used, as the span is to say.
    pub fn failed(&self, reason: &str) {
        self.span.fail(reason);
    }

    fn tell(&self, method: &'static str, body: Bytes) {
        if let Tongue::Modern = self.speech.tongue {
            return;
        }
        let (ask, speech) = (self.ask.clone(), self.speech.clone());
        tokio::spawn(async move {
            let write = |_: &[(&str, MetaValue<'_>)]| body.clone();
            let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
            if let Err(fault) = ask.send(&speech.instance, outgoing).await {
                tracing::debug!(call_id = %ask.call_id(), server = %speech.server.name, %fault, method, "a server was not told");
            }
        });
    }

    fn read(&self, event: sse::Event) -> Result<FromServer, AnswerFault> {
        let message = match &event.data {
            Some(data) if !data.is_empty() => answer::read(data)?,
            _ => return Ok(FromServer::Priming(event)),
        };
        Ok(match message {
            Message::Notification(notification) => FromServer::Notification(notification, event),
            Message::Request(asked) => FromServer::Asked(asked, event),
            Message::Response(response) => FromServer::Answer(self.checked(response)?, event),
        })
    }

    fn checked(&self, response: Response) -> Result<Response, AnswerFault> {
        match &self.id {
            Some(id) => answer::answers(response, id),
            None => Ok(response),
        }
    }
}

/// What Tollgate says to a question that nobody else can answer: `{}` to a ping, else that the agent cannot be asked.
pub fn declined(asked: &Request) -> Result<Raw, Raw> {
    if asked.method.as_ref() == Method::Ping.as_str() {
        return Ok(Raw::empty_object());
    }
    Err(json::object(|error| {
        error.integer("code", METHOD_NOT_FOUND);
        error.text("message", "this client cannot be asked");
    }))
}
