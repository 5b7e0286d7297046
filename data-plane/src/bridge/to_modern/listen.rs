//! A legacy session's GET stream and subscriptions, as `subscriptions/listen` (MCP 2026-07-28,
//! basic/patterns/subscriptions).
//!
//! Invariant: only what the session may hear of is asked for, and nothing of the subscription itself reaches the agent.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::mcp::{
    json::{self, ObjectWriter, Raw},
    message::{Edit, Notification, write_request},
};

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// What a subscription brings, as both eras name it.
const CHANGES: [&str; 4] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
];
const META_SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// What a session can hear of at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    lists: Vec<&'static str>,
    resources: BTreeSet<String>,
}

/// What a notification of a subscription means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The subscription holds from now on.
    Acknowledged,
    /// The agent gets this.
    Pass(Bytes),
    /// Nobody gets it.
    Drop,
}

impl Filter {
    /// Everything that the server, as discovered, tells of its lists, and these resources. `None` where there is
    /// nothing to listen to, now or after a subscription.
    #[must_use]
    pub fn new(discovered: &Raw, resources: BTreeSet<String>) -> Option<Self> {
        let capabilities = discovered.object()?.get("capabilities")?.object()?;
        let tells = |key: &str, of: &str| {
            let told = capabilities.get(key).and_then(|capability| capability.object()?.get(of)?.as_bool());
            told == Some(true)
        };
        let kinds =
            [("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")];
        let lists: Vec<_> =
            kinds.into_iter().filter(|(key, _)| tells(key, "listChanged")).map(|(_, wanted)| wanted).collect();
        let subscribes = tells("resources", "subscribe");
        let resources = if subscribes { resources } else { BTreeSet::new() };
        (subscribes || !lists.is_empty()).then_some(Self { lists, resources })
    }

    /// Whether there is nothing to hear of at the moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.resources.is_empty()
    }

    /// The request that asks for it; `meta` writes the entries of `_meta`.
    #[must_use]
    pub fn write(&self, id: &crate::mcp::message::RequestId, meta: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
        write_request(id, "subscriptions/listen", |params| {
            params.object("notifications", |notifications| {
                self.lists.iter().for_each(|list| notifications.boolean(list, true));
                if !self.resources.is_empty() {
                    notifications.array("resourceSubscriptions", |uris| {
                        self.resources.iter().for_each(|uri| uris.text(uri));
                    });
                }
            });
            params.object("_meta", meta);
        })
    }
}

/// A notification of a subscription.
#[must_use]
pub fn read(notification: &Notification) -> Heard {
    match &*notification.method {
        ACKNOWLEDGED => Heard::Acknowledged,
        method if CHANGES.contains(&method) => Heard::Pass(without_subscription(notification)),
        _ => Heard::Drop,
    }
}

/// What an agent is told when a subscription was interrupted: any of these lists may have changed meanwhile.
pub fn synthetic(filter: &Filter) -> impl Iterator<Item = Bytes> {
    let method = |list: &&str| match *list {
        "toolsListChanged" => CHANGES[0],
        "promptsListChanged" => CHANGES[1],
        _ => CHANGES[2],
    };
    filter.lists.iter().map(method).map(crate::mcp::message::write_notification).collect::<Vec<_>>().into_iter()
}

fn without_subscription(notification: &Notification) -> Bytes {
    let has_other =
        notification.params.meta().is_some_and(|meta| meta.iter().any(|(key, _)| key != META_SUBSCRIPTION_ID));
    if has_other {
        return notification.write(&Edit { strip_meta: &[META_SUBSCRIPTION_ID], ..Edit::default() });
    }
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.text("method", &notification.method);
        let members: Vec<_> = notification.params.iter().filter(|(key, _)| *key != "_meta").collect();
        if !members.is_empty() {
            message.object("params", |params| members.iter().for_each(|(key, value)| params.raw(key, value)));
        }
    });
    written.to_bytes()
}
