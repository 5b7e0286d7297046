//! A legacy agent's messages for a modern server: the session is the gateway's alone, and what the agent said in it is
//! said to the server with every request.
//!
//! - `discovered.rs`: what the server says of itself, from which the agent's handshake is answered.
//! - `listening.rs`: the session's own stream, and what it has subscribed to.
//! - `rounds.rs`: a request (`call.rs`) that the server may answer with questions, which go to the agent and come back by any data
//!   plane; `question_id.rs` is what they are known by on the way, `answer.rs` what comes back.
//!
//! Invariant: no HTTP status of the server reaches the agent, to whom it would say something about its session.

mod answer;
mod call;
pub mod discovered;
mod listening;
mod question_id;
mod rounds;

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use http::StatusCode;
use tollgate_proto::ServerId;

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault},
    exchange::Exchange,
    here, mirror,
    single::Asked,
    speech::Speech,
    translation::{Same, Subject, Translation},
    watch::Watch,
};
use crate::{
    bridge::to_modern::{
        Introduction, discover,
        listen::Filter,
        outcome::{INVALID_PARAMS, METHOD_NOT_FOUND, error_of},
    },
    mcp::{
        json::{self, Bounds, Raw},
        level::Level,
        message::{Notification, Request, RequestId, Response},
        method::{Carries, ListKind, Method, Notice},
        version::{Era, ProtocolVersion},
    },
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
    store::{Announcement, Announcements, MailboxId, Session, SessionChange, SessionId, Subscribed, Subscription},
};
use call::Call;
use listening::Listener;

pub use listening::Listening;
pub use rounds::Rounds;

/// The longest URI that a session may subscribe to, in bytes.
pub const URI_BYTES_MAX: usize = 2048;
/// How long an answer waits for the subscription to hold.
const HOLDS_WITHIN: Duration = Duration::from_secs(2);

/// Answers `initialize` from what the server says of itself, and opens the session.
///
/// # Errors
/// How the server or the store failed.
pub async fn initialize(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    speech: &Speech,
    request: &Request,
    version: ProtocolVersion,
) -> Result<Forwarded, Refusal> {
    let (discovered, _) = discovered::of(ask, speech).await?;
    let name = &speech.server.name;
    let result = discover::initialized(&discovered, version, name.as_str()).ok_or_else(|| {
        Refusal::UpstreamInvalid { server: name.to_string(), detail: "what it says of itself is no object".to_owned() }
    })?;
    let params = here::params_of(request);
    let opened = here::open_session(ask, caller, admitted, version.as_str(), &params, BTreeMap::new()).await?;
    Ok(Forwarded { reply: Reply::Result(result), opened: Some(opened) })
}

/// Sends a request; what only a session can keep is kept.
///
/// # Errors
/// How the server or the store failed.
pub async fn request(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    speech: Speech,
    asked: Asked,
) -> Result<Forwarded, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    match asked.method {
        Method::LoggingSetLevel => set_level(ask, admitted, id, &asked.request).await,
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            subscribe(ask, admitted, id, &speech, &asked).await
        }
        method if !method.is_known_in(Era::Modern) || method.carries() == Carries::TaskId => {
            Ok(answer(Err(error_of(METHOD_NOT_FOUND, "the server does not know this method"))))
        }
        _ => send(ask, caller, admitted, (*id, session), speech, asked).await,
    }
}

/// Opens the session's own stream: everything that the server tells of its lists, and of the resources that the session
/// has subscribed to.
///
/// # Errors
/// [`Refusal::StreamNotOffered`] where the server tells of nothing, and how the server or the store failed.
pub async fn listen(ask: &Ask, admitted: &Admitted, speech: Speech) -> Result<Forwarded, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let (discovered, _) = discovered::of(ask, &speech).await?;
    if Filter::new(&discovered, BTreeSet::new()).is_none() {
        return Err(Refusal::StreamNotOffered);
    }
    let watch = Watch::take(Arc::clone(ask.shared()), admitted.owner(), *id).await;
    let announcements = ask.gateway().store.announcements();
    let listening = listening(ask, *id, session, speech, discovered, announcements).await?;
    let exchange = Exchange::of_listening(ask, listening);
    let translation = Translation::Same(Same { era: Era::Legacy, subject: Subject::Stream, mapping: None });
    let passing = Passing { watch: Some(Box::new(watch)), ..Passing::new(exchange, None, translation) };
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}

