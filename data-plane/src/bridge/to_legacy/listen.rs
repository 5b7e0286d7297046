//! `subscriptions/listen` from what a legacy server has: a GET stream, and subscriptions to single resources
//! (MCP 2026-07-28, basic/utilities/subscriptions).
//!
//! Invariant: a listener gets what it asked for and what was acknowledged, nothing else, and every message carries the
//! id of its request with the JSON type that it came with.

use bytes::Bytes;

use crate::mcp::{
    json::{self, Object, ObjectWriter, Raw},
    message::{Notification, Params, RequestId},
};

const META_SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// What a listener wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// `notifications/resources/updated` of these.
    pub uris: Vec<Box<str>>,
    /// `notifications/tasks` of these, which only modern servers have.
    pub task_ids: Vec<Box<str>>,
}

impl Filter {
    /// What the request asks for; `None` when `notifications` is missing or a member has the wrong type.
    #[must_use]
    pub fn read(params: &Params) -> Option<Self> {
        let wanted = params.get("notifications")?.object()?;
        let flag = |key: &str| wanted.get(key).map_or(Some(false), Raw::as_bool);
        let texts = |key: &str| match wanted.get(key) {
            None => Some(Vec::new()),
            Some(texts) => texts.array()?.iter().map(|text| Some(text.as_str()?.into())).collect::<Option<_>>(),
        };
        Some(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris: texts("resourceSubscriptions")?,
            task_ids: texts("taskIds")?,
        })
    }

    /// The part of it that a server with these capabilities can serve.
    #[must_use]
    pub fn honoured(self, capabilities: &Object) -> Self {
        let can = |noun: &str, what: &str| {
            let noun = capabilities.get(noun).and_then(Raw::object);
            noun.and_then(|noun| noun.get(what)?.as_bool()).unwrap_or_default()
        };
        Self {
            tools: self.tools && can("tools", "listChanged"),
            prompts: self.prompts && can("prompts", "listChanged"),
            resources: self.resources && can("resources", "listChanged"),
            uris: if can("resources", "subscribe") { self.uris } else { Vec::new() },
            task_ids: Vec::new(),
        }
    }

    /// Whether nothing is left to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As a request or an acknowledgement has it in `notifications`.
    #[must_use]
    pub fn to_raw(&self) -> Raw {
        json::object(|filter| {
            let flags = [
                ("toolsListChanged", self.tools),
                ("promptsListChanged", self.prompts),
                ("resourcesListChanged", self.resources),
            ];
            flags.iter().filter(|(_, wanted)| *wanted).for_each(|(key, _)| filter.boolean(key, true));
            for (key, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.task_ids)] {
                if !texts.is_empty() {
                    filter.array(key, |list| texts.iter().for_each(|text| list.text(text)));
                }
            }
        })
    }

    /// The first message of the stream, with `meta` in its `_meta`.
    #[must_use]
    pub fn acknowledged(&self, id: &RequestId, meta: &Object) -> Bytes {
        notification("notifications/subscriptions/acknowledged", id, meta, |params| {
            params.raw("notifications", &self.to_raw());
        })
    }

    /// What the listener gets of a server's notification; `None`: nothing.
    #[must_use]
    pub fn passed(&self, notice: &Notification, id: &RequestId) -> Option<Bytes> {
        let wanted = match &*notice.method {
            "notifications/tools/list_changed" => self.tools,
            "notifications/prompts/list_changed" => self.prompts,
            "notifications/resources/list_changed" => self.resources,
            "notifications/resources/updated" => notice.params.uri().is_some_and(|uri| self.covers(uri)),
            _ => false,
        };
        let meta = notice.params.meta().cloned().unwrap_or_default();
        wanted.then(|| {
            notification(&notice.method, id, &meta, |params| {
                let members = notice.params.iter().filter(|(key, _)| *key != "_meta");
                members.for_each(|(key, value)| params.raw(key, value));
            })
        })
    }

    /// What a listener is told that may have missed something: that the lists it asked about may have changed.
    #[must_use]
    pub fn may_have_changed(&self, id: &RequestId) -> Vec<Bytes> {
        let lists = [
            ("notifications/tools/list_changed", self.tools),
            ("notifications/prompts/list_changed", self.prompts),
            ("notifications/resources/list_changed", self.resources),
        ];
        let wanted = lists.iter().filter(|(_, wanted)| *wanted);
        let mut messages: Vec<Bytes> =
            wanted.map(|(method, _)| notification(method, id, &Object::default(), |_| {})).collect();
        messages.extend(self.uris.iter().map(|uri| {
            notification("notifications/resources/updated", id, &Object::default(), |params| params.text("uri", uri))
        }));
        messages
    }

    /// A server may tell of a part of a resource that was subscribed to.
    fn covers(&self, uri: &str) -> bool {
        self.uris.iter().any(|wanted| uri.starts_with(&**wanted))
    }
}

/// The result that ends a stream in good order.
#[must_use]
pub fn ended(id: &RequestId) -> Raw {
    json::object(|result| {
        result.text("resultType", "complete");
        result.object("_meta", |meta| meta.raw(META_SUBSCRIPTION_ID, &id.to_raw()));
    })
}

fn notification(method: &str, id: &RequestId, meta: &Object, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.text("method", method);
        message.object("params", |params| {
            fill(params);
            params.object("_meta", |written| {
                let own = meta.iter().filter(|(key, _)| *key != META_SUBSCRIPTION_ID);
                own.for_each(|(key, value)| written.raw(key, value));
                written.raw(META_SUBSCRIPTION_ID, &id.to_raw());
            });
        });
    });
    written.to_bytes()
}
