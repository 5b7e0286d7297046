//! A server's list from its first page to its last, for whoever has to know all of it.
//!
//! Invariant: whatever a server answers, a walk ends, and what it gathers is bounded.

use std::collections::HashSet;

use bytes::Bytes;
use tollgate_proto::definition::name_member;

use super::{
    super::{
        ask::{Ask, Fault, Outgoing},
        speech::{Speech, Tongue},
    },
    Exchange, Trail,
};
use crate::{
    mcp::{
        json::{Object, ObjectWriter, Raw},
        message::{MetaValue, RequestId, write_request},
        method::{ListKind, Method},
        version::ProtocolVersion,
    },
    upstream::{answer::AnswerFault, observed::item_kind},
};

/// JSON-RPC: the method is not there.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
/// A server's cursor travels within ours.
const CURSOR_BYTES_MAX: usize = 4 * 1024;

/// How long a list may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Pages.
    pub pages: usize,
    /// Items of all pages.
    pub items: usize,
    /// Bytes of all pages.
    pub bytes: usize,
}

/// Why a list could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkFault {
    /// The server failed, or what it sent is no list.
    #[error(transparent)]
    Failed(#[from] Fault),
    /// The server has no such list.
    #[error("the server does not know the method")]
    NotThere,
    /// The server answered with an error.
    #[error("the server answered with an error instead of a list")]
    Refused,
    /// A cursor came twice.
    #[error("the list goes in a circle: a cursor came twice")]
    Circle,
    /// Too many pages.
    #[error("the list has more than {0} pages")]
    Pages(usize),
    /// Too many items.
    #[error("the list has more than {0} items")]
    Items(usize),
    /// Too many bytes.
    #[error("the list has more than {0} bytes")]
    Bytes(usize),
}

impl From<WalkFault> for Fault {
    fn from(fault: WalkFault) -> Self {
        match fault {
            WalkFault::Failed(fault) => fault,
            other => invalid(&other.to_string()),
        }
    }
}

/// What came of a request of our own, when it was no result.
pub(super) enum Asking {
    /// An error, with its code.
    Answered(Option<i64>),
    /// Nothing that can be used.
    Fault(Fault),
}

impl From<Fault> for Asking {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a list to its end. Where that fails, `listed` has what came before.
///
/// # Errors
/// How the server failed, or what is wrong with its list.
pub async fn walk(
    ask: &Ask,
    speech: &Speech,
    kind: ListKind,
    bounds: &Bounds,
    listed: &mut Vec<Raw>,
) -> Result<(), WalkFault> {
    let (mut cursor, mut bytes) = (None::<String>, 0);
    let (mut trail, mut walked) = (Trail::default(), HashSet::new());
    for _ in 0..bounds.pages {
        let asked = ask_for(ask, speech, kind.method(), cursor.as_deref()).await;
        let result = asked.map_err(|asking| match asking {
            Asking::Fault(fault) => WalkFault::Failed(fault),
            Asking::Answered(Some(METHOD_NOT_FOUND)) if cursor.is_none() => WalkFault::NotThere,
            Asking::Answered(_) => WalkFault::Refused,
        })?;
        let members = result.object().ok_or_else(|| invalid("a result that is no object"))?;
        bytes += result.as_bytes().len();
        if bytes > bounds.bytes {
            return Err(WalkFault::Bytes(bounds.bytes));
        }
        listed.extend(items(kind, &members)?);
        if listed.len() > bounds.items {
            return Err(WalkFault::Items(bounds.items));
        }
        let Some(next) = next_cursor(&members)? else { return Ok(()) };
        let stepped = trail.step(&next).ok().filter(|_| walked.insert(next.clone()));
        trail = stepped.ok_or(WalkFault::Circle)?;
        cursor = Some(next);
    }
    Err(WalkFault::Pages(bounds.pages))
}

/// What an item of a list is known by at its server. One that has none is known to no grant.
#[must_use]
pub fn label(kind: ListKind, item: &Raw) -> String {
    let member = item_kind(kind).map_or("uri", name_member);
    item.text_of(member).map(String::from).unwrap_or_default()
}

/// A request of Tollgate's own; `fill` writes what params have beside `_meta`.
fn server_request(
    id: &RequestId,
    method: Method,
    is_modern: bool,
    meta: &[(&str, MetaValue<'_>)],
    fill: impl FnOnce(&mut ObjectWriter<'_>),
) -> Bytes {
    write_request(id, method.as_str(), |params| {
        fill(params);
        params.object("_meta", |entries| {
            if is_modern {
                introduce(entries);
            }
            for (key, value) in meta {
                if let MetaValue::Text(text) = value {
                    entries.text(key, text);
                }
            }
        });
    })
}

/// One page.
///
/// # Errors
/// An error of the server, or how it failed.
pub(super) async fn ask_for(ask: &Ask, speech: &Speech, method: Method, cursor: Option<&str>) -> Result<Raw, Asking> {
    let id = RequestId::Text(uuid::Uuid::new_v4().to_string().into());
    let is_modern = matches!(speech.tongue, Tongue::Modern);
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        server_request(&id, method, is_modern, meta, |params| {
            if let Some(cursor) = cursor {
                params.text("cursor", cursor);
            }
        })
    };
    let name = method.as_str();
    let outgoing = Outgoing { headers: speech.plain_headers(name), method: name, tool: "", write: &write };
    let answered = Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await.map_err(Fault::from)?;
    let code = answered.error_code();
    answered.outcome.map_err(|_| Asking::Answered(code))
}

/// The items of a page.
///
/// # Errors
/// When it has none.
pub(super) fn items(kind: ListKind, members: &Object) -> Result<Vec<Raw>, Fault> {
    let items = members.get(kind.member()).and_then(Raw::array);
    items.ok_or_else(|| invalid(&format!("a result without `{}`", kind.member())))
}

/// An empty text is a cursor too: only its absence ends the list.
///
/// # Errors
/// When it is too long.
pub(super) fn next_cursor(members: &Object) -> Result<Option<String>, Fault> {
    let next = members.get("nextCursor").and_then(|next| next.as_str().map(String::from));
    match next {
        Some(next) if next.len() > CURSOR_BYTES_MAX => Err(invalid("a cursor that is too long")),
        next => Ok(next),
    }
}

/// What a modern request says of its client: here Tollgate itself, which can be asked nothing.
fn introduce(entries: &mut ObjectWriter<'_>) {
    entries.text("io.modelcontextprotocol/protocolVersion", ProtocolVersion::NEWEST_MODERN.as_str());
    entries.object("io.modelcontextprotocol/clientCapabilities", |_| {});
    entries.object("io.modelcontextprotocol/clientInfo", |info| {
        info.text("name", "tollgate");
        info.text("version", env!("CARGO_PKG_VERSION"));
    });
}

/// What a server sent is not what was asked for.
pub(super) fn invalid(what: &str) -> Fault {
    AnswerFault::Invalid(what.to_owned()).into()
}
