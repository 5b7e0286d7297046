//! One message for one server.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use http::{HeaderMap, StatusCode};

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault, Outgoing, WriteBody},
    bridged, era,
    exchange::Exchange,
    federated::Mapping,
    here,
    leg::{self, Introduction},
    mirror::{self, Mirrored},
    news::{News, Voice},
    sessionless,
    speech::{self, Speech, Tongue},
    streams,
    tasks::{self, TaskIds},
    translation::{Same, Subject, Translation},
};
use crate::{
    mcp::{
        json::Raw,
        message::{Edit, MetaValue, Notification, Request, Response},
        method::{Carries, ListKind, Method},
        version::{Era, ProtocolVersion},
    },
    policy::Server,
    refusal::Refusal,
    stage::{
        admit::Admitted,
        identify::Caller,
        route::{Carried, ToServer},
    },
    store::Subscription,
};

/// The code of a modern server whose idea of the headers differs (2026-07-28, basic/index, "Error Codes").
pub(super) const HEADER_MISMATCH: i64 = -32020;

/// A request with what is needed to send it.
#[derive(Debug)]
pub(super) struct Asked {
    /// What the agent sent.
    pub(super) request: Request,
    pub(super) method: Method,
    /// The agent's.
    pub(super) era: Era,
    /// The tool as the server names it, where it is a tool call.
    pub(super) tool: Option<Box<str>>,
    pub(super) params: HeaderMap,
    /// In a session with several servers: the ids that this one gets.
    pub(super) mapping: Option<Box<Mapping>>,
    /// Another `params.notifications`, with the server's own ids of tasks.
    pub(super) notifications: Option<Raw>,
}

impl Asked {
    /// For the ids of tasks in what a modern server says to a modern agent about a call, or while it is listened to.
    fn task_ids(&self, ask: &Ask, caller: &Caller, speech: &Speech) -> Option<TaskIds> {
        let is_modern = self.era == Era::Modern && matches!(speech.tongue, Tongue::Modern);
        let may_name_tasks = matches!(self.method, Method::ToolsCall | Method::SubscriptionsListen);
        let tool = self.tool.as_deref().unwrap_or_default();
        (is_modern && may_name_tasks).then(|| TaskIds::new(ask, caller, speech, tool))
    }

    /// The call of a tool, as far as headers mirror its arguments.
    pub(super) fn mirrored(&self) -> Option<Mirrored<'_>> {
        let tool = self.tool.as_deref()?;
        Some(Mirrored { tool, request: &self.request, agent: self.era, sent: &self.params })
    }
}

/// Forwards the message.
///
/// # Errors
/// How the server or the store failed.
pub async fn forward(ask: &Ask, caller: &Caller, admitted: &Admitted, errand: ToServer) -> Result<Forwarded, Refusal> {
    let server = errand.server;
    match errand.message {
        Carried::Initialize { request, version } => initialize(ask, caller, admitted, &server, request, version).await,
        Carried::Request { request, method, era, tool, params } => {
            let mapping = mapping(caller, admitted, &server, era, &request);
            let listens = (method == Method::SubscriptionsListen).then(|| Voice::of_request(&request));
            let news = listens.map(|voice| News::of(ask, caller, &server, voice));
            let asked = Asked { request, method, era, tool, params, mapping, notifications: None };
            Ok(request_of(ask, caller, admitted, &server, asked).await?.with_news(news))
        }
        Carried::Stream { last_event_id } => {
            let news = News::of(ask, caller, &server, Voice::Session);
            Ok(streams::open(ask, caller, admitted, &server, last_event_id).await?.with_news(Some(news)))
        }
        Carried::Task { request, method, task } => tasks::forward(ask, caller, &server, request, method, task).await,
        Carried::Notification(notification) => notify(ask, caller, admitted, &server, &notification).await,
        Carried::Response(response) => respond(ask, caller, admitted, &server, &response).await,
    }
}

