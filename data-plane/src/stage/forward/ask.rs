//! One request to one server: headers built anew, trace context put in, the answer judged.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use tollgate_proto::{AgentId, CallId, Name, ServerId, policy::v1::ItemKind};
use uuid::Uuid;

use super::linked;
use crate::{
    call::Call,
    catalog,
    gateway::Gateway,
    mcp::{header, json::Raw, message::MetaValue, method::Method, version::ProtocolVersion},
    policy::{Egress, Instance, Server, Tenant, Transport},
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
    store::{Announcement, ChangedList, Owner},
    telemetry::span::{CallSpan, UpstreamSpan},
    upstream::{
        UpstreamError,
        answer::{self, AnswerFault, Received},
    },
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BOTH_MEDIA: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What spans call a request for a stream of events.
const STREAM: &str = "GET";

/// Asks servers on behalf of one call, for as long as its answer is under way.
#[derive(Debug, Clone)]
pub struct Ask {
    gateway: Arc<Gateway>,
    tenant: Arc<Tenant>,
    owner: Owner,
    /// Who hears what servers say to this call: its session, or else the call.
    hearer: Arc<str>,
    span: CallSpan,
    call_id: CallId,
    /// The call that this one is a round of, once that is known.
    root: Arc<OnceLock<Uuid>>,
    /// Headers of the agent that may be passed on.
    passed: Arc<HeaderMap>,
    /// From the first request to the last thing that was heard.
    busy: Arc<Mutex<Option<(Instant, Instant)>>>,
    /// For Tollgate itself: whoever asks so notes by themselves what is listed.
    is_own: bool,
}

/// Writes a body with these entries set in `params._meta`.
pub type WriteBody<'a> = dyn Fn(&[(&str, MetaValue<'_>)]) -> Bytes + Sync + 'a;

/// What is sent.
pub struct Outgoing<'a> {
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// For the span.
    pub method: &'a str,
    /// For the span; empty: no tool.
    pub tool: &'a str,
    /// Writes the body with these entries set in `params._meta`.
    pub write: &'a WriteBody<'a>,
}

impl Ask {
    /// For this call.
    pub fn new(call: &mut Call, caller: &Caller, admitted: &Admitted) -> Self {
        let hearer = admitted.session().map_or_else(|| call.id().to_string(), |(session, _)| session.to_string());
        Self {
            gateway: Arc::clone(call.gateway()),
            tenant: Arc::clone(caller.tenant()),
            owner: admitted.owner(),
            hearer: hearer.into(),
            span: call.span().clone(),
            call_id: call.id(),
            root: Arc::default(),
            passed: Arc::clone(call.passed_headers()),
            busy: Arc::default(),
            is_own: false,
        }
    }

    /// For Tollgate itself, on behalf of no call: nothing of an agent is passed on, and its sessions are nobody else's.
    pub fn own(gateway: &Arc<Gateway>, tenant: &Arc<Tenant>) -> Self {
        let call_id = CallId::new();
        Self {
            gateway: Arc::clone(gateway),
            tenant: Arc::clone(tenant),
            owner: Owner { tenant: tenant.id, agent: AgentId::new(), user: None },
            hearer: call_id.to_string().into(),
            span: gateway.tracing.aside(),
            call_id,
            root: Arc::default(),
            passed: Arc::default(),
            busy: Arc::default(),
            is_own: true,
        }
    }

    /// On behalf of the same call, by a newer policy of its tenant.
    #[must_use]
    pub fn by(&self, tenant: &Arc<Tenant>) -> Self {
        Self { tenant: Arc::clone(tenant), ..self.clone() }
    }

