//! The client credentials grant (OAuth 2.1 section 4.2): an agent that acts for itself.
//!
//! Invariant: one query proves the client and reads all that decides about its token, and a JWT costs no write.

use super::{Answer, IssueError, Issuing, Order};
use crate::{
    agents::Origin,
    app::App,
    db::TenantTx,
    oauth::{
        client::{CLIENT_CREDENTIALS, Client},
        client_auth::Presented,
        client_document,
        error::OAuthError,
        issuer::Issuer,
        sql::Standing,
        target::{Target, TargetError},
    },
};

/// The grant type's name.
pub(super) const NAME: &str = CLIENT_CREDENTIALS;

/// Who is it, where to, what for; then the token.
pub(super) async fn issue(app: &App, issuer: &Issuer, presented: Presented<'_>) -> Result<Answer, OAuthError> {
    // Told only to a client that proved who it is, but needed for the one query.
    let target = Target::read(presented.form.resources(), &app.urls, &issuer.name);
    let server = target.as_ref().ok().and_then(Target::server);
    let (standing, mut tx) = super::admit(app, issuer, Presented { server, ..presented }, NAME).await?;
    if standing.client.is_public() || !may_act_for_itself(&mut tx, &standing.client).await? {
        return Err(OAuthError::UnauthorizedClient);
    }
    let ttl_s = standing.tenant.access_token_ttl_s;
    let issuing = begin(&mut tx, app, issuer, &standing, &target?, presented.form.get("scope"), ttl_s).await?;
    tx.commit().await?;
    Ok(issuing.answer(app, issuer, None).await?)
}

/// A client that is known by its document acts for itself only where an admin of the tenant names the host: no user is
/// asked, and whether its author may act here is not for the document to say. The policy is read for every token, so
/// that a host which is struck off gets no more of them.
async fn may_act_for_itself(tx: &mut TenantTx, client: &Client) -> Result<bool, sqlx::Error> {
    if client.origin != Origin::ClientDocument {
        return Ok(true);
    }
    client_document::may_come_for_itself(tx, &client.client_id).await
}

/// Decides about the token of an agent that acts for itself: everything that is granted for `target`, or what of it is
/// requested.
pub(super) async fn begin(
    tx: &mut TenantTx,
    app: &App,
    issuer: &Issuer,
    standing: &Standing,
    target: &Target,
    requested: Option<&str>,
    ttl_s: u32,
) -> Result<Issuing, IssueError> {
    if target.server().is_some() && !standing.server_exists {
        return Err(TargetError::Unknown.into());
    }
    let scopes = super::within_grants(tx, standing, target, None, requested).await?;
    let order = Order {
        standing,
        on_behalf: None,
        valid_from: standing.tokens_valid_from(),
        resource: target.url(&app.urls, &issuer.name),
        scopes,
        ttl_s,
    };
    Ok(Issuing::begin(tx, order).await?)
}
