//! Pages of calls: the latest, filtered, and one call.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    filters,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    app::App,
    caller::Role,
    error::ApiError,
    page::Listing,
    usage::{self, Filter, Position, UsageRecord},
};

const PAGE_CALLS: usize = 50;

/// Calls as the table shows them.
pub(super) struct Calls {
    /// What the table is of.
    pub(super) caption: &'static str,
    pub(super) records: Vec<UsageRecord>,
}

/// What the address of the list says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CallsQuery {
    #[serde(default)]
    agent: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    tool: String,
    #[serde(default)]
    decision: String,
    #[serde(default)]
    outcome: String,
    cursor: Option<String>,
}

/// What narrows the list, as its cursors are bound to it.
#[derive(Serialize)]
struct Narrowing<'a> {
    agent: &'a str,
    user: &'a str,
    server: &'a str,
    tool: &'a str,
    decision: &'a str,
    outcome: &'a str,
}

#[derive(Template)]
#[template(path = "calls/list.html")]
struct ListPage {
    shell: Shell,
    query: CallsQuery,
    filtered: bool,
    calls: Calls,
    /// The address of the next page.
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "calls/detail.html")]
struct DetailPage {
    shell: Shell,
    call: UsageRecord,
}

impl Calls {
    /// The latest calls that fit `filter`.
    pub(super) async fn latest(app: &App, visitor: &Visitor, filter: &Filter, limit: i64) -> Result<Self, PageError> {
        visitor.caller.require(Role::Viewer)?;
        let mut tx = app.db.tenant(visitor.caller.tenant).await?;
        Ok(Self { caption: "The latest calls", records: usage::list(&mut tx, filter, None, limit).await? })
    }
}

/// `GET /calls`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<CallsQuery>,
) -> Result<Response, PageError> {
    visitor.caller.require(Role::Viewer)?;
    let narrowing = query.narrowing();
    let listing = Listing::new(&app, visitor.caller.tenant, "calls", &narrowing);
    let after: Option<Position> = listing.after(query.cursor.as_deref())?;
    let mut tx = app.db.tenant(visitor.caller.tenant).await?;
    let one_more = i64::try_from(PAGE_CALLS + 1).map_err(ApiError::internal)?;
    let found = usage::list(&mut tx, &query.filter(), after, one_more).await?;
    let page = listing.page(found, PAGE_CALLS, UsageRecord::position)?;
    let next = page.next_cursor.map(|cursor| query.address(&cursor));
    show(&ListPage {
        shell: Shell::new(&visitor, Section::Calls, "Calls"),
        filtered: query.filtered(),
        calls: Calls { caption: "Calls, the latest first", records: page.items },
        query,
        next,
    })
}

/// `GET /calls/{call_id}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(call_id): Path<String>,
) -> Result<Response, PageError> {
    visitor.caller.require(Role::Viewer)?;
    let not_found = || ApiError::NotFound { noun: "call", key: call_id.clone() };
    let id: Uuid = call_id.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(visitor.caller.tenant).await?;
    let call = usage::get(&mut tx, id).await?.ok_or_else(not_found)?;
    show(&DetailPage {
        shell: Shell::new(&visitor, Section::Calls, format!("Call {id}")).under("Calls", "/calls"),
        call,
    })
}

impl ListPage {
    /// What can be filtered by.
    fn outcomes(&self) -> [&'static str; 9] {
        ["ok", "tool_error", "rpc_error", "timeout", "upstream_error", "refused", "abandoned", "cut_off", "unknown"]
    }
}

impl CallsQuery {
    fn narrowing(&self) -> Narrowing<'_> {
        Narrowing {
            agent: self.agent.trim(),
            user: self.user.trim(),
            server: self.server.trim(),
            tool: self.tool.trim(),
            decision: self.decision.trim(),
            outcome: self.outcome.trim(),
        }
    }

    fn filter(&self) -> Filter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            agent: given(&self.agent),
            user: given(&self.user),
            server: given(&self.server),
            tool: given(&self.tool),
            decision: given(&self.decision),
            outcome: given(&self.outcome),
        }
    }

    fn is_outcome(&self, outcome: &str) -> bool {
        self.outcome == outcome
    }

    fn filtered(&self) -> bool {
        self.filter() != Filter::default()
    }

    /// Of the same list from `cursor` on.
    fn address(&self, cursor: &str) -> String {
        let Narrowing { agent, user, server, tool, decision, outcome } = self.narrowing();
        let pairs = [
            ("agent", agent),
            ("user", user),
            ("server", server),
            ("tool", tool),
            ("decision", decision),
            ("outcome", outcome),
        ];
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty()).chain([("cursor", cursor)]);
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        format!("/calls?{query}")
    }
}
