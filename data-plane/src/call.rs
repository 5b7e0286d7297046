//! One call, from its arrival to its one record.
//!
//! Invariant: every call writes exactly one record: when it ends, when it is refused, or when it is dropped (then as
//! abandoned). What is written is filled in as the stages learn it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};
use tollgate_proto::{
    CallId,
    usage::v1::{Outcome, UsageRecord},
};

use crate::{
    gateway::Gateway,
    mcp::{message::RequestId, method::Method, version::Era},
    metering::{Charged, Usage},
    refusal::Refusal,
    telemetry::{
        metrics::Operation,
        span::{CallAttributes, CallSpan},
    },
    usage::Intent,
};

mod learnt;

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
    charged: Option<Charged>,
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
            charged: None,
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
        let Usage { input, output } = self.gateway.meter.estimate(&record);
        (record.input_tokens, record.output_tokens) = (input, output);
        record.trace_id = self.span.as_ref().map(CallSpan::trace_id).unwrap_or_default();
        record
    }

    /// The call's span; opened when first asked for, because the caller's context may be in the body.
    pub fn span(&mut self) -> &CallSpan {
        let (gateway, header, state) = (&self.gateway, &self.header_traceparent, &self.header_tracestate);
        self.span.get_or_insert_with(|| gateway.tracing.call(None, header.as_deref(), state.as_deref()))
    }

    /// As many tokens as it will come to, as far as its tool's calls of before tell.
    pub(crate) fn expected_tokens(&self) -> u64 {
        self.gateway.meter.expect(&self.record)
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

    /// Notes why the call is turned away; the record is written by [`Call::close`].
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
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

    /// Writes the record, ends the span and counts the call.
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
        if matches!(ending.outcome, Outcome::Ok | Outcome::ToolError) && !record.tool.is_empty() {
            self.gateway.meter.learn(&record);
        }
        if let Some(charged) = self.charged.take() {
            charged.settle(&self.gateway, record.input_tokens + record.output_tokens);
        }
        self.span();
        self.end_span(&record);
        self.gateway.metrics.ended(Operation {
            method: self.method,
            server: &record.server,
            tool: &record.tool,
            decision: self.decision,
            tool_ran: matches!(ending.outcome, Outcome::Ok | Outcome::ToolError),
            duration: self.started.elapsed(),
            upstream: self.upstream,
        });
        match self.intent.take() {
            Some(intent) => intent.complete(record),
            None => {
                if let Err(error) = self.gateway.spool.record(record) {
                    tracing::error!(call_id = %self.id, %error, "the refusal could not be recorded");
                }
            }
        }
    }

    fn end_span(&self, record: &UsageRecord) {
        let Some(span) = &self.span else { return };
        let request_id = self.request_id.as_ref().map(ToString::to_string).unwrap_or_default();
        span.end(&CallAttributes {
            method: &record.method,
            tool: &record.tool,
            server: &record.server,
            protocol_version: &record.protocol_version,
            tenant: &record.tenant_id,
            team: &record.team_id,
            agent: &record.agent_id,
            request_id: &request_id,
            decision: self.decision,
            call_id: &record.call_id,
            client_address: &self.peer.to_string(),
            error_type: &error_type(record, self.decision),
            rpc_error_code: record.rpc_error_code,
            http_status: u16::try_from(record.http_status).unwrap_or_default(),
            input_tokens: record.input_tokens,
            output_tokens: record.output_tokens,
            upstream_ms: self.upstream.as_secs_f64() * 1_000.0,
        });
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

/// `error.type` as the conventions have it: the JSON-RPC code, `tool_error`, else what went wrong.
fn error_type(record: &UsageRecord, decision: &str) -> String {
    match record.outcome() {
        Outcome::Ok | Outcome::Unspecified => String::new(),
        Outcome::ToolError => "tool_error".to_owned(),
        Outcome::RpcError => record.rpc_error_code.to_string(),
        Outcome::Refused | Outcome::CutOff => decision.to_owned(),
        Outcome::Timeout => "timeout".to_owned(),
        Outcome::UpstreamError => "upstream_error".to_owned(),
        Outcome::Abandoned => "cancelled".to_owned(),
        Outcome::Unknown => "unknown".to_owned(),
    }
}
