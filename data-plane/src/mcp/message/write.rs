//! Writing messages anew from what was read.
//!
//! Invariant: the envelope is always written here; a slice of the original is written only as the reader validated
//! it, to the last byte. Members keep their order, and what an [`Edit`] does not name keeps its bytes.

use bytes::Bytes;

use super::{Message, Notification, Params, Request, RequestId, Response, read_upstream};
use crate::mcp::json::{self, Bounds, ObjectWriter, Raw};

/// What is to differ between the message that was read and the one that is written. The default is: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// Another id; notifications have none.
    pub id: Option<&'a RequestId>,
    /// Another `params.name`.
    pub name: Option<&'a str>,
    /// Another `params.uri`.
    pub uri: Option<&'a str>,
    /// Another `params.taskId`.
    pub task_id: Option<&'a str>,
    /// Another prompt's `name` or resource's `uri` in `params.ref`, where there is one.
    pub reference: Option<&'a str>,
    /// Another `params.notifications`, where there is one.
    pub notifications: Option<&'a Raw>,
    /// Another `params.cursor`, or none.
    pub cursor: Change<'a>,
    /// Members of params to leave out; none that another field sets.
    pub without: &'a [&'a str],
    /// Members of params to add; none that another field sets, and none that is there and not left out.
    pub more: &'a [(&'a str, &'a Raw)],
    /// Keys of `params._meta` to leave out: those that begin with one of these.
    pub strip_meta: &'a [&'a str],
    /// Keys of `params._meta` to set, after stripping; each key at most once.
    pub meta: &'a [(&'a str, MetaValue<'a>)],
}

/// What happens to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<'a> {
    /// It stays as it is, absent ones included.
    #[default]
    Keep,
    /// It becomes this text.
    Set(&'a str),
    /// It is left out.
    Remove,
}

/// What a key of `_meta` is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaValue<'a> {
    /// A string.
    Text(&'a str),
    /// A number.
    Integer(i64),
    /// A validated value.
    Raw(&'a Raw),
    /// Nothing: the key is left out.
    Absent,
}

impl Request {
    /// The request as JSON, with `edit`.
    #[must_use]
    pub fn write(&self, edit: &Edit<'_>) -> Bytes {
        let written = json::object(|message| {
            message.text("jsonrpc", "2.0");
            message.raw("id", &edit.id.unwrap_or(&self.id).to_raw());
            message.text("method", &self.method);
            self.params.write(edit, message);
        });
        written.to_bytes()
    }
}

impl Request {
    /// The request as it is after `edit`; `None` when that is no request that would have been read.
    #[must_use]
    pub fn edited(&self, edit: &Edit<'_>) -> Option<Self> {
        match read_upstream(&self.write(edit), &Bounds::AGENT) {
            Ok(Message::Request(request)) => Some(request),
            _ => None,
        }
    }
}

impl Notification {
    /// The notification as it is after `edit`; `None` when that is no notification that would have been read.
    #[must_use]
    pub fn edited(&self, edit: &Edit<'_>) -> Option<Self> {
        match read_upstream(&self.write(edit), &Bounds::UPSTREAM) {
            Ok(Message::Notification(notification)) => Some(notification),
            _ => None,
        }
    }

    /// The notification as JSON, with `edit`.
    #[must_use]
    pub fn write(&self, edit: &Edit<'_>) -> Bytes {
        let written = json::object(|message| {
            message.text("jsonrpc", "2.0");
            message.text("method", &self.method);
            self.params.write(edit, message);
        });
        written.to_bytes()
    }
}

impl Response {
    /// The response as JSON, to the request with this id.
    #[must_use]
    pub fn write(&self, id: Option<&RequestId>) -> Bytes {
        let (member, value) = match &self.outcome {
            Ok(result) => ("result", result),
            Err(error) => ("error", error),
        };
        write_answer(id, |message| message.raw(member, value))
    }
}

/// A request of our own. `fill` writes the members of its params.
pub fn write_request(id: &RequestId, method: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.raw("id", &id.to_raw());
        message.text("method", method);
        message.object("params", fill);
    });
    written.to_bytes()
}

/// A notification of our own, without params.
#[must_use]
pub fn write_notification(method: &str) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.text("method", method);
    });
    written.to_bytes()
}

/// A notification of our own. `fill` writes the members of its params.
pub fn write_notice(method: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.text("method", method);
        message.object("params", fill);
    });
    written.to_bytes()
}

/// A successful answer.
#[must_use]
pub fn write_result(id: &RequestId, result: &Raw) -> Bytes {
    write_answer(Some(id), |message| message.raw("result", result))
}

