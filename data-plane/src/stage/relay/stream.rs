//! A server's stream, passed on to the agent event by event.
//!
//! The stream is read by a task of its own that writes to a short channel: a slow agent slows the server, and an
//! agent that goes away ends the request to the server (MCP 2026-07-28: that is how a call is cancelled).
//!
//! Invariant: whoever may no longer make the call gets no more of its answer. Every change of policy or revocations is a
//! reason to look.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tollgate_proto::usage::v1::Outcome;

use crate::{
    call::{Call, Ending},
    front::AnswerBody,
    mcp::{
        message::{Message, Request, RequestId, write_error},
        sse::{self, KEEP_ALIVE},
        version::Era,
    },
    refusal::Refusal,
    stage::{
        authorize::Standing,
        forward::{Passing, ask::Fault, leg::Origin},
        relay, settle,
    },
    upstream::answer::{self, AnswerFault, Body, Events},
};

const EVENTS_QUEUED: usize = 8;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long an agent that reads slowly may take to the error that ends its stream.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(1);
/// JSON-RPC: the method is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// What goes with a stream's end.
struct End {
    outcome: Outcome,
    rpc_error_code: i64,
}

struct Relay {
    call: Call,
    standing: Standing,
    request: Request,
    server: Arc<crate::policy::Server>,
    decline: Option<Origin>,
    out: mpsc::Sender<Bytes>,
    output_bytes: u64,
}

/// The body that passes the stream on; the call is closed when the stream ends.
pub fn pass_on(call: Call, passing: Passing, standing: Standing) -> AnswerBody {
    let (out, arriving) = mpsc::channel(EVENTS_QUEUED);
    let Passing { request, received, server, decline } = passing;
    let relay = Relay { call, standing, request, server, decline, out, output_bytes: 0 };
    tokio::spawn(async move {
        let sent_at = received.sent_at;
        let end = match received.body {
            Body::Events(events) => relay.run(events.patient(), sent_at).await,
            Body::Empty | Body::Whole(..) => return,
        };
        if end != Outcome::Ok {
            received.span.fail(end.as_str_name());
        }
    });
    let frames = ReceiverStream::new(arriving).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    StreamBody::new(frames).boxed_unsync()
}

impl Relay {
    async fn run(mut self, mut events: Events, sent_at: std::time::Instant) -> Outcome {
        let End { outcome, rpc_error_code } = self.relay(&mut events).await;
        self.call.upstream_took(sent_at.elapsed());
        let Self { call, output_bytes, out, .. } = self;
        // The agent's stream ends here, whatever the server's does.
        drop(out);
        call.close(Ending { outcome, status: StatusCode::OK, rpc_error_code, output_bytes });
        if !matches!(outcome, Outcome::Abandoned | Outcome::CutOff) {
            events.finish().await;
        }
        outcome
    }

