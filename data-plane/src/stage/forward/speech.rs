//! How a server is spoken to for one call: which instance, in which era, in which upstream session.
//!
//! Invariant: a server is asked in its own era, always; a session's messages go to the instance that holds it.

use std::sync::Arc;

use http::HeaderMap;

use super::{
    ask::{Ask, Fault, legacy_headers, modern_headers},
    bridged::legs,
    era, leg,
};
use crate::{
    mcp::{
        message::Request,
        version::{Era, ProtocolVersion},
    },
    policy::{Instance, Server},
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
    store::{Announcement, Leg, Session, SessionChange, SessionId},
    telemetry::SessionEnd,
};

/// How a server is spoken to.
#[derive(Debug, Clone)]
pub struct Speech {
    /// Who is asked.
    pub server: Arc<Server>,
    /// Which of its instances.
    pub instance: Arc<Instance>,
    /// In which era.
    pub tongue: Tongue,
}

/// The era that a server is asked in, with what it takes.
#[derive(Debug, Clone)]
pub enum Tongue {
    /// Every request stands alone.
    Modern,
    /// In this upstream session.
    Legacy(Leg),
}

impl Speech {
    /// To an instance of the modern era.
    pub fn modern(server: &Arc<Server>, instance: &Arc<Instance>) -> Self {
        Self { server: Arc::clone(server), instance: Arc::clone(instance), tongue: Tongue::Modern }
    }

    /// In this upstream session, if its instance is still one of the server's.
    pub fn of_leg(server: &Arc<Server>, leg: &Leg) -> Option<Self> {
        let instance = server.instances.iter().find(|instance| instance.id == leg.instance)?;
        let tongue = Tongue::Legacy(leg.clone());
        Some(Self { server: Arc::clone(server), instance: Arc::clone(instance), tongue })
    }

    /// Which era it is.
    pub const fn era(&self) -> Era {
        match self.tongue {
            Tongue::Modern => Era::Modern,
            Tongue::Legacy(_) => Era::Legacy,
        }
    }

    /// Headers of a message. `name`: what `Mcp-Name` mirrors; `params`: the `Mcp-Param-*` headers. A legacy server gets
    /// neither.
    pub fn headers(&self, method: &str, name: Option<&str>, params: HeaderMap) -> HeaderMap {
        match &self.tongue {
            Tongue::Modern => modern_headers(ProtocolVersion::NEWEST_MODERN, method, name, params),
            Tongue::Legacy(leg) => legacy_headers(&leg.protocol_version, leg.upstream_session.as_deref()),
        }
    }

    /// Headers of a message that has no name and no parameters.
    pub fn plain_headers(&self, method: &str) -> HeaderMap {
        self.headers(method, None, HeaderMap::new())
    }

    /// Whether the upstream session is gone with this fault: the server does not know it (any more), or the instance that
    /// holds it is not there. Either way it took nothing.
    pub const fn is_lost(&self, fault: &Fault) -> bool {
        matches!(self.tongue, Tongue::Legacy(_)) && (fault.is_session_lost() || fault.is_unreachable())
    }

    /// Whether it is in this upstream session.
    pub fn is_in(&self, leg: &Leg) -> bool {
        matches!(&self.tongue, Tongue::Legacy(own) if own == leg)
    }

    /// Whether there is an upstream session to end.
    pub const fn has_session(&self) -> bool {
        matches!(&self.tongue, Tongue::Legacy(Leg { upstream_session: Some(_), .. }))
    }
}

/// Chooses how to speak to a server for an agent of this era: in the upstream session that the agent's session has
/// there, which is opened where it is missing, or without one.
///
/// # Errors
/// How the server or the store failed, and [`Refusal::SessionUnknown`] when the session's only leg is gone.
pub async fn choose(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    agent: Era,
    request: &Request,
    server: &Arc<Server>,
) -> Result<Speech, Refusal> {
    match agent {
        Era::Modern => {
            let instance = ask.gateway().upstreams.pick(server);
            match era::of(ask, server, instance).await? {
                Era::Modern => Ok(Speech::modern(server, instance)),
                Era::Legacy => Ok(legs::find(ask, server, request).await?.speech),
            }
        }
        Era::Legacy => of_session(ask, caller, admitted, server).await,
    }
}

/// How to speak to a server in the agent's session.
///
/// # Errors
/// As [`choose`].
pub async fn of_session(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
) -> Result<Speech, Refusal> {
    if let Some(speech) = in_session(admitted, server)? {
        return Ok(speech);
    }
    let instance = ask.gateway().upstreams.pick(server);
    match era::of(ask, server, instance).await? {
        Era::Modern => Ok(Speech::modern(server, instance)),
        Era::Legacy if is_federated(caller) => open(ask, admitted, server).await,
        Era::Legacy => Err(forget(ask, admitted).await),
    }
}

/// Chooses anew after a server said that it does not know the upstream session, so that it took nothing.
///
/// # Errors
/// As [`choose`]: a session with a single server ends with that server's.
pub async fn renew(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    request: &Request,
    lost: &Speech,
) -> Result<Speech, Refusal> {
    let server = &lost.server;
    if let (None, Tongue::Legacy(leg)) = (admitted.session(), &lost.tongue) {
        return Ok(legs::renew(ask, admitted.owner(), server, request, leg).await?.speech);
    }
    if is_federated(caller) { open(ask, admitted, server).await } else { Err(forget(ask, admitted).await) }
}

/// Opens an upstream session of the agent's session, in place of the one that it may have had there. Whoever holds the
/// session's stream is told.
///
/// # Errors
/// How the server or the store failed, and [`Refusal::SessionUnknown`] when the session is gone.
pub async fn open_leg(ask: &Ask, id: &SessionId, session: &Session, server: &Arc<Server>) -> Result<Speech, Refusal> {
    let speech = leg::open(ask, session, server).await?;
    let Tongue::Legacy(leg) = &speech.tongue else { return Ok(speech) };
    let (store, owner) = (&ask.gateway().store, ask.owner());
    if !store.put_leg(owner, id, server.id, leg).await? {
        return Err(Refusal::SessionUnknown);
    }
    let change = SessionChange::LegOpened { server: server.id };
    let opened = Announcement::SessionChanged { tenant: owner.tenant, session: *id, change };
    if let Err(error) = store.announce(opened).await {
        tracing::warn!(%error, "other data planes were not told of an upstream session");
    }
    Ok(speech)
}

/// The upstream session that the agent's session has at this server.
///
/// # Errors
/// [`Refusal::SessionRequired`] without a session.
pub fn in_session(admitted: &Admitted, server: &Arc<Server>) -> Result<Option<Speech>, Refusal> {
    let (_, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    Ok(session.legs.get(&server.id).and_then(|leg| Speech::of_leg(server, leg)))
}

/// The server has forgotten the session, so nobody has it: the agent is told to begin anew.
pub async fn forget(ask: &Ask, admitted: &Admitted) -> Refusal {
    let Some((id, _)) = admitted.session() else { return Refusal::SessionRequired };
    match ask.gateway().store.end_session(admitted.owner(), id).await {
        Ok(lost) => {
            ask.gateway().metrics.sessions_ended(SessionEnd::Lost, usize::from(lost.is_some()));
            Refusal::SessionUnknown
        }
        Err(error) => error.into(),
    }
}

/// A federated session has a leg for each server that it reaches, so that one may be lost alone.
fn is_federated(caller: &Caller) -> bool {
    caller.server().is_none()
}

async fn open(ask: &Ask, admitted: &Admitted, server: &Arc<Server>) -> Result<Speech, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    open_leg(ask, id, session, server).await
}
