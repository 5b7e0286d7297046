//! Legs: the upstream sessions of one legacy session, one for each server that it has reached.
//!
//! Invariant: a leg belongs to one agent's session and is never shared.

use std::sync::Arc;

use http::HeaderMap;

use super::{
    ask::{Ask, Fault, Outgoing},
    era,
    exchange::Exchange,
    speech::{Speech, Tongue},
};
use crate::{
    mcp::{
        json::{self, Bounds, Object, Raw},
        level::Level,
        message::{MetaValue, RequestId, Response, write_notification, write_request},
        method::{Method, Notice},
        version::ProtocolVersion,
    },
    policy::Server,
    refusal::Refusal,
    store::{Leg, Session},
    upstream::{
        answer::{AnswerFault, Body, Received},
        spoken,
    },
};

/// What an agent said of itself in `initialize`, or what is said in its place.
#[derive(Debug)]
pub struct Introduction<'a> {
    /// The revision to ask for.
    pub version: ProtocolVersion,
    /// What the agent sent, of which all but the revision is passed on.
    pub params: &'a Object,
}

/// Opens the leg to a server that the session has not reached yet, or that has forgotten it.
///
/// # Errors
/// How the server failed.
pub async fn open(ask: &Ask, session: &Session, server: &Arc<Server>) -> Result<Speech, Refusal> {
    let version = ProtocolVersion::parse(&session.protocol_version).unwrap_or(ProtocolVersion::NEWEST_LEGACY);
    let (speech, _) = meet(ask, version, &introduced(session), server).await?;
    if let Some(level) = session.log_level.as_deref().and_then(Level::parse) {
        let id = RequestId::Text("tollgate-level".into());
        if let Err(fault) = set_level(ask, &speech, &id, level).await {
            tracing::debug!(server = %server.name, %fault, "a server was not told the level of its log");
        }
    }
    for subscription in session.subscriptions.iter().filter(|subscription| subscription.server == server.id) {
        if let Err(fault) = subscribe(ask, &speech, &subscription.uri).await {
            tracing::debug!(server = %server.name, %fault, "a server was not told what its session has subscribed to");
        }
    }
    Ok(speech)
}

/// Has the server tell of a resource once more, which it was asked to do in a session that it has forgotten.
async fn subscribe(ask: &Ask, speech: &Speech, uri: &str) -> Result<(), Fault> {
    let (id, method) = (RequestId::Text("tollgate-subscribe".into()), Method::ResourcesSubscribe.as_str());
    let write = |_: &[(&str, MetaValue<'_>)]| write_request(&id, method, |params| params.text("uri", uri));
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await?;
    Ok(())
}

/// Opens an upstream session of a federated one; answers with the server's result of `initialize`.
///
/// # Errors
/// How the server failed.
pub async fn meet(
    ask: &Ask,
    version: ProtocolVersion,
    params: &Object,
    server: &Arc<Server>,
) -> Result<(Speech, Raw), Refusal> {
    let introduction = Introduction { version, params };
    let handshake = RequestId::Text("tollgate-initialize".into());
    let (speech, response) = initialize(ask, server, &introduction, &handshake).await?;
    let (Some(speech), Ok(result)) = (speech, response.outcome) else {
        let detail = "it refuses to be initialized".to_owned();
        return Err(Refusal::UpstreamInvalid { server: server.name.to_string(), detail });
    };
    initialized(ask, &speech).await?;
    Ok((speech, result))
}

/// Has the server send log messages of the session from this level on. One that keeps no log answers with an error,
/// which is as good.
///
/// # Errors
/// How the server failed.
pub async fn set_level(ask: &Ask, speech: &Speech, id: &RequestId, level: Level) -> Result<(), Fault> {
    let method = Method::LoggingSetLevel.as_str();
    let write = |_: &[(&str, MetaValue<'_>)]| write_request(id, method, |params| params.text("level", level.as_str()));
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await?;
    Ok(())
}

/// Opens an upstream session; answers with the server's response to `initialize`.
///
/// # Errors
/// How the server failed.
pub async fn initialize(
    ask: &Ask,
    server: &Arc<Server>,
    introduction: &Introduction<'_>,
    id: &RequestId,
) -> Result<(Option<Speech>, Response), Refusal> {
    let instance = ask.gateway().upstreams.pick(server);
    let method = Method::Initialize.as_str();
    let write = |meta: &[(&str, MetaValue<'_>)]| write_initialize(id, introduction, meta);
    let outgoing = Outgoing { headers: HeaderMap::new(), method, tool: "", write: &write };
    let received = ask.post(server, instance, outgoing).await?;
    let upstream_session = received.session.clone();
    // Whatever the server asks before it is initialized is asked in the session that it opens here.
    let leg = Leg { instance: instance.id, upstream_session, protocol_version: introduction.version.to_string() };
    let mut speech = Speech { tongue: Tongue::Legacy(leg), ..Speech::modern(server, instance) };
    let exchange = Exchange::over(ask, &speech, Some(id.clone()), received);
    let response = exchange.answer().await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
    let Ok(result) = &response.outcome else {
        return if spoken::is_modern_error(response.error_code()) {
            Err(era::has_changed(ask, server, instance))
        } else {
            Ok((None, response))
        };
    };
    let version = result.object().and_then(|result| result.get("protocolVersion")?.as_str().map(Into::into));
    let version: String = version.unwrap_or_default();
    let Some(spoken) = ProtocolVersion::parse_legacy(&version) else {
        let fault = AnswerFault::Invalid("a protocol version that is not known".to_owned());
        return Err(ask.refusal(server, &Fault::from(fault)));
    };
    ask.gateway().upstreams.instances().met(instance.id, spoken);
    if let Tongue::Legacy(leg) = &mut speech.tongue {
        leg.protocol_version = version;
    }
    Ok((Some(speech), response))
}

/// Tells the server that the handshake is done.
///
/// # Errors
/// How the server failed.
pub async fn initialized(ask: &Ask, speech: &Speech) -> Result<(), Refusal> {
    let method = Notice::Initialized.as_str();
    let write = |_: &[(&str, MetaValue<'_>)]| write_notification(method);
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    let Received { body, .. } = ask.post(&speech.server, &speech.instance, outgoing).await?;
    if let Body::Events(_) = body {
        tracing::debug!(server = %speech.server.name, "a notification was answered with a stream, which is dropped");
    }
    Ok(())
}

/// What the agent said of itself. It was validated when it was read, before it was kept.
fn introduced(session: &Session) -> Object {
    let kept = bytes::Bytes::from(session.initialize_params.clone());
    json::parse(&kept, &Bounds::AGENT).ok().and_then(|params| params.object()).unwrap_or_default()
}

fn write_initialize(id: &RequestId, introduction: &Introduction<'_>, meta: &[(&str, MetaValue<'_>)]) -> bytes::Bytes {
    write_request(id, Method::Initialize.as_str(), |params| {
        params.text("protocolVersion", introduction.version.as_str());
        for (key, value) in introduction.params.iter() {
            match key {
                "protocolVersion" | "_meta" => {}
                _ => params.raw(key, value),
            }
        }
        params.object("_meta", |entries| {
            for (key, value) in meta {
                if let MetaValue::Text(text) = value {
                    entries.text(key, text);
                }
            }
        });
    })
}
