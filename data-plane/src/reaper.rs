//! The end of upstream sessions that nobody ends: the time of an agent's session is up, or a modern agent has not called
//! for long, and the servers behind are told.
//!
//! Every data plane looks; the store hands each session that is over to one of them.
//!
//! Invariant: a session that is in use is never ended here; a server that cannot be told keeps nobody else waiting.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, FuturesUnordered},
};
use http::Method;
use tokio::{sync::Semaphore, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tollgate_proto::ServerId;

use crate::{
    gateway::Gateway,
    policy::Tenant,
    stage::forward::{ask::legacy_headers, linked, speech::Speech},
    store::{Announcement, Leg, Owner, SessionChange, StoreError},
    telemetry::SessionEnd,
};

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How many sessions of a tenant are taken over at a time.
const TAKEN_MAX: usize = 64;
/// How many of them are ended at once.
const OF_A_TENANT_MAX: usize = 8;
/// How many servers are told at once.
const TOLD_AT_ONCE_MAX: usize = 128;

/// An upstream session that is to be ended.
type Ending = (Owner, ServerId, Leg);

/// Looks after the sessions of all tenants until `stopped`. While servers of a tenant are being told, it is the only one
/// that is not looked after.
pub async fn reap(gateway: Arc<Gateway>, stopped: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns = Semaphore::new(TOLD_AT_ONCE_MAX);
    let (gateway, turns) = (&gateway, &turns);
    let (mut being_told, mut telling) = (HashSet::new(), FuturesUnordered::new());
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            Some(tenant) = telling.next() => {
                being_told.remove(&tenant);
                continue;
            }
            () = stopped.cancelled() => return,
        }
        let snapshot = gateway.policies.load();
        for tenant in snapshot.tenants().filter(|tenant| !being_told.contains(&tenant.id)).cloned().collect::<Vec<_>>()
        {
            let taken = tokio::select! {
                taken = take(gateway, &tenant) => taken,
                () = stopped.cancelled() => return,
            };
            if taken.is_empty() {
                continue;
            }
            being_told.insert(tenant.id);
            telling.push(async move {
                let told = taken.into_iter().map(|ending| end(gateway, turns, &tenant, ending));
                stream::iter(told).buffer_unordered(OF_A_TENANT_MAX).collect::<()>().await;
                tenant.id
            });
        }
    }
}

/// What this data plane is to end: sessions of legacy agents with all their legs, and those of modern agents.
async fn take(gateway: &Gateway, tenant: &Tenant) -> Vec<Ending> {
    let mut taken = Vec::new();
    for found in
        [expired_sessions(gateway, tenant).await, gateway.store.expired_bridge_legs(tenant.id, TAKEN_MAX).await]
    {
        match found {
            Ok(found) => taken.extend(found),
            Err(error) => {
                tracing::debug!(tenant = %tenant.name, %error, "sessions whose time is up are left for later");
            }
        }
    }
    taken
}

async fn expired_sessions(gateway: &Gateway, tenant: &Tenant) -> Result<Vec<Ending>, StoreError> {
    let expired = gateway.store.expired_sessions(tenant.id, TAKEN_MAX).await?;
    gateway.metrics.sessions_ended(SessionEnd::Expired, expired.len());
    let mut legs = Vec::new();
    for (id, session) in expired {
        let change = SessionChange::Ended;
        let ended = Announcement::SessionChanged { tenant: tenant.id, session: id, change };
        if let Err(error) = gateway.store.announce(ended).await {
            tracing::debug!(%error, "other data planes were not told that a session is over");
        }
        legs.extend(session.legs.into_iter().map(|(server, leg)| (session.owner, server, leg)));
    }
    Ok(legs)
}

async fn end(gateway: &Arc<Gateway>, turns: &Semaphore, tenant: &Tenant, (owner, server, leg): Ending) {
    // Never closed.
    let _turn = turns.acquire().await;
    tell_server(gateway, tenant, owner, (server, &leg)).await;
}

/// Tells a server that one of its sessions is over, if it is still one of the tenant's.
pub(crate) async fn tell_server(
    gateway: &Arc<Gateway>,
    tenant: &Tenant,
    owner: Owner,
    (server, leg): (ServerId, &Leg),
) {
    let server = tenant.servers.values().find(|known| known.id == server);
    let speech = server.and_then(|server| Speech::of_leg(server, leg)).filter(Speech::has_session);
    let Some(Speech { instance, server, .. }) = speech else { return };
    let headers = legacy_headers(&leg.protocol_version, leg.upstream_session.as_deref());
    let told = match linked::named(&headers) {
        Some(link) => linked::end(gateway, owner, link).await,
        None => {
            let sent = gateway.upstreams.send(&tenant.egress, &instance, Method::DELETE, headers, Bytes::new());
            sent.await.map(drop).map_err(Into::into)
        }
    };
    if let Err(error) = told {
        tracing::debug!(server = %server.name, %error, "the server was not told that its session ended");
    }
}