/// What a server that tells of something, as discovered, has to say in a session. `announcements` were listened to
/// before the session was loaded, or before the answer to whoever subscribes meanwhile.
///
/// # Errors
/// How the server failed.
pub async fn listening(
    ask: &Ask,
    id: SessionId,
    session: &Session,
    speech: Speech,
    discovered: Raw,
    announcements: Announcements,
) -> Result<Listening, Refusal> {
    let server = Arc::clone(&speech.server);
    let (introduction, resources) = (introduction(session), resources_at(session, server.id));
    let listener = Listener { ask: ask.clone(), owner: ask.owner(), session: id, introduction, speech, discovered };
    let listening = Listening::open(listener, resources, announcements).await;
    listening.map_err(|fault| ask.refusal(&server, &fault))
}

/// Takes a notification of the agent. None of them exists in the modern era: a request that is cancelled is dropped
/// where it runs.
///
/// # Errors
/// When the store is away.
pub async fn notify(ask: &Ask, admitted: &Admitted, notification: &Notification) -> Result<Forwarded, Refusal> {
    cancel(ask, admitted, notification).await?;
    Ok(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED)))
}

/// Has the request dropped that the notification cancels, where it runs at a modern server.
///
/// # Errors
/// When the store is away.
pub async fn cancel(ask: &Ask, admitted: &Admitted, notification: &Notification) -> Result<(), Refusal> {
    let (id, _) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let cancelled = notification.params.get("requestId").and_then(RequestId::read);
    if let (Some(Notice::Cancelled), Some(request)) = (Notice::parse(&notification.method), cancelled) {
        let request = request.to_string();
        announce(ask, admitted, id, SessionChange::Cancelled { request }).await?;
    }
    Ok(())
}

/// Takes the agent's answer to a question of a modern server to whoever waits for it. `None`: it is no such answer.
///
/// # Errors
/// When the store is away.
pub async fn answered(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    response: &Response,
) -> Result<Option<Forwarded>, Refusal> {
    let (id, _) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let question =
        response.id.as_ref().and_then(|named| question_id::open(caller.tenant(), admitted.owner(), id, named));
    let Some(question) = question else { return Ok(None) };
    answer::deliver(ask, admitted.owner(), question, &response.outcome).await?;
    Ok(Some(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))))
}

/// Tells every data plane what has changed about the session.
async fn announce(ask: &Ask, admitted: &Admitted, id: &SessionId, change: SessionChange) -> Result<(), Refusal> {
    let tenant = admitted.owner().tenant;
    Ok(ask.gateway().store.announce(Announcement::SessionChanged { tenant, session: *id, change }).await?)
}

async fn set_level(ask: &Ask, admitted: &Admitted, id: &SessionId, request: &Request) -> Result<Forwarded, Refusal> {
    let level = request.params.get("level").and_then(Raw::as_str).and_then(|level| Level::parse(&level));
    let Some(level) = level else { return Ok(answer(Err(error_of(INVALID_PARAMS, "`level` is no level")))) };
    if ask.gateway().store.put_log_level(admitted.owner(), id, level.as_str()).await? {
        Ok(answer(Ok(Raw::empty_object())))
    } else {
        Err(Refusal::SessionUnknown)
    }
}

