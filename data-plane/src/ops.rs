//! Health and metrics, on a port of their own that agents never see.
//!
//! `/healthz`: the process lives. `/readyz`: it has a policy that is not too old and may be sent calls. `/metrics`:
//! Prometheus.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::OtherMetrics,
    gateway::Gateway,
    policy::{Currency, Tenant},
    telemetry::metrics::{Gauges, InstanceGauge, TenantGauges},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What ends a text of metrics, and so may stand in it once.
const END: &str = "# EOF\n";

/// Answers until `stopping`.
pub async fn serve(
    gateway: Arc<Gateway>,
    others: Option<OtherMetrics>,
    listener: TcpListener,
    stopping: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (gateway, others, stopping) = (Arc::clone(&gateway), others.clone(), stopping.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&gateway, others.as_ref(), &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                () = stopping.cancelled() => {}
            }
        });
    }
}

fn answer(gateway: &Gateway, others: Option<&OtherMetrics>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if gateway.is_ready() => readiness(gateway),
        "/readyz" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: no policy yet, just started, revoked, or stopping\n".to_owned(),
        ),
        "/metrics" => {
            let mut metrics = gateway.metrics.render(&gauges(gateway));
            if let Some(others) = others {
                metrics.truncate(metrics.trim_end_matches(END).len());
                metrics.push_str(&others());
            }
            let mut response = text(StatusCode::OK, metrics);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

/// Ready, and how current the policy is. A data plane that may serve no tenant any more is not ready: others may have
/// heard of their control plane lately.
fn readiness(gateway: &Gateway) -> Response<Full<Bytes>> {
    let freshness = gateway.policies.freshness();
    if freshness.is_current() {
        return text(StatusCode::OK, "ready\n".to_owned());
    }
    let age = freshness.age.map_or_else(|| "unknown".to_owned(), |age| format!("{} s", age.as_secs()));
    let snapshot = gateway.policies.load();
    let is_expired = |tenant: &Arc<Tenant>| tenant.staleness.currency(freshness) == Currency::Expired;
    let (expired, all) = (snapshot.tenants().filter(|tenant| is_expired(tenant)).count(), snapshot.tenants().count());
    let state = format!("policy stale: last heartbeat {age} ago, {expired} of {all} tenants not served\n");
    if all > 0 && expired == all {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{state}"))
    } else {
        text(StatusCode::OK, format!("ready\n{state}"))
    }
}

fn gauges(gateway: &Gateway) -> Gauges {
    let revoked: HashMap<_, _> = gateway.policies.revocations().into_iter().collect();
    let (snapshot, freshness) = (gateway.policies.load(), gateway.policies.freshness());
    let tenants = snapshot.tenants().map(|tenant| {
        let revocations = revoked.get(&tenant.id);
        TenantGauges {
            tenant: tenant.name.clone(),
            policy_revision: tenant.revision,
            currency: tenant.staleness.currency(freshness),
            revocation_revision: revocations.map_or(0, |held| held.revision()),
            revocations: revocations.map_or(0, |held| held.len()),
        }
    });
    let servers = snapshot.tenants().flat_map(|tenant| tenant.servers.values().map(move |server| (tenant, server)));
    let instances = servers.flat_map(|(tenant, server)| {
        server.instances.iter().map(|instance| InstanceGauge {
            tenant: tenant.name.clone(),
            server: server.name.clone(),
            standing: gateway.upstreams.instances().standing(instance.id),
        })
    });
    Gauges {
        spool_records: gateway.spool.depth(),
        spool_bytes: gateway.spool.bytes(),
        counts_waiting: gateway.meter.counts_waiting(),
        policy_age: freshness.age,
        policy_lease: freshness.rest,
        is_store_away: gateway.counters.is_store_away(),
        data_planes: gateway.policies.data_planes(),
        certificate_expires_at: gateway.link.certificate_expires_at(),
        tokens: gateway.tokens.remembered(),
        tenants: tenants.collect(),
        instances: instances.collect(),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
