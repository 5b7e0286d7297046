//! Definitions that wait for approval: left out of a list as soon as it is heard, before anything is made of it.
//!
//! Invariant: it is the definition in hand that is judged, so that a server that says one thing to Tollgate and another
//! to an agent gains nothing by it.

use super::ask::Ask;
use crate::{
    mcp::{json::Raw, list, message::Response, method::ListKind},
    policy::Server,
    upstream::observed::item_kind,
};

/// Notes what a server lists, and leaves out what nobody may see. What lacks something may be whole the next moment, and
/// so is not for keeping.
pub fn without_held(ask: &Ask, server: &Server, kind: ListKind, response: Response) -> Response {
    // Skills are no part of the catalog.
    let Some(noted_as) = item_kind(kind) else { return response };
    let result = response.outcome.as_ref().ok();
    let Some((result, items)) = result.and_then(|result| Some((result.object()?, list::items(kind, result)?))) else {
        return response;
    };
    let held = ask.note_listed(server, noted_as, &items);
    if !held.contains(&true) {
        return response;
    }
    let shown = items.iter().zip(held).filter_map(|(item, held)| (!held).then_some(item));
    let result = list::with_items(kind, &result, shown, &[("ttlMs", Raw::integer(0))]);
    Response { outcome: Ok(result), ..response }
}
