//! What an access token says, once it is known to be the tenant's: the same for a JWT and for an opaque one.
//!
//! Invariant: the token's text is not in it, and nothing of it allows anything by itself.

use std::sync::Arc;

use tollgate_proto::{AgentId, AuthorizationId, Scope, TenantId, UserId, policy::v1 as wire};
use uuid::Uuid;

use crate::{
    policy::{Tenant, TokenFacts},
    refusal::TokenFault,
};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub(super) tenant: TenantId,
    /// None: opaque.
    pub(super) signed: Option<Signed>,
    pub(super) jti: Uuid,
    pub(super) client_id: String,
    /// None: the agent acts for itself.
    pub(super) acts_for: Option<ActsFor>,
    pub(super) audience: String,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    pub(super) scopes: Arc<[Scope]>,
}

/// By whom, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) issuer: String,
    pub(super) kid: String,
}

/// In whose name, and by which approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ActsFor {
    pub(super) user: UserId,
    pub(super) gid: AuthorizationId,
}

impl ActsFor {
    /// Of the subject and the grant family of a token. A subject is the client, or a user who approved.
    pub(super) fn read(subject: &str, client_id: &str, gid: Option<&str>) -> Result<Option<Self>, TokenFault> {
        match gid {
            None if subject == client_id => Ok(None),
            Some(gid) => {
                let (user, gid) = (subject.parse(), gid.parse());
                let (Ok(user), Ok(gid)) = (user, gid) else { return Err(TokenFault::Invalid) };
                Ok(Some(Self { user, gid }))
            }
            None => Err(TokenFault::Invalid),
        }
    }
}

impl AccessToken {
    /// As the control plane tells it of an opaque token.
    pub(super) fn introspected(tenant: TenantId, token: wire::AccessToken) -> Result<Self, TokenFault> {
        let gid = Some(token.gid.as_str()).filter(|gid| !gid.is_empty());
        let acts_for = ActsFor::read(&token.subject, &token.client_id, gid)?;
        Ok(Self {
            tenant,
            signed: None,
            jti: token.jti.parse().map_err(|_| TokenFault::Invalid)?,
            client_id: token.client_id,
            acts_for,
            audience: token.audience,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            scopes: scopes(&token.scope),
        })
    }

    /// Who holds it, as tokens name agents.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// For whom it acts.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.acts_for.map(|acts_for| acts_for.user)
    }

    /// The resource it is for.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Unix seconds from which it is void.
    #[must_use]
    pub const fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// What it carries.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// What it can be revoked by.
    #[must_use]
    pub fn facts(&self, agent: AgentId) -> TokenFacts<'_> {
        TokenFacts {
            jti: self.jti,
            gid: self.acts_for.map(|acts_for| acts_for.gid),
            agent,
            user: self.user(),
            kid: self.signed.as_ref().map(|signed| signed.kid.as_str()),
            issued_at: self.issued_at,
        }
    }

    /// Whether it is this tenant's, as its issuer and keys are now: a key may have been withdrawn since.
    pub(super) fn is_of(&self, tenant: &Tenant) -> bool {
        let signed_by = |signed: &Signed| signed.issuer == tenant.issuer && tenant.keys.contains_key(&signed.kid);
        self.tenant == tenant.id && self.signed.as_ref().is_none_or(signed_by)
    }
}

/// A scope of a later version means nothing here and so allows nothing.
pub(super) fn scopes(text: &str) -> Arc<[Scope]> {
    text.split(' ').filter_map(|scope| scope.parse().ok()).collect()
}
