//! `PolicyService.Introspect`: what an opaque access token says, for a data plane that sees it the first time.
//!
//! Invariant: the answer is what Postgres holds at that moment, so that what was revoked before is not there; what is
//! revoked later reaches the data plane by its stream.

use tollgate_proto::{
    AgentId, AuthorizationId, TenantId, UserId,
    policy::v1::{AccessToken, IntrospectRequest, IntrospectResponse},
};
use tonic::Status;

use super::sql;
use crate::{
    app::App,
    revocations::{self, TokenFacts},
};

/// Of SHA-256, in bytes.
const DIGEST_LEN: usize = 32;

/// Looks the token up by its digest; no token is no fault.
pub(super) async fn answer(app: &App, request: IntrospectRequest) -> Result<IntrospectResponse, Status> {
    let tenant = request.tenant_id.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
    if request.token_digest.len() != DIGEST_LEN {
        return Err(Status::invalid_argument("`token_digest` is no SHA-256 digest"));
    }
    let token = active(app, tenant, &request.token_digest).await.map_err(|error| {
        tracing::warn!(%tenant, %error, "cannot introspect a token");
        Status::unavailable("the database does not answer")
    })?;
    Ok(IntrospectResponse { token })
}

async fn active(app: &App, tenant: TenantId, digest: &[u8]) -> Result<Option<AccessToken>, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let Some(found) = sql::opaque_token(&mut tx, digest).await? else { return Ok(None) };
    let facts = TokenFacts {
        jti: found.jti,
        gid: found.authorization_id.map(AuthorizationId::from),
        agent: AgentId::from(found.agent_id),
        user: found.user_id.map(UserId::from),
        kid: None,
        iat: found.issued_at.timestamp(),
    };
    let revoked = revocations::is_revoked(&mut tx, &facts).await?;
    tx.commit().await?;
    Ok((!revoked).then(|| found.into_message(&facts)))
}

impl sql::OpaqueToken {
    fn into_message(self, facts: &TokenFacts<'_>) -> AccessToken {
        let client_id = self.document_url.unwrap_or_else(|| facts.agent.to_string());
        AccessToken {
            jti: self.jti.to_string(),
            gid: facts.gid.map(|gid| gid.to_string()).unwrap_or_default(),
            subject: facts.user.map_or_else(|| client_id.clone(), |user| user.to_string()),
            client_id,
            audience: self.resource,
            scope: self.scope,
            issued_at: facts.iat,
            expires_at: self.expires_at.timestamp(),
        }
    }
}