/// A request: sent, and its answer passed on as it arrives. Lists are read whole, because they are filtered.
async fn request_of(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    mut asked: Asked,
) -> Result<Forwarded, Refusal> {
    if asked.era == Era::Modern && era::of(ask, server, ask.gateway().upstreams.pick(server)).await? == Era::Legacy {
        return bridged::request(ask, caller, admitted, server, asked).await;
    }
    let speech = speech::choose(ask, caller, admitted, asked.era, &asked.request, server).await?;
    let params = match asked.mirrored() {
        Some(call) => mirror::params(ask, &speech, call).await?,
        None => asked.params.clone(),
    };
    if asked.era == Era::Legacy && speech.era() == Era::Modern {
        return sessionless::request(ask, caller, admitted, speech, Asked { params, ..asked }).await;
    }
    if asked.mapping.is_some() {
        keep_subscription(ask, admitted, server, &asked).await?;
    }
    let mut task_ids = asked.task_ids(ask, caller, &speech);
    asked.notifications = task_ids.as_mut().and_then(|ids| tasks::listened_to(caller, ids, &asked.request));
    let sent_at = Instant::now();
    let mut sent = send(ask, &speech, &asked, &params).await;
    if sent.as_ref().is_err_and(|fault| speech.is_lost(fault)) {
        // The server took nothing, so sending once more repeats nothing.
        let speech = speech::renew(ask, caller, admitted, &asked.request, &speech).await?;
        sent = send(ask, &speech, &asked, &params).await;
    }
    if sent.as_ref().is_ok_and(|exchange| exchange.error_code() == Some(HEADER_MISMATCH))
        && let Some(call) = asked.mirrored()
        && let Some(params) = mirror::anew(ask, &speech, call, sent_at, &params).await
    {
        // What its headers are wrong for is not executed, so sending it once more repeats nothing.
        sent = send(ask, &speech, &asked, &params).await;
    }
    let exchange = sent.map_err(|fault| ask.refusal(server, &fault))?;
    let mut exchange = match task_ids {
        Some(ids) => exchange.with_task_ids(ids),
        None => exchange,
    };
    let listens = asked.method == Method::SubscriptionsListen;
    if listens {
        exchange.be_endless();
    }
    let subject = if listens { Subject::Subscription } else { Subject::Answer };
    let translation = Translation::Same(Same { era: asked.era, subject, mapping: asked.mapping });
    let passing = Passing::new(exchange, Some(asked.request.id.clone()), translation);
    if asked.method == Method::Discover {
        let response = passing.answer().await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
        return Ok(Forwarded::plain(Reply::Response(StatusCode::OK, here::introduced(response))));
    }
    let Carries::List(kind) = asked.method.carries() else {
        return Ok(Forwarded::plain(Reply::Passing(Box::new(passing))));
    };
    let response = passing.answer().await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
    let is_tools = kind == ListKind::Tools && speech.era() == Era::Modern;
    let response = if is_tools { mirror::usable(ask, &speech, &asked.request, response) } else { response };
    Ok(Forwarded::plain(Reply::List(kind, server.name.clone(), response)))
}

