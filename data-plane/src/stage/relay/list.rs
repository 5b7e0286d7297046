//! Lists: filtered by what the caller may use, merged over servers, and cut into pages.
//!
//! Invariant: an item keeps its bytes but for what an endpoint of several servers calls it and a toolset says of it; the
//! order is that of the servers' slugs, then each server's own, and in a page of a toolset the order of its tools.

use std::{sync::Arc, time::Duration};

use tollgate_proto::Name;

use crate::{
    gateway::Gateway,
    mcp::{
        json::{self, Object, ObjectWriter, Raw},
        list,
        message::Response,
        method::ListKind,
        names::{self, Rest},
        uris,
        version::Era,
    },
    policy::{Server, Toolset, toolset::Shown},
    refusal::Refusal,
    stage::{
        authorize::View,
        forward::{
            Merged,
            merge::{Listed, PAGE_ITEMS, Part, Place, cursor, label},
            wrapping::Wrapping,
        },
        identify::Caller,
    },
};

/// Under which key of `_meta` the servers stand that a merged list lacks.
const LEFT_OUT: &str = "io.tollgate/left-out";
/// For how long a list that lacks a server may be kept.
const LEFT_OUT_TTL: Duration = Duration::from_secs(5);

/// One server's list without what the caller may not use. What is left is nobody else's to cache.
///
/// # Errors
/// [`Refusal::UpstreamInvalid`] when the server's result is no list.
pub fn filter(view: &View, kind: ListKind, server: &Name, response: Response) -> Result<Response, Refusal> {
    let Ok(result) = &response.outcome else { return Ok(response) };
    let invalid = |what: &str| Refusal::UpstreamInvalid {
        server: server.to_string(),
        detail: format!("{what} `{}`", kind.member()),
    };
    let members = result.object().ok_or_else(|| invalid("a result that is no object instead of"))?;
    let items = members.get(kind.member()).and_then(Raw::array).ok_or_else(|| invalid("a result without"))?;
    let counter = view.at(kind, server);
    let shown = items.iter().filter(|item| counter.shows(&label(kind, item)));
    let filtered = list::with_items(kind, &members, shown, &[("cacheScope", Raw::text("private"))]);
    Ok(Response { id: response.id, outcome: Ok(filtered) })
}

/// A server that a list lacks, with the reason code.
pub type LeftOut = (Name, &'static str);

/// Says in `_meta` which servers are missing, and why.
pub fn write_left_out(meta: &mut ObjectWriter<'_>, left_out: &[LeftOut]) {
    if left_out.is_empty() {
        return;
    }
    meta.array(LEFT_OUT, |servers| {
        for (server, reason) in left_out {
            servers.object(|entry| {
                entry.text("server", server.as_str());
                entry.text("reason", reason);
            });
        }
    });
}

/// For how long an answer may be kept that was made of others, in milliseconds.
pub fn ttl_ms(ttl: Duration, left_out: &[LeftOut]) -> i64 {
    let ttl = if left_out.is_empty() { ttl } else { ttl.min(LEFT_OUT_TTL) };
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}

/// One page of the lists of several servers as one, under the names that items have at this endpoint.
///
/// # Errors
/// [`Refusal::StoreUnavailable`] when a shortened name cannot be remembered, and so could not be called.
pub async fn merge(gateway: &Gateway, caller: &Caller, view: &View, merged: Merged) -> Result<Raw, Refusal> {
    let Merged { kind, era, parts } = merged;
    let mut page = Filling { view, kind, toolset: caller.toolset().map(Arc::as_ref), items: Vec::new(), next: None };
    let (mut left_out, mut ttl) = (Vec::new(), None::<Duration>);
    for Part { server, listed } in parts {
        if page.next.is_some() {
            break;
        }
        match listed {
            Ok(listed) => {
                ttl = Some(ttl.map_or(listed.ttl, |ttl| ttl.min(listed.ttl)));
                for own_name in page.take(&server, listed) {
                    remember(gateway, caller, &server, &own_name).await?;
                }
            }
            Err(reason) => left_out.push((server.name.clone(), reason)),
        }
    }
    page.items.sort_by_key(|(position, _)| *position);
    let next = page.next.map(|place| cursor::seal(caller, view, kind, &place, gateway.now())).transpose();
    let next = next.map_err(|error| {
        tracing::error!(%error, "a cursor cannot be made, so the list has no second page");
        Refusal::NotReady
    })?;
    Ok(json::object(|result| {
        result.array(kind.member(), |list| page.items.iter().for_each(|(_, item)| list.raw(item)));
        if let Some(next) = &next {
            result.text("nextCursor", next);
        }
        if era == Era::Modern {
            result.text("resultType", "complete");
            // Where nobody was asked, the next grant may change that.
            result.integer("ttlMs", ttl_ms(ttl.unwrap_or_default(), &left_out));
            result.text("cacheScope", "private");
        }
        if !left_out.is_empty() {
            result.object("_meta", |meta| write_left_out(meta, &left_out));
        }
    }))
}

/// A page that is being filled.
struct Filling<'a> {
    view: &'a View,
    kind: ListKind,
    toolset: Option<&'a Toolset>,
    /// Each behind its place in the toolset; elsewhere that is the same for all.
    items: Vec<(usize, Raw)>,
    /// Where the next page begins, once this one is full.
    next: Option<Place>,
}

