//! Pages of the catalog: what servers offer, one item with what has changed in it, and the decisions about it.
//!
//! Invariant: every form that decides carries what its page has shown: the decision that holds, and of what it approves the
//! digests.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::{Deserialize, de::DeserializeOwned, de::value::StrDeserializer};

use super::{
    filters,
    page::{Done, PageError, Section, Shell, show},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    app::App,
    catalog::{self, CatalogItem, CatalogItemDetail, Change, Filter, ItemKind, ItemState, Rule, Seen, Suspects},
    error::ApiError,
    page::PageQuery,
    resource::Precondition,
};

/// What the address of the list says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CatalogQuery {
    #[serde(default)]
    server: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    flag: String,
    #[serde(default)]
    waiting: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "catalog/list.html")]
struct ListPage {
    shell: Shell,
    query: CatalogQuery,
    items: Vec<CatalogItem>,
    /// The address of the next page.
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "catalog/detail.html")]
struct DetailPage {
    shell: Shell,
    detail: CatalogItemDetail,
}

/// The form that approves one definition.
#[derive(Debug, Deserialize)]
pub(super) struct Approved {
    digest: String,
    etag: String,
}

/// The form that blocks an item or takes a decision back.
#[derive(Debug, Deserialize)]
pub(super) struct Decided {
    etag: String,
}

/// The form that approves what a list has shown: a line of id, digest and `etag` each.
#[derive(Debug, Deserialize)]
pub(super) struct AllApproved {
    seen: String,
    /// Whose list it was; empty: of all.
    server: String,
}

/// `GET /catalog`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<CatalogQuery>,
) -> Result<Response, PageError> {
    let page = PageQuery { limit: None, cursor: query.cursor.clone() };
    let page = catalog::list(&app, &visitor.caller, &query.filter()?, &page).await?;
    let next = page.next_cursor.map(|cursor| query.address(Some(&cursor)));
    let shell = Shell::new(&visitor, Section::Servers, "Catalog").under("Servers", "/servers");
    show(&ListPage { shell, query, items: page.items, next })
}

/// `GET /catalog/{id}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let detail = catalog::get(&app, &visitor.caller, &id).await?;
    let title = filters::visible(&detail.item.name);
    let shell = Shell::new(&visitor, Section::Servers, title).under("Servers", "/servers").under("Catalog", "/catalog");
    show(&DetailPage { shell, detail })
}

/// `POST /catalog/{id}/approve`.
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Approved>,
) -> Result<Response, PageError> {
    let Approved { digest, etag } = &posted.form;
    catalog::approve(&app, &posted.visitor.caller, &id, &Precondition::matching(etag), digest).await?;
    Ok(Done::DefinitionApproved.then(&format!("/catalog/{id}")))
}

/// `POST /catalog/approve`.
pub(super) async fn approve_all(
    State(app): State<Arc<App>>,
    posted: Posted<AllApproved>,
) -> Result<Response, PageError> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let (id, digest, etag) = (words.next()?, words.next()?, words.next()?);
        Some(Seen { id: id.parse().ok()?, digest: digest.to_owned(), etag: etag.to_owned() })
    };
    let seen: Option<Vec<Seen>> = posted.form.seen.lines().map(read).collect();
    let seen = seen.ok_or_else(|| ApiError::Query("`seen` is a line of id, digest and etag each".to_owned()))?;
    catalog::approve_all(&app, &posted.visitor.caller, &seen, Suspects::default()).await?;
    let back = CatalogQuery { server: posted.form.server, ..CatalogQuery::default() };
    Ok(Done::DefinitionApproved.then(&back.address(None)))
}

/// `POST /catalog/{id}/block`.
pub(super) async fn block(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Decided>,
) -> Result<Response, PageError> {
    catalog::block(&app, &posted.visitor.caller, &id, &Precondition::matching(&posted.form.etag)).await?;
    Ok(Done::ItemBlocked.then(&format!("/catalog/{id}")))
}

