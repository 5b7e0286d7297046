//! Everything that a server offers, read by Tollgate itself: with the server's own credential, in the server's own era,
//! for no agent.
//!
//! Invariant: whatever the server answers, a reading ends, and what it gathers is bounded. An upstream session that it
//! opens is ended.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tollgate_proto::policy::v1::ItemKind;

use super::{
    ask::{Ask, Fault},
    era, leg,
    merge::{Bounds, WalkFault, label, walk},
    sessionless::discovered,
    speech::Speech,
};
use crate::{
    gateway::Gateway,
    mcp::{
        json::{self, Object, Raw},
        method::ListKind,
        version::{Era, ProtocolVersion},
    },
    policy::{Server, Tenant},
    refusal::Refusal,
    upstream::observed::item_kind,
};

/// For all lists together: whoever asks at the control plane waits for little longer.
const DEADLINE: Duration = Duration::from_secs(12);
/// Of one list: what fits into one message to the control plane, which takes 4 MiB.
const BOUNDS: Bounds = Bounds { pages: 200, items: 5_000, bytes: 3 * 1024 * 1024 };
/// Characters of a server's text that a fault may have.
const SHOWN_CHARS_MAX: usize = 64;

const LISTS: [ListKind; 4] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources, ListKind::ResourceTemplates];

/// What a server offers, as far as it could be read.
#[derive(Debug, Default)]
pub struct Offer {
    /// In the order in which they were read.
    pub lists: Vec<OfferedList>,
    /// What could not be read, and why.
    pub faults: Vec<OfferFault>,
}

/// One of its lists.
#[derive(Debug)]
pub struct OfferedList {
    /// What it lists.
    pub kind: ItemKind,
    /// Definitions as the server gave them, in its order.
    pub items: Vec<Raw>,
    /// Whether this is all that there is.
    pub is_whole: bool,
}

/// Why an offer, or a part of it, could not be read. For the people who run the server.
#[derive(Debug, thiserror::Error)]
pub enum OfferFault {
    /// The server cannot be spoken to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A list could not be read to its end.
    #[error("`{method}`: {fault}")]
    List {
        /// Which one.
        method: &'static str,
        /// Why.
        fault: WalkFault,
    },
    /// Nobody could tell the two apart.
    #[error("`{method}`: the list has `{name}` twice")]
    Twice {
        /// Which list.
        method: &'static str,
        /// What is in it twice.
        name: String,
    },
    /// It takes too long.
    #[error("the server did not list everything within {} s", DEADLINE.as_secs())]
    Late,
}

/// Reads all lists that the server says it has.
pub async fn read(gateway: &Arc<Gateway>, tenant: &Arc<Tenant>, server: &Arc<Server>) -> Offer {
    let ask = Ask::own(gateway, tenant);
    let deadline = Instant::now() + DEADLINE;
    let mut offer = Offer::default();
    let met = timeout_at(deadline, meet(&ask, server)).await;
    let (speech, capabilities) = match met {
        Ok(Ok(met)) => met,
        Ok(Err(refusal)) => return Offer { faults: vec![refusal.into()], ..offer },
        Err(_elapsed) => return Offer { faults: vec![OfferFault::Late], ..offer },
    };
    if timeout_at(deadline, offer.fill(&ask, &speech, &capabilities)).await.is_err() {
        offer.faults.push(OfferFault::Late);
    }
    if speech.has_session() {
        tokio::spawn(async move { ask.delete(&speech.instance, speech.plain_headers("DELETE")).await });
    }
    offer
}

impl Offer {
    async fn fill(&mut self, ask: &Ask, speech: &Speech, capabilities: &Object) {
        for list in LISTS {
            let Some(kind) = item_kind(list) else { continue };
            self.lists.push(OfferedList { kind, items: Vec::new(), is_whole: false });
            let Some(offered) = self.lists.last_mut() else { continue };
            let read = if capabilities.get(capability(list)).is_some() {
                read_list(ask, speech, list, &mut offered.items).await
            } else {
                Ok(())
            };
            offered.is_whole = read.is_ok();
            self.faults.extend(read.err());
        }
    }
}

async fn read_list(ask: &Ask, speech: &Speech, list: ListKind, items: &mut Vec<Raw>) -> Result<(), OfferFault> {
    let method = list.method().as_str();
    match walk(ask, speech, list, &BOUNDS, items).await {
        // Servers with resources need not have templates, and say so like this.
        Ok(()) | Err(WalkFault::NotThere) => {}
        Err(fault) => return Err(OfferFault::List { method, fault }),
    }
    let mut names = HashSet::new();
    // What has no name is for whoever reads definitions to judge.
    let twice = items.iter().map(|item| label(list, item)).find(|name| !name.is_empty() && !names.insert(name.clone()));
    match twice {
        Some(name) => {
            let name = name.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
            Err(OfferFault::Twice { method, name })
        }
        None => Ok(()),
    }
}

/// How the server is spoken to, and what it says that it can do.
async fn meet(ask: &Ask, server: &Arc<Server>) -> Result<(Speech, Object), Refusal> {
    let instance = ask.gateway().upstreams.pick(server);
    let (speech, said) = match era::of(ask, server, instance).await? {
        Era::Modern => {
            let speech = Speech::modern(server, instance);
            let discovered = discovered::discover(ask, &speech).await;
            let (response, _) = discovered.map_err(|fault: Fault| ask.refusal(server, &fault))?;
            let detail = "it does not say what it is".to_owned();
            let invalid = |_| Refusal::UpstreamInvalid { server: server.name.to_string(), detail };
            (speech, response.outcome.map_err(invalid)?)
        }
        Era::Legacy => {
            let introduction = introduction().object().unwrap_or_default();
            leg::meet(ask, ProtocolVersion::NEWEST_LEGACY, &introduction, server).await?
        }
    };
    let capabilities = said.object().and_then(|said| said.get("capabilities")?.object());
    Ok((speech, capabilities.unwrap_or_default()))
}

/// What a legacy server hears of Tollgate, which can be asked nothing.
fn introduction() -> Raw {
    json::object(|params| {
        params.object("capabilities", |_| {});
        params.object("clientInfo", |info| {
            info.text("name", "tollgate");
            info.text("version", env!("CARGO_PKG_VERSION"));
        });
    })
}

const fn capability(list: ListKind) -> &'static str {
    match list {
        ListKind::Tools => "tools",
        ListKind::Prompts => "prompts",
        ListKind::Resources | ListKind::ResourceTemplates => "resources",
        ListKind::Skills => "skills",
    }
}
