//! The lists of all servers that the caller deals with, asked for at the same time, page by page.
//!
//! A page of the merged list goes through the servers in the order of their names and through each server's own pages
//! in theirs. Where it ends, the cursor says which server's page comes next.
//!
//! Invariant: one server that fails never fails the list; it is left out, with the reason.

pub mod cursor;
mod pages;
mod trail;
mod walk;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{Forwarded, Reply, ask::Ask, exchange::Exchange};
use crate::{
    mcp::{json::Raw, method::ListKind, version::Era},
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Merge},
};

pub use cursor::Place;
pub use trail::Trail;
pub use walk::{Bounds, WalkFault, label, walk};

/// Of one server, for all that one page of the merged list needs of it.
const DEADLINE: Duration = Duration::from_secs(10);
/// Items of one page of a merged list.
pub const PAGE_ITEMS: usize = 500;

/// A page of a merged list, before it is filtered and cut.
#[derive(Debug)]
pub struct Merged {
    pub(in crate::stage) kind: ListKind,
    pub(in crate::stage) era: Era,
    pub(in crate::stage) parts: Vec<Part>,
}

/// One server's part.
#[derive(Debug)]
pub struct Part {
    pub(in crate::stage) server: Arc<Server>,
    /// What it lists, or the reason code for which it is left out.
    pub(in crate::stage) listed: Result<Listed, &'static str>,
}

/// What one server lists.
#[derive(Debug)]
pub struct Listed {
    pub(in crate::stage) pages: Vec<Page>,
    /// Where it goes on, when the page needs no more of it.
    pub(in crate::stage) rest: Option<Place>,
    /// For how long it may be kept.
    pub(in crate::stage) ttl: Duration,
}

/// A page as the server gave it.
#[derive(Debug)]
pub struct Page {
    /// Where it begins; some of its items may have been in the page before.
    pub(in crate::stage) at: Place,
    pub(in crate::stage) items: Vec<Raw>,
}

/// Why a server's part is missing.
enum Missing {
    /// It failed.
    Failed(Refusal),
    /// It does not know its own cursor (any more): the agent has to begin anew.
    Stale,
}

impl From<Refusal> for Missing {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal)
    }
}

/// Asks every server that the page may need.
///
/// # Errors
/// [`Refusal::CursorUnknown`], and [`Refusal::SessionRequired`] in the legacy era.
pub async fn list(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    view: &View,
    errand: Merge,
) -> Result<Forwarded, Refusal> {
    let servers: Vec<_> = caller.servers().filter(|server| view.deals_in(errand.kind, server)).collect();
    let from = match errand.request.params.cursor() {
        Some(sealed) => cursor::open(caller, view, errand.kind, sealed, ask.gateway().now()),
        None => Some(Place::default()),
    };
    let from = from.ok_or(Refusal::CursorUnknown)?;
    let asked = servers.into_iter().filter(|server| from.is_before_end_of(server)).map(|server| {
        let place = if from.is_in(server) { from.clone() } else { Place::start_of(server) };
        let reader = pages::Reader { ask, caller, admitted, view, errand: &errand, server };
        async move { (server, within_deadline(reader, place).await) }
    });
    let (mut parts, mut left_out) = (Vec::new(), Vec::new());
    for (server, listed) in join_all(asked).await {
        let listed = match listed {
            Ok(listed) => Ok(listed),
            Err(Missing::Stale) => return Err(Refusal::CursorUnknown),
            Err(Missing::Failed(refusal)) => Err(refusal.facts().reason),
        };
        left_out.extend(listed.as_ref().err().map(|reason| (server.name.clone(), *reason)));
        parts.push(Part { server: Arc::clone(server), listed });
    }
    ask.note_left_out(&left_out);
    Ok(Forwarded::plain(Reply::Merged(Merged { kind: errand.kind, era: errand.era, parts })))
}

/// A server that took too long rests for a moment, so that not every list waits for it.
async fn within_deadline(reader: pages::Reader<'_>, place: Place) -> Result<Listed, Missing> {
    let (offers, server) = (reader.ask.gateway().upstreams.offers(), reader.server);
    let method = reader.errand.kind.method();
    let slow = || Refusal::UpstreamTimeout { server: server.name.to_string(), timeout_s: DEADLINE.as_secs() };
    if offers.rests(server.id, method) {
        return Err(slow().into());
    }
    match tokio::time::timeout(DEADLINE, reader.listed(place)).await {
        Ok(listed) => listed,
        Err(_elapsed) => {
            offers.rest(server.id, method);
            Err(slow().into())
        }
    }
}
