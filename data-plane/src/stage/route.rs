//! Stage 4, route: from endpoint and message to what has to be done, and where.
//!
//! Invariant: after this stage nothing looks at a name that the agent wrote: the errand holds the server, and the
//! tool as that server names it.

mod needs;
mod resolve;
mod subscription;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tollgate_proto::Name;

use crate::{
    call::Call,
    mcp::{
        era::{Classified, EraError, classify, classify_bodyless},
        header,
        level::Level,
        message::{Message, Notification, Request, Response},
        method::{Carries, Effect, ListKind, Method},
        version::{Era, ProtocolVersion},
    },
    policy::Server,
    refusal::Refusal,
    stage::{
        forward::{federated::question_of, tasks::Task},
        identify::Caller,
        read::{Asked, Read},
    },
    store::{Class, SessionId, Store},
};

use needs::needs_of;
pub use needs::{Needs, Use};

/// Evidence of what a call asks for.
#[derive(Debug)]
pub struct Route {
    errand: Errand,
    needs: Arc<Needs>,
    class: Option<Class>,
    session: Option<SessionRef>,
}

/// What has to be done.
#[derive(Debug)]
pub enum Errand {
    /// Tollgate answers by itself.
    Here(Here),
    /// One server is asked.
    Server(ToServer),
    /// Several servers are listened to at once.
    Listen(Listen),
    /// Every server that the session has reached is told something.
    Legs(Notification),
    /// A page of every server's lists, merged.
    Merge(Merge),
}

/// What Tollgate answers by itself.
#[derive(Debug)]
pub enum Here {
    /// `ping`.
    Pong,
    /// `server/discover` of a federated endpoint.
    Discover {
        /// What the agent sent.
        request: Request,
    },
    /// `initialize` of a federated endpoint.
    Initialize {
        /// What the agent sent.
        request: Request,
        /// The revision to answer with.
        version: ProtocolVersion,
    },
    /// `logging/setLevel` of a federated endpoint.
    SetLevel {
        /// What the agent sent.
        request: Request,
        /// The least severe message that it wants.
        level: Level,
    },
    /// A message that is taken and leads nowhere.
    Accept,
    /// The agent's answer to a question that was put to it at a federated endpoint.
    Reply(Response),
    /// DELETE.
    EndSession,
}

/// What listens to several servers.
#[derive(Debug)]
pub enum Listen {
    /// The event stream of a legacy session.
    Session,
    /// `subscriptions/listen`.
    Request(Request),
}

/// What goes to one server.
#[derive(Debug)]
pub struct ToServer {
    /// The server.
    pub server: Arc<Server>,
    /// The message.
    pub message: Carried,
}

/// The lists of several servers, asked for at once.
#[derive(Debug)]
pub struct Merge {
    /// What the agent sent.
    pub request: Request,
    /// The era that it asks in.
    pub era: Era,
    /// What is listed.
    pub kind: ListKind,
}

/// A message for a server.
#[derive(Debug)]
pub enum Carried {
    /// The handshake, which opens a session.
    Initialize {
        /// What the agent sent.
        request: Request,
        /// The revision to ask for.
        version: ProtocolVersion,
    },
    /// A request.
    Request {
        /// What the agent sent.
        request: Request,
        /// Its method.
        method: Method,
        /// The era to ask in.
        era: Era,
        /// The tool as the server names it, where it is a tool call.
        tool: Option<Box<str>>,
        /// `Mcp-Param-*` headers of a modern request.
        params: HeaderMap,
    },
    /// The event stream of a legacy session.
    Stream {
        /// Where an interrupted one goes on, as the server called it.
        last_event_id: Option<HeaderValue>,
    },
    /// What is asked of a task of a modern server.
    Task {
        /// What the agent sent.
        request: Request,
        /// Its method.
        method: Method,
        /// Which task.
        task: Task,
    },
    /// A notification of a legacy session.
    Notification(Notification),
    /// The agent's answer to a request that a legacy server made.
    Response(Response),
}

/// The session that a legacy message belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRef {
    /// `None`: what was sent is no id of ours.
    pub id: Option<SessionId>,
    /// The revision that the header names.
    pub header_version: Option<ProtocolVersion>,
}

