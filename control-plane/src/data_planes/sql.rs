//! Every query on data planes and their answers.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use tollgate_proto::{DataPlaneId, EnrollmentTokenId, TenantId};

use super::{
    DataPlaneStatus, Seen,
    enrolment::Certified,
    standing::{DataPlane, PolicyInForce, Standing},
};
use crate::policy::RevocationTimes;

/// Notes these as there, with how fast each enforces revocations; answers who was noted. Nobody is waited for: a row that
/// is locked, as while usage of that data plane is stored, is left for the next time.
pub(super) async fn see(
    connection: &mut PgConnection,
    seen: &BTreeMap<DataPlaneId, Seen>,
    revocations: impl Fn(DataPlaneId) -> Option<RevocationTimes>,
) -> Result<HashSet<DataPlaneId>, sqlx::Error> {
    if seen.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<_> = seen.keys().map(|id| id.uuid()).collect();
    let versions: Vec<_> = seen.values().map(|seen| seen.version.clone()).collect();
    let leases: Vec<_> = seen.values().map(|seen| i64::try_from(seen.lease.as_millis()).unwrap_or(i64::MAX)).collect();
    let revocations: Vec<_> = seen.keys().map(|id| revocations(*id).map(Json)).collect();
    sqlx::query!("INSERT INTO data_planes (id) SELECT unnest($1::uuid[]) ON CONFLICT (id) DO NOTHING", &ids)
        .execute(&mut *connection)
        .await?;
    let noted = sqlx::query_scalar!(
        "UPDATE data_planes
         SET version = said.version, last_seen_at = now(), lease_ms = said.lease_ms,
             revocations = COALESCE(said.revocations, data_planes.revocations)
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::jsonb[]) AS said (id, version, lease_ms, revocations)
         WHERE data_planes.id = said.id
           AND said.id IN (SELECT id FROM data_planes WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING data_planes.id",
        &ids,
        &versions,
        &leases,
        revocations as _
    )
    .fetch_all(connection)
    .await?;
    Ok(noted.into_iter().map(DataPlaneId::from).collect())
}

/// An acknowledgement leaves no refusal behind: what was refused before it is no longer what the data plane lacks.
/// Neither a tenant nor a data plane that is gone keeps the others' from being written.
pub(super) async fn acknowledge(
    connection: &mut PgConnection,
    acknowledged: &BTreeMap<(DataPlaneId, TenantId), i64>,
) -> Result<(), sqlx::Error> {
    if acknowledged.is_empty() {
        return Ok(());
    }
    let data_planes: Vec<_> = acknowledged.keys().map(|(data_plane, _)| data_plane.uuid()).collect();
    let tenants: Vec<_> = acknowledged.keys().map(|(_, tenant)| tenant.uuid()).collect();
    let revisions: Vec<_> = acknowledged.values().copied().collect();
    // In the order of their keys, as every other control plane: two of them never wait for each other.
    sqlx::query!(
        "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, acked_revision)
         SELECT data_planes.id, tenants.id, said.revision
         FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS said (data_plane, tenant, revision)
              JOIN data_planes ON data_planes.id = said.data_plane
              JOIN tenants ON tenants.id = said.tenant
         ORDER BY 1, 2
         ON CONFLICT (data_plane_id, tenant_id) DO UPDATE
         SET acked_revision = EXCLUDED.acked_revision, nacked_revision = NULL, nack_reason = NULL, at = now()",
        &data_planes,
        &tenants,
        &revisions
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn refuse(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    tenant: TenantId,
    revision: i64,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, nacked_revision, nack_reason)
         SELECT $1, id, $3, $4 FROM tenants WHERE id = $2
         ON CONFLICT (data_plane_id, tenant_id) DO UPDATE
         SET nacked_revision = EXCLUDED.nacked_revision, nack_reason = EXCLUDED.nack_reason, at = now()",
        data_plane.uuid(),
        tenant.uuid(),
        revision,
        reason
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn policy_revision(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("SELECT policy_revision FROM tenants WHERE id = $1", tenant.uuid()).fetch_one(connection).await
}

pub(super) async fn data_planes(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<DataPlaneStatus>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT data_planes.id, data_planes.last_seen_at > now() - interval '5 s' AS "connected!",
                  NULLIF(answers.acked_revision, 0) AS acked_revision,
                  answers.nacked_revision AS "nacked_revision?", answers.nack_reason AS "nack_reason?"
           FROM data_planes
           LEFT JOIN policy_acknowledgements answers ON answers.data_plane_id = data_planes.id AND answers.tenant_id = $1
           WHERE data_planes.last_seen_at > now() - interval '1 h' AND data_planes.revoked_at IS NULL
           ORDER BY data_planes.id"#,
        tenant.uuid()
    )
    .map(|row| DataPlaneStatus {
        id: row.id.into(),
        connected: row.connected,
        acked_revision: row.acked_revision,
        nacked_revision: row.nacked_revision,
        nack_reason: row.nack_reason,
    })
    .fetch_all(connection)
    .await
}

/// Makes the row when it is missing and locks it either way, in one statement, so that two control planes with the
/// same first batch meet.
pub(super) async fn lock_usage_position(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO data_planes (id) VALUES ($1)
         ON CONFLICT (id) DO UPDATE SET usage_position = data_planes.usage_position
         RETURNING usage_position",
        data_plane.uuid()
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn set_usage_position(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE data_planes SET usage_position = $2 WHERE id = $1", data_plane.uuid(), position)
        .execute(connection)
        .await
        .map(drop)
}

/// False when the id was revoked, or is another key's whose certificate is still good.
pub(super) async fn enrol(
    connection: &mut PgConnection,
    certified: &Certified<'_>,
    token: Option<EnrollmentTokenId>,
) -> Result<bool, sqlx::Error> {
    let enrolled = sqlx::query!(
        "INSERT INTO data_planes (id, enrolled_at, enrollment_token_id, public_key_digest, certificate_serial,
                                  certificate_expires_at)
         VALUES ($1, now(), $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE
         SET enrolled_at = now(), enrollment_token_id = EXCLUDED.enrollment_token_id,
             public_key_digest = EXCLUDED.public_key_digest, certificate_serial = EXCLUDED.certificate_serial,
             certificate_expires_at = EXCLUDED.certificate_expires_at
         WHERE data_planes.revoked_at IS NULL
           AND (data_planes.public_key_digest IS NULL OR data_planes.public_key_digest = EXCLUDED.public_key_digest
                OR data_planes.certificate_expires_at <= now())",
        certified.data_plane.uuid(),
        token.map(EnrollmentTokenId::uuid),
        certified.key_digest,
        certified.issued.serial,
        certified.issued.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(enrolled.rows_affected() > 0)
}

/// False when the id was revoked. A data plane that the database does not know, as after a restore, is known again.
pub(super) async fn renew(connection: &mut PgConnection, certified: &Certified<'_>) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query!(
        "INSERT INTO data_planes (id, public_key_digest, certificate_serial, certificate_expires_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE
         SET public_key_digest = EXCLUDED.public_key_digest, certificate_serial = EXCLUDED.certificate_serial,
             certificate_expires_at = EXCLUDED.certificate_expires_at
         WHERE data_planes.revoked_at IS NULL",
        certified.data_plane.uuid(),
        certified.key_digest,
        certified.issued.serial,
        certified.issued.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() > 0)
}

/// What is known of a data plane's certificate.
pub(super) struct Held {
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) revoked: bool,
}

pub(super) async fn certificate(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query_as!(
        Held,
        r#"SELECT certificate_expires_at AS expires_at, revoked_at IS NOT NULL AS "revoked!"
           FROM data_planes WHERE id = $1"#,
        data_plane.uuid()
    )
    .fetch_optional(connection)
    .await
}

/// Whether it was not revoked before; `None` when there is none.
pub(super) async fn revoke(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH before AS (SELECT id, revoked_at FROM data_planes WHERE id = $1 FOR UPDATE)
           UPDATE data_planes SET revoked_at = COALESCE(before.revoked_at, now())
           FROM before WHERE data_planes.id = before.id
           RETURNING before.revoked_at IS NULL AS "fresh!""#,
        data_plane.uuid()
    )
    .fetch_optional(connection)
    .await
}

