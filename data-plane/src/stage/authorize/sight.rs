//! What a caller may use of one server, to be compared with what it may use later: where they differ, the lists that it
//! sees have changed.
//!
//! Invariant: two sights are equal only if the same offer of the server gives the same lists.

use tollgate_proto::{InstanceId, Scope};

use super::View;
use crate::{
    mcp::{method::ListKind, version::Era},
    policy::{Server, Toolset, toolset::Shown},
    store::ChangedList,
};

/// What a caller may use of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    tools: Tools,
    is_whole: bool,
    registered: Registered,
}

/// What says which of the server's tools it may use, and how they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tools {
    grants: Vec<(bool, Scope, Vec<Box<str>>)>,
    /// At a toolset's endpoint: the server's tools as they are shown.
    shown: Vec<(Box<str>, Shown)>,
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
        view.knows(server).then(|| Self {
            tools: Tools {
                grants: caller.agent().grants_on(&caller.tenant().toolsets, &server.name, *now),
                shown: caller.toolset().map(|toolset| shown(toolset, server)).unwrap_or_default(),
            },
            is_whole: view.deals_in(ListKind::Prompts, server),
            registered: Registered {
                era: server.era,
                instances: server.instances.iter().map(|it| (it.id, it.url.to_string())).collect(),
            },
        })
    }

    /// Whether anything of this list can be in it.
    #[must_use]
    pub const fn has(&self, list: ChangedList) -> bool {
        match list {
            ChangedList::Tools => true,
            // These are granted with the whole server.
            ChangedList::Prompts | ChangedList::Resources => self.is_whole,
        }
    }

    /// Whether the server is registered as it was.
    #[must_use]
    pub fn is_registered_as(&self, other: &Self) -> bool {
        self.registered == other.registered
    }

    /// The lists that may differ between the two.
    pub fn changed(before: Option<&Self>, after: Option<&Self>) -> impl Iterator<Item = ChangedList> {
        let is_new = before.map(|it| &it.registered) != after.map(|it| &it.registered);
        let tools = is_new || before.map(|it| &it.tools) != after.map(|it| &it.tools);
        let whole = |sight: Option<&Self>| sight.is_some_and(|it| it.is_whole);
        let rest = whole(before) != whole(after) || (is_new && whole(after));
        ChangedList::ALL.into_iter().filter(move |list| if *list == ChangedList::Tools { tools } else { rest })
    }
}

fn shown(toolset: &Toolset, server: &Server) -> Vec<(Box<str>, Shown)> {
    let tools = toolset.tools_of(&server.name);
    let mut shown: Vec<(Box<str>, Shown)> =
        tools.filter_map(|tool| Some((tool.into(), toolset.shown(&server.name, tool)?.clone()))).collect();
    shown.sort_unstable_by_key(|(_, shown)| shown.position);
    shown
}
