//! Sessions, and upstream sessions of modern agents, whose time is up, in Redis.
//!
//! Invariant: of all data planes that look, one gets a session that is over: one function finds it over and forgets it.

use tollgate_proto::{ServerId, TenantId};

use super::{Store, bridge_leg, from_json, listing, read_session, session_key};
use crate::store::{Leg, Owner, Session, SessionId, StoreError, UpstreamKey};

impl Store {
    pub(in crate::store) async fn expired_sessions(
        &self,
        tenant: TenantId,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Session)>, StoreError> {
        let mut expired = Vec::new();
        for member in self.due(tenant, sessions_key(tenant), count_max).await? {
            let Some((owner, id)) = read_member(tenant, &member) else { continue };
            let mut expire = self.functions.expire_session.call();
            expire.key(session_key(owner, &id)).key(sessions_key(tenant)).key(listing::list_key(tenant)).arg(member);
            let fields: Vec<String> = self.run(tenant, async |link| expire.run(link).await).await?;
            if !fields.is_empty() {
                expired.push((id, read_session(owner, &fields)?));
            }
        }
        Ok(expired)
    }

    pub(in crate::store) async fn expired_bridge_legs(
        &self,
        tenant: TenantId,
        count_max: usize,
    ) -> Result<Vec<(Owner, ServerId, Leg)>, StoreError> {
        let mut expired = Vec::new();
        for name in self.due(tenant, bridge_leg::ends_key(tenant), count_max).await? {
            let key = name.split_once(' ').and_then(|(_handle, rest)| bridge_leg::read_name(tenant, rest));
            let Some(UpstreamKey { owner, server, fingerprint }) = key else { continue };
            let mut expire = self.functions.expire_bridge_leg.call();
            bridge_leg::keys(&mut expire, owner, server, &fingerprint);
            expire.arg(&name);
            let leg: String = self.run(tenant, async |link| expire.run(link).await).await?;
            if !leg.is_empty() {
                expired.push((owner, server, from_json(&leg)?));
            }
        }
        Ok(expired)
    }

    /// The names of that whose time may be up.
    async fn due(&self, tenant: TenantId, key: String, count_max: usize) -> Result<Vec<String>, StoreError> {
        let mut due = self.functions.due.call();
        due.key(key).arg(count_max);
        self.run(tenant, async |link| due.run(link).await).await
    }
}

/// A tenant's sessions by when they are to end, at the earliest.
pub(super) fn sessions_key(tenant: TenantId) -> String {
    format!("tg:{{{tenant}}}:sess-ends")
}

/// What a session is called there.
pub(super) fn member(owner: Owner, id: &SessionId) -> String {
    format!("{} {id}", owner_name(owner))
}

/// What an owner is called within the tenant: two words, the second of which may be empty.
pub(super) fn owner_name(Owner { agent, user, .. }: Owner) -> String {
    let user = user.map(|user| user.to_string()).unwrap_or_default();
    format!("{agent} {user}")
}

pub(super) fn read_member(tenant: TenantId, member: &str) -> Option<(Owner, SessionId)> {
    let mut parts = member.split(' ');
    let owner = read_owner(tenant, &mut parts)?;
    Some((owner, parts.next()?.parse().ok()?))
}

/// The owner that the next two words name.
pub(super) fn read_owner<'a>(tenant: TenantId, words: &mut impl Iterator<Item = &'a str>) -> Option<Owner> {
    let (agent, user) = (words.next()?.parse().ok()?, words.next()?);
    let user = if user.is_empty() { None } else { Some(user.parse().ok()?) };
    Some(Owner { tenant, agent, user })
}
