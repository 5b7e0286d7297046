//! Stage 2, read: one strict reading of the body, before anything is decided.
//!
//! A body of several messages becomes one reading for each: a batch is as many calls as it has messages.
//!
//! Invariant: what is authorised later, and what is sent to a server, is what was read here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method as Verb, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN},
};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming as HttpBody};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    call::Call,
    endpoint::Endpoint,
    mcp::{
        header,
        json::Bounds,
        message::{self, Incoming, Message},
    },
    policy::Snapshot,
    refusal::Refusal,
};

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Evidence that a request was read.
#[derive(Debug)]
pub struct Read {
    endpoint: Endpoint,
    headers: HeaderMap,
    asked: Asked,
}

/// What one HTTP request holds.
#[derive(Debug)]
pub enum Body {
    /// One thing asked.
    One(Read),
    /// Several messages in one body.
    Several(Batch),
}

/// Evidence that a body of several messages was read.
#[derive(Debug)]
pub struct Batch {
    endpoint: Endpoint,
    headers: HeaderMap,
    messages: Vec<Message>,
}

/// What the request is, before anyone knows from whom.
#[derive(Debug)]
pub enum Asked {
    /// A message.
    Post(Message),
    /// The event stream of a session.
    Stream,
    /// The end of a session.
    Delete,
}

impl Read {
    /// Where it was sent.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What it is.
    #[must_use]
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// What it is, for the stage that takes it on.
    #[must_use]
    pub fn into_parts(self) -> (Endpoint, HeaderMap, Asked) {
        (self.endpoint, self.headers, self.asked)
    }
}

impl Batch {
    /// Its headers, which all its messages share.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its messages, never none.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Each message as if it had come alone.
    #[must_use]
    pub fn into_reads(self) -> Vec<Read> {
        let Self { endpoint, headers, messages } = self;
        let alone =
            |message| Read { endpoint: endpoint.clone(), headers: headers.clone(), asked: Asked::Post(message) };
        messages.into_iter().map(alone).collect()
    }
}

/// Reads a request to its last byte.
///
/// # Errors
/// When it is no JSON-RPC that MCP allows, or arrives in no form that this endpoint serves.
pub async fn read(
    call: &mut Call,
    snapshot: &Snapshot,
    endpoint: Endpoint,
    request: Request<HttpBody>,
) -> Result<Body, Refusal> {
    let (head, body) = request.into_parts();
    // Whatever is wrong with the request, its record is for the tenant whose URL it was sent to.
    let tenant = snapshot.tenant(&endpoint.tenant);
    if let Some(tenant) = tenant {
        call.tenant(tenant);
        call.brings(tenant.passed(&head.headers));
    }
    call.heard(&head.headers);
    if tenant.is_some_and(|tenant| tenant.via.is_in(&head.headers)) {
        return Err(Refusal::Loop);
    }
    let own_url = tenant.map(|tenant| tenant.data_url.as_str());
    if head.headers.get(ORIGIN).is_some_and(|origin| !is_own_origin(origin, own_url)) {
        return Err(Refusal::Origin);
    }
    let asked = match head.method {
        Verb::POST => {
            if header::content_is_json(&head.headers).is_err() {
                return Err(no_json(&head.headers, body).await);
            }
            // Read first: a refusal carries the id of whatever request can be read.
            let incoming = parse(call, &collect(body).await?)?;
            header::accepts_json_and_events(&head.headers).map_err(|_| Refusal::NotAcceptable)?;
            match incoming {
                Incoming::Single(message) => Asked::Post(message),
                Incoming::Batch(messages) => {
                    return Ok(Body::Several(Batch { endpoint, headers: head.headers, messages }));
                }
            }
        }
        // Without a session there is nothing to stream.
        Verb::GET if head.headers.contains_key(&header::SESSION_ID) => {
            header::accepts_events(&head.headers).map_err(|_| Refusal::EventsNotAcceptable)?;
            Asked::Stream
        }
        Verb::DELETE => Asked::Delete,
        _ => return Err(Refusal::HttpMethod),
    };
    Ok(Body::One(Read { endpoint, headers: head.headers, asked }))
}

/// A form is no message of MCP. One that brings a token beside the header's is told of that first: more than one way of
/// sending a token is a fault of its own (RFC 6750 sections 2 and 3.1).
async fn no_json(headers: &HeaderMap, body: HttpBody) -> Refusal {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.as_bytes().get(..FORM.len()));
    let is_form = media.is_some_and(|media| media.eq_ignore_ascii_case(FORM));
    if !is_form || !headers.contains_key(AUTHORIZATION) {
        return Refusal::MediaType;
    }
    match collect(body).await {
        Ok(form) if form.split(|byte| *byte == b'&').any(|pair| pair.starts_with(b"access_token=")) => {
            Refusal::AuthorizationRepeated
        }
        Ok(_) => Refusal::MediaType,
        Err(refusal) => refusal,
    }
}

/// A browser may talk to us from our own origin only (MCP 2026-07-28, basic/transports, "Security Warning"). What our
/// origin is comes from the settings: a name that was made to lead here would name itself in `Host` too.
fn is_own_origin(origin: &HeaderValue, own_url: Option<&str>) -> bool {
    let own: Option<Uri> = own_url.and_then(|url| url.parse().ok());
    let own = own.and_then(|url| Some(format!("{}://{}", url.scheme_str()?, url.authority()?)));
    own.is_some_and(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
}

async fn collect(mut body: HttpBody) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large(body).await);
    }
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut collected = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, timeout(CHUNK_TIMEOUT, body.frame())).await;
        let Ok(Ok(frame)) = frame else { return Err(Refusal::BodyTimeout) };
        let Some(frame) = frame else { return Ok(collected.freeze()) };
        let broken = |_| Refusal::Malformed { code: -32700, detail: "the body ended early".to_owned() };
        let Ok(chunk) = frame.map_err(broken)?.into_data() else { continue };
        if collected.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large(body).await);
        }
        collected.extend_from_slice(&chunk);
    }
}

/// Reads on for a while and throws away what comes, so that the client has stopped writing when the refusal arrives:
/// a connection that is closed under a client's hands loses the answer too.
async fn too_large(mut body: HttpBody) -> Refusal {
    let mut left = DISCARDED_BYTES_MAX;
    let discard = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Out of time or at the end: either way the refusal is due.
    let _ = timeout(DISCARD_TIMEOUT, discard).await;
    Refusal::TooLarge { bytes_max: BODY_BYTES_MAX }
}

fn parse(call: &mut Call, body: &Bytes) -> Result<Incoming, Refusal> {
    let incoming = message::read(body, &Bounds::AGENT).map_err(|error| {
        call.asked_by(error.id.as_ref());
        Refusal::Malformed { code: error.code(), detail: error.to_string() }
    })?;
    if let Incoming::Single(message) = &incoming {
        call.read(message);
    }
    Ok(incoming)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_origin_is_ours() {
        let is_ours = |origin: &'static str, url| is_own_origin(&HeaderValue::from_static(origin), url);
        let url = Some("https://mcp.example.com:8443/base");
        assert!(is_ours("https://mcp.example.com:8443", url));
        assert!(is_ours("https://MCP.example.com:8443", url));
        for other in ["http://mcp.example.com:8443", "https://mcp.example.com", "https://evil.example", "null", ""] {
            assert!(!is_ours(other, url), "{other}");
        }
        assert!(!is_ours("https://mcp.example.com:8443", None));
    }
}
