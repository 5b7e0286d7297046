//! Queries that begin a grant family.

use tollgate_proto::{AuthorizationId, Scope};

use super::{CHALLENGE_MEMORY_HOURS, CODE_LIFE_S, LIFE_DAYS, NewAuthorization};
use crate::{db::TenantTx, secret::Digest};

/// Whether both may act, and the user's session lives. If so, neither can be changed and the session cannot be ended until
/// the transaction ends.
pub(super) async fn hold_parties(tx: &mut TenantTx, new: &NewAuthorization) -> Result<bool, sqlx::Error> {
    let held = sqlx::query!(
        r#"SELECT agents.id FROM agents JOIN users ON users.tenant_id = agents.tenant_id
                                        JOIN console_sessions ON console_sessions.user_id = users.id
           WHERE agents.id = $1 AND agents.state = 'active' AND users.id = $2 AND users.state = 'active'
             AND console_sessions.digest = $3
           FOR NO KEY UPDATE OF agents, users FOR KEY SHARE OF console_sessions"#,
        new.agent.uuid(),
        new.user.uuid(),
        new.session.as_bytes(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(held.is_some())
}

/// Stores the family with its code, and answers whether the agent has used this challenge lately; nothing when the page
/// was answered before.
pub(super) async fn insert(
    tx: &mut TenantTx,
    id: AuthorizationId,
    new: &NewAuthorization,
    code: &Digest,
) -> Result<Option<bool>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let scopes: Vec<String> = new.scopes.iter().map(Scope::to_string).collect();
    sqlx::query_scalar!(
        r#"WITH family AS (
             INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources,
                                         scopes, authenticated_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(days => $10))
             ON CONFLICT (transaction_id) DO NOTHING
             RETURNING tenant_id, id),
         code AS (
             INSERT INTO authorization_codes (tenant_id, digest, authorization_id, agent_id, redirect_uri,
                                              code_challenge, expires_at)
             SELECT tenant_id, $11, id, $3, $12, $13, now() + make_interval(secs => $14) FROM family)
         SELECT EXISTS(SELECT FROM authorization_codes
                       WHERE agent_id = $3 AND code_challenge = $13
                         AND created_at > now() - make_interval(hours => $15)) AS "repeated!"
         FROM family"#,
        tenant,
        id.uuid(),
        new.agent.uuid(),
        new.user.uuid(),
        new.transaction,
        new.session.as_bytes(),
        &new.resources,
        &scopes,
        new.authenticated_at,
        LIFE_DAYS,
        code.as_bytes(),
        new.redirect_uri,
        new.code_challenge,
        f64::from(CODE_LIFE_S),
        CHALLENGE_MEMORY_HOURS,
    )
    .fetch_optional(&mut **tx)
    .await
}
