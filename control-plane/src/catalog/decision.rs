//! What people say to definitions: approved, blocked, or taken back.
//!
//! Invariant: a definition is approved by the digest that was seen, and no decision takes the place of one that whoever
//! decides has not seen: each names, by its `etag`, the one that it follows. A tool is never approved beside an approved
//! one of the same server whose name reads the same.

use std::collections::{HashMap, hash_map::Entry};

use serde::Deserialize;
use serde_json::json;
use tollgate_proto::CatalogItemId;
use utoipa::ToSchema;

use super::{
    CatalogItem, CatalogItemDetail, ItemKind, ItemState, detail, existing, flags::Neighbours, sql::find_all, unknown,
};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    resource::{self, Precondition},
};

mod sql;

/// A definition that somebody has seen.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// `itm_…`.
    #[schema(value_type = String, example = "itm_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: CatalogItemId,
    /// The item's `digest` at that time.
    pub digest: String,
    /// The item's `etag` at that time.
    #[schema(example = "\"undecided\"")]
    pub etag: String,
}

/// What may be among several that are approved at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Suspects {
    /// Items with flags.
    pub flagged: bool,
    /// Items that are blocked.
    pub blocked: bool,
}

/// Approves the definition with this digest: it is in force, and its claims count. What was blocked is so no more.
///
/// # Errors
/// [`ApiError::PreconditionRequired`], [`ApiError::PreconditionFailed`], [`ApiError::DefinitionChanged`],
/// [`ApiError::NameCollides`], [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn approve(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    digest: &str,
) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let item = existing(&mut tx, id).await?;
    item.check_digest(digest)?;
    precondition.allows_change(&item.etag)?;
    put_in_force(&mut tx, caller, &[item]).await?;
    finish(tx, id).await
}

/// Approves all of them, or none.
///
/// # Errors
/// As [`approve`]; and [`ApiError::Invalid`] when one is flagged or blocked and `suspects` does not say that it may be.
pub async fn approve_all(
    app: &App,
    caller: &Caller,
    seen: &[Seen],
    suspects: Suspects,
) -> Result<Vec<CatalogItem>, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let ids: Vec<CatalogItemId> = seen.iter().map(|seen| seen.id).collect();
    let found = find_all(&mut tx, &ids).await?;
    let known: HashMap<CatalogItemId, CatalogItem> = found.into_iter().map(|item| (item.id, item)).collect();
    let (mut items, mut faults) = (Vec::new(), Faults::default());
    for (index, Seen { id, digest, etag }) in seen.iter().enumerate() {
        let item = known.get(id).ok_or_else(|| unknown(&id.to_string()))?;
        item.check_digest(digest)?;
        Precondition::matching(etag).allows_change(&item.etag)?;
        suspects.check(item, index, &mut faults);
        items.push(item.clone());
    }
    if !faults.is_empty() {
        return Err(ApiError::Invalid(faults));
    }
    put_in_force(&mut tx, caller, &items).await?;
    let mut approved = find_all(&mut tx, &ids).await?;
    tx.commit().await?;
    approved.sort_by_key(|item| ids.iter().position(|id| *id == item.id));
    Ok(approved)
}

/// Blocks an item: nobody sees or uses it, whatever its definition becomes.
///
/// # Errors
/// [`ApiError::PreconditionRequired`], [`ApiError::PreconditionFailed`], [`ApiError::NotFound`], [`ApiError::Forbidden`];
/// or when Postgres is away.
pub async fn block(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let item = existing(&mut tx, id).await?;
    precondition.allows_change(&item.etag)?;
    sql::block(&mut tx, item.id, &caller.actor).await?;
    record(&mut tx, caller, "catalog_item.block", &item).await?;
    finish(tx, id).await
}

/// Takes back what was decided about an item: it is as if it had just been offered for the first time.
///
/// # Errors
/// As [`block`].
pub async fn reset(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let item = existing(&mut tx, id).await?;
    precondition.allows_change(&item.etag)?;
    sql::reset(&mut tx, item.id).await?;
    record(&mut tx, caller, "catalog_item.reset", &item).await?;
    finish(tx, id).await
}

/// The item as it was left.
async fn finish(mut tx: TenantTx, id: &str) -> Result<CatalogItemDetail, ApiError> {
    let decided = detail(&mut tx, id).await?;
    tx.commit().await?;
    Ok(decided)
}

/// Each as it was read in this transaction.
async fn put_in_force(tx: &mut TenantTx, caller: &Caller, items: &[CatalogItem]) -> Result<(), ApiError> {
    refuse_collisions(tx, items).await?;
    let ids: Vec<CatalogItemId> = items.iter().map(|item| item.id).collect();
    sql::approve(tx, &ids, &caller.actor).await?;
    for item in items {
        record(tx, caller, "catalog_item.approve", item).await?;
    }
    Ok(())
}

/// What agents could take for another tool of the same server is not approved beside it.
async fn refuse_collisions(tx: &mut TenantTx, items: &[CatalogItem]) -> Result<(), ApiError> {
    let mut approved: HashMap<&str, Neighbours> = HashMap::new();
    for item in items.iter().filter(|item| item.kind == ItemKind::Tool) {
        let neighbours = match approved.entry(&item.server) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(approved_tools(tx, &item.server).await?),
        };
        if let Some(other) = neighbours.like(&item.name) {
            return Err(ApiError::NameCollides { name: item.full_name(), other });
        }
        neighbours.add(&item.server, &item.name, true);
    }
    Ok(())
}

/// The approved tools of a server.
async fn approved_tools(tx: &mut TenantTx, server: &str) -> Result<Neighbours, sqlx::Error> {
    let mut approved = Neighbours::default();
    for name in sql::approved_tools(tx, server).await? {
        approved.add(server, &name, true);
    }
    Ok(approved)
}

async fn record(tx: &mut TenantTx, caller: &Caller, action: &str, before: &CatalogItem) -> Result<(), ApiError> {
    let event = audit::Event {
        actor: &caller.actor,
        action,
        object_kind: "catalog_item",
        object_id: &before.id.to_string(),
        object_name: &before.full_name(),
        detail: json!({
            "kind": before.kind,
            "digest": before.digest,
            "flags": before.flags,
            "before": {
                "state": before.state,
                "approved_digest": before.approved_digest,
                "decided_by": before.decided_by,
                "decided_at": before.decided_at,
            },
        }),
    };
    Ok(audit::record(tx, event).await?)
}

impl CatalogItem {
    fn check_digest(&self, seen: &str) -> Result<(), ApiError> {
        if self.digest.eq_ignore_ascii_case(seen) {
            return Ok(());
        }
        Err(ApiError::DefinitionChanged { name: self.full_name() })
    }
}

impl Suspects {
    /// Who approves many has hardly looked at each.
    fn check(self, item: &CatalogItem, index: usize, faults: &mut Faults) {
        let at = format!("/items/{index}");
        if item.state == ItemState::Blocked && !self.blocked {
            faults.add(&at, "blocked", "it is blocked: approve it by itself, or say `blocked`");
        }
        if !item.flags.is_empty() && !self.flagged {
            faults.add(&at, "flagged", "it has flags: approve it by itself, or say `flagged`");
        }
    }
}
