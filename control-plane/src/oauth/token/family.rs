//! A grant family in use: what a code or a refresh token that was just used gives its client.
//!
//! Invariant: the token's scope is what the user consented to and what is granted to the agent now, never more.

use chrono::{DateTime, Utc};
use serde_json::json;
use tollgate_proto::{AuthorizationId, Name, Scope, UserId};

use super::{IssueError, Issuing, Order};
use crate::{
    app::App,
    audit,
    db::TenantTx,
    oauth::{
        access_token::OnBehalf,
        client::Client,
        form::Form,
        issuer::Issuer,
        sql::Standing,
        target::{Target, TargetError},
    },
    revocations::{self, Revoked},
};

/// The longest life of a token that acts for a user, whatever the tenant has set: it has to be got anew, within a grant
/// that the user can see and end.
const LIFE_FOR_USERS_MAX_S: u32 = 3_600;

/// A family that is alive: its user and its agent may act, and nobody has revoked it.
#[derive(Debug)]
pub(super) struct Family {
    /// The `gid` of its tokens.
    pub(super) id: AuthorizationId,
    /// For whom the agent acts.
    pub(super) user: UserId,
    /// When the user last proved who they are.
    pub(super) authenticated_at: DateTime<Utc>,
    /// The endpoints that were consented to, in their canonical form.
    pub(super) resources: Vec<String>,
    /// The scopes that were consented to.
    pub(super) consented: Vec<Scope>,
    /// The servers among the endpoints that still exist.
    pub(super) servers: Vec<Name>,
    /// Unix seconds: tokens for the user that were issued before are void.
    pub(super) tokens_valid_from: i64,
    /// What grants to the user's role allow, now.
    pub(super) role_allowed: Vec<Scope>,
    /// What they deny, now, whatever the arguments are and wherever a request comes from.
    pub(super) role_denied: Vec<Scope>,
}

impl Family {
    /// The one endpoint that the token is for: what the request names, else the one that was consented to (RFC 8707
    /// section 2.2).
    fn target(&self, app: &App, issuer: &Issuer, form: &Form) -> Result<Target, TargetError> {
        let named = match (form.resources(), self.resources.as_slice()) {
            ([], [only]) => only,
            ([named], _) => named,
            _ => return Err(TargetError::Several),
        };
        let target = Target::parse(named, &app.urls, &issuer.name)?;
        let consented = self.resources.contains(&target.url(&app.urls, &issuer.name));
        let exists = target.server().is_none_or(|server| self.servers.contains(server));
        if consented && exists { Ok(target) } else { Err(TargetError::Unknown) }
    }

    /// Decides about the access token, for the one endpoint that `form` names. `requested` narrows what was consented
    /// to.
    pub(super) async fn begin(
        self,
        tx: &mut TenantTx,
        app: &App,
        issuer: &Issuer,
        standing: &Standing,
        form: &Form,
        requested: Option<&str>,
    ) -> Result<Issuing, IssueError> {
        let target = self.target(app, issuer, form)?;
        let scopes = super::within_grants(tx, standing, &target, Some(&self), requested).await?;
        let order = Order {
            standing,
            on_behalf: Some(OnBehalf {
                user: self.user,
                authorization: self.id,
                authenticated_at: self.authenticated_at,
            }),
            valid_from: standing.tokens_valid_from().max(self.tokens_valid_from),
            resource: target.url(&app.urls, &issuer.name),
            scopes,
            ttl_s: standing.tenant.access_token_ttl_s.min(LIFE_FOR_USERS_MAX_S),
        };
        Ok(Issuing::begin(tx, order).await?)
    }
}

/// What the endpoints of servers begin with.
pub(super) fn server_prefix(app: &App, issuer: &Issuer) -> String {
    app.urls.server(issuer.name.as_str(), "")
}

/// Ends a family that somebody else has a part of. A transaction of its own, which locks the tenant before the
/// family, as every revocation does: within the one that used a token it would be the other way round.
pub(super) async fn end(
    app: &App,
    issuer: &Issuer,
    client: &Client,
    family: AuthorizationId,
    reason: &'static str,
) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(issuer.tenant).await?;
    revocations::revoke(&mut tx, Revoked::GrantFamily(family), reason).await?;
    let event = audit::Event {
        actor: "system",
        action: "authorization.revoke",
        object_kind: "authorization",
        object_id: &family.to_string(),
        object_name: &client.name,
        detail: json!({ "agent": client.agent.to_string(), "reason": reason }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await
}
