//! The end of sessions that nobody ends: their time is up, and the servers behind them are told.
//!
//! Every data plane looks; the store hands each session that is over to one of them.
//!
//! Invariant: a session that is in use is never ended here; a server that cannot be told keeps nobody waiting.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tollgate_proto::ServerId;

use crate::{
    gateway::Gateway,
    policy::Tenant,
    stage::forward::{ask::legacy_headers, speech::Speech},
    store::{Announcement, Leg, Session, SessionChange, SessionId, StoreError},
    telemetry::SessionEnd,
};

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How many sessions of a tenant are ended at a time.
const AT_ONCE_MAX: usize = 64;

/// Looks after the sessions of all tenants until `stopped`.
pub async fn reap(gateway: Arc<Gateway>, stopped: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stopped.cancelled() => return,
        }
        let snapshot = gateway.policies.load();
        for tenant in snapshot.tenants() {
            tokio::select! {
                reaped = reap_tenant(&gateway, tenant) => if let Err(error) = reaped {
                    tracing::debug!(tenant = %tenant.name, %error, "sessions whose time is up are left for later");
                },
                () = stopped.cancelled() => return,
            }
        }
    }
}

async fn reap_tenant(gateway: &Gateway, tenant: &Tenant) -> Result<(), StoreError> {
    loop {
        let expired = gateway.store.expired_sessions(tenant.id, AT_ONCE_MAX).await?;
        let count = expired.len();
        gateway.metrics.sessions_ended(SessionEnd::Expired, count);
        join_all(expired.iter().map(|(id, session)| end(gateway, tenant, id, session))).await;
        if count < AT_ONCE_MAX {
            return Ok(());
        }
    }
}

async fn end(gateway: &Gateway, tenant: &Tenant, id: &SessionId, session: &Session) {
    let change = SessionChange::Ended;
    let ended = Announcement::SessionChanged { tenant: tenant.id, session: *id, change };
    if let Err(error) = gateway.store.announce(ended).await {
        tracing::debug!(%error, "other data planes were not told that a session is over");
    }
    tell_servers(gateway, tenant, session.legs.iter().map(|(server, leg)| (*server, leg))).await;
}

/// Tells the servers that their sessions are over, as far as they are still those of the tenant.
pub(crate) async fn tell_servers(gateway: &Gateway, tenant: &Tenant, legs: impl Iterator<Item = (ServerId, &Leg)>) {
    for (server, leg) in legs {
        let server = tenant.servers.values().find(|known| known.id == server);
        let speech = server.and_then(|server| Speech::of_leg(server, leg)).filter(Speech::has_session);
        let Some(Speech { instance, server, .. }) = speech else { continue };
        let headers = legacy_headers(&leg.protocol_version, leg.upstream_session.as_deref());
        let sent = gateway.upstreams.send(&tenant.egress, &instance, Method::DELETE, headers, Bytes::new());
        if let Err(error) = sent.await {
            tracing::debug!(server = %server.name, %error, "the server was not told that its session ended");
        }
    }
}
