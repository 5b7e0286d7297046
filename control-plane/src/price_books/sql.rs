//! Queries about price books and their versions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{Name, PriceBookId, PriceBookVersionId, TenantId};
use uuid::Uuid;

use super::Published;
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  (SELECT jsonb_build_object(
                       'in_force', max(v.version) FILTER (WHERE v.effective_from <= now()
                                                            AND (v.effective_until IS NULL OR v.effective_until > now())),
                       'versions', COALESCE(jsonb_agg(jsonb_build_object(
                           'id', v.id, 'version', v.version, 'effective_from', v.effective_from,
                           'effective_until', v.effective_until, 'published_at', v.published_at,
                           'published_by', v.published_by) ORDER BY v.version DESC), '[]'))
                   FROM price_book_versions v
                   WHERE v.book_id = b.id AND v.effective_until IS DISTINCT FROM v.effective_from) AS "facts!"
           FROM price_books b
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

/// The moment by Postgres' clock, which is the same for all control planes.
pub(super) async fn now(tx: &mut TenantTx) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut **tx).await
}

/// Those of the names that no team has.
pub(super) async fn unknown_teams(tx: &mut TenantTx, names: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT given AS "given!" FROM unnest($1::text[]) AS given
           WHERE NOT EXISTS (SELECT 1 FROM teams t WHERE t.name = given)"#,
        names,
    )
    .fetch_all(&mut **tx)
    .await
}

/// Every version that was in force or will be; `name` is the book that is asked about.
pub(super) async fn published(tx: &mut TenantTx, name: &Name) -> Result<Vec<Published>, sqlx::Error> {
    sqlx::query_as!(
        Published,
        r#"SELECT v.book, COALESCE(b.name = $1, false) AS "own!", v.effective_from AS "from", v.effective_until AS until,
                  (SELECT array_agg(team) FROM jsonb_array_elements_text(v.spec -> 'teams') AS team) AS "teams: Vec<String>"
           FROM price_book_versions v LEFT JOIN price_books b ON b.id = v.book_id
           WHERE v.effective_until IS DISTINCT FROM v.effective_from
           ORDER BY v.effective_from DESC, v.id"#,
        name.as_str(),
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO price_books (tenant_id, id, name, labels, spec, revision, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now()",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Ends the version of a book that is in force `now` at that moment; one that is not in force yet never will be.
pub(super) async fn end(
    tx: &mut TenantTx,
    book: Uuid,
    now: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE price_book_versions
         SET effective_until = CASE WHEN effective_from > $2 THEN effective_from ELSE $3 END
         WHERE book_id = $1 AND (effective_until IS NULL OR effective_until > $2)",
        book,
        now,
        at,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn publish(tx: &mut TenantTx, version: &Version<'_>, from: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO price_book_versions
             (tenant_id, id, book_id, book, version, effective_from, spec, published_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        Uuid::now_v7(),
        version.id,
        version.name,
        version.revision,
        from,
        version.spec,
        version.actor,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn bump_revision(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO price_revisions AS known (tenant_id, revision) VALUES ($1, 1)
         ON CONFLICT (tenant_id) DO UPDATE SET revision = known.revision + 1",
        tenant,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// 0 as long as the tenant that was entered has had no book.
pub(super) async fn revision(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let revision = sqlx::query_scalar!("SELECT revision FROM price_revisions").fetch_optional(connection).await?;
    Ok(revision.unwrap_or_default())
}

pub(super) async fn delete(tx: &mut TenantTx, id: PriceBookId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM price_books WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}

/// A version as it is stored.
pub(super) struct VersionRow {
    pub(super) id: Uuid,
    pub(super) book_id: Uuid,
    pub(super) book: String,
    pub(super) version: i64,
    pub(super) effective_from: DateTime<Utc>,
    pub(super) effective_until: Option<DateTime<Utc>>,
    pub(super) spec: Value,
    pub(super) published_at: DateTime<Utc>,
    pub(super) published_by: String,
}

pub(super) async fn version(tx: &mut TenantTx, id: PriceBookVersionId) -> Result<Option<VersionRow>, sqlx::Error> {
    sqlx::query_as!(
        VersionRow,
        "SELECT id, book_id, book, version, effective_from, effective_until, spec, published_at, published_by
         FROM price_book_versions WHERE id = $1",
        id.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Every version that was in force or will be.
pub(super) async fn versions(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<VersionRow>, sqlx::Error> {
    sqlx::query_as!(
        VersionRow,
        "SELECT id, book_id, book, version, effective_from, effective_until, spec, published_at, published_by
         FROM price_book_versions
         WHERE tenant_id = $1 AND effective_until IS DISTINCT FROM effective_from",
        tenant.uuid(),
    )
    .fetch_all(connection)
    .await
}

/// Every version that is in force at that moment or later, in the order in which they begin.
pub(super) async fn versions_from(
    connection: &mut PgConnection,
    tenant: TenantId,
    from: DateTime<Utc>,
) -> Result<Vec<VersionRow>, sqlx::Error> {
    sqlx::query_as!(
        VersionRow,
        "SELECT id, book_id, book, version, effective_from, effective_until, spec, published_at, published_by
         FROM price_book_versions
         WHERE tenant_id = $1 AND effective_until IS DISTINCT FROM effective_from
           AND (effective_until IS NULL OR effective_until > $2)
         ORDER BY effective_from, id",
        tenant.uuid(),
        from,
    )
    .fetch_all(connection)
    .await
}

/// The currencies of the versions that are in force or will be.
pub(super) async fn currencies(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<BTreeSet<String>, sqlx::Error> {
    let currencies = sqlx::query_scalar!(
        r#"SELECT DISTINCT spec ->> 'currency' AS "currency!" FROM price_book_versions
           WHERE tenant_id = $1 AND effective_until IS DISTINCT FROM effective_from
             AND (effective_until IS NULL OR effective_until > clock_timestamp())"#,
        tenant.uuid(),
    );
    Ok(currencies.fetch_all(connection).await?.into_iter().collect())
}
