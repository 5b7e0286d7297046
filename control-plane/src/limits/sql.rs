//! Queries about limits.

use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AgentId, LimitId, ServerId, TenantId, UserId};

use super::{EffectiveRate, Meaning, Mode, target::Target};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM limits
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

pub(super) async fn of_agent(tx: &mut TenantTx, agent: AgentId) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM limits WHERE agent_id = $1 ORDER BY name"#,
        agent.uuid(),
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn spec(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: LimitId,
) -> Result<Option<(String, Value)>, sqlx::Error> {
    let row = sqlx::query!("SELECT name, spec FROM limits WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid());
    Ok(row.fetch_optional(connection).await?.map(|row| (row.name, row.spec)))
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let Meaning { target, requests, tokens, concurrency, on_store_outage, mode } = meaning;
    let count = |rate: &Option<EffectiveRate>| rate.map(|rate| rate.count);
    // No more than a day.
    let window_s = |rate: &Option<EffectiveRate>| rate.map(|rate| i32::try_from(rate.window_s).unwrap_or(i32::MAX));
    let [mut agent, mut team, mut user, mut server] = [None; 4];
    let mut tool = None;
    match target {
        Target::Agent(id) => agent = Some(id.uuid()),
        Target::Team(id) => team = Some(id.uuid()),
        Target::User(id) => user = Some(id.uuid()),
        Target::Server(id) => server = Some(id.uuid()),
        Target::Tool(id, name) => (server, tool) = (Some(id.uuid()), Some(&**name)),
        Target::Tenant => {}
    }
    sqlx::query!(
        "INSERT INTO limits (tenant_id, id, name, labels, spec, revision, created_by, agent_id, team_id, user_id,
             server_id, tool, whole_tenant, requests_count, window_s, tokens_count, tokens_window_s, concurrency,
             on_store_outage, leased)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::bigint::integer, $15, $16, $17,
             $18::bigint::integer, $19, $20)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             agent_id = $8, team_id = $9, user_id = $10, server_id = $11, tool = $12, whole_tenant = $13,
             requests_count = $14::bigint::integer, window_s = $15, tokens_count = $16, tokens_window_s = $17,
             concurrency = $18::bigint::integer, on_store_outage = $19, leased = $20",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        agent,
        team,
        user,
        server,
        tool,
        *target == Target::Tenant,
        count(requests),
        window_s(requests),
        count(tokens),
        window_s(tokens),
        *concurrency,
        on_store_outage.as_str(),
        *mode == Mode::Leased,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The user with this address, in whatever case.
pub(super) async fn user(tx: &mut TenantTx, email: &str) -> Result<Option<UserId>, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM users WHERE lower(email) = lower($1)", email);
    Ok(id.fetch_optional(&mut **tx).await?.map(UserId::from))
}

pub(super) async fn server(tx: &mut TenantTx, name: &str) -> Result<Option<ServerId>, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM servers WHERE name = $1", name);
    Ok(id.fetch_optional(&mut **tx).await?.map(ServerId::from))
}

pub(super) async fn delete(tx: &mut TenantTx, id: LimitId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM limits WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
