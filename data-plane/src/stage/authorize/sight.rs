//! What a caller may use of one server, to be compared with what it may use later: where they differ, the lists that it
//! sees have changed.
//!
//! Invariant: two sights are equal only if the same offer of the server gives the same lists.

use tollgate_proto::{
    InstanceId,
    access::{Kind, Seen},
};

use super::View;
use crate::{
    mcp::version::Era,
    policy::{Server, Toolset, toolset::Shown},
    store::ChangedList,
};

/// What a caller may use of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    tools: Option<Seen>,
    /// At a toolset's endpoint: the server's tools as they are shown.
    shown: Vec<(Box<str>, Shown)>,
    prompts: Option<Seen>,
    resources: Option<Seen>,
    registered: Registered,
}

/// How a server is registered, as far as its offer depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Registered {
    era: Option<Era>,
    instances: Vec<(InstanceId, String)>,
}

impl Sight {
    /// Of this server; `None` when there is nothing of it to see.
    #[must_use]
    pub fn of(view: &View, server: &Server) -> Option<Self> {
        let View { caller, now } = view;
        let (desk, toolset) = (caller.desk(&server.name, *now), caller.toolset());
        // A toolset has tools alone.
        let beside_tools = |kind| desk.seen(kind).filter(|_| toolset.is_none());
        view.knows(server).then(|| Self {
            tools: desk.seen(Kind::Tool),
            shown: toolset.map(|toolset| shown(toolset, server)).unwrap_or_default(),
            prompts: beside_tools(Kind::Prompt),
            resources: beside_tools(Kind::Resource),
            registered: Registered {
                era: server.era,
                instances: server.instances.iter().map(|it| (it.id, it.url.to_string())).collect(),
            },
        })
    }

    /// Whether anything of this list can be in it.
    #[must_use]
    pub const fn has(&self, list: ChangedList) -> bool {
        self.seen(list).is_some()
    }

    /// Whether the server is registered as it was.
    #[must_use]
    pub fn is_registered_as(&self, other: &Self) -> bool {
        self.registered == other.registered
    }

    /// The lists that may differ between the two.
    pub fn changed(before: Option<&Self>, after: Option<&Self>) -> impl Iterator<Item = ChangedList> {
        let is_new = before.map(|it| &it.registered) != after.map(|it| &it.registered);
        let is_shown_anew = before.map(|it| &it.shown) != after.map(|it| &it.shown);
        let changed = ChangedList::ALL.map(|list| {
            let [old, new] = [before, after].map(|sight| sight.and_then(|it| it.seen(list)));
            let is_changed = old != new || (is_new && new.is_some());
            (list, is_changed || (list == ChangedList::Tools && is_shown_anew))
        });
        changed.into_iter().filter_map(|(list, is_changed)| is_changed.then_some(list))
    }

    const fn seen(&self, list: ChangedList) -> Option<&Seen> {
        match list {
            ChangedList::Tools => self.tools.as_ref(),
            ChangedList::Prompts => self.prompts.as_ref(),
            ChangedList::Resources => self.resources.as_ref(),
        }
    }
}

fn shown(toolset: &Toolset, server: &Server) -> Vec<(Box<str>, Shown)> {
    let tools = toolset.tools_of(&server.name);
    let mut shown: Vec<(Box<str>, Shown)> =
        tools.filter_map(|tool| Some((tool.into(), toolset.shown(&server.name, tool)?.clone()))).collect();
    shown.sort_unstable_by_key(|(_, shown)| shown.position);
    shown
}
