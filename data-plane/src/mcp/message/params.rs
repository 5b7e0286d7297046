//! The params of a message: what routes and authorizes a call, read once; the rest as it was written.
//!
//! Invariant: `name`, `uri`, `cursor` and `taskId` are strings, `arguments` and `_meta` are objects, or the message was
//! refused. No key of params, of `_meta` or of `ref` differs from a reserved one only in how it is written.

use std::borrow::Cow;

use super::read::ReadErrorKind;
use crate::mcp::json::{Kind, Object, Raw};

/// `_meta` key: the revision a modern request is in.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key: what the client of a modern request can do.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key: who the client says it is.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` key: the least severe log message that the client wants.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What `_meta` may name as the least severe level (RFC 5424 section 6.2.1).
const LOG_LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Keys of params that some reader knows as the field of a type.
const RESERVED: &[&str] = &[
    "name",
    "uri",
    "arguments",
    "_meta",
    "cursor",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "ref",
    "argument",
    "context",
    "level",
    "requestId",
    "reason",
    "progressToken",
    "task",
    "taskId",
    "notifications",
    "inputResponses",
    "requestState",
];

/// Keys of `_meta` that mean something to the protocol.
const RESERVED_META: &[&str] = &[
    META_PROTOCOL_VERSION,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    "progressToken",
    "traceparent",
    "tracestate",
    "baggage",
];

/// Keys of the `ref` of `completion/complete`.
const RESERVED_REF: &[&str] = &["type", "name", "uri"];

/// The params of a request or notification. The default is: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    pub(super) members: Option<Object>,
    name: Option<Box<str>>,
    uri: Option<Box<str>>,
    cursor: Option<Box<str>>,
    task_id: Option<Box<str>>,
    reference: Option<Reference>,
    pub(super) meta: Option<Object>,
}

/// What `completion/complete` completes an argument of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `ref/prompt`: the prompt of this `name`.
    Prompt(Box<str>),
    /// `ref/resource`: the resource or template of this `uri`.
    Resource(Box<str>),
}

impl Params {
    pub(super) fn read(raw: &Raw) -> Result<Self, ReadErrorKind> {
        let members = raw.object().ok_or(ReadErrorKind::ParamsNotAnObject)?;
        check_keys(&members, RESERVED, "params")?;
        if members.get("arguments").is_some_and(|arguments| arguments.kind() != Kind::Object) {
            return Err(ReadErrorKind::WrongType { member: "arguments", expected: "an object" });
        }
        let meta = read_object(&members, "_meta")?;
        if let Some(meta) = &meta {
            check_keys(meta, RESERVED_META, "params._meta")?;
        }
        let reference = read_object(&members, "ref")?;
        if let Some(reference) = &reference {
            check_keys(reference, RESERVED_REF, "params.ref")?;
        }
        let reference = reference.as_ref().and_then(Reference::read);
        let name = read_text(&members, "name")?;
        let uri = read_text(&members, "uri")?;
        let cursor = read_text(&members, "cursor")?;
        let task_id = read_text(&members, "taskId")?;
        Ok(Self { members: Some(members), name, uri, cursor, task_id, reference, meta })
    }

