//! One call, from its arrival to its one record.
//!
//! Invariant: every call writes exactly one record: when it ends, when it is refused, or when it is dropped (then as
//! abandoned). What is written is filled in as the stages learn it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, StatusCode};
use tollgate_proto::{
    CallId,
    usage::v1::{Outcome, UsageRecord},
};

use crate::{
    gateway::Gateway,
    mcp::{
        json::Raw,
        message::{RequestId, Response},
        method::Method,
        version::Era,
    },
    metering::{Charged, Tally, Usage},
    refusal::Refusal,
    telemetry::{metrics::Operation, span::CallSpan},
    usage::Intent,
};

mod closing;
mod learnt;

use closing::Rest;

/// The decision of a call that was let through.
pub const ALLOWED: &str = "allowed";

/// A call that is running.
#[derive(Debug)]
pub struct Call {
    gateway: Arc<Gateway>,
    id: CallId,
    peer: IpAddr,
    started: Instant,
    request_id: Option<RequestId>,
    method: Option<Method>,
    era: Era,
    header_traceparent: Option<String>,
    header_tracestate: Option<String>,
    passed_headers: Arc<HeaderMap>,
    span: Option<CallSpan>,
    record: UsageRecord,
    decision: &'static str,
    intent: Option<Intent>,
    upstream: Duration,
    rate_headers: HeaderMap,
    reads_limits_as_result: bool,
    charged: Option<Charged>,
    tally: Tally,
    cut_off: bool,
    closed: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// For the record.
    pub outcome: Outcome,
    /// Of the answer.
    pub status: StatusCode,
    /// Code of the JSON-RPC error, zero: none.
    pub rpc_error_code: i64,
    /// Bytes of the answer's messages.
    pub output_bytes: u64,
}

impl Call {
    /// A request arrived from this address.
    #[must_use]
    pub fn open(gateway: Arc<Gateway>, peer: IpAddr) -> Self {
        gateway.metrics.began();
        let id = CallId::new();
        Self {
            gateway,
            id,
            peer,
            started: Instant::now(),
            request_id: None,
            method: None,
            era: Era::Modern,
            header_traceparent: None,
            header_tracestate: None,
            passed_headers: Arc::default(),
            span: None,
            record: UsageRecord { call_id: id.to_string(), ..UsageRecord::default() },
            decision: ALLOWED,
            intent: None,
            upstream: Duration::ZERO,
            rate_headers: HeaderMap::new(),
            reads_limits_as_result: false,
            charged: None,
            tally: Tally::default(),
            cut_off: false,
            closed: false,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// The address that it is from.
    #[must_use]
    pub const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The id that the answer is known by, where the request had one that could be read.
    #[must_use]
    pub const fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// What all calls share.
    #[must_use]
    pub const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The era that the call is answered in.
    #[must_use]
    pub const fn era(&self) -> Era {
        self.era
    }

    /// The record as far as it is known.
    #[must_use]
    pub fn record(&self) -> UsageRecord {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut record = self.record.clone();
        self.decision.clone_into(&mut record.decision);
        // An intent is written before it is known whether the server speaks the caller's era.
        record.forwarded = self.intent.is_some() && (self.decision == ALLOWED || self.cut_off);
        record.duration_us = micros(self.started.elapsed());
        record.upstream_us = micros(self.upstream);
        record.input_tokens = self.gateway.meter.expected_input(&record);
        record.trace_id = self.span.as_ref().map(CallSpan::trace_id).unwrap_or_default();
        record
    }

    /// The call's span; opened when first asked for, because the caller's context may be in the body.
    pub fn span(&mut self) -> &CallSpan {
        let (gateway, header, state) = (&self.gateway, &self.header_traceparent, &self.header_tracestate);
        self.span.get_or_insert_with(|| gateway.tracing.call(None, header.as_deref(), state.as_deref()))
    }

    /// The record as far as the stages have filled it in; what is measured is not in it yet.
    pub(crate) const fn known(&self) -> &UsageRecord {
        &self.record
    }

    /// The tokens that it will come to, each way; `None` where it uses none.
    pub(crate) fn expected_usage(&self) -> Option<Usage> {
        self.method?.is_executing().then(|| self.gateway.meter.expected_usage(&self.record))
    }

    /// As many tokens as it will come to, as far as its tool's calls of before tell; `None` where it uses none.
    pub(crate) fn expected_tokens(&self) -> Option<u64> {
        match self.method? {
            // What came of a task is known to nobody before it is handed out.
            Method::TasksGet | Method::TasksResult => Some(0),
            method => method.is_executing().then(|| self.gateway.meter.expect(&self.record)),
        }
    }

    /// Whether an intent of it is on disk, so that it is known of whatever happens.
    pub(crate) const fn is_intended(&self) -> bool {
        self.intent.is_some()
    }

    /// Headers of the HTTP request that servers may be passed.
    pub(crate) const fn passed_headers(&self) -> &Arc<HeaderMap> {
        &self.passed_headers
    }

    /// Whether this is `server/discover`, by which clients find out about eras.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        self.method == Some(Method::Discover)
    }

    pub(crate) const fn rate_headers(&self) -> &HeaderMap {
        &self.rate_headers
    }

    /// Whether the agent is told of this as the result of the tool that it called.
    pub(crate) const fn reads_as_result(&self, refusal: &Refusal) -> bool {
        self.reads_limits_as_result && refusal.is_for_want_of_room()
    }

    /// Notes why the call is turned away; the record is written by [`Call::close`].
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        if let Refusal::LimitReached { id, .. } = refusal {
            self.record.limit_id = id.to_string();
        }
        self.decision = refusal.facts().reason;
        if refusal.is_upstream() {
            // It was let through; that the server failed is the outcome, not the decision.
            self.decision = ALLOWED;
            self.gateway.metrics.upstream_failed(refusal.facts().reason);
        } else if let Some(charged) = self.charged.take() {
            charged.refund(&self.gateway);
        }
    }

