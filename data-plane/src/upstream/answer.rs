//! What a server answered: its head judged, its body as one message or as a stream of events.
//!
//! Invariant: memory is bounded whatever a server sends, and nothing of it is passed on that was not read strictly.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response as HttpResponse, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::{
    mcp::{
        header,
        json::Bounds,
        message::{self, Message, RequestId, Response},
        sse,
    },
    telemetry::span::UpstreamSpan,
    upstream::InFlight,
};

const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A tool that streams may think for long between two events.
const STREAM_IDLE_MAX: Duration = Duration::from_secs(300);
/// A stream of events that nobody caused may be silent for good.
const ENDLESS: Duration = Duration::from_secs(24 * 60 * 60);
/// How much may come with one answer, all that is said before it included.
const STREAM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take from the head of its stream, however busy that is.
const STREAM_LIFE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long the end of a stream may take after its answer, so that the connection can serve again.
const END_TIMEOUT: Duration = Duration::from_millis(200);
const SESSION_ID_BYTES_MAX: usize = 1024;
/// What servers of the TypeScript SDK answer to a session that they have forgotten, with status 400.
const FORGOTTEN_SESSION: i64 = -32000;

/// An answer whose head has arrived.
#[derive(Debug)]
pub struct Received {
    /// HTTP status.
    pub status: StatusCode,
    /// The session that the server opened.
    pub session: Option<String>,
    /// The messages.
    pub body: Body,
    /// When the request was sent.
    pub sent_at: Instant,
    /// Ends when the answer does.
    pub span: UpstreamSpan,
}

/// The messages of an answer.
#[derive(Debug)]
pub enum Body {
    /// None: a notification was taken.
    Empty,
    /// One, read already: the response, and its bytes.
    Whole(Response, Bytes),
    /// Several, still arriving.
    Events(Events),
}

/// Events that were read elsewhere, from a stream that carries more than these.
pub type Queued = mpsc::Receiver<sse::Event>;

/// A stream of events, as far as it has arrived.
#[derive(Debug)]
pub struct Events {
    source: Source,
    idle_max: Duration,
    /// What may still come, and until when; `None`: as the server likes.
    left: Option<(usize, Instant)>,
    _in_flight: Option<InFlight>,
}

#[derive(Debug)]
enum Source {
    Http(Incoming, Box<sse::Decoder>),
    Queue(Queued),
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// It stopped arriving.
    #[error("nothing arrived for {} s", .0.as_secs())]
    Timeout(Duration),
    /// The server says that it cannot serve.
    #[error("status {0}")]
    Unavailable(StatusCode),
    /// The server does not accept what Tollgate presents to it.
    #[error("it refuses Tollgate's own access with status {0}")]
    Denied(StatusCode),
    /// The server does not know the session (any more).
    #[error("the session is not known to the server")]
    SessionLost,
    /// The server has no such stream.
    #[error("the server offers no event stream")]
    NotOffered,
    /// The session's only stream is still there.
    #[error("the server has an event stream open already in this session")]
    Taken,
    /// The data plane that held the call is gone, and nobody can go on with it.
    #[error("the call was lost")]
    Lost,
    /// A status of 4xx that nothing explains.
    #[error("status {} without a JSON-RPC error", .0.as_u16())]
    Unexplained(StatusCode),
    /// The agent wants it no more.
    #[error("the agent cancelled the request")]
    Cancelled,
    /// It is no MCP. The text says what it is instead; it never quotes the server.
    #[error("{0}")]
    Invalid(String),
}

/// Judges an answer's head and reads a body that is one message.
///
/// # Errors
/// When the answer is no MCP, or says that the server cannot serve.
pub async fn receive(
    response: HttpResponse<Incoming>,
    in_flight: InFlight,
    idle_max: Duration,
    sent_at: Instant,
    span: UpstreamSpan,
) -> Result<Received, AnswerFault> {
    let (status, session) = (response.status(), session_id(response.headers())?);
    let body = judge(response, Some(in_flight), idle_max).await?;
    Ok(Received { status, session, body, sent_at, span })
}

