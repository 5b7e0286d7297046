//! A call that is over, until its tokens are counted: only then its limits are settled and its record is written.
//!
//! Invariant: it is written exactly once: when its tokens are counted, or with what is known by then when nobody waits
//! for that any more. Until then its intent is on disk.

#[cfg(all(test, feature = "exact-tokens"))]
mod tests;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::runtime::Handle;
use tollgate_proto::usage::v1::{Outcome, UsageRecord};

use crate::{
    gateway::Gateway,
    mcp::message::RequestId,
    metering::{Charged, Tally},
    telemetry::{
        metrics::method_label,
        span::{CallAttributes, CallSpan},
    },
    usage::Intent,
};

/// What is left of a call when its answer has gone.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) record: UsageRecord,
    pub(super) tally: Tally,
    pub(super) charged: Option<Charged>,
    pub(super) intent: Option<Intent>,
    pub(super) span: Option<CallSpan>,
    pub(super) request_id: Option<RequestId>,
    pub(super) peer: IpAddr,
    pub(super) decision: &'static str,
    pub(super) upstream: Duration,
    pub(super) ended_at: SystemTime,
}

/// A call that is over and not yet written.
struct Closing {
    gateway: Arc<Gateway>,
    rest: Option<Rest>,
}

/// Writes the call as soon as its tokens are counted; at once where there is nothing to count.
pub(super) fn close(gateway: &Arc<Gateway>, mut rest: Rest) {
    if !rest.tally.count(gateway) {
        return rest.write(gateway);
    }
    if let Some(charged) = &mut rest.charged {
        charged.leave(gateway);
    }
    let mut closing = Closing { gateway: Arc::clone(gateway), rest: Some(rest) };
    let counted = async move {
        if let Some(rest) = &mut closing.rest {
            rest.tally.counted(&closing.gateway).await;
        }
    };
    // Among the calls, so that a stop waits for it. When everything ends already, it is dropped and so written.
    if let Ok(runtime) = Handle::try_current() {
        gateway.calls.spawn_on(counted, &runtime);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.write(&self.gateway);
        }
    }
}

impl Rest {
    fn write(mut self, gateway: &Arc<Gateway>) {
        let usage = std::mem::take(&mut self.tally).write(gateway, &mut self.record);
        if let Some(charged) = self.charged.take() {
            // By our own count, whatever the server says: it does not decide how much an agent may use.
            charged.settle(gateway, usage.input.saturating_add(usage.output), &self.record);
        }
        self.end_span();
        match self.intent {
            Some(intent) => intent.complete(self.record),
            None => {
                let call_id = self.record.call_id.clone();
                if let Err(error) = gateway.spool.record(self.record) {
                    tracing::error!(call_id, %error, "the refusal could not be recorded");
                }
            }
        }
    }

    fn end_span(&self) {
        let Self { record, decision, .. } = self;
        let Some(span) = &self.span else { return };
        let request_id = self.request_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let known = CallAttributes {
            method: &record.method,
            tool: &record.tool,
            server: &record.server,
            protocol_version: &record.protocol_version,
            tenant: &record.tenant_id,
            team: &record.team_id,
            agent: &record.agent_id,
            request_id: &request_id,
            decision,
            call_id: &record.call_id,
            client_address: &self.peer.to_string(),
            error_type: &error_type(record, decision),
            rpc_error_code: record.rpc_error_code,
            http_status: u16::try_from(record.http_status).unwrap_or_default(),
            input_tokens: record.input_tokens,
            output_tokens: record.output_tokens,
            token_method: method_label(record.token_method()),
            upstream_ms: self.upstream.as_secs_f64() * 1_000.0,
        };
        span.end(&known, self.ended_at);
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
