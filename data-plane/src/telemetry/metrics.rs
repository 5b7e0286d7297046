//! Prometheus metrics, base units, one registry for each data plane.
//!
//! Invariant: the number of series is bounded: a tool becomes a label value only once a server has really run it.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use tollgate_proto::usage::v1::UsageRecord;

use crate::mcp::method::Method;

mod identity;
mod instances;
mod limits;
mod sessions;
mod tokens;

use identity::Identity;
pub use identity::{Gauges, Introspected, Lookup, TenantGauges};
pub use instances::InstanceGauge;
pub use limits::CountedAt;
pub use sessions::SessionEnd;
pub use tokens::{Estimate, method_label};

use limits::Limits;
use sessions::Sessions;
use tokens::Tokens;

/// The buckets that the OpenTelemetry conventions for MCP name, in seconds.
const OPERATION_BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Finer ones for what the gateway itself adds: 50 µs to about 1 s.
const OVERHEAD_BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
const TOOLS_MAX: usize = 2_000;
const OTHER: &str = "_other";

/// All metrics of one data plane.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operation: Family<OperationLabels, Histogram, fn() -> Histogram>,
    overhead: Histogram,
    upstream_errors: Family<UpstreamLabels, Counter>,
    left_out: Family<LeftOutLabels, Counter>,
    in_flight: Gauge<i64, AtomicI64>,
    spool_records: Gauge<i64, AtomicI64>,
    spool_bytes: Gauge<i64, AtomicI64>,
    policy_age_s: Gauge<f64, AtomicU64>,
    policy_lease_s: Gauge<f64, AtomicU64>,
    certificate_expires_at: Gauge,
    identity: Identity,
    instances: instances::Instances,
    sessions: Sessions,
    limits: Limits,
    tokens: Tokens,
    tools: Mutex<HashSet<(String, String)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    mcp_method_name: &'static str,
    tollgate_mcp_server_name: String,
    gen_ai_tool_name: String,
    decision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeftOutLabels {
    tollgate_mcp_server_name: String,
    reason: &'static str,
}