/// The answer to a question that belongs to no call.
///
/// # Errors
/// As [`receive`].
pub async fn alone(
    response: HttpResponse<Incoming>,
    id: &RequestId,
    idle_max: Duration,
) -> Result<Response, AnswerFault> {
    let mut events = match judge(response, None, idle_max).await? {
        Body::Whole(response, _) => return answers(response, id),
        Body::Empty => return Err(AnswerFault::Invalid("no answer".to_owned())),
        Body::Events(events) => events,
    };
    while let Some(event) = events.next().await? {
        if let Some(Message::Response(response)) = event.data.as_ref().map(read).transpose()? {
            return answers(response, id);
        }
    }
    Err(AnswerFault::ended_early())
}

async fn judge(
    response: HttpResponse<Incoming>,
    in_flight: Option<InFlight>,
    idle_max: Duration,
) -> Result<Body, AnswerFault> {
    let (head, body) = response.into_parts();
    let media = media_type(&head.headers);
    match head.status {
        StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Body::Empty),
        StatusCode::OK if media == "text/event-stream" => {
            let source = Source::Http(body, Box::new(sse::Decoder::new(sse::Bounds::UPSTREAM)));
            Ok(Body::Events(Events { source, idle_max, left: bounds(), _in_flight: in_flight }))
        }
        StatusCode::OK if media == "application/json" => {
            let bytes = collect(body, idle_max).await?;
            whole(bytes)
        }
        StatusCode::OK => Err(AnswerFault::Invalid(format!("media type `{media}` instead of JSON or events"))),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AnswerFault::Denied(head.status)),
        status if status.is_redirection() => {
            Err(AnswerFault::Invalid("a redirect, which is never followed".to_owned()))
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(AnswerFault::Unavailable(status))
        }
        StatusCode::METHOD_NOT_ALLOWED => Err(AnswerFault::NotOffered),
        status => explained(status, &media, body, idle_max).await,
    }
}

impl AnswerFault {
    /// A stream ended before the answer to its request.
    #[must_use]
    pub fn ended_early() -> Self {
        Self::Invalid("the stream ended before the answer".to_owned())
    }
}

impl Events {
    /// What is read elsewhere.
    #[must_use]
    pub fn queued(queue: Queued) -> Self {
        Self { source: Source::Queue(queue), idle_max: STREAM_IDLE_MAX, left: bounds(), _in_flight: None }
    }

    /// This stream for somebody who waits as long as a tool may think.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { idle_max: self.idle_max.max(STREAM_IDLE_MAX), ..self }
    }

    /// This stream for somebody who waits for as long as the server keeps it open.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { idle_max: ENDLESS, left: None, ..self }
    }

    /// Reads to the end of a stream whose answer has arrived: a connection that is left in the middle of an answer
    /// has to be closed.
    pub async fn finish(self) {
        let Source::Http(mut body, _) = self.source else { return };
        let end = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(END_TIMEOUT, end).await;
    }

    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// When nothing arrives for too long, the stream breaks, goes on for too long, or an event is too large.
    pub async fn next(&mut self) -> Result<Option<sse::Event>, AnswerFault> {
        loop {
            let (body, decoder) = match &mut self.source {
                Source::Http(body, decoder) => (body, decoder),
                Source::Queue(queue) => {
                    let event = tokio::time::timeout(self.idle_max, queue.recv()).await;
                    let event = event.map_err(|_| AnswerFault::Timeout(self.idle_max))?;
                    self.spend(event.as_ref().and_then(|event| event.data.as_ref()).map_or(0, Bytes::len))?;
                    return Ok(event);
                }
            };
            if let Some(event) = decoder.next_event() {
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout(self.idle_max, body.frame()).await;
            let frame = frame.map_err(|_| AnswerFault::Timeout(self.idle_max))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| AnswerFault::Invalid("the stream broke off".to_owned()))?;
            if let Ok(data) = frame.into_data() {
                decoder.push(&data).map_err(|error| AnswerFault::Invalid(error.to_string()))?;
                self.spend(data.len())?;
            }
        }
    }
}

