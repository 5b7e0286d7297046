//! Upstream sessions of modern agents, and the marks of waiting calls, in Redis.
//!
//! Invariant: their keys carry their tenant's hash tag.

use chrono::Utc;
use tollgate_proto::{ServerId, TenantId};
use uuid::Uuid;

use super::{Store, expiry, from_json, function::Call, listing, to_json};
use crate::{
    mcp::level::Level,
    store::{BridgeLeg, Leg, MailboxId, Owner, SESSION_IDLE_S, StoreError, UpstreamKey, listing::handle_of_upstream},
};

impl Store {
    pub(in crate::store) async fn bridge_leg(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
    ) -> Result<Option<BridgeLeg>, StoreError> {
        let mut call = self.functions.use_bridge_leg.call();
        keys(&mut call, owner, server, fingerprint);
        call.arg(SESSION_IDLE_S);
        read(&self.run(owner.tenant, async |link| call.run::<Vec<String>>(link).await).await?)
    }

    pub(in crate::store) async fn put_bridge_leg(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        new: &BridgeLeg,
        replaced: Option<&Leg>,
    ) -> Result<Option<BridgeLeg>, StoreError> {
        let mut call = self.functions.put_bridge_leg.call();
        let replaced = replaced.map(to_json).transpose()?.unwrap_or_default();
        keys(&mut call, owner, server, fingerprint);
        call.arg(SESSION_IDLE_S).arg(replaced).arg(to_json(&new.leg)?).arg(&new.initialized);
        call.arg(name(&UpstreamKey { owner, server, fingerprint: fingerprint.to_owned() }, &new.leg));
        read(&self.run(owner.tenant, async |link| call.run::<Vec<String>>(link).await).await?)
    }

    pub(in crate::store) async fn set_bridge_level(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        leg: &Leg,
        level: Level,
    ) -> Result<(), StoreError> {
        let mut call = self.functions.set_bridge_level.call();
        call.key(bridge_key(owner, server, fingerprint)).arg(to_json(leg)?).arg(level.as_str());
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn hold(&self, owner: Owner, waiting: MailboxId, ttl_s: u64) -> Result<(), StoreError> {
        let mut call = self.functions.hold.call();
        call.key(held_key(owner, waiting)).arg(ttl_s);
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn release(&self, owner: Owner, waiting: MailboxId) -> Result<(), StoreError> {
        let mut unlink = ::redis::cmd("UNLINK");
        unlink.arg(held_key(owner, waiting));
        self.run(owner.tenant, async |link| link.query(&unlink).await).await
    }

    pub(in crate::store) async fn is_held(&self, owner: Owner, waiting: MailboxId) -> Result<bool, StoreError> {
        let mut call = self.functions.is_held.call();
        call.key(held_key(owner, waiting));
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn claim(
        &self,
        owner: Owner,
        waiting: MailboxId,
        round: u32,
        ttl_s: u64,
    ) -> Result<bool, StoreError> {
        let mut call = self.functions.claim.call();
        call.key(format!("{}:{round}", key(owner, "claim", &waiting.to_string()))).arg(ttl_s);
        self.run(owner.tenant, async |link| call.run(link).await).await
    }
}

impl Store {
    pub(in crate::store) async fn lease(
        &self,
        owner: Owner,
        what: MailboxId,
        by: Uuid,
        ttl_s: u64,
    ) -> Result<bool, StoreError> {
        let mut call = self.functions.lease.call();
        call.key(key(owner, "lease", &what.to_string())).arg(by.to_string()).arg(ttl_s);
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn end_lease(&self, owner: Owner, what: MailboxId, by: Uuid) -> Result<(), StoreError> {
        let mut call = self.functions.end_lease.call();
        call.key(key(owner, "lease", &what.to_string())).arg(by.to_string());
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn join(
        &self,
        owner: Owner,
        what: MailboxId,
        member: Uuid,
        ttl_s: u64,
    ) -> Result<(), StoreError> {
        let mut call = self.functions.join.call();
        call.key(key(owner, "members", &what.to_string())).arg(member.to_string()).arg(ttl_s);
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(in crate::store) async fn leave(&self, owner: Owner, what: MailboxId, member: Uuid) -> Result<u64, StoreError> {
        let mut call = self.functions.leave.call();
        call.key(key(owner, "members", &what.to_string())).arg(member.to_string());
        self.run(owner.tenant, async |link| call.run(link).await).await
    }
}

fn read(fields: &[String]) -> Result<Option<BridgeLeg>, StoreError> {
    let [leg, initialized, level] = fields else { return Ok(None) };
    Ok(Some(BridgeLeg { leg: from_json(leg)?, initialized: initialized.clone(), level: Level::parse(level) }))
}

/// The upstream session, the lists that it is in.
pub(super) fn keys(call: &mut Call<'_>, owner: Owner, server: ServerId, fingerprint: &str) {
    call.key(bridge_key(owner, server, fingerprint));
    call.key(ends_key(owner.tenant)).key(listing::list_key(owner.tenant));
}

/// The upstream sessions of a tenant's modern agents by when they are to end, at the earliest.
pub(super) fn ends_key(tenant: TenantId) -> String {
    format!("tg:{{{tenant}}}:bridge-ends")
}

/// What a new upstream session is called among the sessions of its tenant.
fn name(key: &UpstreamKey, leg: &Leg) -> String {
    let opened_at_ms = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
    let handle = handle_of_upstream(key, leg, opened_at_ms);
    format!("{handle} {} {} {}", expiry::owner_name(key.owner), key.server, key.fingerprint)
}

/// Which one is called so, behind its handle.
pub(super) fn read_name(tenant: TenantId, name: &str) -> Option<UpstreamKey> {
    let mut parts = name.split(' ');
    let owner = expiry::read_owner(tenant, &mut parts)?;
    Some(UpstreamKey { owner, server: parts.next()?.parse().ok()?, fingerprint: parts.next()?.to_owned() })
}

pub(super) fn bridge_key(owner: Owner, server: ServerId, fingerprint: &str) -> String {
    key(owner, "bridge", &format!("{server}:{fingerprint}"))
}

fn held_key(owner: Owner, waiting: MailboxId) -> String {
    key(owner, "held", &waiting.to_string())
}

fn key(Owner { tenant, agent, user }: Owner, kind: &str, rest: &str) -> String {
    match user {
        None => format!("tg:{{{tenant}}}:{kind}:{agent}:{rest}"),
        Some(user) => format!("tg:{{{tenant}}}:{kind}:{agent}:{user}:{rest}"),
    }
}
