//! One message for one server.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault, Outgoing, WriteBody, modern_headers},
    era, here,
    leg::{self, Introduction, Origin},
};
use crate::{
    mcp::{
        json::{self, Bounds, Object},
        message::{Edit, MetaValue, Notification, Request, Response},
        method::{Carries, Method},
        version::{Era, ProtocolVersion},
    },
    policy::Server,
    refusal::Refusal,
    stage::{
        admit::Admitted,
        identify::Caller,
        route::{Carried, ToServer},
    },
    store::{Session, SessionId},
    upstream::answer::{Body, Received},
};

/// A request with what is needed to send it.
struct Asked {
    request: Request,
    method: Method,
    tool: Option<Box<str>>,
    params: HeaderMap,
}

/// Forwards the message.
///
/// # Errors
/// How the server or the store failed.
pub async fn forward(
    ask: &Ask<'_>,
    caller: &Caller,
    admitted: &Admitted,
    errand: ToServer,
) -> Result<Forwarded, Refusal> {
    let server = errand.server;
    match errand.message {
        Carried::Initialize { request, version } => initialize(ask, caller, admitted, &server, request, version).await,
        Carried::Request { request, method, era, tool, params } => {
            let asked = Asked { request, method, tool, params };
            match era {
                Era::Modern => modern(ask, server, asked).await,
                Era::Legacy => legacy(ask, caller, admitted, server, asked).await,
            }
        }
        Carried::Notification(notification) => notify(ask, admitted, &server, &notification).await,
        Carried::Response(response) => respond(ask, admitted, &server, &response).await,
    }
}

