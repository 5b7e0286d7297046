//! Every query on the catalog.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use tollgate_proto::{CatalogItemId, DataPlaneId, ServerId};
use uuid::Uuid;

use super::{
    CatalogItem, Filter, Flag, ItemKind, ItemState, Position, Refusal,
    intake::{Entry, Known, List, Owner},
};
use crate::{db::TenantTx, servers::Approval};

struct ItemRow {
    id: Uuid,
    server: String,
    kind: String,
    name: String,
    state: String,
    waiting: bool,
    changed: bool,
    digest: String,
    approved_digest: Option<String>,
    read_only: bool,
    additive: bool,
    flags: Json<Vec<Flag>>,
    first_seen_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    gone_at: Option<DateTime<Utc>>,
    decided_by: Option<String>,
    decided_at: Option<DateTime<Utc>>,
}

impl TryFrom<ItemRow> for CatalogItem {
    type Error = sqlx::Error;

    fn try_from(row: ItemRow) -> Result<Self, sqlx::Error> {
        let unreadable = |text: &str| sqlx::Error::Decode(format!("a catalog item is a `{text}`").into());
        Ok(Self {
            id: row.id.into(),
            server: row.server,
            kind: ItemKind::of(&row.kind).ok_or_else(|| unreadable(&row.kind))?,
            name: row.name,
            state: ItemState::of(&row.state).ok_or_else(|| unreadable(&row.state))?,
            waiting: row.waiting,
            changed: row.changed,
            digest: row.digest,
            approved_digest: row.approved_digest,
            read_only: row.read_only,
            additive: row.additive,
            flags: row.flags.0,
            first_seen_at: row.first_seen_at,
            changed_at: row.changed_at,
            gone_at: row.gone_at,
            decided_by: row.decided_by,
            etag: match row.decided_at {
                Some(at) => format!("\"{}\"", at.timestamp_micros()),
                None => "\"undecided\"".to_owned(),
            },
            decided_at: row.decided_at,
        })
    }
}

pub(super) async fn find(tx: &mut TenantTx, id: CatalogItemId) -> Result<Option<CatalogItem>, sqlx::Error> {
    Ok(find_all(tx, &[id]).await?.into_iter().next())
}

/// Those of them that there are.
pub(super) async fn find_all(tx: &mut TenantTx, ids: &[CatalogItemId]) -> Result<Vec<CatalogItem>, sqlx::Error> {
    select(tx, Some(ids), &Filter::default(), None, i64::MAX).await
}

pub(super) async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<CatalogItem>, sqlx::Error> {
    select(tx, None, filter, after, limit).await
}

async fn select(
    tx: &mut TenantTx,
    ids: Option<&[CatalogItemId]>,
    filter: &Filter,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<CatalogItem>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ItemRow,
        r#"SELECT i.id, s.name AS server, i.kind, i.name, i.state, i.waiting, i.changed,
                  encode(i.digest, 'hex') AS "digest!", encode(i.approved_digest, 'hex') AS approved_digest,
                  i.read_only, i.additive, i.flags AS "flags: Json<Vec<Flag>>", i.first_seen_at, i.changed_at,
                  i.gone_at, i.decided_by, i.decided_at
           FROM catalog_items i JOIN servers s ON s.id = i.server_id
           WHERE ($1::uuid[] IS NULL OR i.id = ANY ($1)) AND ($2::text IS NULL OR s.name = $2)
             AND ($3::text IS NULL OR i.kind = $3) AND ($4::text IS NULL OR i.name = $4)
             AND ($5::text IS NULL OR i.state = $5) AND ($6::jsonb IS NULL OR i.flags @> $6)
             AND (NOT $7 OR i.waiting)
             AND ($8::text IS NULL OR (s.name, i.kind, i.name) > ($8, $9, $10))
           ORDER BY s.name, i.kind, i.name LIMIT $11"#,
        ids.map(|ids| ids.iter().copied().map(CatalogItemId::uuid).collect::<Vec<_>>()) as _,
        filter.server,
        filter.kind.map(ItemKind::as_str),
        filter.name,
        filter.state.map(ItemState::as_str),
        filter.flag.map(|rule| json!([{ "rule": rule }])),
        filter.waiting,
        after.map(|after| &after.server),
        after.map(|after| after.kind.as_str()),
        after.map(|after| &after.name),
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(CatalogItem::try_from).collect()
}

/// An item's definitions in their canonical form.
pub(super) struct Texts {
    pub(super) current: String,
    pub(super) approved: Option<String>,
    pub(super) previous: Option<String>,
}

