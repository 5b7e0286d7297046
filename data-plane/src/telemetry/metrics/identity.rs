//! What is measured about tokens, revocations and the policy that calls are decided by.

use std::{sync::atomic::AtomicI64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tollgate_proto::Name;

use super::InstanceGauge;
use crate::policy::Currency;

/// Whether a token was remembered.
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// It was.
    Hit,
    /// It has to be verified, introspected, or is known to be none.
    Miss,
}

/// What became of asking the control plane about an opaque token.
#[derive(Debug, Clone, Copy)]
pub enum Introspected {
    /// It is good.
    Active,
    /// It is none.
    Inactive,
    /// There was no answer.
    Failed,
}

/// What is measured by looking, when somebody asks.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Usage records not yet acknowledged.
    pub spool_records: u64,
    /// Bytes that they take.
    pub spool_bytes: u64,
    /// Calls that wait for their tokens to be counted.
    pub counts_waiting: usize,
    /// Since the last heartbeat; `None`: since longer than anybody knows.
    pub policy_age: Option<Duration>,
    /// What is left of its lease.
    pub policy_lease: Duration,
    /// Whether the store of counters and sessions cannot be reached.
    pub is_store_away: bool,
    /// How many data planes there are.
    pub data_planes: u32,
    /// When the certificate for the control plane ends, in unix seconds; none while there is none.
    pub certificate_expires_at: Option<i64>,
    /// Good tokens that are remembered.
    pub tokens: usize,
    /// Every tenant that is served.
    pub tenants: Vec<TenantGauges>,
    /// Every instance of every server.
    pub instances: Vec<InstanceGauge>,
}

/// What one tenant's calls are decided by.
#[derive(Debug)]
pub struct TenantGauges {
    /// Its name.
    pub tenant: Name,
    /// Which policy is in force.
    pub policy_revision: u64,
    /// What that is still good for.
    pub currency: Currency,
    /// Up to where revocations are.
    pub revocation_revision: u64,
    /// How many of them speak of something still.
    pub revocations: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

type PerTenant = Family<TenantLabels, Gauge<i64, AtomicI64>>;

/// The series. Counters are held one by one, so that counting looks nothing up.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) active: Counter,
    pub(super) inactive: Counter,
    pub(super) failed: Counter,
    tokens: Gauge<i64, AtomicI64>,
    policy_revision: PerTenant,
    policy_staleness: PerTenant,
    revocation_revision: PerTenant,
    revocations: PerTenant,
}

impl Identity {
    /// All at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (lookups, introspections) = (Family::default(), Family::default());
        let of = |family: &Family<ResultLabels, Counter>, result| family.get_or_create_owned(&ResultLabels { result });
        let identity = Self {
            hits: of(&lookups, "hit"),
            misses: of(&lookups, "miss"),
            active: of(&introspections, "active"),
            inactive: of(&introspections, "inactive"),
            failed: of(&introspections, "failed"),
            tokens: Gauge::default(),
            policy_revision: PerTenant::default(),
            policy_staleness: PerTenant::default(),
            revocation_revision: PerTenant::default(),
            revocations: PerTenant::default(),
        };
        registry.register("tollgate_token_lookups", "Tokens looked up, by whether they were remembered", lookups);
        let help = "Opaque tokens that the control plane was asked about, by its answer";
        registry.register("tollgate_introspections", help, introspections);
        registry.register("tollgate_tokens_remembered", "Good tokens that are remembered", identity.tokens.clone());
        let help = "Revision of the policy in force";
        registry.register("tollgate_policy_revision", help, identity.policy_revision.clone());
        let help = "What the policy is good for: 0 everything, 1 what destroys nothing (stale), 2 nothing (expired)";
        registry.register("tollgate_policy_staleness", help, identity.policy_staleness.clone());
        let help = "Revision up to which revocations are in force";
        registry.register("tollgate_revocation_revision", help, identity.revocation_revision.clone());
        let help = "Revocations that are held";
        registry.register("tollgate_revocations_held", help, identity.revocations.clone());
        identity
    }

    /// As it is now. Tenants that are served no more leave no series.
    pub(super) fn set(&self, gauges: &Gauges) {
        self.tokens.set(i64::try_from(gauges.tokens).unwrap_or(i64::MAX));
        for family in [&self.policy_revision, &self.policy_staleness, &self.revocation_revision, &self.revocations] {
            family.clear();
        }
        for TenantGauges { tenant, policy_revision, currency, revocation_revision, revocations } in &gauges.tenants {
            let labels = TenantLabels { tenant: tenant.to_string() };
            let set = |family: &PerTenant, value: u64| {
                family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.policy_revision, *policy_revision);
            set(&self.policy_staleness, *currency as u64);
            set(&self.revocation_revision, *revocation_revision);
            set(&self.revocations, *revocations as u64);
        }
    }
}
