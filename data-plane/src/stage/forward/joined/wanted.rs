//! What a subscription asks of each server of an endpoint, and what of it they honour together.
//!
//! Invariant: a server is asked for nothing that the caller may not use of it, under its own names only; the agent is
//! promised nothing that it did not ask for.

use crate::{
    bridge::to_legacy::listen::Filter,
    mcp::{method::ListKind, uris},
    policy::Server,
    stage::{
        authorize::{Sight, View},
        forward::tasks::Task,
        identify::Caller,
    },
    store::ChangedList,
};

/// The part that is for this server, as it knows its resources; tasks keep the agent's ids. `now` in unix seconds.
pub(super) fn of_server(asked: &Filter, caller: &Caller, server: &Server, sight: &Sight, now: i64) -> Filter {
    let view = View::new(caller, now);
    let own = |uri: &str| {
        let (name, own) = uris::unwrapped(uri)?;
        (name == server.name && view.shows(ListKind::Resources, &name, &own)).then(|| own.into())
    };
    let is_own = |id: &str| Task::open(caller, now, id).is_some_and(|task| task.server == server.id);
    Filter {
        tools: asked.tools,
        prompts: asked.prompts && sight.has(ChangedList::Prompts),
        resources: asked.resources && sight.has(ChangedList::Resources),
        uris: asked.uris.iter().filter_map(|uri| own(uri)).collect(),
        task_ids: asked.task_ids.iter().filter(|id| is_own(id)).cloned().collect(),
    }
}

/// What of it the caller may hear of at the servers that it has these sights of.
pub(super) fn allowed(asked: &Filter, view: &View, sights: &[&Sight]) -> Filter {
    let has = |list| sights.iter().any(|sight| sight.has(list));
    let may_be_heard =
        |uri: &str| uris::unwrapped(uri).is_some_and(|(name, own)| view.shows(ListKind::Resources, &name, &own));
    Filter {
        tools: asked.tools,
        prompts: asked.prompts && has(ChangedList::Prompts),
        resources: asked.resources && has(ChangedList::Resources),
        uris: asked.uris.iter().filter(|uri| may_be_heard(uri)).cloned().collect(),
        task_ids: asked.task_ids.clone(),
    }
}

/// What a server honours, as the endpoint has its resources.
pub(super) fn at_endpoint(server: &Server, honoured: Filter) -> Filter {
    let uris = honoured.uris.iter().map(|uri| uris::wrapped(&server.name, uri).into()).collect();
    Filter { uris, ..honoured }
}

/// What is promised, of what is allowed. That lists change is told by Tollgate itself, whatever their servers honour:
/// other agents' streams may hear of it, and it is the policy that says what is on them.
pub(super) fn honoured(allowed: &Filter, by_servers: &[Filter]) -> Filter {
    let is_in = |of: fn(&Filter) -> &Vec<Box<str>>, text: &str| {
        by_servers.iter().any(|filter| of(filter).iter().any(|own| **own == *text))
    };
    Filter {
        uris: allowed.uris.iter().filter(|uri| is_in(|filter| &filter.uris, uri)).cloned().collect(),
        task_ids: allowed.task_ids.iter().filter(|id| is_in(|filter| &filter.task_ids, id)).cloned().collect(),
        ..allowed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(uris: &[&str]) -> Filter {
        Filter { uris: uris.iter().map(|uri| (*uri).into()).collect(), ..Filter::default() }
    }

    #[test]
    fn what_one_of_the_servers_honours_is_promised_in_the_order_of_the_request() {
        let allowed = Filter { tools: true, ..uris(&["tollgate://a/x", "tollgate://b/y", "tollgate://b/z"]) };
        let promised = honoured(&allowed, &[uris(&["tollgate://b/z"]), uris(&["tollgate://a/x", "tollgate://a/else"])]);
        assert_eq!(promised, Filter { tools: true, ..uris(&["tollgate://a/x", "tollgate://b/z"]) });
    }
}
