//! A body of several messages, as sessions of 2025-03-26 may send (basic/transports, "Sending Messages to the Server"):
//! each message is a call of its own, and their answers are joined.
//!
//! Invariant: a batch is legal as a whole before any of its messages goes anywhere, and every message has its own
//! record, permit and charge.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::govern_one;
use crate::{
    call::Call,
    front::{AnswerBody, full},
    gateway::Gateway,
    mcp::{
        era::{EraError, check_batch},
        header,
        message::Message,
        sse,
        version::ProtocolVersion,
    },
    policy::Snapshot,
    refusal::Refusal,
    stage::{
        admit::{owner, used_by},
        identify::identify,
        read::{Asked, Batch, Read},
        route::named_session,
        settle,
    },
};

/// How many messages of one batch run at one time.
const AT_ONCE: usize = 8;

/// The answers that are not there yet, as they come.
type Answers = BoxStream<'static, Response<AnswerBody>>;

/// What the answers so far come to.
struct Gathered {
    /// The bodies of answers that are whole, without those that have none.
    messages: Vec<Bytes>,
    /// What an accepted batch without requests answers with, or the first status that says otherwise.
    status: StatusCode,
}

/// Governs each message, and joins the answers: an array of them, or one stream as soon as one of them is a stream.
/// `call` becomes the first message's.
pub async fn govern(
    gateway: &Arc<Gateway>,
    mut call: Call,
    snapshot: Arc<Snapshot>,
    batch: Batch,
) -> Response<AnswerBody> {
    let asks = batch.messages().iter().any(|message| matches!(message, Message::Request(_)));
    let reads = match legal(gateway, &mut call, &snapshot, batch).await {
        Ok(reads) => reads,
        Err(refusal) => return settle::refused(call, &refusal),
    };
    let id = HeaderValue::try_from(call.id().to_string());
    let mut answers = answers(gateway, call, snapshot, reads);
    let mut gathered = Gathered { messages: Vec::new(), status: StatusCode::ACCEPTED };
    let mut joined = loop {
        match answers.next().await {
            Some(answer) if is_stream(&answer) => break streamed(gathered.messages, answer, answers),
            Some(answer) => gathered.add(answer).await,
            None => break gathered.join(asks),
        }
    };
    if let Ok(id) = id {
        joined.headers_mut().insert(header::CALL_ID, id);
    }
    joined
}

/// Finds out whether these messages may come in one body from this caller, before any of them does anything.
async fn legal(gateway: &Gateway, call: &mut Call, snapshot: &Snapshot, batch: Batch) -> Result<Vec<Read>, Refusal> {
    check_batch(batch.headers(), batch.messages())?;
    let session = named_session(batch.headers(), None).map_err(|refusal| match refusal {
        // Without a session there is no revision that would allow it.
        Refusal::SessionRequired => EraError::Batch.into(),
        other => other,
    })?;
    let reads = batch.into_reads();
    let first = reads.first().expect("the reader takes no empty batch");
    let caller = identify(call, gateway, snapshot, first).await?;
    let session = used_by(&gateway.store, owner(&caller), &caller, &session).await?;
    let version = ProtocolVersion::parse(&session.protocol_version);
    if version.is_some_and(ProtocolVersion::has_batches) { Ok(reads) } else { Err(EraError::Batch.into()) }
}

/// Runs the messages, a few at a time.
fn answers(gateway: &Arc<Gateway>, first: Call, snapshot: Arc<Snapshot>, reads: Vec<Read>) -> Answers {
    let (gateway, peer, mut first) = (Arc::clone(gateway), first.peer(), Some(first));
    let running = reads.into_iter().map(move |read| -> BoxFuture<'static, Response<AnswerBody>> {
        let (gateway, snapshot) = (Arc::clone(&gateway), Arc::clone(&snapshot));
        let call = first.take();
        async move {
            // The call opens when it begins to run: it does not take the time that it waited for others.
            let mut call = call.unwrap_or_else(|| Call::open(Arc::clone(&gateway), peer));
            begin(&mut call, &snapshot, &read);
            govern_one(&gateway, call, &snapshot, read).await
        }
        .boxed()
    });
    stream::iter(running.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).boxed()
}

/// Tells a call what the reader would have told it of a message that came alone.
fn begin(call: &mut Call, snapshot: &Snapshot, read: &Read) {
    if let Some(tenant) = snapshot.tenant(&read.endpoint().tenant) {
        call.tenant(tenant);
        call.brings(tenant.passed(read.headers()));
    }
    call.heard(read.headers());
    if let Asked::Post(message) = read.asked() {
        call.read(message);
    }
}

impl Gathered {
    async fn add(&mut self, answer: Response<AnswerBody>) {
        let (head, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        let body = body.to_bytes();
        if !body.is_empty() {
            self.messages.push(body);
        }
        if self.status == StatusCode::ACCEPTED {
            self.status = head.status;
        }
    }

    /// An array with what was answered. What only notifies or answers has nothing but a status.
    fn join(self, asks: bool) -> Response<AnswerBody> {
        if !asks {
            let body = self
                .messages
                .into_iter()
                .next()
                .filter(|_| self.status.is_client_error() || self.status.is_server_error());
            return json(self.status, body.unwrap_or_default());
        }
        let mut array = vec![b'['];
        for (position, message) in self.messages.iter().enumerate() {
            if position > 0 {
                array.push(b',');
            }
            array.extend_from_slice(message);
        }
        array.push(b']');
        json(StatusCode::OK, array.into())
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let is_empty = body.is_empty();
    let mut response = full(status, body);
    if !is_empty {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// One stream: what is there already, then every answer as it arrives.
fn streamed(messages: Vec<Bytes>, first: Response<AnswerBody>, rest: Answers) -> Response<AnswerBody> {
    let headers: HeaderMap = first.headers().clone();
    let ready = stream::iter(messages).map(|message| sse::message_event(&message, None));
    let arriving = stream::iter([first]).chain(rest).flat_map_unordered(None, events);
    let frames = ready.chain(arriving).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.headers_mut() = headers;
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// The events of one answer. A stream is made of whole events, one in each frame.
fn events(answer: Response<AnswerBody>) -> BoxStream<'static, Bytes> {
    let is_stream = is_stream(&answer);
    let body = answer.into_body();
    if is_stream {
        let frames = body.into_data_stream().filter_map(async |frame| frame.ok());
        return frames.boxed();
    }
    let whole = async move {
        let Ok(body) = body.collect().await;
        let body = body.to_bytes();
        if body.is_empty() { body } else { sse::message_event(&body, None) }
    };
    stream::once(whole).filter(|event| std::future::ready(!event.is_empty())).boxed()
}

fn is_stream(answer: &Response<AnswerBody>) -> bool {
    let media = answer.headers().get(CONTENT_TYPE);
    media.is_some_and(|media| media.as_bytes().starts_with(b"text/event-stream"))
}
