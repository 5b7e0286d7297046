//! `PolicyService.Introspect`: what an opaque access token says, for a data plane that sees it the first time.
//!
//! Invariant: the answer is what Postgres holds at that moment, so that what was revoked before is not there; what is
//! revoked later reaches the data plane by its stream.

use tollgate_proto::policy::v1::{AccessToken, IntrospectRequest, IntrospectResponse};
use tonic::Status;

use crate::{
    app::App,
    oauth::liveness::{self, Alive, Shown},
    secret::Digest,
};

/// Of SHA-256, in bytes.
const DIGEST_LEN: usize = 32;

/// Looks the token up by its digest; no token is no fault.
pub(crate) async fn answer(app: &App, request: IntrospectRequest) -> Result<IntrospectResponse, Status> {
    let tenant = request.tenant_id.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
    let digest: [u8; DIGEST_LEN] =
        request.token_digest.try_into().map_err(|_| Status::invalid_argument("`token_digest` is no SHA-256 digest"))?;
    let alive = liveness::of(&app.db, tenant, Shown::Opaque(Digest::from(digest))).await.map_err(|error| {
        tracing::warn!(%tenant, %error, "cannot introspect a token");
        Status::unavailable("the database does not answer")
    })?;
    Ok(IntrospectResponse { token: alive.and_then(message) })
}

fn message(token: Alive) -> Option<AccessToken> {
    let access = token.access?;
    Some(AccessToken {
        jti: access.jti.to_string(),
        gid: token.family.map(|family| family.to_string()).unwrap_or_default(),
        subject: token.user.map_or_else(|| token.client_id.clone(), |user| user.to_string()),
        client_id: token.client_id,
        audience: access.audience,
        scope: token.scope,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    })
}
