//! Every query on decisions.

use tollgate_proto::CatalogItemId;
use uuid::Uuid;

use crate::db::TenantTx;

/// Names of the approved tools of a server, those among them that it does not offer now and may again.
pub(super) async fn approved_tools(tx: &mut TenantTx, server: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT i.name FROM catalog_items i JOIN servers s ON s.id = i.server_id
         WHERE s.name = $1 AND i.kind = 'tool' AND NOT i.blocked AND i.approved_digest IS NOT NULL",
        server,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn approve(tx: &mut TenantTx, ids: &[CatalogItemId], by: &str) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().map(CatalogItemId::uuid).collect();
    sqlx::query!(
        "UPDATE catalog_items
         SET approved_definition = definition, approved_digest = digest, read_only = claims_read_only,
             additive = claims_additive, blocked = false, changed = false, previous_definition = NULL,
             decided_by = $2, decided_at = clock_timestamp()
         WHERE id = ANY ($1)",
        &ids,
        by,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn block(tx: &mut TenantTx, id: CatalogItemId, by: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE catalog_items SET blocked = true, decided_by = $2, decided_at = clock_timestamp() WHERE id = $1",
        id.uuid(),
        by,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// As it would be if it had just been offered for the first time.
pub(super) async fn reset(tx: &mut TenantTx, id: CatalogItemId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE catalog_items item
         SET approved_definition = CASE WHEN pinned THEN NULL ELSE definition END,
             approved_digest = CASE WHEN pinned THEN NULL ELSE digest END,
             read_only = NOT pinned AND claims_read_only, additive = NOT pinned AND claims_additive,
             blocked = false, changed = approval = 'notify', previous_definition = NULL,
             decided_by = NULL, decided_at = NULL
         FROM (SELECT id, approval, approval = 'pinned' AS pinned FROM servers) AS server
         WHERE item.id = $1 AND server.id = item.server_id",
        id.uuid(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