/// Of several upstream sessions one may be lost alone: the one that takes its place subscribes to the same.
async fn keep_subscription(ask: &Ask, admitted: &Admitted, server: &Server, asked: &Asked) -> Result<(), Refusal> {
    let (Some((id, _)), Some(uri)) = (admitted.session(), asked.request.params.uri()) else { return Ok(()) };
    let subscription = Subscription { server: server.id, uri: uri.to_owned() };
    let (store, owner) = (&ask.gateway().store, admitted.owner());
    match asked.method {
        Method::ResourcesSubscribe if uri.len() <= sessionless::URI_BYTES_MAX => {
            // What there is no room for is the server's alone to keep.
            let _kept_or_full = store.subscribe(owner, id, &subscription).await?;
        }
        Method::ResourcesUnsubscribe => {
            let _ended_meanwhile = store.unsubscribe(owner, id, &subscription).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn send(ask: &Ask, speech: &Speech, asked: &Asked, params: &HeaderMap) -> Result<Exchange, Fault> {
    let (method, tool) = (asked.method.as_str(), asked.tool.as_deref());
    let token = asked.mapping.as_ref().and_then(|mapping| mapping.progress_token());
    let id = asked.mapping.as_ref().and_then(|mapping| mapping.request());
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        let token = token.iter().map(|token| ("progressToken", MetaValue::Raw(token)));
        let meta: Vec<_> = meta.iter().copied().chain(token).collect();
        let notifications = asked.notifications.as_ref();
        asked.request.write(&Edit { id, name: tool, notifications, meta: &meta, ..Edit::default() })
    };
    let name = tool.or_else(|| asked.method.mirrored_name(&asked.request.params));
    let headers = speech.headers(method, name, params.clone());
    let outgoing = Outgoing { headers, method, tool: tool.unwrap_or_default(), write: &write };
    Exchange::open(ask, speech, id.unwrap_or(&asked.request.id).clone(), outgoing).await
}

fn mapping(caller: &Caller, admitted: &Admitted, server: &Server, era: Era, request: &Request) -> Option<Box<Mapping>> {
    let (session, _) = admitted.session().filter(|_| era == Era::Legacy && caller.server().is_none())?;
    Some(Box::new(Mapping::new(caller, session, server.id, request)))
}

async fn initialize(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    request: Request,
    version: ProtocolVersion,
) -> Result<Forwarded, Refusal> {
    let instance = ask.gateway().upstreams.pick(server);
    if era::of(ask, server, instance).await? == Era::Modern {
        let speech = Speech::modern(server, instance);
        return sessionless::initialize(ask, caller, admitted, &speech, &request, version).await;
    }
    let params = here::params_of(&request);
    let members = params.object().unwrap_or_default();
    let introduction = Introduction { version, params: &members };
    let (speech, response) = leg::initialize(ask, server, &introduction, &request.id).await?;
    let opened = match &speech {
        Some(Speech { tongue: Tongue::Legacy(leg), .. }) => {
            let version = &leg.protocol_version;
            let legs = BTreeMap::from([(server.id, leg.clone())]);
            Some(here::open_session(ask, caller, admitted, version, &params, legs).await?)
        }
        _ => None,
    };
    Ok(Forwarded { reply: Reply::Response(StatusCode::OK, response), opened })
}

async fn notify(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    notification: &Notification,
) -> Result<Forwarded, Refusal> {
    match reachable(ask, caller, admitted, server).await? {
        None => Ok(accepted()),
        Some(speech) if speech.era() == Era::Modern => sessionless::notify(ask, admitted, notification).await,
        Some(speech) => {
            let write = |meta: &[(&str, MetaValue<'_>)]| notification.write(&Edit { meta, ..Edit::default() });
            one_way(ask, caller, admitted, &speech, &notification.method, &write).await
        }
    }
}

async fn respond(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    response: &Response,
) -> Result<Forwarded, Refusal> {
    if let Some(taken) = sessionless::answered(ask, caller, admitted, response).await? {
        return Ok(taken);
    }
    match reachable(ask, caller, admitted, server).await? {
        Some(speech) if speech.era() == Era::Legacy => {
            let write = |_: &[(&str, MetaValue<'_>)]| response.write(response.id.as_ref());
            one_way(ask, caller, admitted, &speech, "response", &write).await
        }
        // An answer that nobody waits for, or that came too late.
        _ => Ok(accepted()),
    }
}

/// How a message that opens no upstream session reaches the server; `None`: this session has not reached it.
async fn reachable(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
) -> Result<Option<Speech>, Refusal> {
    match speech::in_session(admitted, server)? {
        Some(speech) => Ok(Some(speech)),
        None if caller.server().is_none() => Ok(None),
        None => speech::of_session(ask, caller, admitted, server).await.map(Some),
    }
}

fn accepted() -> Forwarded {
    Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))
}

/// A message that is taken, not answered.
async fn one_way(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    speech: &Speech,
    method: &str,
    write: &WriteBody<'_>,
) -> Result<Forwarded, Refusal> {
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write };
    match ask.send(&speech.instance, outgoing).await {
        Ok(_) => Ok(accepted()),
        // One leg is lost, and with it whatever was asked there.
        Err(fault) if speech.is_lost(&fault) && caller.server().is_none() => Ok(accepted()),
        Err(fault) if speech.is_lost(&fault) => Err(speech::forget(ask, admitted).await),
        Err(fault) => Err(ask.refusal(&speech.server, &fault)),
    }
}
