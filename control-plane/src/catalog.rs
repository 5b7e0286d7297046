//! The catalog: what servers offer, as last seen and as approved.
//!
//! - `intake.rs` takes in what data planes have read, `preparation.rs` before the tenant is locked; `offer.rs` is how it is
//!   read here, `flags.rs` what looks like deceit in it, `flapping.rs` what goes back and forth.
//! - `reading.rs` asks for it: when a server is registered or changed, on a schedule, and when somebody wants to see it.
//! - `decision.rs` is what people say to it, `difference.rs` what they look at before.
//!
//! Invariant: nobody approves what they did not see: a decision names the digest of the definition, and the decision that
//! it follows, and holds for no other. What was approved stays so when the thing vanishes and comes back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollgate_proto::{CatalogItemId, ServerId, TenantId, policy::v1 as wire};
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    page::{Listing, Page, PageQuery},
    servers::Approval,
};

pub mod api;
mod decision;
mod difference;
mod flags;
mod flapping;
mod intake;
mod offer;
mod preparation;
mod reading;
mod sql;
#[cfg(test)]
pub(crate) mod tests;

pub use decision::{Seen, Suspects, approve, approve_all, block, reset};
pub use difference::{Change, Line};
pub use flags::{Flag, Rule};
pub use intake::Reports;
pub use reading::{follow, read_now};

/// What kind of thing a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A template of resources' URIs.
    ResourceTemplate,
}

/// What holds for a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// The current definition is the approved one.
    Approved,
    /// It is not, or none was ever approved.
    Pending,
    /// Nobody sees or uses it, whatever else holds.
    Blocked,
}

/// Something that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CatalogItem {
    /// `itm_…`.
    #[schema(value_type = String, example = "itm_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: CatalogItemId,
    /// Name of its server.
    pub server: String,
    /// What it is.
    pub kind: ItemKind,
    /// Name of a tool or prompt, URI of a resource, URI template.
    #[schema(example = "search_issues")]
    pub name: String,
    /// What holds for it.
    pub state: ItemState,
    /// Whether somebody is to decide, or to look at it.
    pub waiting: bool,
    /// Whether it came into force without anybody having looked at it, where somebody was to (`approval: notify`).
    pub changed: bool,
    /// SHA-256 of the current definition, in lower-case hex: what a decision names.
    pub digest: String,
    /// The same of the approved one; null while none is.
    pub approved_digest: Option<String>,
    /// Whether it counts as a tool that changes nothing: its server claims so (`readOnlyHint`), and that was approved.
    pub read_only: bool,
    /// Whether it counts as a tool that destroys nothing (`destructiveHint: false`), likewise.
    pub additive: bool,
    /// What looks like deceit in the current definition.
    pub flags: Vec<Flag>,
    /// When it was first offered.
    pub first_seen_at: DateTime<Utc>,
    /// When its definition was first seen as it is now.
    pub changed_at: DateTime<Utc>,
    /// Since when the server does not offer it any more; null while it does.
    pub gone_at: Option<DateTime<Utc>>,
    /// Who decided what holds; null where the server's approval alone says so.
    pub decided_by: Option<String>,
    /// When they did.
    pub decided_at: Option<DateTime<Utc>>,
    /// Names that decision, for `If-Match`: another one has another. A new definition changes it only where it ends the
    /// decision, so that a server cannot keep anybody from blocking it.
    #[schema(example = "\"undecided\"")]
    pub etag: String,
}

/// One page of items.
pub type CatalogItemPage = Page<CatalogItem>;

/// An item with its definitions.
#[derive(Debug, Serialize, ToSchema)]
pub struct CatalogItemDetail {
    /// The item.
    #[serde(flatten)]
    pub item: CatalogItem,
    /// The current definition, as the server says it; of its `_meta` only what the digest counts.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// The approved one; null while none is.
    #[schema(value_type = Option<Object>)]
    pub approved_definition: Option<Box<RawValue>>,
    /// From what was approved, or was last looked at, to the current one, line by line; empty where they are the same.
    /// Invisible characters are written as JSON escapes.
    pub difference: Vec<Line>,
}

/// What is known of a server's offer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct CatalogStatus {
    /// Items whose current definition is approved.
    pub approved: i64,
    /// Items whose current definition is not.
    pub pending: i64,
    /// Items that were blocked.
    pub blocked: i64,
    /// Items that somebody is to decide, or to look at.
    pub waiting: i64,
    /// The latest reading of each of its lists.
    pub reads: Vec<CatalogRead>,
}