impl Route {
    /// What the caller must be allowed.
    #[must_use]
    pub const fn needs(&self) -> &Arc<Needs> {
        &self.needs
    }

    /// What kind of request limits take it for; `None`: it is not limited.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        self.class
    }

    /// Whether it is answered with the result of a tool. Who calls for a task (2025-11-25) waits for that instead.
    #[must_use]
    pub fn awaits_tool_result(&self) -> bool {
        let Errand::Server(ToServer { message: Carried::Request { request, method, .. }, .. }) = &self.errand else {
            return false;
        };
        *method == Method::ToolsCall && request.params.get("task").is_none()
    }

    /// The session it belongs to.
    #[must_use]
    pub const fn session(&self) -> Option<&SessionRef> {
        self.session.as_ref()
    }

    /// Whether a server will see it.
    #[must_use]
    pub const fn leaves(&self) -> bool {
        !matches!(self.errand, Errand::Here(Here::Pong | Here::Accept | Here::EndSession))
    }

    /// The tool that is called, and its server, where that is what is asked for.
    #[must_use]
    pub fn tool(&self) -> Option<(&Name, &str)> {
        match &self.errand {
            Errand::Server(ToServer { server, message: Carried::Request { tool: Some(tool), .. } }) => {
                Some((&server.name, tool))
            }
            _ => None,
        }
    }

    /// The server that is asked, where it is one.
    #[must_use]
    pub const fn server(&self) -> Option<&Arc<Server>> {
        match &self.errand {
            Errand::Server(to) => Some(&to.server),
            Errand::Here(_) | Errand::Listen(_) | Errand::Legs(_) | Errand::Merge(_) => None,
        }
    }

    /// What has to be done, for the stage that does it.
    #[must_use]
    pub fn into_errand(self) -> Errand {
        self.errand
    }
}

/// Finds out what a call asks for.
///
/// # Errors
/// When the message breaks a rule of its era, or names nothing that this endpoint has.
pub async fn route(call: &mut Call, store: &Store, caller: &Caller, read: Read) -> Result<Route, Refusal> {
    let (_, headers, asked) = read.into_parts();
    let message = match asked {
        Asked::Post(message) => message,
        Asked::Stream => return stream(call, caller, &headers),
        Asked::Delete => return end_session(&headers),
    };
    let classified = classify(&headers, &message)?;
    let session = session_of(&classified, &headers)?;
    if let (Classified::Modern { method: Method::SubscriptionsListen, .. }, Message::Request(request)) =
        (&classified, &message)
    {
        subscription::check(request)?;
    }
    let class = class_of(&classified);
    call.routed(era_of(&classified), version_of(&classified).map_or("", ProtocolVersion::as_str));
    let errand = match caller.server() {
        Some(server) => one_server(caller, server, classified, message, &headers)?,
        None => several_servers(store, caller, session.as_ref(), classified, message, &headers).await?,
    };
    if let Errand::Server(ToServer { server, message }) = &errand {
        call.server(server);
        if let Carried::Request { tool: Some(tool), .. } | Carried::Task { task: Task { tool, .. }, .. } = message {
            call.tool(tool);
        }
        if let Carried::Task { task: Task { root: Some(root), .. }, .. } = message {
            call.belongs_to(*root);
        }
    }
    Ok(Route { needs: Arc::new(needs_of(&errand)), errand, class, session })
}

/// The event stream of a session. What comes over it is what the server has to say to whoever may use it; each call is
/// permitted by itself.
fn stream(call: &mut Call, caller: &Caller, headers: &HeaderMap) -> Result<Route, Refusal> {
    let classified = classify_bodyless(&http::Method::GET, headers)?;
    let session = session_of(&classified, headers)?;
    call.streams();
    let errand = match caller.server() {
        Some(server) => {
            call.server(server);
            let message = Carried::Stream { last_event_id: headers.get(header::LAST_EVENT_ID).cloned() };
            Errand::Server(ToServer { server: Arc::clone(server), message })
        }
        None => Errand::Listen(Listen::Session),
    };
    Ok(Route { needs: Arc::new(needs_of(&errand)), errand, class: None, session })
}

