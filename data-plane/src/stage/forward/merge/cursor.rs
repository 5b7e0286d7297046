//! Cursors of merged lists: where the next page begins, sealed.
//!
//! Invariant: a cursor opens only for the agent, user, endpoint and method that it was given to, within its time, and
//! only while the servers behind the list are those that they were.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tollgate_proto::Name;

use super::Trail;
use crate::{
    mcp::method::ListKind,
    policy::Server,
    seal::{self, Purpose, SealError},
    stage::{authorize::View, identify::Caller},
};

/// In seconds.
const LIFE: i64 = 60 * 60;
const DIGEST_BYTES: usize = 16;

/// A place in a merged list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The server whose page it is in; `None`: before the first one.
    pub server: Option<Name>,
    /// The server's cursor of that page; `None`: its first one. An empty text is a cursor too.
    pub cursor: Option<String>,
    /// Items of that page which come before.
    pub skip: usize,
    /// How the walk through the server's pages got there.
    pub trail: Trail,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    server: String,
    cursor: Option<String>,
    skip: usize,
    trail: Trail,
    servers: [u8; DIGEST_BYTES],
}

impl Place {
    /// Before the server's first item.
    #[must_use]
    pub fn start_of(server: &Server) -> Self {
        Self { server: Some(server.name.clone()), ..Self::default() }
    }

    /// Whether it is in this server's list.
    #[must_use]
    pub fn is_in(&self, server: &Server) -> bool {
        self.server.as_ref() == Some(&server.name)
    }

    /// Whether any of this server's list comes after it.
    #[must_use]
    pub fn is_before_end_of(&self, server: &Server) -> bool {
        self.server.as_ref().is_none_or(|place| *place <= server.name)
    }
}

/// The cursor of this place. `now` in unix seconds.
///
/// # Errors
/// When nothing can be sealed.
pub fn seal(caller: &Caller, view: &View, kind: ListKind, place: &Place, now: i64) -> Result<String, SealError> {
    let sealed = Sealed {
        server: place.server.as_ref().map(Name::to_string).unwrap_or_default(),
        cursor: place.cursor.clone(),
        skip: place.skip,
        trail: place.trail,
        servers: servers(caller, view, kind),
    };
    // A struct of texts and numbers always becomes JSON.
    let plain = serde_json::to_vec(&sealed).unwrap_or_default();
    seal::seal(
        caller.tenant(),
        Purpose::Cursor,
        &bound_to(caller, kind).each_ref().map(Vec::as_slice),
        now + LIFE,
        &plain,
    )
}

/// The place of a cursor; `None` when it is not one of this caller's for this list, or is out of date.
#[must_use]
pub fn open(caller: &Caller, view: &View, kind: ListKind, sealed: &str, now: i64) -> Option<Place> {
    let bound_to = bound_to(caller, kind);
    let plain = seal::open(caller.tenant(), Purpose::Cursor, &bound_to.each_ref().map(Vec::as_slice), now, sealed)?;
    let sealed: Sealed = serde_json::from_slice(&plain).ok()?;
    if sealed.servers != servers(caller, view, kind) {
        return None;
    }
    let server = Some(sealed.server.parse().ok()?);
    Some(Place { server, cursor: sealed.cursor, skip: sealed.skip, trail: sealed.trail })
}

fn bound_to(caller: &Caller, kind: ListKind) -> [Vec<u8>; 4] {
    let user = caller.user().map(|user| user.uuid().as_bytes().to_vec()).unwrap_or_default();
    [
        caller.agent().id.uuid().as_bytes().to_vec(),
        user,
        caller.resource().into_bytes(),
        kind.method().as_str().as_bytes().to_vec(),
    ]
}

/// A digest of the servers that the list is made of. What else a policy changes moves no place.
fn servers(caller: &Caller, view: &View, kind: ListKind) -> [u8; DIGEST_BYTES] {
    let mut context = Context::new(&SHA256);
    for server in caller.servers().filter(|server| view.deals_in(kind, server)) {
        context.update(server.id.uuid().as_bytes());
        context.update(server.name.as_str().as_bytes());
        context.update(b"\n");
    }
    *context.finish().as_ref().first_chunk().expect("a SHA-256 has 32 bytes")
}