/// The latest reading of one of a server's lists.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CatalogRead {
    /// What was read.
    pub kind: ItemKind,
    /// When.
    pub read_at: DateTime<Utc>,
    /// How much was on the list.
    pub offered: i32,
    /// How much of it was no definition.
    pub refused: i32,
    /// The first of that.
    pub refusals: Vec<Refusal>,
}

/// Something on a list that is not in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Place in the list, from 0.
    pub position: usize,
    /// Why, in a sentence.
    pub reason: String,
}

/// Which items are asked for; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Name of the server.
    pub server: Option<String>,
    /// Kind.
    pub kind: Option<ItemKind>,
    /// Name of the item, exactly.
    pub name: Option<String>,
    /// State.
    pub state: Option<ItemState>,
    /// Only those with a flag of this rule.
    pub flag: Option<Rule>,
    /// Only those that wait for somebody.
    pub waiting: bool,
}

/// Where a list goes on: behind this item.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    server: String,
    kind: ItemKind,
    name: String,
}

impl ItemKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::ResourceTemplate];

    /// As the database and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource_template",
        }
    }

    /// As the protocol has it.
    #[must_use]
    pub const fn wire(self) -> wire::ItemKind {
        match self {
            Self::Tool => wire::ItemKind::Tool,
            Self::Prompt => wire::ItemKind::Prompt,
            Self::Resource => wire::ItemKind::Resource,
            Self::ResourceTemplate => wire::ItemKind::ResourceTemplate,
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl ItemState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Approved, Self::Pending, Self::Blocked];

    /// As the database and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Blocked => "blocked",
        }
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl CatalogItemDetail {
    /// The current definition, on lines of its own. Invisible characters are written as JSON escapes.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        difference::lines(self.definition.get())
    }
}

impl CatalogItem {
    /// For people and the audit log: `server:name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.server, self.name)
    }
}

/// Lists items in the order of their servers, kinds and names.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::Query`], [`ApiError::Cursor`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, query: &PageQuery) -> Result<CatalogItemPage, ApiError> {
    caller.require(Role::Viewer)?;
    if [&filter.server, &filter.name].into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(ApiError::Query("no item holds the character U+0000".to_owned()));
    }
    let limit = query.limit()?;
    let listing = Listing::new(app, caller.tenant, "catalog-items", filter);
    let after: Option<Position> = listing.after(query.cursor.as_deref())?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let found = sql::list(&mut app.db.tenant(caller.tenant).await?, filter, after.as_ref(), one_more).await?;
    listing.page(found, limit, |item| Position {
        server: item.server.clone(),
        kind: item.kind,
        name: item.name.clone(),
    })
}

/// The item with this id.
///
/// # Errors
/// [`ApiError::NotFound`], also for another tenant's; or when Postgres is away.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Viewer)?;
    detail(&mut app.db.tenant(caller.tenant).await?, id).await
}

/// How many items wait for somebody.
///
/// # Errors
/// When Postgres is away.
pub async fn count_waiting(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sql::count_waiting(tx).await
}

/// Makes what is known of a server's offer fit its approval, which may have changed, and lets it be read anew.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn settle(tx: &mut TenantTx, server: ServerId, approval: Approval) -> Result<(), sqlx::Error> {
    sql::settle(tx, server, approval).await?;
    sql::make_due(tx, server).await
}

/// Removes what servers have not offered for a month and nobody has ever decided about.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    if sql::purge(&mut tx).await? > 0 {
        crate::policy::bump(&mut tx).await?;
    }
    tx.commit().await
}

async fn detail(tx: &mut TenantTx, id: &str) -> Result<CatalogItemDetail, ApiError> {
    let item = existing(tx, id).await?;
    let texts = sql::definitions(tx, item.id).await?;
    let before = if item.changed { texts.previous.as_deref() } else { texts.approved.as_deref() };
    let raw = |text: String| RawValue::from_string(text).map_err(ApiError::internal);
    Ok(CatalogItemDetail {
        difference: difference::between(before, &texts.current),
        definition: raw(texts.current)?,
        approved_definition: texts.approved.map(raw).transpose()?,
        item,
    })
}

async fn existing(tx: &mut TenantTx, id: &str) -> Result<CatalogItem, ApiError> {
    let known = id.parse().map_err(|_| unknown(id))?;
    sql::find(tx, known).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { noun: "catalog item", key: id.to_owned() }
}
