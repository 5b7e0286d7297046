//! What people say to definitions: approved, blocked, or taken back.
//!
//! Invariant: a definition is approved by the digest that was seen, and a tool never beside an approved one of the same
//! server whose name reads the same.

use serde::Deserialize;
use serde_json::json;
use tollgate_proto::CatalogItemId;
use utoipa::ToSchema;

use super::{CatalogItem, CatalogItemDetail, ItemKind, detail, existing, flags::Neighbours, sql};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    resource,
};

/// A definition that somebody has seen.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// `itm_…`.
    #[schema(value_type = String, example = "itm_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: CatalogItemId,
    /// The item's `digest` at that time.
    pub digest: String,
}

/// Approves the definition with this digest: it is in force, and its claims count. What was blocked is so no more.
///
/// # Errors
/// [`ApiError::DefinitionChanged`], [`ApiError::NameCollides`], [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when
/// Postgres is away.
pub async fn approve(app: &App, caller: &Caller, id: &str, digest: &str) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    approve_in(&mut tx, caller, id, digest).await?;
    let approved = detail(&mut tx, id).await?;
    tx.commit().await?;
    Ok(approved)
}

/// Approves all of them, or none.
///
/// # Errors
/// As [`approve`].
pub async fn approve_all(app: &App, caller: &Caller, seen: &[Seen]) -> Result<Vec<CatalogItem>, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let mut approved = Vec::new();
    for Seen { id, digest } in seen {
        let id = id.to_string();
        approve_in(&mut tx, caller, &id, digest).await?;
        approved.push(existing(&mut tx, &id).await?);
    }
    tx.commit().await?;
    Ok(approved)
}

/// Blocks an item: nobody sees or uses it, whatever its definition becomes.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn block(app: &App, caller: &Caller, id: &str) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let item = existing(&mut tx, id).await?;
    sql::block(&mut tx, item.id, &caller.actor).await?;
    record(&mut tx, caller, "catalog_item.block", &item).await?;
    let blocked = detail(&mut tx, id).await?;
    tx.commit().await?;
    Ok(blocked)
}

/// Takes back what was decided about an item: it is as if it had just been offered for the first time.
///
/// # Errors
/// As [`block`].
pub async fn reset(app: &App, caller: &Caller, id: &str) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let mut tx = resource::begin(app, caller).await?;
    let item = existing(&mut tx, id).await?;
    sql::reset(&mut tx, item.id).await?;
    record(&mut tx, caller, "catalog_item.reset", &item).await?;
    let reset = detail(&mut tx, id).await?;
    tx.commit().await?;
    Ok(reset)
}

async fn approve_in(tx: &mut TenantTx, caller: &Caller, id: &str, digest: &str) -> Result<(), ApiError> {
    let item = existing(tx, id).await?;
    if !item.digest.eq_ignore_ascii_case(digest) {
        return Err(ApiError::DefinitionChanged { name: item.full_name() });
    }
    if item.kind == ItemKind::Tool {
        refuse_collision(tx, &item).await?;
    }
    sql::approve(tx, item.id, &caller.actor).await?;
    record(tx, caller, "catalog_item.approve", &item).await
}

/// What agents could take for another tool of the same server is not approved beside it.
async fn refuse_collision(tx: &mut TenantTx, item: &CatalogItem) -> Result<(), ApiError> {
    let mut approved = Neighbours::default();
    for name in sql::approved_beside(tx, item.id).await? {
        approved.add(&item.server, &name, true);
    }
    match approved.like(&item.name) {
        Some(other) => Err(ApiError::NameCollides { name: item.full_name(), other }),
        None => Ok(()),
    }
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
            "before": { "state": before.state, "approved_digest": before.approved_digest },
        }),
    };
    Ok(audit::record(tx, event).await?)
}
