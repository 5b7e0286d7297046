//! Checks: instances that were ejected, or that nobody asked for long, are asked whether they live.
//!
//! Any answer below 500 is a sign of life: a server may want credentials that are not at hand, or not know the question. The question is
//! `server/discover`, which changes nothing anywhere and which servers of both eras answer without a session. The answer
//! shows the era too, for which a server that is busy and never fails is asked now and then as well: it may have been
//! upgraded where it is.
//!
//! Invariant: a check never delays a call and never counts as one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderMap, HeaderValue, Method as Verb, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use tokio_util::sync::CancellationToken;

use super::{Upstreams, answer, health::Failure, spoken};
use crate::{
    gateway::Gateway,
    mcp::{
        header,
        message::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION, RequestId, write_request},
        method::Method,
        version::ProtocolVersion,
    },
    policy::{Instance, Server, Snapshot, Tenant},
};

#[cfg(test)]
mod tests;

const EVERY: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(5);
/// Checks that run at once.
const AT_ONCE_MAX: usize = 16;
const ID: &str = "tollgate-check";

/// Checks what is due, until `stopping`.
pub async fn follow(gateway: Arc<Gateway>, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopping.cancelled() => return,
        }
        let snapshot = gateway.policies.load();
        tokio::select! {
            () = round(&gateway.upstreams, &snapshot) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Checks what is due now, and forgets what the policy no longer has.
async fn round(upstreams: &Upstreams, snapshot: &Snapshot) {
    let mut due = Vec::new();
    let (mut known, mut servers) = (HashSet::new(), HashSet::new());
    for tenant in snapshot.tenants() {
        servers.extend(tenant.servers.values().map(|server| server.id));
        for server in tenant.servers.values() {
            for instance in &server.instances {
                known.insert(instance.id);
                let probed = server.era.is_none() && upstreams.instances.take_probe(instance.id);
                if probed || upstreams.instances.is_check_due(instance.id) {
                    due.push((Arc::clone(tenant), Arc::clone(server), Arc::clone(instance)));
                }
            }
        }
    }
    upstreams.instances.retain(|id| known.contains(&id));
    upstreams.credentials.retain(|id| servers.contains(&id));
    upstreams.observed.retain(|id| servers.contains(&id));
    let checks = due.into_iter().map(|(tenant, server, instance)| async move {
        check(upstreams, &tenant, &server, &instance).await;
    });
    stream::iter(checks).buffer_unordered(AT_ONCE_MAX).collect::<()>().await;
}

async fn check(upstreams: &Upstreams, tenant: &Tenant, server: &Server, instance: &Instance) {
    let mut headers = headers();
    upstreams.credentials.present_at_hand(instance, &mut headers);
    let request = super::request(&instance.url, Verb::POST, headers, question());
    let answer = tokio::time::timeout(DEADLINE, upstreams.client(&tenant.egress).request(request)).await;
    let answer = match answer {
        Err(_) => Err(Failure::Timeout),
        Ok(Err(_)) => Err(Failure::Unreachable),
        Ok(Ok(response)) if response.status() >= StatusCode::INTERNAL_SERVER_ERROR => Err(Failure::Unable),
        Ok(Ok(response)) => Ok(response),
    };
    upstreams.instances.checked(instance.id, answer.as_ref().err().copied());
    let Some(response) = answer.ok().filter(|_| server.era.is_none()) else { return };
    let id = RequestId::Text(ID.into());
    let Ok(answered) = tokio::time::timeout(DEADLINE, answer::alone(response, &id, DEADLINE)).await else { return };
    if let Ok(modern) = spoken::is_modern(&answered) {
        upstreams.instances.set_modern(instance.id, modern);
    }
}

/// Of a question that changes nothing anywhere.
pub(super) fn headers() -> HeaderMap {
    let version = HeaderValue::from_static(ProtocolVersion::NEWEST_MODERN.as_str());
    HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::PROTOCOL_VERSION, version),
        (header::METHOD, HeaderValue::from_static("server/discover")),
    ])
}

/// `server/discover`.
pub(super) fn question() -> Bytes {
    let id = RequestId::Text(ID.into());
    write_request(&id, Method::Discover.as_str(), |params| {
        params.object("_meta", |meta| {
            meta.text(META_PROTOCOL_VERSION, ProtocolVersion::NEWEST_MODERN.as_str());
            meta.object(META_CLIENT_CAPABILITIES, |_| {});
        });
    })
}