    async fn relay(&mut self, events: &mut Events) -> End {
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE_EVERY);
        keep_alive.reset();
        let mut changes = self.call.gateway().policies.changes();
        loop {
            let next = tokio::select! {
                biased;
                // The sender lives as long as the gateway, so waiting cannot fail.
                _ = changes.changed() => {
                    let gateway = self.call.gateway();
                    match self.standing.recheck(&gateway.policies, gateway.now()) {
                        Ok(()) => continue,
                        Err(refusal) => return self.cut_off(&refusal).await,
                    }
                }
                next = events.next() => next,
                () = self.out.closed() => return End { outcome: Outcome::Abandoned, rpc_error_code: 0 },
                _ = keep_alive.tick() => {
                    let _ = self.out.send(KEEP_ALIVE).await;
                    continue;
                }
            };
            keep_alive.reset();
            let passed = match next {
                Ok(Some(event)) => self.pass(event).await,
                Ok(None) => Err(AnswerFault::Invalid("the stream ended before the answer".to_owned())),
                Err(fault) => Err(fault),
            };
            match passed {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(fault) => return self.fail(fault).await,
            }
        }
    }

    /// Passes one event on; `Some` when it was the answer.
    async fn pass(&mut self, event: sse::Event) -> Result<Option<End>, AnswerFault> {
        let message = match &event.data {
            Some(data) if !data.is_empty() => answer::read(data)?,
            // A priming event has an id and nothing to read.
            _ => {
                self.send(event.encode(), 0).await;
                return Ok(None);
            }
        };
        match message {
            Message::Response(response) => {
                let response = answer::answers(response, &self.request.id)?;
                let written = relay::write(Some(&self.request.id), &response);
                let event = sse::Event { data: Some(written.clone()), ..event };
                self.send(event.encode(), written.len()).await;
                let rpc_error_code = response.error_code().unwrap_or_default();
                Ok(Some(End { outcome: relay::outcome(&response), rpc_error_code }))
            }
            Message::Request(asked) => {
                self.asked(&asked, event).await;
                Ok(None)
            }
            Message::Notification(_) => {
                let bytes = event.data.as_ref().map_or(0, Bytes::len);
                self.send(event.encode(), bytes).await;
                Ok(None)
            }
        }
    }

    /// A server asks the agent something in the middle of a call.
    async fn asked(&mut self, asked: &Request, event: sse::Event) {
        match (&self.decline, self.call.era()) {
            (None, Era::Legacy) => {
                let bytes = event.data.as_ref().map_or(0, Bytes::len);
                self.send(event.encode(), bytes).await;
            }
            (Some(origin), Era::Legacy) => self.decline(origin.clone(), &asked.id),
            (_, Era::Modern) => {
                tracing::warn!(server = %self.server.name, "a request on a modern stream was dropped: MCP has none");
            }
        }
    }

    /// Says so to the server, so that it does not wait for an answer that cannot come.
    fn decline(&self, origin: Origin, id: &RequestId) {
        let body = write_error(Some(id), METHOD_NOT_FOUND, "this client cannot be asked", None);
        let (gateway, tenant) = (Arc::clone(self.call.gateway()), Arc::clone(self.standing.caller().tenant()));
        tokio::spawn(async move {
            let mut headers: HeaderMap = origin.headers();
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            headers.insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json, text/event-stream"));
            let sent = gateway.upstreams.send(&tenant.egress, &origin.instance, http::Method::POST, headers, body);
            if let Err(error) = sent.await {
                tracing::debug!(%error, "a server was not told that its request is declined");
            }
        });
    }

    /// The stream cannot go on: the agent gets an error for its request, and the stream ends.
    async fn fail(&mut self, fault: AnswerFault) -> End {
        let fault = Fault::from(fault);
        tracing::warn!(call_id = %self.call.id(), server = %self.server.name, %fault, "the server failed a stream");
        let refusal = fault.refusal(&self.server);
        self.call.refused(&refusal);
        let error = self.error(&refusal);
        self.send(error, 0).await;
        let outcome =
            if matches!(refusal, Refusal::UpstreamTimeout { .. }) { Outcome::Timeout } else { Outcome::UpstreamError };
        End { outcome, rpc_error_code: refusal.facts().code }
    }

    /// The caller may no longer make this call: it is told so, and the server's answer is read no further.
    async fn cut_off(&mut self, refusal: &Refusal) -> End {
        self.call.cut_off(refusal);
        let error = self.error(refusal);
        // An agent that reads nothing gets no error either.
        let _late = tokio::time::timeout(CUT_OFF_TIMEOUT, self.send(error, 0)).await;
        End { outcome: Outcome::CutOff, rpc_error_code: refusal.facts().code }
    }

    /// The event that answers the request with an error.
    fn error(&self, refusal: &Refusal) -> Bytes {
        let error = settle::error_body(&self.call, refusal, Some(&self.request.id));
        sse::Event { event: Some("message".into()), id: None, retry: None, data: Some(error) }.encode()
    }

    /// Waits for room; an agent that went away is noticed by the loop.
    async fn send(&mut self, event: Bytes, message_bytes: usize) {
        self.output_bytes += message_bytes as u64;
        let _ = self.out.send(event).await;
    }
}
