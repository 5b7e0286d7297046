//! Lists: filtered by what the caller may use, and merged over servers.
//!
//! Invariant: an item keeps its bytes but for the name that a federated endpoint gives it; the order is that of the
//! servers' slugs, then each server's own.

use tollgate_proto::Name;

use crate::{
    gateway::Gateway,
    mcp::{
        json::{self, Raw},
        message::Response,
        method::ListKind,
        names::{self, Rest},
    },
    refusal::Refusal,
    stage::{authorize::View, forward::ServerTools, identify::Caller},
};

/// Under which key of `_meta` the servers stand that a merged list lacks.
const LEFT_OUT: &str = "io.tollgate/left-out";

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
    let filtered = json::object(|result| {
        for (key, value) in members.iter() {
            match key {
                _ if key == kind.member() => result.array(key, |list| {
                    items.iter().filter(|item| view.shows(kind, server, &name(item))).for_each(|item| list.raw(item));
                }),
                "cacheScope" => result.text(key, "private"),
                _ => result.raw(key, value),
            }
        }
    });
    Ok(Response { id: response.id, outcome: Ok(filtered) })
}

/// The tools of several servers as one list, under their federated names.
///
/// # Errors
/// [`Refusal::StoreUnavailable`] when a shortened name cannot be remembered, and so could not be called.
pub async fn merge(gateway: &Gateway, caller: &Caller, view: &View, parts: Vec<ServerTools>) -> Result<Raw, Refusal> {
    let mut tools = Vec::new();
    let mut left_out = Vec::new();
    for ServerTools { server, tools: listed } in parts {
        match listed {
            Ok(listed) => {
                for tool in listed {
                    let own_name = name(&tool);
                    if view.shows(ListKind::Tools, &server.name, &own_name) {
                        let federated = names::federated(&server.name, &own_name);
                        if let Some((_, Rest::Hashed(_))) = names::split(&federated) {
                            let store = &gateway.store;
                            let tenant = caller.tenant().id;
                            store.remember_name(tenant, &federated, server.id, &own_name).await?;
                        }
                        tools.push(renamed(&tool, &federated));
                    }
                }
            }
            Err(reason) => left_out.push((server.name.clone(), reason)),
        }
    }
    Ok(json::object(|result| {
        result.array("tools", |list| tools.iter().for_each(|tool| list.raw(tool)));
        result.text("resultType", "complete");
        result.integer("ttlMs", 0);
        result.text("cacheScope", "private");
        if !left_out.is_empty() {
            result.object("_meta", |meta| {
                meta.array(LEFT_OUT, |servers| {
                    for (server, reason) in &left_out {
                        servers.raw(&json::object(|entry| {
                            entry.text("server", server.as_str());
                            entry.text("reason", reason);
                        }));
                    }
                });
            });
        }
    }))
}

/// An item without a name is one that no grant covers.
fn name(item: &Raw) -> String {
    let members = item.object().unwrap_or_default();
    members.get("name").and_then(|name| name.as_str().map(String::from)).unwrap_or_default()
}

fn renamed(tool: &Raw, federated: &str) -> Raw {
    let members = tool.object().unwrap_or_default();
    json::object(|tool| {
        for (key, value) in members.iter() {
            if key == "name" { tool.text(key, federated) } else { tool.raw(key, value) }
        }
    })
}
