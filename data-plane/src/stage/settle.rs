//! Stage 10, settle: the answer leaves, the record is completed, the span ends, metrics are counted. Off the
//! caller's clock: the answer does not wait for the record's completion, but for a record that nothing on disk begins yet.
//!
//! Invariant: no answer leaves while nothing of its call is on disk, so that a data plane that dies forgets none; and
//! `server/discover` gets no status that its client would take for the sign of a legacy server.

mod tool_error;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use tollgate_proto::usage::v1::Outcome;

use crate::{
    call::{Call, Ending},
    front::{AnswerBody, full},
    mcp::{
        self, header,
        json::{self, Bounds, Raw},
        message::{RequestId, write_error},
        version::Era,
    },
    refusal::Refusal,
    stage::relay::{self, Answer, Relayed},
};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Sends what was relayed and closes the call when that has ended.
pub fn relayed(mut call: Call, relayed: Relayed) -> Response<AnswerBody> {
    let mut headers = answer_headers(&call);
    if let Some(session) = relayed.opened.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        headers.insert(header::SESSION_ID, session);
    }
    let mut response = match relayed.answer {
        Answer::Status(status) => {
            close(call, Ending { outcome: Outcome::Ok, status, rpc_error_code: 0, output_bytes: 0 });
            full(status, Bytes::new())
        }
        Answer::Message(status, message) => {
            headers.insert(CONTENT_TYPE, JSON);
            let body = relay::write(call.request_id(), &message);
            // To a legacy client a status of 4xx says something about its session, not about this request.
            let status = if call.era() == Era::Legacy { StatusCode::OK } else { told(&call, status) };
            let ending = Ending {
                outcome: relay::outcome(&mut call, &message),
                status,
                rpc_error_code: message.error_code().unwrap_or_default(),
                output_bytes: body.len() as u64,
            };
            answered(call, message, ending);
            full(status, body)
        }
        Answer::Stream(conversation) => {
            headers.insert(CONTENT_TYPE, EVENTS);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            Response::new(relay::pass_on(call, *conversation))
        }
    };
    response.headers_mut().extend(headers);
    response
}

/// Tells the agent why its call was turned away.
pub fn refused(mut call: Call, refusal: &Refusal) -> Response<AnswerBody> {
    call.refused(refusal);
    let (status, rpc_error_code, body) = match call.request_id().filter(|_| call.reads_as_result(refusal)) {
        Some(id) => (StatusCode::OK, 0, tool_error::body(&call, refusal, id)),
        None => {
            let facts = refusal.facts();
            (told(&call, facts.status), facts.code, error_body(&call, refusal, call.request_id()))
        }
    };
    let mut response = full(status, body);
    let headers = response.headers_mut();
    headers.extend(answer_headers(&call));
    headers.extend(refusal.headers());
    headers.insert(CONTENT_TYPE, JSON);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    let outcome = match refusal {
        Refusal::UpstreamTimeout { .. } => Outcome::Timeout,
        _ if refusal.is_upstream() => Outcome::UpstreamError,
        _ => Outcome::Refused,
    };
    close(call, Ending { outcome, status, rpc_error_code, output_bytes: 0 });
    response
}

/// The status as the client is told it. Clients that ask `server/discover` take these for a server of the legacy era,
/// and speak to it in that era from then on; "try again" keeps them in theirs.
fn told(call: &Call, status: StatusCode) -> StatusCode {
    use StatusCode as S;
    const DEMOTING: [StatusCode; 4] = [S::NOT_FOUND, S::REQUEST_TIMEOUT, S::PAYLOAD_TOO_LARGE, S::TOO_MANY_REQUESTS];
    if call.is_discovery() && DEMOTING.contains(&status) { S::SERVICE_UNAVAILABLE } else { status }
}

/// The JSON-RPC error of a refusal, with its reason and the call's id.
pub fn error_body(call: &Call, refusal: &Refusal, id: Option<&RequestId>) -> Bytes {
    write_error(id, refusal.facts().code, &refusal.to_string(), data_of(call, refusal).as_ref())
}

/// What machines read of a refusal.
fn data_of(call: &Call, refusal: &Refusal) -> Option<Raw> {
    let mut data = refusal.data();
    data.insert("reason".to_owned(), refusal.facts().reason.into());
    data.insert("call_id".to_owned(), call.id().to_string().into());
    let data = Bytes::from(serde_json::Value::Object(data).to_string());
    // Written by serde_json a moment ago, from texts that were read strictly.
    json::parse(&data, &Bounds::UPSTREAM).ok()
}

fn answer_headers(call: &Call) -> HeaderMap {
    let mut headers = call.rate_headers().clone();
    if let Ok(id) = HeaderValue::try_from(call.id().to_string()) {
        headers.insert(header::CALL_ID, id);
    }
    headers
}

fn answered(mut call: Call, message: mcp::message::Response, ending: Ending) {
    if !call.is_intended() {
        return call.close(ending);
    }
    let gateway = Arc::clone(call.gateway());
    gateway.calls.spawn(async move {
        call.answered(&message);
        call.close(ending);
    });
}

fn close(call: Call, ending: Ending) {
    if !call.is_intended() {
        return call.close(ending);
    }
    let gateway = Arc::clone(call.gateway());
    gateway.calls.spawn(async move { call.close(ending) });
}
