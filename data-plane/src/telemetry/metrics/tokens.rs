//! Tokens: how many, how they were counted, and where they could only be estimated.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tollgate_proto::usage::v1::{TokenMethod, UsageRecord};

/// Why tokens were estimated that were to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimate {
    /// Too many calls waited to be counted.
    QueueFull,
    /// The call ended, and its count took too long.
    Late,
    /// The counter failed.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    direction: &'static str,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EstimateLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    result: &'static str,
}

/// The series.
#[derive(Debug)]
pub(super) struct Tokens {
    counted: Family<TokenLabels, Counter>,
    estimates: Family<EstimateLabels, Counter>,
    reports: Family<ReportLabels, Counter>,
    pub(super) waiting: Gauge<i64, AtomicI64>,
}

impl Tokens {
    /// All at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (counted, estimates, reports) = (Family::default(), Family::default(), Family::default());
        let waiting = Gauge::default();
        registry.register(
            "tollgate_tokens",
            "Tokens of calls, by direction and by how they were counted",
            counted.clone(),
        );
        registry.register(
            "tollgate_token_estimates",
            "Times that tokens were estimated because they could not be counted, by reason",
            estimates.clone(),
        );
        registry.register(
            "tollgate_usage_reports",
            "Usage that trusted servers reported, taken or malformed",
            reports.clone(),
        );
        registry.register("tollgate_token_count_queue", "Calls that wait for their count", waiting.clone());
        let tokens = Self { counted, estimates, reports, waiting };
        for reason in [Estimate::QueueFull, Estimate::Late, Estimate::Failed] {
            tokens.estimates.get_or_create(&EstimateLabels { reason: reason.as_str() }).inc_by(0);
        }
        for result in ["taken", "malformed"] {
            tokens.reports.get_or_create(&ReportLabels { result }).inc_by(0);
        }
        tokens
    }

    /// Those of one call.
    pub(super) fn counted(&self, record: &UsageRecord) {
        let method = method_label(record.token_method());
        for (direction, tokens) in [("input", record.input_tokens), ("output", record.output_tokens)] {
            if tokens > 0 {
                self.counted.get_or_create(&TokenLabels { direction, method }).inc_by(tokens);
            }
        }
    }

    pub(super) fn estimated(&self, why: Estimate) {
        self.estimates.get_or_create(&EstimateLabels { reason: why.as_str() }).inc();
    }

    pub(super) fn reported(&self, is_taken: bool) {
        let result = if is_taken { "taken" } else { "malformed" };
        self.reports.get_or_create(&ReportLabels { result }).inc();
    }
}

/// How tokens were counted, as series and spans name it.
#[must_use]
pub const fn method_label(method: TokenMethod) -> &'static str {
    match method {
        TokenMethod::Exact => "exact",
        TokenMethod::ServerReported => "server_reported",
        TokenMethod::Estimated | TokenMethod::Unspecified => "estimated",
    }
}

impl Estimate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}
