//! What goes back to a server while it is heard: answers to its questions, and that nobody waits any more.
//!
//! Invariant: a server of the modern era, which asks nothing and takes a dropped stream for a cancellation, is told
//! nothing.

use bytes::Bytes;

use super::{Exchange, Source};
use crate::{
    mcp::{
        json::{self, Raw},
        message::{MetaValue, Request, RequestId, Response, write_notice},
        method::{Method, Notice},
    },
    stage::forward::{
        ask::{Ask, Fault, Outgoing},
        speech::{Speech, Tongue},
    },
};

/// JSON-RPC: the method is not there.
const METHOD_NOT_FOUND: i64 = -32601;

impl Exchange {
    /// Answers a question of the server, off the caller's clock. A server of the modern era asks none.
    pub fn reply(&self, id: &RequestId, outcome: Result<Raw, Raw>) {
        let response = Response { id: Some(id.clone()), outcome };
        let body = response.write(response.id.as_ref());
        if let Some(speech) = &self.speech {
            tell(&self.ask, speech, "response", body);
        }
    }

    /// Answers a question of the server, and waits until it has heard.
    ///
    /// # Errors
    /// How the server failed.
    pub async fn respond(&self, id: &RequestId, outcome: Result<Raw, Raw>) -> Result<(), Fault> {
        // Where there are several servers, what they ask is answered elsewhere.
        let Some(speech) = &self.speech else { return Ok(()) };
        let response = Response { id: Some(id.clone()), outcome };
        let write = |_: &[(&str, MetaValue<'_>)]| response.write(response.id.as_ref());
        let method = "response";
        let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
        self.ask.send(&speech.instance, outgoing).await.map(drop)
    }

    /// Tells the server that nobody waits for the answer any more; dropping the stream tells a modern one.
    pub fn cancel(&self) {
        if let Source::Parcel(parcel) = &self.source {
            parcel.cancel();
        }
        if let (Some(id), Some(speech)) = (&self.id, &self.speech) {
            cancel(&self.ask, speech, id);
        }
    }
}

/// Tells the server that nobody waits for the answer to this request any more.
pub fn cancel(ask: &Ask, speech: &Speech, id: &RequestId) {
    let method = Notice::Cancelled.as_str();
    let body = write_notice(method, |params| params.raw("requestId", &id.to_raw()));
    tell(ask, speech, method, body);
}

/// Says something to a legacy server, off the caller's clock.
fn tell(ask: &Ask, speech: &Speech, method: &'static str, body: Bytes) {
    if let Tongue::Modern = speech.tongue {
        return;
    }
    let (ask, speech) = (ask.clone(), speech.clone());
    tokio::spawn(async move {
        let write = |_: &[(&str, MetaValue<'_>)]| body.clone();
        let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
        if let Err(fault) = ask.send(&speech.instance, outgoing).await {
            tracing::debug!(call_id = %ask.call_id(), server = %speech.server.name, %fault, method, "a server was not told");
        }
    });
}

/// What Tollgate says to a question that nobody else can answer: `{}` to a ping, else that the agent cannot be asked.
pub fn declined(asked: &Request) -> Result<Raw, Raw> {
    if asked.method.as_ref() == Method::Ping.as_str() {
        return Ok(Raw::empty_object());
    }
    Err(cannot_be_asked())
}

/// The error for a question that nobody answers.
pub fn cannot_be_asked() -> Raw {
    json::object(|error| {
        error.integer("code", METHOD_NOT_FOUND);
        error.text("message", "this client cannot be asked");
    })
}
