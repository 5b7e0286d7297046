//! The life of one call: the stages in their order, no logic.
//!
//! Stage 1, listen, has happened when a request gets here. Each line below is a stage that demands the evidence of
//! the ones before it; whichever refuses, the call ends in [`settle`](crate::stage::settle) with its one record. A body
//! of several messages is several calls, each of which has this life.

mod batch;

use std::{net::IpAddr, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::{
    call::Call,
    endpoint::Endpoint,
    front::AnswerBody,
    gateway::Gateway,
    policy::Snapshot,
    refusal::Refusal,
    stage::{
        admit::admit,
        authorize::authorize,
        currency::require_current,
        forward::forward,
        identify::identify,
        read::{Body, Read, read},
        record::record,
        relay::{Relayed, relay},
        route::route,
        settle,
    },
};

/// Governs one request to an MCP endpoint, from its first byte to its record. `peer` is who sent it.
pub async fn govern(
    gateway: &Arc<Gateway>,
    peer: IpAddr,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let mut call = Call::open(Arc::clone(gateway), peer);
    match receive(gateway, &mut call, endpoint, request).await {
        Ok((snapshot, Body::One(read))) => govern_one(gateway, call, &snapshot, read).await,
        Ok((snapshot, Body::Several(batch))) => batch::govern(gateway, call, snapshot, batch).await,
        Err(refusal) => settle::refused(call, &refusal),
    }
}

/// Governs one message that was read, or the end of a session.
async fn govern_one(gateway: &Arc<Gateway>, mut call: Call, snapshot: &Snapshot, read: Read) -> Response<AnswerBody> {
    match run(gateway, &mut call, snapshot, read).await {
        Ok(relayed) => settle::relayed(call, relayed),
        Err(refusal) => settle::refused(call, &refusal),
    }
}

async fn receive(
    gateway: &Gateway,
    call: &mut Call,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Result<(Arc<Snapshot>, Body), Refusal> {
    let snapshot = gateway.snapshot()?;
    let body = read(call, &snapshot, endpoint, request).await?;
    Ok((snapshot, body))
}

async fn run(gateway: &Gateway, call: &mut Call, snapshot: &Snapshot, read: Read) -> Result<Relayed, Refusal> {
    let caller = identify(call, gateway, snapshot, &read).await?;
    let route = route(call, &gateway.store, &caller, read).await?;
    let permit = authorize(&caller, &route, gateway.now())?;
    let current = require_current(&gateway.policies, &caller, &route)?;
    let admitted = admit(call, gateway, &caller, &route, &permit, &current).await?;
    let recorded = record(call, &gateway.spool, &route, admitted)?;
    let forwarded = forward(call, &caller, route, &permit, &recorded).await?;
    relay(gateway, &caller, &permit, forwarded).await
}
