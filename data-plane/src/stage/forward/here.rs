//! What Tollgate answers by itself: pings, the handshake of federated endpoints, the end of sessions.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use http::StatusCode;
use tollgate_proto::ServerId;

use super::{
    Forwarded, Reply,
    ask::Ask,
    leg, sessionless,
    speech::Speech,
    united::{Guest, United},
};
use crate::{
    mcp::{
        json::{self, ObjectWriter, Raw},
        level::Level,
        message::{Request, Response},
        version::supported,
    },
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Here},
    store::{Leg, Session, SessionId},
    telemetry::SessionEnd,
};

const SUPPORTED_VERSIONS: &str = "supportedVersions";

/// Answers.
///
/// # Errors
/// When the store is away.
pub async fn answer(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    view: &View,
    errand: Here,
) -> Result<Forwarded, Refusal> {
    match errand {
        Here::Pong => Ok(Forwarded::plain(Reply::Result(Raw::empty_object()))),
        Here::Reply(response) => {
            let taken = sessionless::answered(ask, caller, admitted, &response).await?;
            // An answer that nobody waits for is taken all the same.
            Ok(taken.unwrap_or_else(|| Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))))
        }
        Here::Accept => Ok(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))),
        Here::Discover { request } => {
            let united = United::ask(ask, caller, view, Guest::Modern(&request)).await;
            Ok(Forwarded::plain(Reply::Result(united.discovered(view))))
        }
        Here::Initialize { request, version } => {
            let params = params_of(&request);
            let members = params.object().unwrap_or_default();
            let guest = Guest::Legacy { version, params: &members };
            let united = United::ask(ask, caller, view, guest).await;
            let opened = open_session(ask, caller, admitted, version.as_str(), &params, united.legs()).await?;
            Ok(Forwarded { reply: Reply::Result(united.initialized(view, version)), opened: Some(opened) })
        }
        Here::SetLevel { request, level } => {
            set_level(ask, caller, admitted, &request, level).await?;
            Ok(Forwarded::plain(Reply::Result(Raw::empty_object())))
        }
        Here::EndSession => {
            end_session(ask, caller, admitted).await?;
            Ok(Forwarded::plain(Reply::Status(StatusCode::NO_CONTENT)))
        }
    }
}

/// The params as they were read.
pub fn params_of(request: &Request) -> Raw {
    json::object(|params| request.params.iter().for_each(|(key, value)| params.raw(key, value)))
}

/// What a server says of itself, but for the revisions: it is reached in those that are spoken here, and errors that
/// list them list the same.
pub fn introduced(response: Response) -> Response {
    let spoken_here = |result: Raw| match result.object() {
        None => result,
        Some(members) => json::object(|said| {
            for (name, value) in members.iter() {
                match name {
                    SUPPORTED_VERSIONS => write_supported(said),
                    _ => said.raw(name, value),
                }
            }
        }),
    };
    Response { outcome: response.outcome.map(spoken_here), ..response }
}

/// Keeps a new session for the caller.
///
/// # Errors
/// When the store is away.
pub async fn open_session(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    protocol_version: &str,
    params: &Raw,
    legs: BTreeMap<ServerId, Leg>,
) -> Result<SessionId, Refusal> {
    let session = Session {
        owner: admitted.owner(),
        endpoint: caller.resource(),
        protocol_version: protocol_version.to_owned(),
        initialize_params: params.as_bytes().to_vec(),
        legs,
        log_level: None,
        subscriptions: BTreeSet::new(),
        created_at_ms: u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default(),
    };
    let id = ask.gateway().store.create_session(&session).await?;
    ask.gateway().metrics.session_opened();
    Ok(id)
}

/// Has every server of the session send log messages from this level on, those that it reaches later too.
async fn set_level(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    request: &Request,
    level: Level,
) -> Result<(), Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    if !ask.gateway().store.put_log_level(admitted.owner(), id, level.as_str()).await? {
        return Err(Refusal::SessionUnknown);
    }
    let reached = session.legs.iter().filter_map(|(id, leg)| Speech::of_leg(caller.server_by_id(*id)?, leg));
    let told = reached.map(|speech| async move {
        if let Err(fault) = leg::set_level(ask, &speech, &request.id, level).await {
            tracing::debug!(server = %speech.server.name, %fault, "a server was not told the level of its log");
        }
    });
    join_all(told).await;
    Ok(())
}

/// Forgets the session and tells the servers behind it.
async fn end_session(ask: &Ask, caller: &Caller, admitted: &Admitted) -> Result<(), Refusal> {
    let Some((id, _)) = admitted.session() else { return Err(Refusal::SessionRequired) };
    let removed = ask.gateway().store.end_session(admitted.owner(), id).await?;
    ask.gateway().metrics.sessions_ended(SessionEnd::Deleted, usize::from(removed.is_some()));
    for (server, leg) in removed.map(|session| session.legs).unwrap_or_default() {
        let speech = caller.server_by_id(server).and_then(|server| Speech::of_leg(server, &leg));
        if let Some(speech) = speech.filter(Speech::has_session) {
            ask.delete(&speech.instance, speech.plain_headers("DELETE")).await;
        }
    }
    Ok(())
}

fn write_supported(result: &mut ObjectWriter<'_>) {
    result.array(SUPPORTED_VERSIONS, |versions| supported().for_each(|version| versions.text(version.as_str())));
}
