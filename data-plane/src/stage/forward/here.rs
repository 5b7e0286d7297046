//! What Tollgate answers by itself: pings, the handshake of federated endpoints, the end of sessions.

use http::StatusCode;

use super::{
    Forwarded, Reply,
    ask::Ask,
    sessionless,
    speech::{Speech, Tongue},
};
use crate::{
    mcp::{
        json::{self, ObjectWriter, Raw},
        message::{Request, Response},
        version::{ProtocolVersion, supported},
    },
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller, route::Here},
    store::{Session, SessionId},
    telemetry::SessionEnd,
};

const SUPPORTED_VERSIONS: &str = "supportedVersions";
const INSTRUCTIONS: &str = "Tools are named {server}__{tool}. Which of them you see is what you have been granted.";

/// Answers.
///
/// # Errors
/// When the store is away.
pub async fn answer(ask: &Ask, caller: &Caller, admitted: &Admitted, errand: Here) -> Result<Forwarded, Refusal> {
    match errand {
        Here::Pong => Ok(Forwarded::plain(Reply::Result(Raw::empty_object()))),
        Here::Reply(response) => {
            let taken = sessionless::answered(ask, caller, admitted, &response).await?;
            // An answer that nobody waits for is taken all the same.
            Ok(taken.unwrap_or_else(|| Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))))
        }
        Here::Accept => Ok(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED))),
        Here::Discover => Ok(Forwarded::plain(Reply::Result(discovered()))),
        Here::Initialize { request, version } => {
            let params = params_of(&request);
            let opened = open_session(ask, caller, admitted, version.as_str(), &params, None).await?;
            Ok(Forwarded { reply: Reply::Result(initialized(version)), opened: Some(opened) })
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
    first: Option<&Speech>,
) -> Result<SessionId, Refusal> {
    let leg = first.and_then(|speech| match &speech.tongue {
        Tongue::Legacy(leg) => Some((speech.server.id, leg.clone())),
        Tongue::Modern => None,
    });
    let session = Session {
        owner: admitted.owner(),
        endpoint: caller.resource(),
        protocol_version: protocol_version.to_owned(),
        initialize_params: params.as_bytes().to_vec(),
        legs: leg.into_iter().collect(),
        log_level: None,
        subscriptions: std::collections::BTreeSet::new(),
        created_at_ms: u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default(),
    };
    let id = ask.gateway().store.create_session(&session).await?;
    ask.gateway().metrics.session_opened();
    Ok(id)
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

fn discovered() -> Raw {
    json::object(|result| {
        result.text("resultType", "complete");
        write_supported(result);
        result.object("capabilities", |capabilities| capabilities.object("tools", |_| {}));
        result.text("instructions", INSTRUCTIONS);
        result.integer("ttlMs", 0);
        result.text("cacheScope", "private");
        result.object("_meta", |meta| meta.object("io.modelcontextprotocol/serverInfo", write_server_info));
    })
}

fn initialized(version: ProtocolVersion) -> Raw {
    json::object(|result| {
        result.text("protocolVersion", version.as_str());
        result.object("capabilities", |capabilities| capabilities.object("tools", |_| {}));
        result.object("serverInfo", write_server_info);
        result.text("instructions", INSTRUCTIONS);
    })
}

fn write_supported(result: &mut ObjectWriter<'_>) {
    result.array(SUPPORTED_VERSIONS, |versions| supported().for_each(|version| versions.text(version.as_str())));
}

fn write_server_info(info: &mut ObjectWriter<'_>) {
    info.text("name", "tollgate");
    info.text("title", "Tollgate");
    info.text("version", env!("CARGO_PKG_VERSION"));
}