pub(super) async fn definitions(tx: &mut TenantTx, id: CatalogItemId) -> Result<Texts, sqlx::Error> {
    sqlx::query_as!(
        Texts,
        "SELECT definition AS current, approved_definition AS approved, previous_definition AS previous
         FROM catalog_items WHERE id = $1",
        id.uuid(),
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn count_waiting(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM catalog_items WHERE waiting"#).fetch_one(&mut **tx).await
}

/// The server, while nothing else of its tenant's policy changes. What a change before has written is seen by what is
/// read from here on, and only by that.
pub(super) async fn lock(tx: &mut TenantTx, server: ServerId) -> Result<Option<Owner>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant).fetch_optional(&mut **tx).await?;
    let row = sqlx::query!("SELECT name, approval FROM servers WHERE id = $1", server.uuid())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.map(|row| Owner { name: row.name, approval: Approval::of(&row.approval) }))
}

/// What is known of the list, by name.
pub(super) async fn known(tx: &mut TenantTx, list: List) -> Result<HashMap<String, Known>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT name, digest, gone_at IS NOT NULL AS "gone!", approved_digest, read_only, additive
           FROM catalog_items WHERE server_id = $1 AND kind = $2"#,
        list.server.uuid(),
        list.kind.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let known = rows.into_iter().map(|row| {
        let read =
            |digest: Vec<u8>| digest.try_into().map_err(|_| sqlx::Error::Decode("a digest has no 32 bytes".into()));
        let known = Known {
            digest: read(row.digest)?,
            gone: row.gone,
            approved: row.approved_digest.map(read).transpose()?,
            read_only: row.read_only,
            additive: row.additive,
        };
        Ok((row.name, known))
    });
    known.collect()
}

/// A tool that some server offers, or has offered and may again.
pub(super) struct Tool {
    pub(super) server_id: Uuid,
    pub(super) server: String,
    pub(super) name: String,
}

/// All of them, or those alone that were first offered within the last minutes: longer than any transaction lasts.
pub(super) async fn tools(tx: &mut TenantTx, only_late: bool) -> Result<Vec<Tool>, sqlx::Error> {
    sqlx::query_as!(
        Tool,
        "SELECT i.server_id, s.name AS server, i.name FROM catalog_items i JOIN servers s ON s.id = i.server_id
         WHERE i.kind = 'tool' AND (NOT $1 OR i.first_seen_at > now() - interval '5 min')
         ORDER BY i.first_seen_at, i.id",
        only_late,
    )
    .fetch_all(&mut **tx)
    .await
}

