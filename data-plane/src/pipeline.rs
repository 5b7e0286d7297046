//! The life of one call: the stages in their order, no logic.
//!
//! Stage 1, listen, has happened when a request gets here. Each line below is a stage that demands the evidence of
//! the ones before it; whichever refuses, the call ends in [`settle`](crate::stage::settle) with its one record.

use std::{net::IpAddr, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::{
    call::Call,
    endpoint::Endpoint,
    front::AnswerBody,
    gateway::Gateway,
    refusal::Refusal,
    stage::{
        admit::admit,
        authorize::authorize,
        forward::forward,
        identify::identify,
        read::read,
        record::record,
        relay::{Relayed, relay},
        route::route,
        settle,
    },
};

/// Governs one request to an MCP endpoint, from its first byte to its record.
pub async fn govern(
    gateway: &Arc<Gateway>,
    peer: IpAddr,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let mut call = Call::open(Arc::clone(gateway), peer);
    match run(gateway, &mut call, endpoint, request).await {
        Ok(relayed) => settle::relayed(call, relayed),
        Err(refusal) => settle::refused(call, &refusal),
    }
}

async fn run(
    gateway: &Gateway,
    call: &mut Call,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Result<Relayed, Refusal> {
    let snapshot = gateway.snapshot()?;
    let read = read(call, &snapshot, endpoint, request).await?;
    let caller = identify(call, gateway, &snapshot, &read).await?;
    let route = route(call, &gateway.store, &caller, read).await?;
    let permit = authorize(&caller, &route, gateway.now())?;
    let admitted = admit(call, &gateway.store, &caller, &route, &permit).await?;
    let recorded = record(call, &gateway.spool, &route, admitted)?;
    let forwarded = forward(call, &caller, route, &permit, &recorded).await?;
    relay(gateway, &caller, &permit, forwarded).await
}