    /// Notes why a call that a server is answering already goes no further. It stays charged.
    pub(crate) fn cut_off(&mut self, refusal: &Refusal) {
        self.decision = refusal.facts().reason;
        self.cut_off = true;
    }

    /// The agent got this answer.
    pub(crate) fn answered(&mut self, response: &Response) {
        if let Ok(result) = &response.outcome {
            self.tally.answered(&self.gateway, result);
        }
    }

    /// The agent got this result on a stream that goes on, and that may be of another call.
    pub(crate) fn passed_by(&mut self, result: &Raw) {
        self.tally.passed_by(&self.gateway, result);
    }

    /// Counts the call; ends the span and writes the record as soon as its tokens are known.
    pub fn close(mut self, ending: Ending) {
        self.settle(ending);
    }

    fn settle(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.record.outcome = ending.outcome.into();
        self.record.http_status = i32::from(ending.status.as_u16());
        self.record.rpc_error_code = ending.rpc_error_code;
        self.record.output_bytes = ending.output_bytes;
        let record = self.record();
        self.span();
        self.gateway.metrics.ended(Operation {
            method: self.method,
            server: &record.server,
            tool: &record.tool,
            decision: self.decision,
            tool_ran: matches!(ending.outcome, Outcome::Ok | Outcome::ToolError),
            duration: self.started.elapsed(),
            upstream: self.upstream,
        });
        let passed = std::mem::take(&mut self.tally);
        let rest = Rest {
            // What no server has seen has used nothing.
            tally: if record.forwarded { passed } else { Tally::default() },
            record,
            charged: self.charged.take(),
            intent: self.intent.take(),
            span: self.span.take(),
            request_id: self.request_id.take(),
            peer: self.peer,
            decision: self.decision,
            upstream: self.upstream,
            ended_at: SystemTime::now(),
        };
        closing::close(&self.gateway, rest);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.settle(Ending {
            outcome: Outcome::Abandoned,
            status: StatusCode::OK,
            rpc_error_code: 0,
            output_bytes: self.record.output_bytes,
        });
    }
}
