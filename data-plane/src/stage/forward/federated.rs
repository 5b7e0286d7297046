//! Ids on federated endpoints: what an agent chose as servers see it, and what servers chose as the agent sees it.
//!
//! Invariant: no server sees an id or a progress token that the agent chose, so that none can speak of another's
//! request; and no agent can answer a question but one that it was asked, because the question's id is sealed to it.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use tollgate_proto::ServerId;
use uuid::Uuid;

use crate::{
    mcp::{
        json::{self, Bounds, Raw},
        message::{Edit, Notification, Request, RequestId, write_notice, write_request},
        method::Notice,
    },
    policy::Tenant,
    seal::{self, Purpose},
    stage::identify::Caller,
    store::SessionId,
};

/// How long a question may wait for its answer, in seconds.
const QUESTION_LIFE_S: i64 = 60 * 60;
/// Bytes of a hash that become an id.
const ID_BYTES: usize = 16;

/// The ids of one request at one server of a federated session.
#[derive(Debug)]
pub struct Mapping {
    tenant: Arc<Tenant>,
    bound_to: Binding,
    server: ServerId,
    /// The request as the server knows it, and its progress token; none: a stream that answers no request.
    request: Option<RequestId>,
    /// The progress token that the agent gave.
    progress_token: Option<Raw>,
    /// The server's questions, and as what the agent knows them.
    questions: HashMap<RequestId, RequestId>,
}

/// To whom a question's id is sealed.
#[derive(Debug, Clone)]
struct Binding {
    agent: Uuid,
    user: Option<Uuid>,
    session: String,
}

impl Mapping {
    /// For a request of this agent's session.
    pub fn new(caller: &Caller, session: &SessionId, server: ServerId, request: &Request) -> Self {
        Self {
            tenant: Arc::clone(caller.tenant()),
            bound_to: Binding::of(caller, session),
            server,
            request: Some(request_id(session, &request.id)),
            progress_token: request.params.progress_token().cloned(),
            questions: HashMap::new(),
        }
    }

    /// For what a server says in this agent's session without being asked.
    pub fn of_stream(caller: &Caller, session: &SessionId, server: ServerId) -> Self {
        let (tenant, bound_to) = (Arc::clone(caller.tenant()), Binding::of(caller, session));
        Self { tenant, bound_to, server, request: None, progress_token: None, questions: HashMap::new() }
    }

    /// The request as the server knows it, where there is one.
    pub const fn request(&self) -> Option<&RequestId> {
        self.request.as_ref()
    }

    /// The progress token as the server knows it, where the agent gave one.
    pub fn progress_token(&self) -> Option<Raw> {
        self.progress_token.as_ref()?;
        self.request.as_ref().map(RequestId::to_raw)
    }

    /// A question of the server as the agent gets it; `None` when it cannot be told apart on its way back. `now` in unix
    /// seconds.
    pub fn question(&mut self, asked: &Request, now: i64) -> Option<Bytes> {
        let plain = [self.server.uuid().as_bytes().as_slice(), asked.id.to_raw().as_bytes()].concat();
        let expires_at = now + QUESTION_LIFE_S;
        let bound_to = self.bound_to.parts();
        let sealed = seal::seal(
            &self.tenant,
            Purpose::ServerRequestId,
            &bound_to.each_ref().map(Vec::as_slice),
            expires_at,
            &plain,
        );
        let sealed =
            sealed.inspect_err(|error| tracing::error!(%error, "a server's question cannot be passed on")).ok()?;
        if sealed.len() > RequestId::TEXT_BYTES_MAX {
            return None;
        }
        let id = RequestId::Text(sealed.into());
        self.questions.insert(asked.id.clone(), id.clone());
        Some(write_request(&id, &asked.method, |params| {
            asked.params.iter().for_each(|(key, value)| params.raw(key, value));
        }))
    }

    /// A notification of the server as the agent gets it; `None` when it speaks of something that is not the agent's.
    pub fn notification(&self, notification: &Notification, data: &Bytes) -> Option<Bytes> {
        match Notice::parse(&notification.method) {
            Some(Notice::Progress) => {
                let token = notification.params.get("progressToken").and_then(RequestId::read)?;
                let own = self.progress_token.as_ref().filter(|_| Some(&token) == self.request.as_ref())?;
                Some(with_member(notification, "progressToken", own))
            }
            Some(Notice::Cancelled) => {
                let id = notification.params.get("requestId").and_then(RequestId::read)?;
                Some(with_member(notification, "requestId", &self.questions.get(&id)?.to_raw()))
            }
            _ => Some(data.clone()),
        }
    }
}

/// The server that asked, and the question as it knows it; `None` for an id that is not sealed to this agent's session,
/// or that waited too long.
pub fn question_of(caller: &Caller, session: &SessionId, id: &RequestId, now: i64) -> Option<(ServerId, RequestId)> {
    let RequestId::Text(sealed) = id else { return None };
    let bound_to = Binding::of(caller, session).parts();
    let bound_to = bound_to.each_ref().map(Vec::as_slice);
    let plain = seal::open(caller.tenant(), Purpose::ServerRequestId, &bound_to, now, sealed)?;
    let (server, id) = plain.split_first_chunk::<16>()?;
    let id = json::parse(&Bytes::copy_from_slice(id), &Bounds::UPSTREAM).ok()?;
    Some((ServerId::from(Uuid::from_bytes(*server)), RequestId::read(&id)?))
}

/// A request of this session as its servers know it. Any data plane finds the same, so that a cancellation needs no
/// memory of the request.
pub fn request_id(session: &SessionId, id: &RequestId) -> RequestId {
    let hash = digest(&SHA256, format!("{session} {id}").as_bytes());
    RequestId::Text(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..ID_BYTES]).into())
}

/// What an agent notifies its session of, as the servers get it; `None` when it concerns none of them.
pub fn told(session: &SessionId, notification: &Notification) -> Option<Bytes> {
    match Notice::parse(&notification.method)? {
        Notice::Cancelled => {
            let id = notification.params.get("requestId").and_then(RequestId::read)?;
            Some(with_member(notification, "requestId", &request_id(session, &id).to_raw()))
        }
        Notice::RootsListChanged => Some(notification.write(&Edit::default())),
        // The handshake with a server is Tollgate's own, and the progress of an answer has no way back.
        _ => None,
    }
}

impl Binding {
    fn of(caller: &Caller, session: &SessionId) -> Self {
        let (agent, user) = (caller.agent().id.uuid(), caller.user().map(|user| user.uuid()));
        Self { agent, user, session: session.to_string() }
    }

    fn parts(&self) -> [Vec<u8>; 3] {
        let user = self.user.map(|user| user.as_bytes().to_vec()).unwrap_or_default();
        [self.agent.as_bytes().to_vec(), user, self.session.as_bytes().to_vec()]
    }
}

/// The notification with another value for one of its params.
fn with_member(notification: &Notification, member: &str, value: &Raw) -> Bytes {
    write_notice(&notification.method, |params| {
        for (key, own) in notification.params.iter() {
            params.raw(key, if key == member { value } else { own });
        }
    })
}

#[cfg(test)]
mod tests;