/// What may come with one answer, and until when.
fn bounds() -> Option<(usize, Instant)> {
    Some((STREAM_BYTES_MAX, Instant::now() + STREAM_LIFE_MAX))
}

impl Events {
    fn spend(&mut self, bytes: usize) -> Result<(), AnswerFault> {
        let Some((left, until)) = &mut self.left else { return Ok(()) };
        if Instant::now() > *until {
            return Err(AnswerFault::Timeout(STREAM_LIFE_MAX));
        }
        let endless = || AnswerFault::Invalid(format!("a stream of more than {STREAM_BYTES_MAX} bytes"));
        *left = left.checked_sub(bytes).ok_or_else(endless)?;
        Ok(())
    }
}

/// One message of a server, strictly.
///
/// # Errors
/// [`AnswerFault::Invalid`] with what is wrong.
pub fn read(data: &Bytes) -> Result<Message, AnswerFault> {
    message::read_upstream(data, &Bounds::UPSTREAM).map_err(|error| AnswerFault::Invalid(error.to_string()))
}

/// Whether `response` is the answer to `id`; an error may leave the id out.
///
/// # Errors
/// [`AnswerFault::Invalid`] when it answers something else.
pub fn answers(response: Response, id: &RequestId) -> Result<Response, AnswerFault> {
    let fits = match &response.id {
        Some(answered) => answered == id,
        None => response.outcome.is_err(),
    };
    if fits { Ok(response) } else { Err(AnswerFault::Invalid("an answer to another request".to_owned())) }
}

fn whole(bytes: Bytes) -> Result<Body, AnswerFault> {
    match read(&bytes)? {
        Message::Response(response) => Ok(Body::Whole(response, bytes)),
        Message::Request(_) | Message::Notification(_) => {
            Err(AnswerFault::Invalid("a message that is no response".to_owned()))
        }
    }
}

/// A status of 4xx, which may come with a JSON-RPC error that says more.
async fn explained(status: StatusCode, media: &str, body: Incoming, idle_max: Duration) -> Result<Body, AnswerFault> {
    if status == StatusCode::NOT_FOUND && media != "application/json" {
        return Err(AnswerFault::SessionLost);
    }
    let unexplained = || AnswerFault::Unexplained(status);
    let bytes = collect(body, idle_max).await?;
    let Ok(Body::Whole(response, bytes)) = whole(bytes) else {
        return Err(if status == StatusCode::NOT_FOUND { AnswerFault::SessionLost } else { unexplained() });
    };
    let forgotten =
        status == StatusCode::BAD_REQUEST && response.id.is_none() && response.error_code() == Some(FORGOTTEN_SESSION);
    if forgotten || (status == StatusCode::NOT_FOUND && response.id.is_none()) {
        return Err(AnswerFault::SessionLost);
    }
    if response.outcome.is_ok() { Err(unexplained()) } else { Ok(Body::Whole(response, bytes)) }
}

async fn collect(mut body: Incoming, idle_max: Duration) -> Result<Bytes, AnswerFault> {
    let mut collected = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(idle_max, body.frame()).await;
        let Some(frame) = frame.map_err(|_| AnswerFault::Timeout(idle_max))? else { return Ok(collected.freeze()) };
        let frame = frame.map_err(|_| AnswerFault::Invalid("the answer broke off".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > JSON_BYTES_MAX {
            return Err(AnswerFault::Invalid(format!("more than {JSON_BYTES_MAX} bytes")));
        }
        collected.extend_from_slice(&data);
    }
}

/// Visible ASCII, as MCP demands, and of a bounded length.
fn session_id(headers: &HeaderMap) -> Result<Option<String>, AnswerFault> {
    let Some(value) = headers.get(header::SESSION_ID) else { return Ok(None) };
    let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    if !visible || value.is_empty() || value.len() > SESSION_ID_BYTES_MAX {
        return Err(AnswerFault::Invalid("a session id that is not visible ASCII".to_owned()));
    }
    Ok(value.to_str().ok().map(str::to_owned))
}

/// The essence of the content type, in lower case and short enough to be shown.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.chars().filter(char::is_ascii_graphic).take(64).collect::<String>().to_ascii_lowercase()
}
