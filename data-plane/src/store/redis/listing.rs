//! Sessions in Redis as operators look at them: a sorted set per tenant, whose members begin with the handle, so that
//! their order is that of the sessions' openings.
//!
//! Invariant: the keyspace is never scanned; what is in the set and gone is taken out by whoever sees it.

use std::time::Duration;

use tollgate_proto::{AgentId, SessionHandle, TenantId};

use super::{Store, bridge_leg, expiry, from_json, read_session, session_key, to_json, unreadable};
use crate::{
    mcp::level::Level,
    store::{BridgeLeg, Kept, Leg, Listed, Listing, Owner, SESSION_IDLE_S, SessionId, StoreError, UpstreamKey},
};

/// Sessions that one function looks at: each may hold all that its agent said of itself.
const LOOKED_AT_ONCE: usize = 32;
/// Nobody's call waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A member of the set.
struct Entry {
    handle: SessionHandle,
    names: Named,
    member: String,
}

/// What a member names.
enum Named {
    Session(Owner, SessionId),
    Upstream(UpstreamKey),
}

impl Store {
    pub(in crate::store) async fn sessions(
        &self,
        tenant: TenantId,
        before: Option<SessionHandle>,
        agent: Option<AgentId>,
        count_max: usize,
    ) -> Result<Listing, StoreError> {
        let below = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
        let mut range = ::redis::cmd("ZREVRANGEBYLEX");
        range.arg(list_key(tenant)).arg(below).arg("-").arg("LIMIT").arg(0).arg(count_max);
        let members: Vec<String> = self.run(tenant, async |link| link.query(&range).await).await?;
        let full = members.len() == count_max;
        let mut entries: Vec<Entry> = members.into_iter().filter_map(|member| Entry::read(tenant, member)).collect();
        let reached = entries.last().filter(|_| full).map(|last| last.handle);
        entries.retain(|entry| agent.is_none_or(|agent| entry.owner().agent == agent));
        Ok(Listing { found: self.look_at(tenant, &entries).await?, reached })
    }

    pub(in crate::store) async fn session(
        &self,
        tenant: TenantId,
        handle: SessionHandle,
    ) -> Result<Option<Listed>, StoreError> {
        // A member is the handle, a space and more; `!` comes after the space.
        let mut range = ::redis::cmd("ZRANGEBYLEX");
        range.arg(list_key(tenant)).arg(format!("[{handle} ")).arg(format!("({handle}!"));
        let members: Vec<String> = self.run(tenant, async |link| link.query(&range).await).await?;
        let entries: Vec<Entry> = members.into_iter().filter_map(|member| Entry::read(tenant, member)).collect();
        Ok(self.look_at(tenant, &entries).await?.pop())
    }

    pub(in crate::store) async fn remove_bridge_leg(&self, key: &UpstreamKey, leg: &Leg) -> Result<bool, StoreError> {
        let mut call = self.functions.remove_bridge_leg.call();
        bridge_leg::keys(&mut call, key.owner, key.server, &key.fingerprint);
        call.arg(to_json(leg)?);
        self.run(key.owner.tenant, async |link| call.run(link).await).await
    }

    async fn look_at(&self, tenant: TenantId, entries: &[Entry]) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for entries in entries.chunks(LOOKED_AT_ONCE) {
            let mut look = self.functions.look_at_sessions.call();
            look.key(list_key(tenant));
            for entry in entries {
                look.key(entry.key()).arg(&entry.member);
            }
            let patience = self.deadline.max(PATIENCE);
            let (now_s, found): (u64, Vec<Vec<String>>) =
                self.run_within(patience, tenant, async |link| look.run(link).await).await?;
            for (entry, fields) in entries.iter().zip(&found) {
                match entry.listed(fields, now_s) {
                    Ok(found) => listed.extend(found),
                    Err(error) => tracing::warn!(session = %entry.handle, %error, "a session cannot be read"),
                }
            }
        }
        Ok(listed)
    }
}

impl Entry {
    fn read(tenant: TenantId, member: String) -> Option<Self> {
        let (handle, name) = member.split_once(' ')?;
        let names = match expiry::read_member(tenant, name) {
            Some((owner, id)) => Named::Session(owner, id),
            None => Named::Upstream(bridge_leg::read_name(tenant, name)?),
        };
        Some(Self { handle: handle.parse().ok()?, names, member })
    }

    const fn owner(&self) -> Owner {
        match &self.names {
            Named::Session(owner, _) => *owner,
            Named::Upstream(key) => key.owner,
        }
    }

    fn key(&self) -> String {
        match &self.names {
            Named::Session(owner, id) => session_key(*owner, id),
            Named::Upstream(key) => bridge_leg::bridge_key(key.owner, key.server, &key.fingerprint),
        }
    }

    /// Nothing when it is over, or another one has taken its place.
    fn listed(&self, fields: &[String], now_s: u64) -> Result<Option<Listed>, StoreError> {
        let field = |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
        let time = |name: &str| field(name).map_or(Ok(0), |text| text.parse::<u64>().map_err(unreadable));
        let (kept, idle_until_s, expires_at_s) = match &self.names {
            Named::Session(owner, id) => {
                let (idle_until_s, ends_s) = (time("idle_until")?, time("ends")?);
                if now_s >= idle_until_s.min(ends_s) {
                    return Ok(None);
                }
                (Kept::Session(*id, read_session(*owner, fields)?), idle_until_s, idle_until_s.min(ends_s))
            }
            Named::Upstream(key) => {
                let until_s = time("until")?;
                let (Some(leg), Some(name)) = (field("leg"), field("name")) else { return Ok(None) };
                if now_s >= until_s || name != self.member {
                    return Ok(None);
                }
                let initialized = field("initialized").unwrap_or_default().to_owned();
                let level = field("level").and_then(Level::parse);
                let bridge = BridgeLeg { leg: from_json(leg)?, initialized, level };
                (Kept::Upstream(key.clone(), bridge), until_s, until_s)
            }
        };
        let last_used_at_s = idle_until_s.saturating_sub(SESSION_IDLE_S);
        Ok(Some(Listed { handle: self.handle, kept, last_used_at_s, expires_at_s }))
    }
}

/// A tenant's sessions by handle.
pub(super) fn list_key(tenant: TenantId) -> String {
    format!("tg:{{{tenant}}}:sess-list")
}