/// An error; `"id":null` where the id of the request is unknown.
#[must_use]
pub fn write_error(id: Option<&RequestId>, code: i64, text: &str, data: Option<&Raw>) -> Bytes {
    write_answer(id, |message| {
        message.object("error", |error| {
            error.integer("code", code);
            error.text("message", text);
            if let Some(data) = data {
                error.raw("data", data);
            }
        });
    })
}

fn write_answer(id: Option<&RequestId>, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        match id {
            Some(id) => message.raw("id", &id.to_raw()),
            None => message.null("id"),
        }
        fill(message);
    });
    written.to_bytes()
}

impl Params {
    /// Writes the member `params`, unless there were none and the edit adds nothing.
    fn write(&self, edit: &Edit<'_>, message: &mut ObjectWriter<'_>) {
        let name = edit.name.map_or(Change::Keep, Change::Set);
        let uri = edit.uri.map_or(Change::Keep, Change::Set);
        let task_id = edit.task_id.map_or(Change::Keep, Change::Set);
        let edited = [("name", name), ("uri", uri), ("taskId", task_id), ("cursor", edit.cursor)];
        let meta = self.edited_meta(edit);
        let adds = edited.iter().any(|(_, change)| matches!(change, Change::Set(_)))
            || meta.is_some()
            || !edit.more.is_empty();
        if self.members.is_none() && !adds {
            return;
        }
        message.object("params", |params| {
            for (key, value) in self.iter().filter(|(key, _)| !edit.without.contains(key)) {
                match edited.iter().find(|(edited, _)| *edited == key).map_or(Change::Keep, |(_, change)| *change) {
                    Change::Set(text) => params.text(key, text),
                    Change::Remove => {}
                    Change::Keep if key == "ref" && edit.reference.is_some() => {
                        self.write_reference(edit, value, params);
                    }
                    Change::Keep if key == "notifications" => params.raw(key, edit.notifications.unwrap_or(value)),
                    Change::Keep if key != "_meta" || !edit.touches_meta() => params.raw(key, value),
                    Change::Keep => write_meta(params, meta.as_deref()),
                }
            }
            for (key, change) in edited {
                if let (Change::Set(text), None) = (change, self.get(key)) {
                    params.text(key, text);
                }
            }
            edit.more.iter().for_each(|(key, value)| params.raw(key, value));
            if self.meta.is_none() {
                write_meta(params, meta.as_deref());
            }
        });
    }

    fn write_reference(&self, edit: &Edit<'_>, read: &Raw, params: &mut ObjectWriter<'_>) {
        let (Some(named), Some(reference), Some(members)) = (edit.reference, self.reference(), read.object()) else {
            return params.raw("ref", read);
        };
        params.object("ref", |written| {
            for (key, value) in members.iter() {
                if key == reference.member() { written.text(key, named) } else { written.raw(key, value) }
            }
        });
    }

    /// The members of `_meta` after the edit; `None` when there is to be no `_meta`.
    fn edited_meta<'a>(&'a self, edit: &Edit<'a>) -> Option<Vec<(&'a str, MetaValue<'a>)>> {
        let set = |key: &str| edit.meta.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
        let mut members = Vec::new();
        for (key, value) in self.meta.iter().flat_map(json::Object::iter) {
            match set(key) {
                Some(value) => members.push((key, value)),
                None if edit.strip_meta.iter().any(|prefix| key.starts_with(prefix)) => {}
                None => members.push((key, MetaValue::Raw(value))),
            }
        }
        let is_new = |key: &str| self.meta.as_ref().is_none_or(|meta| meta.get(key).is_none());
        members.extend(edit.meta.iter().filter(|(key, _)| is_new(key)));
        members.retain(|(_, value)| *value != MetaValue::Absent);
        let was_empty = self.meta.as_ref().is_some_and(json::Object::is_empty);
        (was_empty || !members.is_empty()).then_some(members)
    }
}

impl Edit<'_> {
    fn touches_meta(&self) -> bool {
        !self.strip_meta.is_empty() || !self.meta.is_empty()
    }
}

fn write_meta(params: &mut ObjectWriter<'_>, members: Option<&[(&str, MetaValue<'_>)]>) {
    let Some(members) = members else { return };
    params.object("_meta", |meta| {
        for (key, value) in members {
            match value {
                MetaValue::Text(text) => meta.text(key, text),
                MetaValue::Integer(number) => meta.integer(key, *number),
                MetaValue::Raw(raw) => meta.raw(key, raw),
                MetaValue::Absent => {}
            }
        }
    });
}
