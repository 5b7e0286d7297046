//! Sessions: asked of the data planes, in whose store they are, each time that somebody looks.
//!
//! Every data plane that is connected to this process is asked; those that share a store say the same. What is not known
//! because one did not answer, or is connected to another control plane, is said to be.
//!
//! Invariant: nothing of a session is kept here but the audit of its end, and the ids that sessions are used with are
//! not known here at all.

use std::{cmp::Reverse, collections::BTreeMap, time::Instant};

use serde::Serialize;
use serde_json::json;
use tollgate_proto::{
    SessionHandle,
    policy::v1::{EndSession, InspectSession, ListSessions, Reply, question::What},
};
use utoipa::ToSchema;

use crate::{
    answers::{Answers, Unanswered},
    app::App,
    audit,
    caller::{Caller, Role},
    error::ApiError,
    page::{Listing, PageQuery},
};

pub mod api;
mod session;
#[cfg(test)]
mod tests;

pub use session::{Client, Endpoint, EndpointKind, Leg, LegState, Session, SessionKind};

/// What data planes are asked about.
const ABOUT: &str = "sessions";

/// Which sessions are asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Name or id; empty: of every agent.
    pub agent: String,
    /// Name or id; empty: of every server.
    pub server: String,
}

/// A page of sessions, the newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionPage {
    /// The sessions.
    pub items: Vec<Session>,
    /// Asks for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether every data plane answered. When not, there may be sessions that are in no page.
    pub complete: bool,
    /// Those that did not answer, and why.
    pub unanswered: Vec<Unanswered>,
}

/// One page of the tenant's sessions.
///
/// # Errors
/// [`ApiError::DataPlanesSilent`] when no data plane answers; for a limit or cursor out of bounds; or when Postgres is
/// away.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, page: &PageQuery) -> Result<SessionPage, ApiError> {
    caller.require(Role::Viewer)?;
    let limit = page.limit()?;
    let listing = Listing::new(app, caller.tenant, "sessions", filter);
    let before: Option<SessionHandle> = listing.after(page.cursor.as_deref())?;
    let what = What::ListSessions(ListSessions {
        before: before.map(|before| before.to_string()).unwrap_or_default(),
        limit: u32::try_from(limit + 1).map_err(ApiError::internal)?,
        agent: filter.agent.clone(),
        server: filter.server.clone(),
    });
    let Answers { replies, unanswered, .. } = Answers::to(app, caller, ABOUT, &what, None).await?;
    let (items, end) = merge(&replies, limit);
    let next_cursor = end.map(|end| listing.cursor(&end)).transpose()?;
    Ok(SessionPage { items, next_cursor, complete: unanswered.is_empty(), unanswered })
}

/// The session with this id.
///
/// # Errors
/// [`ApiError::NotFound`], also for another tenant's; [`ApiError::DataPlanesSilent`] when it may be where nobody answers;
/// or when Postgres is away.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Session, ApiError> {
    caller.require(Role::Viewer)?;
    let handle = handle(id)?;
    let what = What::InspectSession(InspectSession { handle: handle.to_string() });
    only(&Answers::to(app, caller, ABOUT, &what, None).await?, id)
}

/// Ends a session as if its agent had: the agent's next request in it is told that there is none, and the servers behind
/// are told that it is over.
///
/// # Errors
/// As [`get`], and [`ApiError::Forbidden`].
pub async fn end(app: &App, caller: &Caller, id: &str) -> Result<Session, ApiError> {
    caller.require(Role::Operator)?;
    let handle = handle(id)?;
    // Begun before: nothing is ended that could not be written down.
    let mut tx = app.db.tenant(caller.tenant).await?;
    let what = What::EndSession(EndSession { handle: handle.to_string() });
    let began_at = Instant::now();
    let session = only(&Answers::to(app, caller, ABOUT, &what, Some(&mut tx)).await?, id)?;
    app.metrics.revocation_enforced("session", began_at.elapsed());
    let event = audit::Event {
        actor: &caller.actor,
        action: "session.end",
        object_kind: "session",
        object_id: &handle.to_string(),
        object_name: session.shown_agent(),
        detail: json!({
            "agent": session.agent_id,
            "user": session.user_id,
            "kind": session.kind,
            "endpoint": session.endpoint.as_ref().map(|endpoint| &endpoint.url),
        }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(session)
}

/// The one session that was asked for; of several data planes with one store one knows how it ended.
fn only(answers: &Answers, id: &str) -> Result<Session, ApiError> {
    let mut known = answers.replies.iter().flat_map(|reply| &reply.sessions).filter_map(|said| said.try_into().ok());
    match known.next() {
        Some(session) => Ok(session),
        None if answers.unanswered.is_empty() => Err(unknown(id)),
        None => Err(answers.silent(&format!("no data plane that answered has a session `{id}`"))),
    }
}

/// The first `limit` sessions, each once, and where the next page begins. What lies behind the point that one data plane
/// came to is left for that page: that data plane may have more before it.
fn merge(replies: &[Reply], limit: usize) -> (Vec<Session>, Option<SessionHandle>) {
    let horizon: Option<SessionHandle> = replies.iter().filter_map(|reply| reply.reached.parse().ok()).max();
    let said = replies.iter().flat_map(|reply| &reply.sessions).filter_map(|said| Session::try_from(said).ok());
    let sessions: BTreeMap<_, Session> = said.map(|session| (Reverse(session.id), session)).collect();
    let in_sight = sessions.into_values().filter(|session| horizon.is_none_or(|horizon| session.id >= horizon));
    let mut items: Vec<Session> = in_sight.collect();
    if items.len() > limit {
        items.truncate(limit);
        let last = items.last().map(|last| last.id);
        return (items, last);
    }
    (items, horizon)
}

fn handle(id: &str) -> Result<SessionHandle, ApiError> {
    id.parse().map_err(|_| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { noun: "session", key: id.to_owned() }
}
