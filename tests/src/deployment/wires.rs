//! What data planes are connected by: a wire for each to its control plane, and one to Redis.
//!
//! Invariant: a data plane on wires has no other way.

use std::net::SocketAddr;

use url::Url;

use super::Service;
use crate::relay::Relay;

/// The wires of all data planes, in their order; none where the plan asked for none.
#[derive(Debug, Default)]
pub(super) struct Wires {
    pub(super) to_control_planes: Vec<Relay>,
    pub(super) to_redis: Vec<Relay>,
}

impl Wires {
    /// Leads every data plane over wires of its own.
    pub(super) fn lay(services: &mut [Service]) -> Self {
        let mut wires = Self::default();
        for service in services.iter_mut().filter(|service| service.mcp_url.is_some()) {
            wires.to_control_planes.push(lead(service, "TOLLGATE_CONTROL_URL"));
            wires.to_redis.push(lead(service, "TOLLGATE_REDIS_URL"));
        }
        wires
    }
}

/// Puts a wire before what the variable names.
fn lead(service: &mut Service, variable: &str) -> Relay {
    let named = service.environment.iter_mut().find(|(name, _)| name == variable);
    let (_, value) = named.unwrap_or_else(|| panic!("{} has no {variable}", service.name));
    let mut url = Url::parse(value).unwrap_or_else(|error| panic!("{variable}: {error}"));
    let target: SocketAddr = url.authority().parse().expect("the harness names addresses");
    let relay = Relay::to(target);
    url.set_port(Some(relay.port())).expect("such a URL has a port");
    *value = url.as_str().trim_end_matches('/').to_owned();
    relay
}
