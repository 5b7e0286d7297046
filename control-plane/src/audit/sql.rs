//! Every query on the audit log.

use uuid::Uuid;

use super::{AuditEvent, Event, Filter, Origin, Position};
use crate::db::TenantTx;

pub(super) async fn insert(tx: &mut TenantTx, event: Event<'_>, origin: &Origin) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO audit_events
             (tenant_id, id, actor, action, object_kind, object_id, object_name, detail, peer, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant,
        Uuid::now_v7(),
        event.actor,
        event.action,
        event.object_kind,
        event.object_id,
        event.object_name,
        event.detail,
        origin.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        origin.request_id,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<AuditEvent>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let beginning = filter.action.as_deref().and_then(|action| action.strip_suffix('*'));
    let action = filter.action.as_deref().filter(|_| beginning.is_none());
    sqlx::query_as!(
        AuditEvent,
        "SELECT id, at, actor, action, object_kind, object_id, object_name, detail, peer, request_id
         FROM audit_events
         WHERE tenant_id = $1
           AND ($2::text IS NULL OR actor = $2)
           AND ($3::text IS NULL OR action = $3) AND ($4::text IS NULL OR starts_with(action, $4))
           AND ($5::text IS NULL OR object_id = $5 OR object_name = $5)
           AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
           AND ($8::timestamptz IS NULL OR (at, id) < ($8, $9::uuid))
         ORDER BY at DESC, id DESC
         LIMIT $10",
        tenant,
        filter.actor.as_deref(),
        action,
        beginning,
        filter.object.as_deref(),
        filter.from,
        filter.to,
        after.map(|after| after.at),
        after.map(|after| after.id),
        limit,
    )
    .fetch_all(&mut **tx)
    .await
}