    /// What all calls share.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What all calls share, for what outlives this one.
    pub const fn shared(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Whose sessions are spoken in.
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// Who hears what servers say to this call.
    pub fn hearer(&self) -> &str {
        &self.hearer
    }

    /// Where the tenant's servers may live.
    pub fn egress(&self) -> &Egress {
        &self.tenant.egress
    }

    /// The state that the agent brought back says so.
    pub fn is_round_of(&self, root: Uuid) {
        // A request brings one state.
        let _known = self.root.set(root);
    }

    /// The call that this one is a round of.
    pub fn round_of(&self) -> Option<Uuid> {
        self.root.get().copied()
    }

    /// The call that began it all: that one, or else this.
    pub fn root(&self) -> Uuid {
        self.round_of().unwrap_or(self.call_id.uuid())
    }

    /// Which call it is.
    pub const fn call_id(&self) -> CallId {
        self.call_id
    }

    /// Sends one message and judges the head of the answer.
    ///
    /// # Errors
    /// The refusal that tells the agent how the server failed.
    pub async fn post(
        &self,
        server: &Server,
        instance: &Instance,
        outgoing: Outgoing<'_>,
    ) -> Result<Received, Refusal> {
        let answered = self.send(instance, outgoing).await;
        answered.map_err(|fault| self.refusal(server, &fault))
    }

    /// Like [`Ask::post`], for callers that act on the fault themselves.
    ///
    /// # Errors
    /// How the server failed.
    pub async fn send(&self, instance: &Instance, outgoing: Outgoing<'_>) -> Result<Received, Fault> {
        let span = self.upstream_span(instance, outgoing.method, outgoing.tool);
        let (traceparent, tracestate) = span.propagated();
        let mut meta = vec![("traceparent", MetaValue::Text(&traceparent))];
        meta.extend(tracestate.as_deref().map(|state| ("tracestate", MetaValue::Text(state))));
        let mut headers = outgoing.headers;
        headers.insert(ACCEPT, BOTH_MEDIA);
        headers.insert(CONTENT_TYPE, JSON);
        let body = (outgoing.write)(&meta);
        if outgoing.method != Method::Initialize.as_str() {
            return self.request(instance, Verb::POST, headers, body, span).await;
        }
        let stream = match instance.transport {
            Transport::EventStream => linked::stream(self, instance, headers.clone()).await?,
            Transport::Streamable => {
                match self.request(instance, Verb::POST, headers.clone(), body.clone(), span).await {
                    Err(fault) if linked::may_be_older(&fault) => {
                        linked::stream(self, instance, headers.clone()).await.map_err(|_| fault)?
                    }
                    answered => return answered,
                }
            }
        };
        linked::open(self, instance, headers, body, stream).await
    }

    /// Asks for the stream of events of an upstream session; `headers` say which, and from where on.
    ///
    /// # Errors
    /// How the server failed, or that it has none.
    pub async fn stream(&self, instance: &Instance, mut headers: HeaderMap) -> Result<Received, Fault> {
        headers.insert(ACCEPT, EVENTS);
        let span = self.upstream_span(instance, STREAM, "");
        match self.request(instance, Verb::GET, headers, Bytes::new(), span).await {
            Ok(Received { status: StatusCode::CONFLICT, .. })
            | Err(Fault::Answered(AnswerFault::Unexplained(StatusCode::CONFLICT))) => Err(AnswerFault::Taken.into()),
            received => received,
        }
    }

    async fn request(
        &self,
        instance: &Instance,
        verb: Verb,
        mut headers: HeaderMap,
        body: Bytes,
        span: UpstreamSpan,
    ) -> Result<Received, Fault> {
        let (traceparent, tracestate) = span.propagated();
        put(&mut headers, TRACEPARENT, &traceparent);
        if let Some(state) = &tracestate {
            put(&mut headers, TRACESTATE, state);
        }
        if self.is_own {
            put(&mut headers, header::PURPOSE, "catalog");
        } else {
            put(&mut headers, header::CALL_ID, &self.call_id.to_string());
        }
        instance.access.pass(&self.passed, &mut headers);
        if let Some(link) = linked::named(&headers) {
            return linked::request(self, instance, link, verb, headers, body, span).await;
        }
        let (upstreams, sent_at) = (&self.gateway.upstreams, Instant::now());
        let is_message = verb == Verb::POST;
        let sent = upstreams.send(&self.tenant.egress, instance, verb, headers, body).await;
        let received = match sent.inspect_err(|error| span.fail(error.kind())) {
            Ok((response, in_flight)) => {
                let received = answer::receive(response, in_flight, upstreams.timeout(), sent_at, span).await;
                // A message is no question for a stream.
                let of_message = |fault| match fault {
                    AnswerFault::NotOffered if is_message => AnswerFault::Unexplained(StatusCode::METHOD_NOT_ALLOWED),
                    other => other,
                };
                received.map_err(of_message).map_err(Fault::from)
            }
            Err(error) => Err(error.into()),
        };
        self.was_busy(sent_at);
        received
    }

    /// The span of something that is asked of an instance.
    pub fn upstream_span(&self, instance: &Instance, method: &str, tool: &str) -> UpstreamSpan {
        let address = instance.url.host().zip(instance.url.port_u16());
        self.gateway.tracing.upstream(&self.span, method, tool, address)
    }

    /// Tells every data plane that a list of the server has changed. `is_heard`: the agent is told by the server itself.
    pub fn announce_change(&self, server: ServerId, list: ChangedList, is_heard: bool) {
        let (gateway, call_id) = (Arc::clone(&self.gateway), self.call_id);
        let told = is_heard.then(|| self.hearer.to_string());
        let changed = Announcement::ListChanged { tenant: self.tenant.id, server, list, told };
        tokio::spawn(async move {
            if let Err(error) = gateway.store.announce(changed).await {
                tracing::warn!(%call_id, %error, "other data planes were not told that a list has changed");
            }
        });
    }

    /// Notes what a server has just listed: what of it is not approved is held from now on. Answers with whether each of
    /// them is to be left out; Tollgate itself sees everything.
    pub fn note_listed(&self, server: &Server, kind: ItemKind, listed: &[Raw]) -> Vec<bool> {
        if self.is_own {
            return vec![false; listed.len()];
        }
        let section = catalog::section(&self.tenant, server, kind);
        let noted = self.gateway.upstreams.observed().note(server.id, kind, listed, &section);
        if noted.is_news {
            catalog::spread(&self.gateway, self.tenant.id, server.id, kind);
        }
        noted.items.iter().map(|(name, digest)| section.holds(name, &digest.0)).collect()
    }

    /// The answer lacks these servers, for these reasons: telemetry says so.
    pub fn note_left_out(&self, left_out: &[(Name, &'static str)]) {
        for (server, reason) in left_out {
            self.gateway.metrics.left_out(server.as_str(), reason);
            self.span.left_out(server.as_str(), reason);
        }
    }

    /// How long servers took, from the first request to the end of the last answer.
    pub fn upstream_took(&self) -> Duration {
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// Something was heard of the answer to what was sent at this time.
    pub fn was_busy(&self, sent_at: Instant) {
        // Two instants, written together: whole after a panic elsewhere.
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let first = busy.map_or(sent_at, |(first, _)| first.min(sent_at));
        *busy = Some((first, Instant::now()));
    }

    /// Ends an upstream session, if the server cares to hear it.
    pub async fn delete(&self, instance: &Instance, mut headers: HeaderMap) {
        if self.is_own {
            put(&mut headers, header::PURPOSE, "catalog");
        }
        instance.access.pass(&self.passed, &mut headers);
        let ended = match linked::named(&headers) {
            Some(link) => {
                let span = self.upstream_span(instance, "DELETE", "");
                linked::request(self, instance, link, Verb::DELETE, headers, Bytes::new(), span).await.map(drop)
            }
            None => {
                let (upstreams, egress) = (&self.gateway.upstreams, &self.tenant.egress);
                let ended = upstreams.send(egress, instance, Verb::DELETE, headers, Bytes::new()).await;
                ended.map(drop).map_err(Fault::from)
            }
        };
        if let Err(error) = ended {
            tracing::debug!(call_id = %self.call_id, %error, "the server was not told that its session ended");
        }
    }

    /// What the agent is told; what happened in detail is for the log.
    pub fn refusal(&self, server: &Server, fault: &Fault) -> Refusal {
        self.refusal_of(server.name.as_str(), fault)
    }

    /// The same of whoever goes by this name.
    pub fn refusal_of(&self, name: &str, fault: &Fault) -> Refusal {
        tracing::warn!(call_id = %self.call_id, server = name, %fault, "the server failed a call");
        fault.refusal(name)
    }
}

/// How a server failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It gave no answer.
    #[error(transparent)]
    Unanswered(#[from] UpstreamError),
    /// Its answer cannot be used.
    #[error(transparent)]
    Answered(#[from] AnswerFault),
}

impl Fault {
    /// Whether the server says that it does not know the session, so that it did nothing.
    pub const fn is_session_lost(&self) -> bool {
        matches!(self, Self::Answered(AnswerFault::SessionLost))
    }

    /// Whether no connection to the instance could be made, so that it saw nothing.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unanswered(UpstreamError::Unreachable(_)))
    }

    /// What the agent is told of the server with this name.
    pub fn refusal(&self, server: &str) -> Refusal {
        let name = server.to_owned();
        match self {
            Self::Unanswered(UpstreamError::Unreachable(_) | UpstreamError::Broken(_))
            | Self::Answered(AnswerFault::Unavailable(_) | AnswerFault::Taken) => {
                Refusal::UpstreamUnavailable { server: name }
            }
            Self::Unanswered(UpstreamError::Timeout(timeout)) | Self::Answered(AnswerFault::Timeout(timeout)) => {
                Refusal::UpstreamTimeout { server: name, timeout_s: timeout.as_secs() }
            }
            Self::Unanswered(UpstreamError::Credential(fault)) => {
                Refusal::UpstreamCredential { server: name, detail: fault.told() }
            }
            Self::Answered(AnswerFault::Denied(_)) => {
                Refusal::UpstreamCredential { server: name, detail: "it does not accept what it is presented with" }
            }
            Self::Answered(AnswerFault::SessionLost) => Refusal::SessionUnknown,
            Self::Answered(AnswerFault::NotOffered) => Refusal::StreamNotOffered,
            Self::Answered(AnswerFault::Cancelled) => Refusal::Cancelled,
            Self::Answered(AnswerFault::Lost) => Refusal::CallLost { server: name },
            Self::Answered(fault @ (AnswerFault::Unexplained(_) | AnswerFault::Invalid(_))) => {
                Refusal::UpstreamInvalid { server: name, detail: fault.to_string() }
            }
        }
    }
}

/// Headers of a modern request (MCP 2026-07-28, basic/transports/streamable-http).
pub fn modern_headers(version: ProtocolVersion, method: &str, name: Option<&str>, params: HeaderMap) -> HeaderMap {
    let mut headers = params;
    put(&mut headers, header::PROTOCOL_VERSION, version.as_str());
    put(&mut headers, header::METHOD, method);
    if let Some(name) = name {
        headers.insert(header::NAME, header::encode(name));
    }
    headers
}

/// Headers of a legacy message in an upstream session.
pub fn legacy_headers(version: &str, session: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, header::PROTOCOL_VERSION, version);
    if let Some(session) = session {
        put(&mut headers, header::SESSION_ID, session);
    }
    headers
}

/// Values here are ours, or were checked when they were read; one that is no header value is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
