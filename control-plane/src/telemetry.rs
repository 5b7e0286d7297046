//! Prometheus metrics of the control plane, base units, one registry for each process.
//!
//! Invariant: the number of series is bounded: every label value is one of a fixed set, or the id of a data plane that is
//! connected.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::policy::Connected;

mod revocations;

use revocations::Revocations;

/// 1 ms to about 8 s.
const REQUEST_BUCKETS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0];

/// All metrics of one control plane.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    oauth_requests: Family<OAuthLabels, Counter>,
    oauth_duration: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    audit_dropped: Counter,
    challenges_repeated: Counter,
    jobs: Family<JobLabels, Counter>,
    catalog_reports: Family<OutcomeLabels, Counter>,
    catalog_reads: Family<OutcomeLabels, Counter>,
    catalog_waiting: Gauge<i64, AtomicI64>,
    usage_quarantined: Family<ReasonLabels, Counter>,
    alert_attempts: Family<OutcomeLabels, Counter>,
    alerts_overdue: Gauge<f64, AtomicU64>,
    pool_connections: Gauge<i64, AtomicI64>,
    pool_idle: Gauge<i64, AtomicI64>,
    jobs_ran_at: Gauge<f64, AtomicU64>,
    revocations: Revocations,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OAuthLabels {
    endpoint: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
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
        let oauth_requests = Family::default();
        let oauth_duration = Family::new_with_constructor((|| Histogram::new(REQUEST_BUCKETS)) as fn() -> Histogram);
        let (audit_dropped, challenges_repeated) = (Counter::default(), Counter::default());
        let (jobs, jobs_ran_at) = (Family::default(), Gauge::default());
        let catalog_reports = Family::default();
        let catalog_reads = Family::default();
        let catalog_waiting = Gauge::default();
        let usage_quarantined = Family::default();
        let (alert_attempts, alerts_overdue) = (Family::default(), Gauge::default());
        let (pool_connections, pool_idle) = (Gauge::default(), Gauge::default());
        let help = "Requests to the authorization server, by endpoint and OAuth error code (`ok` when there was none)";
        registry.register("tollgate_oauth_requests", help, oauth_requests.clone());
        registry.register_with_unit(
            "tollgate_oauth_request_duration",
            "Time from an OAuth request to its answer",
            Unit::Seconds,
            oauth_duration.clone(),
        );
        let help =
            "Refused OAuth requests that are missing in the audit log, because they came faster than it is written";
        registry.register("tollgate_audit_refusals_dropped", help, audit_dropped.clone());
        let help = "Authorizations for which a client sent a PKCE challenge that it had sent within the last day";
        registry.register("tollgate_oauth_code_challenges_repeated", help, challenges_repeated.clone());
        registry.register("tollgate_jobs", "Background jobs that ran, by outcome", jobs.clone());
        registry.register_with_unit(
            "tollgate_jobs_ran_at",
            "When this process last finished a round of background jobs, in unix time",
            Unit::Seconds,
            jobs_ran_at.clone(),
        );
        let help = "Lists of servers that data planes have read, by what they were: `news`, `nothing_new`, or `failed` to be written";
        registry.register("tollgate_catalog_reports", help, catalog_reports.clone());
        let help = "Times that a data plane was asked to read what a server offers, by outcome";
        registry.register("tollgate_catalog_reads", help, catalog_reads.clone());
        let help = "Definitions of all tenants that wait for somebody to decide or to look, as of the last half minute";
        registry.register("tollgate_catalog_waiting", help, catalog_waiting.clone());
        let help = "Usage records that were put aside, by why: `unreadable`, `out_of_range`, `future`, `expired`";
        registry.register("tollgate_usage_quarantined", help, usage_quarantined.clone());
        let help = "Attempts to tell a webhook of an alert, by outcome: `delivered`, `failed` and tried again, `given_up`, `gone`";
        registry.register("tollgate_alert_attempts", help, alert_attempts.clone());
        registry.register_with_unit(
            "tollgate_alerts_overdue",
            "For how long an alert has been due that nobody attempts to deliver, of all tenants the longest",
            Unit::Seconds,
            alerts_overdue.clone(),
        );
        registry.register("tollgate_database_connections", "Connections to Postgres", pool_connections.clone());
        registry.register("tollgate_database_connections_idle", "Those that nobody uses now", pool_idle.clone());
        let revocations = Revocations::register(&mut registry);
        Self {
            registry,
            oauth_requests,
            oauth_duration,
            audit_dropped,
            challenges_repeated,
            jobs,
            catalog_reports,
            catalog_reads,
            catalog_waiting,
            usage_quarantined,
            alert_attempts,
            alerts_overdue,
            pool_connections,
            pool_idle,
            jobs_ran_at,
            revocations,
        }
    }

    /// Counts an answer of the authorization server. `outcome` is `ok` or an OAuth error code.
    pub fn oauth_request(&self, endpoint: &'static str, outcome: &'static str, took: Duration) {
        self.oauth_requests.get_or_create(&OAuthLabels { endpoint, outcome }).inc();
        self.oauth_duration.get_or_create(&EndpointLabels { endpoint }).observe(took.as_secs_f64());
    }

    /// Counts a refusal that the audit log will not have.
    pub fn audit_refusal_dropped(&self) {
        self.audit_dropped.inc();
    }

    /// Counts an authorization whose client has sent its PKCE challenge before.
    pub fn code_challenge_repeated(&self) {
        self.challenges_repeated.inc();
    }

    /// Counts a list that a data plane has read.
    pub fn catalog_report(&self, outcome: &'static str) {
        self.catalog_reports.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a question for what a server offers.
    pub fn catalog_read(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.catalog_reads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Notes how many definitions wait for somebody.
    pub fn catalog_waiting(&self, count: i64) {
        self.catalog_waiting.set(count);
    }

    /// Counts a usage record that was put aside.
    pub fn usage_quarantined(&self, reason: &'static str) {
        self.usage_quarantined.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts an attempt to tell a webhook of an alert.
    pub fn alert_attempt(&self, outcome: &'static str) {
        self.alert_attempts.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Notes for how long alerts have been due.
    pub fn alerts_overdue(&self, seconds: f64) {
        self.alerts_overdue.set(seconds);
    }

    /// Counts a run of a background job.
    pub fn job(&self, job: &'static str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.jobs.get_or_create(&JobLabels { job, outcome }).inc();
    }

    /// Notes that all jobs have had their turn.
    pub fn jobs_done(&self) {
        // Milliseconds of unix time fit a double exactly.
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        self.jobs_ran_at.set(chrono::Utc::now().timestamp_millis() as f64 / 1000.0);
    }

    /// Notes how long a data plane took to enforce a revocation of this kind.
    pub fn revocation_enforced(&self, kind: &'static str, took: Duration) {
        self.revocations.enforced(kind, took);
    }

    /// The registry in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self, pool: &sqlx::PgPool, connected: &Connected) -> String {
        self.revocations.set(connected);
        self.pool_connections.set(i64::from(pool.size()));
        self.pool_idle.set(i64::try_from(pool.num_idle()).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}
