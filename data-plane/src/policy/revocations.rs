//! What one tenant has revoked: tokens that are refused though their signature and their time are good.
//!
//! Invariant: a value never changes after it is in force; what is added makes a new one. Nothing held is forgotten
//! before everything it speaks of has expired by itself, whatever happens to the tenant's policy.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use tollgate_proto::{
    AgentId, AuthorizationId, IdError, TenantId, UserId,
    policy::v1::{self as wire, revocation::What},
};
use uuid::Uuid;

/// What a token says that it can be revoked by.
#[derive(Debug, Clone, Copy)]
pub struct TokenFacts<'a> {
    /// `jti`.
    pub jti: Uuid,
    /// `gid`: the approval that it descends from; none where the agent acts for itself.
    pub gid: Option<AuthorizationId>,
    /// Who holds it.
    pub agent: AgentId,
    /// For whom it acts.
    pub user: Option<UserId>,
    /// The key that signed it; none for an opaque token.
    pub kid: Option<&'a str>,
    /// `iat`, unix seconds.
    pub issued_at: i64,
}

/// A message that cannot be applied whole.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// An id that is none.
    #[error("{0}")]
    Id(#[from] IdError),
    /// A `jti` that is no UUID.
    #[error("`{0}` is no token id")]
    Token(String),
    /// A kind of revocation that this version does not know.
    #[error("a revocation of an unknown kind")]
    Unknown,
}

/// Everything that is revoked in one tenant, up to a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    revision: u64,
    // Shared with the value before, so that a new entry copies only the table that it goes into.
    tokens: Arc<HashMap<Uuid, Until>>,
    families: Arc<HashMap<AuthorizationId, Until>>,
    keys: Arc<HashMap<String, Until>>,
    agents: Arc<HashMap<AgentId, Cutoff>>,
    users: Arc<HashMap<UserId, Cutoff>>,
    tenant: Option<Cutoff>,
}

/// Unix seconds from which the entry speaks of nothing any more.
type Until = i64;

/// Everything issued before a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cutoff {
    issued_before: i64,
    until: Until,
}

