//! `RateLimit-Policy` and `RateLimit`: what limits there are, and what is left (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! Invariant: each policy that one header names the other one names too, in the same order.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    policy::Limit,
    refusal::Unit,
    store::{Admission, Charge, Demand, Meter, RingState},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Of a call that was judged by these limits; empty where it was by none.
pub fn of(limits: &[&Limit], demand: &Demand, admission: &Admission) -> HeaderMap {
    let (mut policies, mut states) = (Vec::new(), Vec::new());
    let name_of = |id| limits.iter().find(|limit| limit.id == id).map(|limit| limit.name.as_str()).unwrap_or_default();
    for (charge, ring) in demand.charges.iter().zip(&admission.rings) {
        let unit = match charge.key.meter {
            Meter::Requests(_) => Unit::Requests,
            Meter::Tokens => Unit::Tokens,
        };
        let name = policy_name(name_of(charge.key.limit), unit);
        policies.push(policy(&name, charge, unit));
        states.push(state(&name, ring));
    }
    for (place, running) in demand.places.iter().zip(&admission.running) {
        let name = policy_name(name_of(place.limit), Unit::Places);
        policies.push(format!("\"{name}\";q={};qu=\"concurrent-requests\"", place.places));
        states.push(format!("\"{name}\";r={}", place.places.saturating_sub(*running)));
    }
    let mut headers = HeaderMap::new();
    if policies.is_empty() {
        return headers;
    }
    // A limit's name is a label of RFC 1123: nothing in it needs escaping.
    for (header, value) in [(RATE_LIMIT_POLICY, policies.join(", ")), (RATE_LIMIT, states.join(", "))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
    headers
}

/// By which a limit on this is known. Names of limits have no dots.
pub fn policy_name(limit: &str, unit: Unit) -> String {
    match unit {
        Unit::Requests => limit.to_owned(),
        Unit::Tokens => format!("{limit}.tokens"),
        Unit::Places => format!("{limit}.concurrency"),
    }
}

fn policy(name: &str, charge: &Charge, unit: Unit) -> String {
    let unit = if unit == Unit::Tokens { ";qu=\"tokens\"" } else { "" };
    format!("\"{name}\";q={}{unit};w={}", charge.limit, charge.window_s)
}

fn state(name: &str, ring: &RingState) -> String {
    match ring.retry_after_s.max(ring.reset_s) {
        0 => format!("\"{name}\";r={}", ring.remaining),
        wait_s => format!("\"{name}\";r={};t={wait_s}", ring.remaining),
    }
}
