//! Upstream sessions of modern agents: one for each agent (and user), server and set of declared capabilities.
//!
//! Invariant: this data plane opens one such session at a time, and of two data planes that open one at once the second
//! ends its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tollgate_proto::ServerId;

use super::super::{
    ask::{Ask, Fault, Outgoing},
    exchange::Exchange,
    leg::{self, Introduction},
    speech::{Speech, Tongue},
};
use crate::{
    bridge::to_legacy::Capabilities,
    mcp::{
        json::{self, Bounds, Object, Raw},
        level::Level,
        message::{META_CLIENT_INFO, MetaValue, Request, RequestId, Response, write_request},
        method::Method,
        version::ProtocolVersion,
    },
    policy::Server,
    refusal::Refusal,
    store::{BridgeLeg, Leg, Owner},
};

/// What a server says of itself is kept with each of its sessions.
const INITIALIZED_BYTES_MAX: usize = 128 * 1024;

type Key = (Owner, ServerId, String);

/// Sessions that are being opened by this data plane.
#[derive(Debug, Default)]
pub struct Opening(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// An upstream session, and what is known of it.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// How the server is spoken to in it.
    pub speech: Speech,
    /// The server's result of `initialize`.
    pub initialized: Object,
    kept: BridgeLeg,
    fingerprint: String,
}

impl Bridge {
    fn of(server: &Arc<Server>, kept: BridgeLeg, fingerprint: &str) -> Option<Self> {
        let speech = Speech::of_leg(server, &kept.leg)?;
        let text = bytes::Bytes::from(kept.initialized.clone());
        let initialized = json::parse(&text, &Bounds::UPSTREAM).ok()?.object()?;
        Some(Self { speech, initialized, kept, fingerprint: fingerprint.to_owned() })
    }

    /// Who the server said it is.
    #[must_use]
    pub fn server_info(&self) -> Option<Raw> {
        self.initialized.get("serverInfo").cloned()
    }

    /// What the server said it can do.
    #[must_use]
    pub fn capabilities(&self) -> Object {
        self.initialized.get("capabilities").and_then(Raw::object).unwrap_or_default()
    }

    /// Where it leads.
    #[must_use]
    pub const fn leg(&self) -> &Leg {
        &self.kept.leg
    }
}

/// The upstream session for an agent that declares what this request does; opened where there is none.
///
/// # Errors
/// How the server or the store failed.
pub async fn find(ask: &Ask, server: &Arc<Server>, request: &Request) -> Result<Bridge, Refusal> {
    let fingerprint = Capabilities::declared(request).fingerprint();
    match known(ask, ask.owner(), server, &fingerprint).await? {
        Some(bridge) => Ok(bridge),
        None => open(ask, ask.owner(), server, request, &fingerprint, None).await,
    }
}

/// Another one in place of `lost`, which the server does not know any more.
///
/// # Errors
/// How the server or the store failed.
pub async fn renew(
    ask: &Ask,
    owner: Owner,
    server: &Arc<Server>,
    request: &Request,
    lost: &Leg,
) -> Result<Bridge, Refusal> {
    let fingerprint = Capabilities::declared(request).fingerprint();
    open(ask, owner, server, request, &fingerprint, Some(lost)).await
}

/// Has the server send log messages from this level on, unless it does so already: a legacy session has one level for
/// all its requests, the least severe that any of them wants. A server that cannot log is not asked, and one that
/// fails at it serves the call all the same.
///
/// # Errors
/// When the server does not know the session.
pub async fn ask_for_level(ask: &Ask, owner: Owner, bridge: &Bridge, level: Level) -> Result<(), Fault> {
    if bridge.kept.level.is_some_and(|known| known <= level) || bridge.capabilities().get("logging").is_none() {
        return Ok(());
    }
    match set_level(ask, bridge, level).await {
        Ok(response) if response.outcome.is_ok() => {}
        Err(fault) if bridge.speech.is_lost(&fault) => return Err(fault),
        _ => {
            tracing::debug!(server = %bridge.speech.server.name, "a server did not take the level of its log");
            return Ok(());
        }
    }
    let (store, server) = (&ask.gateway().store, bridge.speech.server.id);
    if let Err(error) = store.set_bridge_level(owner, server, &bridge.fingerprint, bridge.leg(), level).await {
        tracing::warn!(%error, "the level of a server's log is not kept: it will be set again");
    }
    Ok(())
}