fn end_session(headers: &HeaderMap) -> Result<Route, Refusal> {
    let classified = classify_bodyless(&http::Method::DELETE, headers)?;
    let session = session_of(&classified, headers)?;
    Ok(Route { errand: Errand::Here(Here::EndSession), needs: Arc::new(Needs::Nothing), class: None, session })
}

/// A single-server endpoint: names are the server's own, and all but the trivial goes to it.
fn one_server(
    caller: &Caller,
    server: &Arc<Server>,
    classified: Classified,
    message: Message,
    headers: &HeaderMap,
) -> Result<Errand, Refusal> {
    let carried = match (classified, message) {
        (Classified::Modern { method: method @ Method::SubscriptionsListen, .. }, Message::Request(request)) => {
            let request = subscription::narrowed(caller, &server.name, request, chrono::Utc::now().timestamp());
            carried(request, method, Era::Modern, HeaderMap::new())
        }
        (Classified::Modern { method, .. }, Message::Request(request)) if method.carries() == Carries::TaskId => {
            return of_task(caller, method, request);
        }
        (Classified::Modern { method, .. }, Message::Request(request)) => {
            carried(request, method, Era::Modern, mirrored_params(headers))
        }
        (Classified::Initialize { version, .. }, Message::Request(request)) => Carried::Initialize { request, version },
        (Classified::Legacy { method: Method::Ping, .. }, _) => return Ok(Errand::Here(Here::Pong)),
        (Classified::Legacy { method, .. }, Message::Request(request)) => {
            carried(request, method, Era::Legacy, HeaderMap::new())
        }
        (Classified::LegacyNotification { notice: Some(_), .. }, Message::Notification(notification)) => {
            Carried::Notification(notification)
        }
        (Classified::LegacyResponse { .. }, Message::Response(response)) => Carried::Response(response),
        _ => return Ok(Errand::Here(Here::Accept)),
    };
    Ok(Errand::Server(ToServer { server: Arc::clone(server), message: carried }))
}

/// An endpoint of several servers: one virtual server that offers what all of them do, or what a toolset selects.
async fn several_servers(
    store: &Store,
    caller: &Caller,
    session: Option<&SessionRef>,
    classified: Classified,
    message: Message,
    headers: &HeaderMap,
) -> Result<Errand, Refusal> {
    let (method, era, request) = match (classified, message) {
        (Classified::Modern { method, .. }, Message::Request(request)) => (method, Era::Modern, request),
        (Classified::Legacy { method, .. }, Message::Request(request)) => (method, Era::Legacy, request),
        (Classified::Initialize { version, .. }, Message::Request(request)) => {
            return Ok(Errand::Here(Here::Initialize { request, version }));
        }
        (Classified::LegacyNotification { notice: Some(_), .. }, Message::Notification(notification)) => {
            return Ok(Errand::Legs(notification));
        }
        (Classified::LegacyResponse { .. }, Message::Response(response)) => {
            return Ok(reply(caller, session, response));
        }
        _ => return Ok(Errand::Here(Here::Accept)),
    };
    match method {
        _ if !resolve::offers(caller, method) => {
            Err(EraError::UnknownMethod { method: method.as_str().into(), era }.into())
        }
        Method::Ping => Ok(Errand::Here(Here::Pong)),
        Method::Discover => Ok(Errand::Here(Here::Discover { request })),
        Method::SubscriptionsListen => Ok(Errand::Listen(Listen::Request(request))),
        Method::LoggingSetLevel => Ok(Errand::Here(Here::SetLevel { level: level(&request)?, request })),
        Method::ToolsCall => {
            let (server, tool) = resolve::tool(store, caller, &request).await?;
            let params = if era == Era::Modern { mirrored_params(headers) } else { HeaderMap::new() };
            let message = Carried::Request { request, method, era, tool: Some(tool), params };
            Ok(Errand::Server(ToServer { server, message }))
        }
        _ if era == Era::Modern && method.carries() == Carries::TaskId => of_task(caller, method, request),
        _ => match method.carries() {
            Carries::List(kind) => Ok(Errand::Merge(Merge { request, era, kind })),
            _ => {
                let (server, request) = resolve::request(store, caller, method, era, &request).await?;
                let message = Carried::Request { request, method, era, tool: None, params: HeaderMap::new() };
                Ok(Errand::Server(ToServer { server, message }))
            }
        },
    }
}