impl Revocations {
    /// How far the control plane has been followed.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many entries are held.
    #[must_use]
    pub fn len(&self) -> usize {
        let tables = [self.tokens.len(), self.families.len(), self.keys.len(), self.agents.len(), self.users.len()];
        tables.into_iter().sum::<usize>() + usize::from(self.tenant.is_some())
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the token was revoked, in whichever of the six ways.
    #[must_use]
    pub fn hit(&self, token: &TokenFacts<'_>) -> bool {
        let too_old = |cutoff: Option<&Cutoff>| cutoff.is_some_and(|cutoff| token.issued_at < cutoff.issued_before);
        self.tokens.contains_key(&token.jti)
            || token.gid.is_some_and(|gid| self.families.contains_key(&gid))
            || too_old(self.agents.get(&token.agent))
            || too_old(token.user.and_then(|user| self.users.get(&user)))
            || too_old(self.tenant.as_ref())
            || token.kid.is_some_and(|kid| self.keys.contains_key(kid))
    }

    /// These with what a message adds, or what the message holds where it is complete.
    ///
    /// Where an entry cannot be read, which is what the error says, the rest is in the result all the same, added to what
    /// was held even by a complete message, and the revision stays: refusing too much is better than too little, and
    /// nobody is told that everything is in force.
    pub fn with(&self, sent: &wire::Revocations) -> (Self, Result<(), RevocationError>) {
        let base = if sent.complete { Self::default() } else { self.clone() };
        let (mut next, read) = base.and_entries(&sent.entries);
        if read.is_err() {
            return (self.clone().and_entries(&sent.entries).0, read);
        }
        next.revision = if sent.complete { sent.revision } else { sent.revision.max(self.revision) };
        (next, read)
    }

    /// These without what speaks of nothing any more at `now`, unix seconds; `None` when that is none of them.
    #[must_use]
    pub fn without_expired(&self, now: i64) -> Option<Self> {
        let next = Self {
            revision: self.revision,
            tokens: living(&self.tokens, |until| now < *until),
            families: living(&self.families, |until| now < *until),
            keys: living(&self.keys, |until| now < *until),
            agents: living(&self.agents, |cutoff| now < cutoff.until),
            users: living(&self.users, |cutoff| now < cutoff.until),
            tenant: self.tenant.filter(|cutoff| now < cutoff.until),
        };
        (next.len() < self.len()).then_some(next)
    }

    /// All of it as one complete message.
    #[must_use]
    pub fn to_message(&self, tenant: TenantId) -> wire::Revocations {
        let outright = |what, until: Until| wire::Revocation { what: Some(what), issued_before: 0, expires_at: until };
        let cut = |what, cutoff: Cutoff| wire::Revocation {
            what: Some(what),
            issued_before: cutoff.issued_before,
            expires_at: cutoff.until,
        };
        let tokens = self.tokens.iter().map(|(jti, until)| outright(What::Token(jti.to_string()), *until));
        let families = self.families.iter().map(|(gid, until)| outright(What::GrantFamily(gid.to_string()), *until));
        let keys = self.keys.iter().map(|(kid, until)| outright(What::Key(kid.clone()), *until));
        let agents = self.agents.iter().map(|(agent, cutoff)| cut(What::Agent(agent.to_string()), *cutoff));
        let users = self.users.iter().map(|(user, cutoff)| cut(What::User(user.to_string()), *cutoff));
        let all = self.tenant.map(|cutoff| cut(What::Tenant(true), cutoff));
        let entries = tokens.chain(families).chain(keys).chain(agents).chain(users).chain(all).collect();
        wire::Revocations { tenant_id: tenant.to_string(), revision: self.revision, complete: true, entries }
    }

    /// Every entry that can be read, and the last fault of one that cannot.
    fn and_entries(mut self, sent: &[wire::Revocation]) -> (Self, Result<(), RevocationError>) {
        let mut read = Ok(());
        for entry in sent {
            if let Err(error) = self.add(entry) {
                read = Err(error);
            }
        }
        (self, read)
    }

    fn add(&mut self, sent: &wire::Revocation) -> Result<(), RevocationError> {
        let until = sent.expires_at;
        let cutoff = Cutoff { issued_before: sent.issued_before, until };
        match sent.what.as_ref().ok_or(RevocationError::Unknown)? {
            What::Token(jti) => {
                let jti = jti.parse().map_err(|_| RevocationError::Token(jti.clone()))?;
                put(&mut self.tokens, jti, until);
            }
            What::GrantFamily(gid) => put(&mut self.families, gid.parse()?, until),
            What::Key(kid) => put(&mut self.keys, kid.clone(), until),
            What::Agent(agent) => cut(&mut self.agents, agent.parse()?, cutoff),
            What::User(user) => cut(&mut self.users, user.parse()?, cutoff),
            What::Tenant(_) => self.tenant = Some(self.tenant.map_or(cutoff, |held| held.and(cutoff))),
        }
        Ok(())
    }
}

impl Cutoff {
    /// What both of them say: revoking once more never lets in what was revoked before.
    fn and(self, other: Self) -> Self {
        Self { issued_before: self.issued_before.max(other.issued_before), until: self.until.max(other.until) }
    }
}

fn put<K: Clone + Eq + Hash>(table: &mut Arc<HashMap<K, Until>>, key: K, until: Until) {
    let held = Arc::make_mut(table).entry(key).or_insert(until);
    *held = until.max(*held);
}

fn cut<K: Clone + Eq + Hash>(table: &mut Arc<HashMap<K, Cutoff>>, key: K, cutoff: Cutoff) {
    let held = Arc::make_mut(table).entry(key).or_insert(cutoff);
    *held = held.and(cutoff);
}

/// The same table where everything in it lives.
fn living<K: Clone + Eq + Hash, V: Copy>(table: &Arc<HashMap<K, V>>, lives: impl Fn(&V) -> bool) -> Arc<HashMap<K, V>> {
    if table.values().all(&lives) {
        return Arc::clone(table);
    }
    Arc::new(table.iter().filter(|(_, value)| lives(value)).map(|(key, value)| (key.clone(), *value)).collect())
}

#[cfg(test)]
mod tests;