/// `POST /catalog/{id}/reset`.
pub(super) async fn reset(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Decided>,
) -> Result<Response, PageError> {
    catalog::reset(&app, &posted.visitor.caller, &id, &Precondition::matching(&posted.form.etag)).await?;
    Ok(Done::DecisionReset.then(&format!("/catalog/{id}")))
}

/// `POST /servers/{name}/read-catalog`.
pub(super) async fn read_now(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let server = catalog::read_now(&app, &posted.visitor.caller, &name).await?;
    let is_whole = server.status.catalog.reads.iter().all(|read| read.refused == 0);
    let done = if is_whole { Done::CatalogRead } else { Done::CatalogReadInPart };
    Ok(done.then(&format!("/servers/{name}")))
}

impl CatalogQuery {
    fn filter(&self) -> Result<Filter, PageError> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Filter {
            server: given(&self.server),
            kind: one_of(&self.kind)?,
            name: None,
            state: one_of(&self.state)?,
            flag: one_of(&self.flag)?,
            waiting: self.is_waiting(),
        })
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn is_filtered(&self) -> bool {
        [&self.server, &self.kind, &self.state, &self.flag, &self.waiting].iter().any(|text| !text.trim().is_empty())
    }

    /// Of the same list from `cursor` on.
    fn address(&self, cursor: Option<&str>) -> String {
        let mut address = form_urlencoded::Serializer::new(String::new());
        let pairs = [
            ("server", &*self.server),
            ("kind", &self.kind),
            ("state", &self.state),
            ("flag", &self.flag),
            ("waiting", &self.waiting),
            ("cursor", cursor.unwrap_or_default()),
        ];
        address.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        format!("/catalog?{}", address.finish())
    }
}

impl ListPage {
    /// What of this page can be approved at once: what waits and has no flag.
    fn harmless(&self) -> impl Iterator<Item = &CatalogItem> {
        self.items.iter().filter(|item| item.waiting && item.flags.is_empty())
    }

    /// A line of id, digest and `etag` each.
    fn seen(&self) -> String {
        let line = |item: &CatalogItem| format!("{} {} {}", item.id, item.digest, item.etag);
        self.harmless().map(line).collect::<Vec<_>>().join("\n")
    }

    /// How many wait and have flags.
    fn suspicious(&self) -> usize {
        self.items.iter().filter(|item| item.waiting && !item.flags.is_empty()).count()
    }
}

impl CatalogItem {
    /// What holds for it, in words.
    fn standing(&self) -> &'static str {
        match self.state {
            ItemState::Blocked => "blocked",
            ItemState::Approved if self.changed => "changed, in force",
            ItemState::Approved => "approved",
            ItemState::Pending if self.approved_digest.is_some() => "changed, pending",
            ItemState::Pending => "pending",
        }
    }

    /// The colour of its dot.
    fn tone(&self) -> &'static str {
        match self.state {
            ItemState::Blocked => "bad",
            ItemState::Approved if !self.changed => "good",
            _ => "warn",
        }
    }

    /// What counts of its claims.
    fn effect(&self) -> &'static str {
        match (self.read_only, self.additive) {
            (true, _) => "read-only",
            (_, true) => "destroys nothing",
            _ => "may destroy",
        }
    }

    fn is_tool(&self) -> bool {
        self.kind == ItemKind::Tool
    }
}

impl ItemKind {
    /// In words.
    pub(super) fn words(self) -> String {
        self.as_str().replace('_', " ")
    }
}

/// What one of some words stands for; nothing when it is left out.
fn one_of<T: DeserializeOwned>(word: &str) -> Result<Option<T>, PageError> {
    if word.is_empty() {
        return Ok(None);
    }
    let read = T::deserialize(StrDeserializer::<serde::de::value::Error>::new(word));
    Ok(Some(read.map_err(|error| ApiError::Query(error.to_string()))?))
}