/// A task is where the call that made it went, whatever the endpoint.
fn of_task(caller: &Caller, method: Method, request: Request) -> Result<Errand, Refusal> {
    let id = request.params.task_id().unwrap_or_default();
    let task = Task::open(caller, chrono::Utc::now().timestamp(), id).ok_or(Refusal::TaskUnknown)?;
    let server = Arc::clone(caller.server_by_id(task.server).ok_or(Refusal::TaskUnknown)?);
    Ok(Errand::Server(ToServer { server, message: Carried::Task { request, method, task } }))
}

/// A reply goes to the server that asked. One to a question that this session was not asked, or not lately, goes nowhere.
fn reply(caller: &Caller, session: Option<&SessionRef>, response: Response) -> Errand {
    let asked = session.and_then(|session| session.id).zip(response.id.as_ref()).and_then(|(session, id)| {
        let (server, id) = question_of(caller, &session, id, chrono::Utc::now().timestamp())?;
        Some((caller.server_by_id(server)?, id))
    });
    // A modern server's question is known by another id, which the stage that waits for it reads.
    let Some((server, id)) = asked else { return Errand::Here(Here::Reply(response)) };
    let message = Carried::Response(Response { id: Some(id), ..response });
    Errand::Server(ToServer { server: Arc::clone(server), message })
}

/// The level of `logging/setLevel`.
fn level(request: &Request) -> Result<Level, Refusal> {
    let level = request.params.get("level").and_then(|level| Level::parse(&level.as_str()?));
    let detail = "`level` is no level of log messages".to_owned();
    level.ok_or(Refusal::Malformed { code: -32602, detail })
}

fn carried(request: Request, method: Method, era: Era, params: HeaderMap) -> Carried {
    let tool = if method == Method::ToolsCall { request.params.name().map(Into::into) } else { None };
    Carried::Request { request, method, era, tool, params }
}

/// The headers that mirror arguments go on as they came: the server checks them against the body that it gets.
fn mirrored_params(headers: &HeaderMap) -> HeaderMap {
    let mirrors = headers.iter().filter(|(name, _)| name.as_str().starts_with(header::PARAM_PREFIX));
    mirrors.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Looking around is counted apart from doing, so that lists never eat the budget of calls. `server/discover` is
/// never limited: clients take a 429 there for the sign of a legacy server.
fn class_of(classified: &Classified) -> Option<Class> {
    match classified {
        Classified::Modern { method: Method::Discover, .. } => None,
        Classified::Modern { method, .. } | Classified::Legacy { method, .. } => {
            Some(if method.effect() == Effect::Executing { Class::Executing } else { Class::Discovery })
        }
        Classified::Initialize { .. } => Some(Class::Discovery),
        _ => None,
    }
}

fn session_of(classified: &Classified, headers: &HeaderMap) -> Result<Option<SessionRef>, Refusal> {
    let header_version = match classified {
        Classified::Legacy { header_version, .. }
        | Classified::LegacyNotification { header_version, .. }
        | Classified::LegacyResponse { header_version }
        | Classified::LegacyStream { header_version }
        | Classified::LegacyEnd { header_version } => *header_version,
        _ => return Ok(None),
    };
    named_session(headers, header_version).map(Some)
}

/// The session that the headers name.
///
/// # Errors
/// [`Refusal::SessionRequired`] when they name none, [`EraError::Header`] when they name more than one.
pub fn named_session(headers: &HeaderMap, header_version: Option<ProtocolVersion>) -> Result<SessionRef, Refusal> {
    let id = header::single(headers, &header::SESSION_ID).map_err(EraError::from)?;
    let id = id.ok_or(Refusal::SessionRequired)?.parse().ok();
    Ok(SessionRef { id, header_version })
}

const fn era_of(classified: &Classified) -> Era {
    match classified {
        Classified::Modern { .. } | Classified::ModernNotification => Era::Modern,
        _ => Era::Legacy,
    }
}

const fn version_of(classified: &Classified) -> Option<ProtocolVersion> {
    match classified {
        Classified::Modern { version, .. } | Classified::Initialize { version, .. } => Some(*version),
        Classified::Legacy { header_version, .. } => *header_version,
        _ => None,
    }
}