async fn modern(ask: &Ask<'_>, server: Arc<Server>, asked: Asked) -> Result<Forwarded, Refusal> {
    let instance = ask.gateway().upstreams.pick(&server);
    era::require_modern(ask, &server, instance).await?;
    let name = asked.tool.as_deref().or_else(|| asked.method.mirrored_name(&asked.request.params));
    let method = asked.method.as_str();
    let headers = modern_headers(ProtocolVersion::NEWEST_MODERN, method, name, asked.params);
    let (request, tool) = (asked.request, asked.tool.as_deref());
    let write = |meta: &[(&str, MetaValue<'_>)]| request.write(&Edit { name: tool, meta, ..Edit::default() });
    let outgoing = Outgoing { headers, method, tool: tool.unwrap_or_default(), write: &write };
    let received = ask.post(&server, instance, outgoing).await?;
    reply(ask, server, asked.method, request, received, None).await
}

async fn legacy(
    ask: &Ask<'_>,
    caller: &Caller,
    admitted: &Admitted,
    server: Arc<Server>,
    asked: Asked,
) -> Result<Forwarded, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let federated = caller.server().is_none();
    let mut origin = match session.legs.get(&server.id).and_then(|leg| Origin::of(&server, leg)) {
        Some(origin) => origin,
        None if federated => open_leg(ask, admitted, id, session, &server).await?,
        None => return Err(forget(ask, admitted, id).await),
    };
    let mut sent = send(ask, &origin, &asked).await;
    if sent.as_ref().is_err_and(Fault::is_session_lost) {
        if !federated {
            return Err(forget(ask, admitted, id).await);
        }
        // The server took nothing, so sending once more repeats nothing.
        origin = open_leg(ask, admitted, id, session, &server).await?;
        sent = send(ask, &origin, &asked).await;
    }
    let received = sent.map_err(|fault| ask.refusal(&server, &fault))?;
    let decline = federated.then_some(origin);
    reply(ask, server, asked.method, asked.request, received, decline).await
}

async fn send(ask: &Ask<'_>, origin: &Origin, asked: &Asked) -> Result<Received, Fault> {
    let tool = asked.tool.as_deref();
    let write = |meta: &[(&str, MetaValue<'_>)]| asked.request.write(&Edit { name: tool, meta, ..Edit::default() });
    let headers = origin.headers();
    let outgoing = Outgoing { headers, method: asked.method.as_str(), tool: tool.unwrap_or_default(), write: &write };
    ask.send(&origin.instance, outgoing).await
}

/// Opens the leg to a server that the session has not reached yet. The agent's capabilities are not declared: what
/// a server would ask of the agent has no way back through a federated endpoint.
///
/// # Errors
/// How the server or the store failed.
pub async fn open_leg(
    ask: &Ask<'_>,
    admitted: &Admitted,
    id: &SessionId,
    session: &Session,
    server: &Server,
) -> Result<Origin, Refusal> {
    let version = ProtocolVersion::parse(&session.protocol_version).unwrap_or(ProtocolVersion::NEWEST_LEGACY);
    let introduction = Introduction { version, params: &introduced(session), declare_capabilities: false };
    if server.era == Some(Era::Modern) {
        return Err(era::modern_only(server, version));
    }
    let handshake = crate::mcp::message::RequestId::Text("tollgate-initialize".into());
    let (origin, _) = leg::initialize(ask, server, &introduction, &handshake).await?;
    let origin = origin.ok_or_else(|| Refusal::UpstreamInvalid {
        server: server.name.to_string(),
        detail: "it refuses to be initialized".to_owned(),
    })?;
    leg::initialized(ask, server, &origin).await?;
    let store = &ask.gateway().store;
    let kept = store.put_leg(admitted.owner(), id, server.id, &origin.leg).await?;
    if kept { Ok(origin) } else { Err(Refusal::SessionUnknown) }
}

async fn initialize(
    ask: &Ask<'_>,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    request: Request,
    version: ProtocolVersion,
) -> Result<Forwarded, Refusal> {
    if server.era == Some(Era::Modern) {
        return Err(era::modern_only(server, version));
    }
    let params = here::params_of(&request);
    let members = params.object().unwrap_or_default();
    let introduction = Introduction { version, params: &members, declare_capabilities: true };
    let (origin, response) = leg::initialize(ask, server, &introduction, &request.id).await?;
    let opened = match &origin {
        None => None,
        Some(origin) => {
            let version = &origin.leg.protocol_version;
            Some(here::open_session(ask, caller, admitted, version, &params, Some((server.id, origin))).await?)
        }
    };
    Ok(Forwarded { reply: Reply::Response(StatusCode::OK, response), opened })
}

async fn notify(
    ask: &Ask<'_>,
    admitted: &Admitted,
    server: &Server,
    notification: &Notification,
) -> Result<Forwarded, Refusal> {
    let write = |meta: &[(&str, MetaValue<'_>)]| notification.write(&Edit { meta, ..Edit::default() });
    one_way(ask, admitted, server, &notification.method, &write).await
}

async fn respond(
    ask: &Ask<'_>,
    admitted: &Admitted,
    server: &Server,
    response: &Response,
) -> Result<Forwarded, Refusal> {
    let write = |_: &[(&str, MetaValue<'_>)]| response.write(response.id.as_ref());
    one_way(ask, admitted, server, "response", &write).await
}

/// A message that is taken, not answered.
async fn one_way(
    ask: &Ask<'_>,
    admitted: &Admitted,
    server: &Server,
    method: &str,
    write: &WriteBody<'_>,
) -> Result<Forwarded, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let origin = session.legs.get(&server.id).and_then(|leg| Origin::of(server, leg));
    let Some(origin) = origin else { return Err(forget(ask, admitted, id).await) };
    let outgoing = Outgoing { headers: origin.headers(), method, tool: "", write };
    match ask.send(&origin.instance, outgoing).await {
        Ok(_) => Ok(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))),
        Err(fault) if fault.is_session_lost() => Err(forget(ask, admitted, id).await),
        Err(fault) => Err(ask.refusal(server, &fault)),
    }
}

/// The server has forgotten the session, so nobody has it: the agent is told to begin anew.
async fn forget(ask: &Ask<'_>, admitted: &Admitted, id: &SessionId) -> Refusal {
    match ask.gateway().store.remove_session(admitted.owner(), id).await {
        Ok(_) => Refusal::SessionUnknown,
        Err(error) => error.into(),
    }
}

/// Lists are read whole, because they are filtered; everything else is passed on as it arrives.
async fn reply(
    ask: &Ask<'_>,
    server: Arc<Server>,
    method: Method,
    request: Request,
    received: Received,
    decline: Option<Origin>,
) -> Result<Forwarded, Refusal> {
    let status = received.status;
    if let Carries::List(kind) = method.carries() {
        let response = received.response(&request.id).await;
        let response = response.map_err(|fault| ask.refusal(&server, &Fault::from(fault)))?;
        return Ok(Forwarded::plain(Reply::List(kind, server.name.clone(), response)));
    }
    if let Body::Events(_) = received.body {
        return Ok(Forwarded::plain(Reply::Passing(Box::new(Passing { request, received, server, decline }))));
    }
    let response = received.response(&request.id).await;
    let response = response.map_err(|fault| ask.refusal(&server, &Fault::from(fault)))?;
    Ok(Forwarded::plain(Reply::Response(status, response)))
}

/// What the agent said of itself. It was validated when it was read, before it was kept.
fn introduced(session: &Session) -> Object {
    let kept = bytes::Bytes::from(session.initialize_params.clone());
    json::parse(&kept, &Bounds::AGENT).ok().and_then(|params| params.object()).unwrap_or_default()
}