/// Tells control planes that there is one more.
pub(super) async fn count_revocation(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE deployment SET data_planes_revoked = data_planes_revoked + 1")
        .execute(connection)
        .await
        .map(drop)
}

/// Every data plane that was revoked, and how long ago.
pub(super) async fn revoked(connection: &mut PgConnection) -> Result<Vec<(DataPlaneId, Duration)>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT id, extract(epoch FROM clock_timestamp() - revoked_at)::float8 AS "age_s!" FROM data_planes
           WHERE revoked_at IS NOT NULL"#
    )
    // Below zero where the database's clock was set back.
    .map(|row| (row.id.into(), Duration::try_from_secs_f64(row.age_s).unwrap_or_default()))
    .fetch_all(connection)
    .await
}

/// The data planes of the last 30 days with what each serves, the newest first.
pub(super) async fn fleet(connection: &mut PgConnection) -> Result<Vec<DataPlane>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT id, version, first_seen_at, last_seen_at, enrolled_at, certificate_serial, certificate_expires_at,
                  revoked_at, last_seen_at > now() - interval '5 s' AS "connected!",
                  COALESCE(certificate_expires_at <= now(), false) AS "expired!",
                  last_seen_at + lease_ms * interval '1 ms' AS lease_ends_at, now() AS "now!",
                  revocations AS "revocations: Json<RevocationTimes>",
                  COALESCE((SELECT jsonb_agg(jsonb_build_object(
                                'tenant', tenants.name, 'revision', NULLIF(answers.acked_revision, 0),
                                'newest_revision', tenants.policy_revision, 'refused_revision', answers.nacked_revision,
                                'refused_because', answers.nack_reason) ORDER BY tenants.name)
                            FROM policy_acknowledgements answers JOIN tenants ON tenants.id = answers.tenant_id
                            WHERE answers.data_plane_id = data_planes.id), '[]') AS "policies!: Json<Vec<PolicyInForce>>"
           FROM data_planes
           WHERE GREATEST(last_seen_at, revoked_at) > now() - interval '30 d'
           ORDER BY id DESC"#
    )
    .map(|row| DataPlane {
        id: row.id.into(),
        state: match (row.revoked_at.is_some(), row.connected, row.expired) {
            (true, ..) => Standing::Revoked,
            (false, true, _) => Standing::Connected,
            (false, false, true) => Standing::Expired,
            (false, false, false) => Standing::Away,
        },
        version: row.version,
        first_seen_at: row.first_seen_at,
        last_seen_at: row.last_seen_at,
        enrolled_at: row.enrolled_at,
        certificate_serial: row.certificate_serial,
        certificate_expires_at: row.certificate_expires_at,
        revoked_at: row.revoked_at,
        policies: row.policies.0,
        stale_since: row.lease_ends_at.filter(|at| row.revoked_at.is_none() && *at < row.now),
        revocations: row.revocations.map(|times| times.0),
    })
    .fetch_all(connection)
    .await
}