async fn set_level(ask: &Ask, bridge: &Bridge, level: Level) -> Result<Response, Fault> {
    let id = RequestId::Text(uuid::Uuid::new_v4().to_string().into());
    let method = Method::LoggingSetLevel.as_str();
    let write = |_: &[(&str, MetaValue<'_>)]| write_request(&id, method, |params| params.text("level", level.as_str()));
    let outgoing = Outgoing { headers: bridge.speech.plain_headers(method), method, tool: "", write: &write };
    Ok(Exchange::open(ask, &bridge.speech, id.clone(), outgoing).await?.answer().await?)
}

/// Says that the upstream session is in use, so that it is kept.
///
/// # Errors
/// When the store is away.
pub async fn touch(ask: &Ask, owner: Owner, bridge: &Bridge) -> Result<(), Refusal> {
    let server = bridge.speech.server.id;
    Ok(ask.gateway().store.bridge_leg(owner, server, &bridge.fingerprint).await.map(drop)?)
}

/// The upstream session for these capabilities, if there is one.
///
/// # Errors
/// When the store is away.
pub async fn known(
    ask: &Ask,
    owner: Owner,
    server: &Arc<Server>,
    fingerprint: &str,
) -> Result<Option<Bridge>, Refusal> {
    let kept = ask.gateway().store.bridge_leg(owner, server.id, fingerprint).await?;
    // An instance that was taken away since has taken its sessions along.
    Ok(kept.and_then(|kept| Bridge::of(server, kept, fingerprint)))
}

async fn open(
    ask: &Ask,
    owner: Owner,
    server: &Arc<Server>,
    request: &Request,
    fingerprint: &str,
    lost: Option<&Leg>,
) -> Result<Bridge, Refusal> {
    let store = &ask.gateway().store;
    let key = (owner, server.id, fingerprint.to_owned());
    let turn = ask.gateway().opening.turn(&key);
    let _turn = turn.lock().await;
    let found = store.bridge_leg(owner, server.id, fingerprint).await?;
    if let Some(other) = found.clone().filter(|found| Some(&found.leg) != lost)
        && let Some(bridge) = Bridge::of(server, other, fingerprint)
    {
        return Ok(bridge);
    }
    let opened = initialize(ask, server, request).await?;
    let replaced = found.map(|found| found.leg);
    let kept = store.put_bridge_leg(owner, server.id, fingerprint, &opened, replaced.as_ref()).await?;
    let invalid = || Refusal::UpstreamInvalid {
        server: server.name.to_string(),
        detail: "it refuses to be initialized".to_owned(),
    };
    let own = Bridge::of(server, opened, fingerprint).ok_or_else(invalid)?;
    match kept.and_then(|kept| Bridge::of(server, kept, fingerprint)) {
        None => Ok(own),
        Some(first) => {
            if own.speech.has_session() {
                ask.delete(&own.speech.instance, own.speech.plain_headers("DELETE")).await;
            }
            Ok(first)
        }
    }
}

async fn initialize(ask: &Ask, server: &Arc<Server>, request: &Request) -> Result<BridgeLeg, Refusal> {
    let params = introduce(request);
    let members = params.object().unwrap_or_default();
    let introduction = Introduction { version: ProtocolVersion::NEWEST_LEGACY, params: &members };
    let handshake = RequestId::Text("tollgate-initialize".into());
    let (speech, response) = leg::initialize(ask, server, &introduction, &handshake).await?;
    let (Some(Speech { tongue: Tongue::Legacy(leg), .. }), Ok(result)) = (&speech, &response.outcome) else {
        let detail = "it refuses to be initialized".to_owned();
        return Err(Refusal::UpstreamInvalid { server: server.name.to_string(), detail });
    };
    if result.as_bytes().len() > INITIALIZED_BYTES_MAX {
        let detail = format!("more than {INITIALIZED_BYTES_MAX} bytes about itself");
        return Err(Refusal::UpstreamInvalid { server: server.name.to_string(), detail });
    }
    let (leg, initialized) = (leg.clone(), String::from_utf8_lossy(result.as_bytes()).into_owned());
    if let Some(speech) = &speech {
        leg::initialized(ask, speech).await?;
    }
    Ok(BridgeLeg { leg, initialized, level: None })
}

/// What the server hears of the agent: what can be asked of it, and who it says it is.
fn introduce(request: &Request) -> Raw {
    let named = |info: &&Raw| info.object().is_some_and(|info| info.get("name").is_some());
    let info = request.params.meta().and_then(|meta| meta.get(META_CLIENT_INFO)).filter(named);
    json::object(|params| {
        params.raw("capabilities", &Capabilities::declared(request).to_legacy());
        match info {
            Some(info) => params.raw("clientInfo", info),
            None => params.object("clientInfo", |info| {
                info.text("name", "tollgate");
                info.text("version", env!("CARGO_PKG_VERSION"));
            }),
        }
    })
}

impl Opening {
    /// Whoever holds its lock may open the session. Turns that nobody waits for are forgotten on the way.
    fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        // Entries are added and removed whole, so one that a panic left behind is as good as any.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key.clone()).or_default())
    }
}