/// Keeps in the session what the agent wants to hear of; whoever holds its stream hears of that.
async fn subscribe(
    ask: &Ask,
    admitted: &Admitted,
    id: &SessionId,
    speech: &Speech,
    asked: &Asked,
) -> Result<Forwarded, Refusal> {
    let uri = asked.request.params.uri().unwrap_or_default().to_owned();
    if uri.len() > URI_BYTES_MAX {
        return Ok(answer(Err(error_of(INVALID_PARAMS, "the URI is too long to subscribe to"))));
    }
    let (discovered, _) = discovered::of(ask, speech).await?;
    let resources = discovered.object().and_then(|it| it.get("capabilities")?.object()?.get("resources")?.object());
    let can = resources.and_then(|resources| resources.get("subscribe")?.as_bool());
    if can != Some(true) {
        return Ok(answer(Err(error_of(METHOD_NOT_FOUND, "the server takes no subscriptions to resources"))));
    }
    let subscription = Subscription { server: speech.server.id, uri };
    let (store, owner) = (&ask.gateway().store, admitted.owner());
    let subscribed = if asked.method == Method::ResourcesSubscribe {
        store.subscribe(owner, id, &subscription).await?
    } else if store.unsubscribe(owner, id, &subscription).await? {
        Subscribed::Kept
    } else {
        Subscribed::NoSession
    };
    match subscribed {
        Subscribed::NoSession => Err(Refusal::SessionUnknown),
        Subscribed::Full => {
            Ok(answer(Err(error_of(INVALID_PARAMS, "the session has subscribed to too many resources"))))
        }
        Subscribed::Kept => {
            let told = MailboxId::generate()?;
            announce(ask, admitted, id, SessionChange::Subscriptions { server: speech.server.id, told }).await?;
            // Whoever holds the session's stream says when it brings what was subscribed to; there may be nobody.
            let _ = store.receive_mail(owner, told, 0, HOLDS_WITHIN).await;
            Ok(answer(Ok(Raw::empty_object())))
        }
    }
}

async fn send(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    (id, session): (SessionId, &Session),
    speech: Speech,
    asked: Asked,
) -> Result<Forwarded, Refusal> {
    let (method, request, spoken_to) = (asked.method, asked.request.clone(), speech.clone());
    // Listened to before the request leaves: a cancellation may overtake its answer.
    let announcements = ask.gateway().store.announcements();
    let call = Call {
        ask: ask.clone(),
        tenant: Arc::clone(caller.tenant()),
        owner: admitted.owner(),
        session: id,
        introduction: introduction(session),
        speech,
        asked,
    };
    let server = &spoken_to.server;
    let rounds = Rounds::open(call, announcements).await.map_err(|fault| ask.refusal(server, &fault))?;
    let exchange = Exchange::of_rounds(ask, rounds, request.id.clone());
    // What comes out of the rounds is of the agent's own era.
    let translation = Translation::Same(Same { era: Era::Legacy, subject: Subject::Answer, mapping: None });
    let passing = Passing::new(exchange, Some(request.id.clone()), translation);
    let Carries::List(kind) = method.carries() else {
        return Ok(Forwarded::plain(Reply::Passing(Box::new(passing))));
    };
    let response = passing.answer().await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
    let is_tools = kind == ListKind::Tools;
    let response = if is_tools { mirror::usable(ask, &spoken_to, &request, response) } else { response };
    Ok(Forwarded::plain(Reply::List(kind, server.name.clone(), response)))
}

/// What the session has subscribed to at a server.
fn resources_at(session: &Session, server: ServerId) -> BTreeSet<String> {
    let there = session.subscriptions.iter().filter(|subscription| subscription.server == server);
    there.map(|subscription| subscription.uri.clone()).collect()
}

/// What the agent said of itself when it opened the session.
fn introduction(session: &Session) -> Introduction {
    let kept = bytes::Bytes::from(session.initialize_params.clone());
    // It was validated when it was read, before it was kept.
    let params = json::parse(&kept, &Bounds::AGENT).ok().and_then(|params| params.object()).unwrap_or_default();
    let version = ProtocolVersion::parse(&session.protocol_version).unwrap_or(ProtocolVersion::NEWEST_LEGACY);
    Introduction::new(&params, version, session.log_level.as_deref().and_then(Level::parse))
}

fn answer(outcome: Result<Raw, Raw>) -> Forwarded {
    Forwarded::plain(Reply::Response(StatusCode::OK, Response { id: None, outcome }))
}
