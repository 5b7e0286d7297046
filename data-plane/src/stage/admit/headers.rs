//! `RateLimit-Policy` and `RateLimit`: what limits there are, and what is left (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! Invariant: each policy that one header names the other one names too, in the same order.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    counters::Judged,
    policy::Limit,
    refusal::Unit,
    store::{Charge, Meter, Place, RingState},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Of a call that was judged by these limits; empty where it was by none.
pub fn of(limits: &[&Limit], judged: &Judged) -> HeaderMap {
    let (demand, admission) = (&judged.demand, &judged.admission);
    let rings = demand.charges.iter().zip(&admission.rings).filter_map(|(charge, ring)| rate(limits, charge, ring));
    let places =
        demand.places.iter().zip(&admission.running).filter_map(|(place, run)| concurrency(limits, place, *run));
    let (policies, states): (Vec<_>, Vec<_>) = rings.chain(places).unzip();
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

/// What the limit says, and what is left: by this data plane's share of it, where that is what was judged by.
fn rate(limits: &[&Limit], charge: &Charge, ring: &RingState) -> Option<(String, String)> {
    let limit = limits.iter().find(|limit| limit.id == charge.key.limit)?;
    let (rate, unit, unit_parameter) = match charge.key.meter {
        Meter::Requests(_) => (limit.requests?, Unit::Requests, ""),
        Meter::Tokens => (limit.tokens?, Unit::Tokens, ";qu=\"tokens\""),
    };
    let name = policy_name(&limit.name, unit);
    let policy = format!("\"{name}\";q={}{unit_parameter};w={}", rate.count, rate.window_s);
    let state = match ring.retry_after_s.max(ring.reset_s) {
        0 => format!("\"{name}\";r={}", ring.remaining),
        wait_s => format!("\"{name}\";r={};t={wait_s}", ring.remaining),
    };
    Some((policy, state))
}

fn concurrency(limits: &[&Limit], place: &Place, running: u32) -> Option<(String, String)> {
    let limit = limits.iter().find(|limit| limit.id == place.limit)?;
    let (name, places) = (policy_name(&limit.name, Unit::Places), limit.concurrency?);
    let policy = format!("\"{name}\";q={places};qu=\"concurrent-requests\"");
    Some((policy, format!("\"{name}\";r={}", place.places.saturating_sub(running))))
}
