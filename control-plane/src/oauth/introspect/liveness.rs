//! Whether a token is alive: the one answer, for the introspection endpoint and for data planes alike.
//!
//! Invariant: what decides is what Postgres holds when it is asked, in one query; nothing about it is remembered. The rule
//! itself is written once, in `sql.rs`.

use tollgate_proto::{AgentId, AuthorizationId, TenantId, UserId};
use uuid::Uuid;

use super::sql;
use crate::{
    agents::{AgentState, AuthMethod, Introspection},
    db::Db,
    oauth::{
        access_token::Known,
        client_auth::Record,
        sql::{Credential, introspection},
    },
    secret::Digest,
};

/// A token, as somebody shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// An opaque access token of this digest.
    Opaque(Digest),
    /// A refresh token of this digest.
    Refresh(Digest),
    /// A JWT whose signature is good.
    Signed(&'a Known),
    /// What can be no token.
    Nothing,
}

/// A token that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alive {
    /// Whose it is.
    pub(crate) agent: AgentId,
    /// The same, as OAuth says it: the agent's id, or the URL of its metadata document.
    pub(crate) client_id: String,
    /// For whom the agent acts; none when for itself.
    pub(crate) user: Option<UserId>,
    /// The grant family; none for client credentials.
    pub(crate) family: Option<AuthorizationId>,
    /// What only an access token has.
    pub(crate) access: Option<Access>,
    /// Scopes, divided by spaces.
    pub(crate) scope: String,
    /// Unix seconds.
    pub(crate) issued_at: i64,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

/// What an access token has and a refresh token has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// `jti`.
    pub(crate) jti: Uuid,
    /// The endpoint that it is for.
    pub(crate) audience: String,
}

/// An agent that asks about a token, and the digest of the secret that it shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    /// Who it says it is.
    pub(super) agent: AgentId,
    /// Of its secret.
    pub(super) secret: Digest,
}

/// What is on record about an [`Asker`].
#[derive(Debug)]
pub(super) struct Caller {
    state: AgentState,
    auth_method: AuthMethod,
    credential: Option<Credential>,
    use_noted: bool,
    /// Which access tokens of others an admin lets it introspect.
    pub(super) introspects: Introspection,
}

/// The token, if it is alive.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn of(db: &Db, tenant: TenantId, shown: Shown<'_>) -> Result<Option<Alive>, sqlx::Error> {
    let row = sql::look_up(&mut db.tenant_lookup(tenant).await?, None, shown).await?;
    Ok(row.alive(shown))
}

/// The token, if it is alive, and who asks about it, if there is such an agent: both from one query.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn asked_by(
    db: &Db,
    tenant: TenantId,
    asker: Asker,
    shown: Shown<'_>,
) -> Result<(Option<Caller>, Option<Alive>), sqlx::Error> {
    let mut row = sql::look_up(&mut db.tenant_lookup(tenant).await?, Some(asker), shown).await?;
    Ok((row.take_caller()?, row.alive(shown)))
}

impl Caller {
    /// What decides whether the secret proves anything.
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            state: self.state,
            auth_method: self.auth_method,
            credential: self.credential.as_ref(),
            use_noted: self.use_noted,
        }
    }
}

impl sql::Row {
    fn take_caller(&mut self) -> Result<Option<Caller>, sqlx::Error> {
        let credential = self.credential_id.zip(self.credential_digest.take());
        let Some((state, auth_method)) = self.caller_state.zip(self.caller_auth_method) else { return Ok(None) };
        Ok(Some(Caller {
            state,
            auth_method,
            credential: credential.map(|(id, digest)| Credential {
                id: id.into(),
                digest,
                use_noted: self.credential_use_noted,
            }),
            use_noted: self.caller_use_noted,
            introspects: introspection(self.caller_introspects.take())?,
        }))
    }

    /// A JWT says some things itself that are stored of the others.
    fn alive(self, shown: Shown<'_>) -> Option<Alive> {
        let agent = AgentId::from(self.agent?);
        let (audience, scope) = match shown {
            Shown::Signed(known) => (Some(known.audience.clone()), Some(known.scope.clone())),
            _ => (self.resource, self.scope),
        };
        Some(Alive {
            agent,
            client_id: self.document_url.unwrap_or_else(|| agent.to_string()),
            user: self.user.map(UserId::from),
            family: self.family.map(AuthorizationId::from),
            access: self.jti.zip(audience).map(|(jti, audience)| Access { jti, audience }),
            scope: scope?,
            issued_at: self.issued_at?,
            expires_at: self.expires_at?,
        })
    }
}
