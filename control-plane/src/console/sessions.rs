//! Pages of sessions: what agents have open at the data planes, one of it, and its end.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;

use super::{
    filters,
    page::{Done, PageError, Section, Shell, sentence, show},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    app::App,
    caller::Role,
    error::ApiError,
    page::PageQuery,
    sessions::{self, Filter, LegState, Session, SessionKind, SessionPage},
};

const PATH: &str = "/sessions";

/// What the address of the list says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SessionsQuery {
    #[serde(default)]
    agent: String,
    #[serde(default)]
    server: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "sessions/list.html")]
struct ListPage {
    shell: Shell,
    query: SessionsQuery,
    sessions: Vec<Session>,
    /// The address of the next page.
    next: Option<String>,
    /// What is not on the list, and why.
    missing: Vec<String>,
    /// Whether any data plane answered.
    answered: bool,
}

#[derive(Template)]
#[template(path = "sessions/detail.html")]
struct DetailPage {
    shell: Shell,
    session: Session,
}

/// `GET /sessions`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<SessionsQuery>,
) -> Result<Response, PageError> {
    visitor.caller.require(Role::Viewer)?;
    let filter = Filter { agent: query.agent.trim().to_owned(), server: query.server.trim().to_owned() };
    let page = PageQuery { limit: None, cursor: query.cursor.clone() };
    let (found, missing) = match sessions::list(&app, &visitor.caller, &filter, &page).await {
        Ok(SessionPage { items, next_cursor, unanswered, .. }) => {
            let missing = unanswered.iter().map(|one| format!("{}: {}.", one.data_plane, one.detail)).collect();
            (Some((items, next_cursor)), missing)
        }
        // Said on the page, which keeps what was asked for.
        Err(ApiError::DataPlanesSilent(why)) => (None, vec![sentence(&why)]),
        Err(error) => return Err(error.into()),
    };
    let answered = found.is_some();
    let (sessions, next) = found.unwrap_or_default();
    let next = next.map(|cursor| query.address(&cursor));
    let shell = Shell::new(&visitor, Section::Sessions, "Sessions");
    show(&ListPage { shell, query, sessions, next, missing, answered })
}

/// `GET /sessions/{id}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let session = sessions::get(&app, &visitor.caller, &id).await?;
    let shell = Shell::new(&visitor, Section::Sessions, session.id.to_string()).under("Sessions", PATH);
    show(&DetailPage { shell, session })
}

/// `POST /sessions/{id}/end`.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    sessions::end(&app, &posted.visitor.caller, &id).await?;
    Ok(Done::SessionEnded.then(PATH))
}

impl SessionsQuery {
    fn is_filtered(&self) -> bool {
        !self.agent.trim().is_empty() || !self.server.trim().is_empty()
    }

    fn address(&self, cursor: &str) -> String {
        let mut address = form_urlencoded::Serializer::new(format!("{PATH}?"));
        for (name, value) in [("agent", self.agent.as_str()), ("server", &self.server), ("cursor", cursor)] {
            if !value.is_empty() {
                address.append_pair(name, value);
            }
        }
        address.finish()
    }
}

impl Session {
    /// Whether Tollgate opened it.
    fn is_upstream(&self) -> bool {
        self.kind == SessionKind::Upstream
    }

    /// The servers that it reaches, in a few words.
    fn reached(&self) -> String {
        let servers: Vec<&str> =
            self.legs.iter().map(|leg| leg.server.as_deref().unwrap_or("a server that is gone")).collect();
        match servers.len() {
            0 => "none yet".to_owned(),
            1..=3 => servers.join(", "),
            count => format!("{} and {} more", servers[..2].join(", "), count - 2),
        }
    }
}

impl LegState {
    /// The colour of its dot.
    const fn tone(self) -> &'static str {
        match self {
            Self::Open => "good",
            Self::Stateless => "",
            Self::Gone => "bad",
        }
    }
}