/// Writes what is new or has changed; it is in force at once unless the server's definitions are pinned, and what was
/// decided about another definition ends then. A block never does.
pub(super) async fn put(
    tx: &mut TenantTx,
    list: List,
    approval: Approval,
    entries: &[Entry<'_>],
) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let tenant = tx.tenant().uuid();
    let (in_force, shown) = (approval != Approval::Pinned, approval == Approval::Notify);
    let ids: Vec<Uuid> = entries.iter().map(|entry| entry.id.uuid()).collect();
    let names: Vec<String> = entries.iter().map(|entry| entry.definition.name().to_owned()).collect();
    let definitions: Vec<String> = entries.iter().map(|entry| entry.definition.canonical().to_owned()).collect();
    let digests: Vec<Vec<u8>> = entries.iter().map(|entry| entry.definition.digest().0.to_vec()).collect();
    let read_only: Vec<bool> = entries.iter().map(|entry| entry.content.read_only).collect();
    let additive: Vec<bool> = entries.iter().map(|entry| entry.content.additive).collect();
    let flags: Vec<Value> = entries.iter().map(|entry| json!(entry.content.flags)).collect();
    sqlx::query!(
        "INSERT INTO catalog_items AS known
             (tenant_id, id, server_id, kind, name, definition, digest, claims_read_only, claims_additive, flags,
              approved_definition, approved_digest, read_only, additive, changed)
         SELECT $1, said.id, $2, $3, said.name, said.definition, said.digest, said.read_only, said.additive, said.flags,
                CASE WHEN $11 THEN said.definition END, CASE WHEN $11 THEN said.digest END,
                $11 AND said.read_only, $11 AND said.additive, $12
         FROM unnest($4::uuid[], $5::text[], $6::text[], $7::bytea[], $8::boolean[], $9::boolean[], $10::jsonb[])
              AS said (id, name, definition, digest, read_only, additive, flags)
         ON CONFLICT (tenant_id, server_id, kind, name) DO UPDATE
         SET definition = excluded.definition, digest = excluded.digest, claims_read_only = excluded.claims_read_only,
             claims_additive = excluded.claims_additive, flags = excluded.flags, changed_at = now(), gone_at = NULL,
             approved_definition = CASE WHEN $11 THEN excluded.definition ELSE known.approved_definition END,
             approved_digest = CASE WHEN $11 THEN excluded.digest ELSE known.approved_digest END,
             read_only = CASE WHEN $11 THEN excluded.read_only ELSE known.read_only END,
             additive = CASE WHEN $11 THEN excluded.additive ELSE known.additive END,
             previous_definition = CASE WHEN known.changed THEN known.previous_definition
                                        WHEN $12 THEN known.approved_definition END,
             changed = $12,
             decided_by = CASE WHEN known.blocked OR NOT $11 THEN known.decided_by END,
             decided_at = CASE WHEN known.blocked OR NOT $11 THEN known.decided_at END",
        tenant,
        list.server.uuid(),
        list.kind.as_str(),
        &ids,
        &names,
        &definitions,
        &digests,
        &read_only,
        &additive,
        &flags,
        in_force,
        shown,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What is offered again, as before.
pub(super) async fn bring_back(tx: &mut TenantTx, list: List, names: &[String]) -> Result<(), sqlx::Error> {
    if names.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE catalog_items SET gone_at = NULL WHERE server_id = $1 AND kind = $2 AND name = ANY ($3)",
        list.server.uuid(),
        list.kind.as_str(),
        names,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What is not among the names is not offered any more; answers how much that is new of.
pub(super) async fn mark_gone(tx: &mut TenantTx, list: List, names: &[String]) -> Result<u64, sqlx::Error> {
    let marked = sqlx::query!(
        "UPDATE catalog_items SET gone_at = now()
         WHERE server_id = $1 AND kind = $2 AND gone_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM unnest($3::text[]) AS offered WHERE offered = name)",
        list.server.uuid(),
        list.kind.as_str(),
        names,
    )
    .execute(&mut **tx)
    .await?;
    Ok(marked.rows_affected())
}

/// `counts`: how much was on the list, and how much of it was no definition.
pub(super) async fn record_read(
    tx: &mut TenantTx,
    list: List,
    data_plane: DataPlaneId,
    counts: (usize, usize),
    refused: &[Refusal],
) -> Result<(), sqlx::Error> {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    sqlx::query!(
        "INSERT INTO catalog_reads
             (tenant_id, server_id, kind, data_plane_id, offered_count, refused_count, refused)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, server_id, kind) DO UPDATE
         SET data_plane_id = $4, read_at = now(), offered_count = $5, refused_count = $6, refused = $7",
        list.tenant.uuid(),
        list.server.uuid(),
        list.kind.as_str(),
        data_plane.uuid(),
        count(counts.0),
        count(counts.1),
        json!(refused),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Where nothing is pinned, everything is in force, and nobody decided that; where nobody is told of changes, nothing
/// waits to be looked at.
pub(super) async fn settle(tx: &mut TenantTx, server: ServerId, approval: Approval) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE catalog_items SET changed = false, previous_definition = NULL
         WHERE server_id = $1 AND changed AND $2 <> 'notify'",
        server.uuid(),
        approval.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE catalog_items
         SET changed = $2 = 'notify', previous_definition = CASE WHEN $2 = 'notify' THEN approved_definition END,
             approved_definition = definition, approved_digest = digest, read_only = claims_read_only,
             additive = claims_additive, decided_by = CASE WHEN blocked THEN decided_by END,
             decided_at = CASE WHEN blocked THEN decided_at END
         WHERE server_id = $1 AND digest IS DISTINCT FROM approved_digest AND $2 <> 'pinned'",
        server.uuid(),
        approval.as_str(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn make_due(tx: &mut TenantTx, server: ServerId) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE servers SET catalog_due_at = now() WHERE id = $1", server.uuid())
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// The servers that are due: they are not again for ten minutes.
pub(super) async fn claim_due(tx: &mut TenantTx, limit: i64) -> Result<Vec<ServerId>, sqlx::Error> {
    let claimed = sqlx::query_scalar!(
        "UPDATE servers SET catalog_due_at = now() + interval '10 min'
         WHERE id IN (SELECT id FROM servers WHERE catalog_due_at <= now()
                      ORDER BY catalog_due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING id",
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(claimed.into_iter().map(ServerId::from).collect())
}

/// After a reading that failed.
pub(super) async fn read_soon(tx: &mut TenantTx, servers: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE servers SET catalog_due_at = now() + interval '1 min' WHERE id = ANY ($1)", servers)
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn purge(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query!(
        "DELETE FROM catalog_items WHERE gone_at < now() - interval '30 days' AND decided_by IS NULL AND NOT blocked"
    )
    .execute(&mut **tx)
    .await?;
    Ok(purged.rows_affected())
}