impl Filling<'_> {
    /// Takes what there is room for; answers with the own names of what was given a federated one.
    fn take(&mut self, server: &Server, listed: Listed) -> Vec<String> {
        let (mut named, counter) = (Vec::new(), self.view.at(self.kind, &server.name));
        for page in listed.pages {
            for (index, item) in page.items.iter().enumerate().skip(page.at.skip) {
                let own = label(self.kind, item);
                if !counter.shows(&own) {
                    continue;
                }
                if self.items.len() == PAGE_ITEMS {
                    self.next = Some(Place { skip: index, ..page.at });
                    return named;
                }
                let shown = self.toolset.and_then(|toolset| toolset.shown(&server.name, &own));
                self.items.push(match shown {
                    Some(shown) => (shown.position, selected(server, item, shown)),
                    None => (0, renamed(self.kind, server, item, &own)),
                });
                if shown.is_none() && matches!(self.kind, ListKind::Tools | ListKind::Prompts) {
                    named.push(own);
                }
            }
        }
        self.next = listed.rest;
        named
    }
}

/// A name that had to be shortened leads back only if it is remembered.
async fn remember(gateway: &Gateway, caller: &Caller, server: &Server, own_name: &str) -> Result<(), Refusal> {
    let federated = names::federated(&server.name, own_name);
    if let Some((_, Rest::Hashed(_))) = names::split(&federated) {
        gateway.store.remember_name(caller.tenant().id, &federated, server.id, own_name).await?;
    }
    Ok(())
}

/// The item as it is known on a federated endpoint.
fn renamed(kind: ListKind, server: &Server, item: &Raw, own: &str) -> Raw {
    if kind == ListKind::Skills {
        return Wrapping::of_server(server).skill(item);
    }
    let members = item.object().unwrap_or_default();
    json::object(|item| {
        for (key, value) in members.iter() {
            match (kind, key) {
                (ListKind::Tools | ListKind::Prompts, "name") => item.text(key, &names::federated(&server.name, own)),
                (ListKind::Tools, "_meta") => item.raw(key, &app(server, value)),
                (ListKind::Resources, "uri") => item.text(key, &uris::wrapped(&server.name, own)),
                (ListKind::ResourceTemplates, "uriTemplate") => {
                    item.text(key, &uris::wrapped_template(&server.name, own));
                }
                _ => item.raw(key, value),
            }
        }
    })
}

/// The tool as it is known in a toolset.
fn selected(server: &Server, tool: &Raw, shown: &Shown) -> Raw {
    let members = tool.object().unwrap_or_default();
    json::object(|tool| {
        for (key, value) in members.iter() {
            match (key, &shown.description) {
                ("name", description) => {
                    tool.text(key, &shown.name);
                    description.iter().for_each(|description| tool.text("description", description));
                }
                ("description", Some(_)) => {}
                ("_meta", _) => tool.raw(key, &app(server, value)),
                _ => tool.raw(key, value),
            }
        }
    })
}

/// A tool's `_meta` with the user interface (MCP Apps) that it names in `ui.resourceUri`, or in its older form.
fn app(server: &Server, meta: &Raw) -> Raw {
    let wrapped =
        |uri: &Raw| uri.as_str().map_or_else(|| uri.clone(), |uri| Raw::text(&uris::wrapped(&server.name, &uri)));
    let with = |members: Object, own: &str, change: &dyn Fn(&Raw) -> Raw| {
        json::object(|written| {
            for (key, value) in members.iter() {
                if key == own { written.raw(key, &change(value)) } else { written.raw(key, value) }
            }
        })
    };
    let Some(members) = meta.object() else { return meta.clone() };
    if members.get("ui").is_none() && members.get("ui/resourceUri").is_none() {
        return meta.clone();
    }
    let ui = |ui: &Raw| ui.object().map_or_else(|| ui.clone(), |members| with(members, "resourceUri", &wrapped));
    let with_ui = with(members, "ui", &ui);
    with(with_ui.object().unwrap_or_default(), "ui/resourceUri", &wrapped)
}

#[cfg(test)]
mod tests;
