//! Whether a server speaks the modern era: as it is registered, else found out by asking.

use std::sync::Arc;

use super::{
    ask::{Ask, Fault},
    sessionless::discovered,
    speech::Speech,
};
use crate::{
    mcp::version::Era,
    policy::{Instance, Server},
    refusal::Refusal,
    upstream::spoken,
};

/// The era that the instance speaks.
///
/// # Errors
/// How it failed when it could not be asked.
pub async fn of(ask: &Ask, server: &Arc<Server>, instance: &Arc<Instance>) -> Result<Era, Refusal> {
    let modern = match server.era {
        Some(era) => return Ok(era),
        None => is_modern(ask, server, instance).await.map_err(|fault| ask.refusal(server, &fault))?,
    };
    Ok(if modern { Era::Modern } else { Era::Legacy })
}

/// A server that was taken for legacy has answered as only modern ones do: the next call knows it.
pub fn has_changed(ask: &Ask, server: &Server, instance: &Instance) -> Refusal {
    ask.gateway().upstreams.instances().set_modern(instance.id, true);
    let detail = "it speaks the modern era, which it was not known for: try again".to_owned();
    Refusal::UpstreamInvalid { server: server.name.to_string(), detail }
}

async fn is_modern(ask: &Ask, server: &Arc<Server>, instance: &Arc<Instance>) -> Result<bool, Fault> {
    let instances = ask.gateway().upstreams.instances();
    if let Some(known) = instances.modern(instance.id) {
        return Ok(known);
    }
    let modern = probe(ask, &Speech::modern(server, instance)).await?;
    instances.set_modern(instance.id, modern);
    Ok(modern)
}

async fn probe(ask: &Ask, speech: &Speech) -> Result<bool, Fault> {
    let answered = match discovered::discover(ask, speech).await {
        Ok((response, _)) => Ok(response),
        Err(Fault::Answered(fault)) => Err(fault),
        Err(fault) => return Err(fault),
    };
    Ok(spoken::is_modern(&answered)?)
}