    /// The value of the member with exactly this key, as it was written.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.members.as_ref()?.get(key)
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Raw)> {
        self.members.iter().flat_map(Object::iter)
    }

    /// `name`: the tool or prompt.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// `uri`: the resource.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    /// `cursor`: where a list goes on. An empty one is a cursor too.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// `taskId`: the task.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.task_id.as_deref()
    }

    /// `ref`, where it is whole.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// `arguments`, an object, validated at every depth.
    #[must_use]
    pub fn arguments(&self) -> Option<&Raw> {
        self.get("arguments")
    }

    /// `_meta`.
    #[must_use]
    pub fn meta(&self) -> Option<&Object> {
        self.meta.as_ref()
    }

    /// Whether `_meta` says which revision the request is in, whatever it says: the mark of the modern era.
    #[must_use]
    pub fn claims_protocol_version(&self) -> bool {
        self.meta_value(META_PROTOCOL_VERSION).is_some()
    }

    /// The revision that `_meta` names, where it is a string.
    #[must_use]
    pub fn protocol_version_claim(&self) -> Option<Cow<'_, str>> {
        self.meta_value(META_PROTOCOL_VERSION)?.as_str()
    }

    /// What the client can do, where `_meta` says so with an object.
    #[must_use]
    pub fn client_capabilities(&self) -> Option<&Raw> {
        self.meta_value(META_CLIENT_CAPABILITIES).filter(|value| value.kind() == Kind::Object)
    }

    /// Whether the level of log messages in `_meta` is one that there is; none at all is fine.
    #[must_use]
    pub fn log_level_is_known(&self) -> bool {
        let level = self.meta_value(META_LOG_LEVEL);
        level.is_none_or(|level| level.as_str().is_some_and(|level| LOG_LEVELS.contains(&level.as_ref())))
    }

    /// Whether the client declares this extension in `_meta`.
    #[must_use]
    pub fn declares_extension(&self, id: &str) -> bool {
        let capabilities = self.client_capabilities().and_then(Raw::object);
        let extensions = capabilities.and_then(|capabilities| capabilities.get("extensions")?.object());
        extensions.is_some_and(|extensions| extensions.get(id).is_some())
    }

    /// The W3C trace context in `_meta`, unchecked.
    #[must_use]
    pub fn traceparent(&self) -> Option<Cow<'_, str>> {
        self.meta_value("traceparent")?.as_str()
    }

    /// The vendors' part of the trace context in `_meta`, unchecked.
    #[must_use]
    pub fn tracestate(&self) -> Option<Cow<'_, str>> {
        self.meta_value("tracestate")?.as_str()
    }

    /// What progress notifications for this request are to carry: a string or a number.
    #[must_use]
    pub fn progress_token(&self) -> Option<&Raw> {
        self.meta_value("progressToken")
    }

    fn meta_value(&self, key: &str) -> Option<&Raw> {
        self.meta.as_ref()?.get(key)
    }
}

impl Reference {
    fn read(object: &Object) -> Option<Self> {
        let text = |key| object.get(key).and_then(Raw::as_str);
        match text("type")?.as_ref() {
            "ref/prompt" => Some(Self::Prompt(text("name")?.into())),
            "ref/resource" => Some(Self::Resource(text("uri")?.into())),
            _ => None,
        }
    }

    /// The member of `ref` that names it.
    pub(super) fn member(&self) -> &'static str {
        match self {
            Self::Prompt(_) => "name",
            Self::Resource(_) => "uri",
        }
    }
}

/// Refuses keys that another reader might take for a reserved one.
///
/// Some readers fold case, and some normalise text (NFKC makes `name` of full-width letters and of dozens of other
/// forms). The keys of the envelope, of params and of `_meta` are ASCII in every revision, so any other key is
/// refused at these three places: this needs no table of look-alikes, and an ASCII text is its own normal form.
pub(super) fn check_keys(object: &Object, reserved: &[&str], place: &'static str) -> Result<(), ReadErrorKind> {
    for (key, _) in object.iter() {
        let look_alike = |word: &&str| key.eq_ignore_ascii_case(word) && *word != key;
        if !key.is_ascii() || reserved.iter().any(look_alike) {
            return Err(ReadErrorKind::AmbiguousKey { place, key: excerpt(key) });
        }
    }
    Ok(())
}

/// The beginning of an untrusted text, for a message.
pub(super) fn excerpt(text: &str) -> Box<str> {
    text.chars().take(64).collect()
}

fn read_text(members: &Object, member: &'static str) -> Result<Option<Box<str>>, ReadErrorKind> {
    let Some(value) = members.get(member) else { return Ok(None) };
    let text = value.as_str().ok_or(ReadErrorKind::WrongType { member, expected: "a string" })?;
    Ok(Some(text.into()))
}

fn read_object(members: &Object, member: &'static str) -> Result<Option<Object>, ReadErrorKind> {
    let Some(value) = members.get(member) else { return Ok(None) };
    value.object().map(Some).ok_or(ReadErrorKind::WrongType { member, expected: "an object" })
}