/// One call that ended.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// `None`: the body named no method of MCP.
    pub method: Option<Method>,
    /// Slug of the server, empty where there is none.
    pub server: &'a str,
    /// As the server names it, empty where there is none.
    pub tool: &'a str,
    /// `allowed` or the reason of the refusal.
    pub decision: &'static str,
    /// Whether the server answered with a result, so that the tool's name is known to be one.
    pub tool_ran: bool,
    /// From the request's arrival to the answer's end.
    pub duration: Duration,
    /// The part of it that the server took.
    pub upstream: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let operation = Family::new_with_constructor((|| Histogram::new(OPERATION_BUCKETS)) as fn() -> Histogram);
        let overhead = Histogram::new(OVERHEAD_BUCKETS);
        let (upstream_errors, left_out, in_flight) = (Family::default(), Family::default(), Gauge::default());
        let (spool_records, spool_bytes, policy_age_s) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (policy_lease_s, certificate_expires_at) = (Gauge::default(), Gauge::default());
        registry.register_with_unit(
            "mcp_server_operation_duration",
            "Time from an agent's request to the end of its answer",
            Unit::Seconds,
            operation.clone(),
        );
        registry.register_with_unit(
            "tollgate_gateway_overhead_duration",
            "The part of a forwarded call's time that the server did not take",
            Unit::Seconds,
            overhead.clone(),
        );
        registry.register("tollgate_upstream_errors", "Calls that a server failed, by reason", upstream_errors.clone());
        registry.register(
            "tollgate_servers_left_out",
            "Answers of federated endpoints that lack a server, by server and reason",
            left_out.clone(),
        );
        registry.register("tollgate_calls_in_flight", "Calls that are running", in_flight.clone());
        registry.register("tollgate_spool_records", "Usage records not yet acknowledged", spool_records.clone());
        registry.register_with_unit("tollgate_spool", "Size of the usage spool", Unit::Bytes, spool_bytes.clone());
        registry.register_with_unit(
            "tollgate_policy_age",
            "Time since the last heartbeat of a control plane",
            Unit::Seconds,
            policy_age_s.clone(),
        );
        registry.register_with_unit(
            "tollgate_policy_lease",
            "What is left of the last heartbeat's lease; zero: the policy is stale",
            Unit::Seconds,
            policy_lease_s.clone(),
        );
        registry.register_with_unit(
            "tollgate_certificate_expires_at",
            "When this data plane's certificate ends, in unix time; zero while there is none",
            Unit::Seconds,
            certificate_expires_at.clone(),
        );
        let identity = Identity::register(&mut registry);
        let sessions = Sessions::register(&mut registry);
        let tokens = Tokens::register(&mut registry);
        let instances = instances::Instances::register(&mut registry);
        let limits = Limits::register(&mut registry);
        Self {
            registry,
            operation,
            overhead,
            upstream_errors,
            left_out,
            in_flight,
            spool_records,
            spool_bytes,
            policy_age_s,
            policy_lease_s,
            certificate_expires_at,
            identity,
            instances,
            sessions,
            limits,
            tokens,
            tools: Mutex::default(),
        }
    }

    /// A call began.
    pub fn began(&self) {
        self.in_flight.inc();
    }

    /// A call ended.
    pub fn ended(&self, operation: Operation<'_>) {
        self.in_flight.dec();
        let labels = OperationLabels {
            mcp_method_name: operation.method.map_or(OTHER, Method::as_str),
            tollgate_mcp_server_name: operation.server.to_owned(),
            gen_ai_tool_name: self.tool_label(&operation),
            decision: operation.decision,
        };
        self.operation.get_or_create(&labels).observe(operation.duration.as_secs_f64());
        if !operation.upstream.is_zero() {
            self.overhead.observe(operation.duration.saturating_sub(operation.upstream).as_secs_f64());
        }
    }

    /// A token was looked up.
    pub fn looked_up(&self, lookup: Lookup) {
        match lookup {
            Lookup::Hit => self.identity.hits.inc(),
            Lookup::Miss => self.identity.misses.inc(),
        };
    }

    /// A token was introspected.
    pub fn introspected(&self, result: Introspected) {
        match result {
            Introspected::Active => self.identity.active.inc(),
            Introspected::Inactive => self.identity.inactive.inc(),
            Introspected::Failed => self.identity.failed.inc(),
        };
    }

    /// A session was opened.
    pub fn session_opened(&self) {
        self.sessions.opened.inc();
    }

    /// So many sessions ended.
    pub fn sessions_ended(&self, how: SessionEnd, count: usize) {
        self.sessions.ended(how, count as u64);
    }

    /// A stream was opened.
    pub fn stream_opened(&self) {
        self.sessions.streams.inc();
    }

    /// A stream is over.
    pub fn stream_closed(&self) {
        self.sessions.streams.dec();
    }

    /// A server failed a call.
    pub fn upstream_failed(&self, reason: &'static str) {
        self.upstream_errors.get_or_create(&UpstreamLabels { reason }).inc();
    }

    /// A call's tokens are known.
    pub fn tokens(&self, record: &UsageRecord) {
        self.tokens.counted(record);
    }

    /// Tokens were estimated that were to be counted.
    pub fn estimated(&self, why: Estimate) {
        self.tokens.estimated(why);
    }

    /// A server reported usage, which was taken or makes no sense.
    pub fn usage_reported(&self, is_taken: bool) {
        self.tokens.reported(is_taken);
    }

    /// An answer of a federated endpoint lacks a server.
    pub fn left_out(&self, server: &str, reason: &'static str) {
        let labels = LeftOutLabels { tollgate_mcp_server_name: server.to_owned(), reason };
        self.left_out.get_or_create(&labels).inc();
    }

    /// The text that Prometheus scrapes (OpenMetrics 1.0), with the gauges as they are now.
    #[must_use]
    pub fn render(&self, gauges: &Gauges) -> String {
        self.spool_records.set(i64::try_from(gauges.spool_records).unwrap_or(i64::MAX));
        self.spool_bytes.set(i64::try_from(gauges.spool_bytes).unwrap_or(i64::MAX));
        self.policy_age_s.set(gauges.policy_age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        self.policy_lease_s.set(gauges.policy_lease.as_secs_f64());
        self.certificate_expires_at.set(gauges.certificate_expires_at.unwrap_or_default());
        self.tokens.waiting.set(i64::try_from(gauges.counts_waiting).unwrap_or(i64::MAX));
        self.identity.set(gauges);
        self.limits.set(gauges);
        self.instances.set(&gauges.instances);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    /// Tool names are whatever an agent writes: only one that a server ran may become a series.
    fn tool_label(&self, operation: &Operation<'_>) -> String {
        if operation.tool.is_empty() {
            return String::new();
        }
        let key = (operation.server.to_owned(), operation.tool.to_owned());
        // A set is whole after any panic elsewhere.
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        if operation.tool_ran && tools.len() < TOOLS_MAX {
            tools.insert(key.clone());
        }
        if tools.contains(&key) { key.1 } else { OTHER.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(tool: &'a str, decision: &'static str, tool_ran: bool) -> Operation<'a> {
        Operation {
            method: Some(Method::ToolsCall),
            server: "demo",
            tool,
            decision,
            tool_ran,
            duration: Duration::from_millis(30),
            upstream: Duration::from_millis(29),
        }
    }

    #[test]
    fn a_tool_is_a_label_only_once_a_server_ran_it() {
        let metrics = Metrics::new();
        for operation in [call("made-up", "tool_not_granted", false), call("echo", "allowed", true)] {
            metrics.began();
            metrics.ended(operation);
        }
        let text = metrics.render(&Gauges::default());
        assert!(!text.contains("made-up"), "{text}");
        assert!(text.contains(r#"gen_ai_tool_name="echo",decision="allowed"} 1"#), "{text}");
        assert!(text.contains(r#"gen_ai_tool_name="_other",decision="tool_not_granted"} 1"#), "{text}");
        assert!(text.contains("tollgate_calls_in_flight 0"), "{text}");
    }
}
