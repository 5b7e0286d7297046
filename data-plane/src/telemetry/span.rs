//! One server span for each call and one client span for each upstream request (OpenTelemetry semantic conventions
//! for MCP, status Development), exported over OTLP when an endpoint is configured.
//!
//! Invariant: every call has a valid trace context, exported or not, so that what is forwarded always carries one.

use std::{collections::HashMap, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    runtime,
    trace::{Sampler, SdkTracer, SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor as Batches},
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Makes spans.
#[derive(Debug)]
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of one call, with its context.
#[derive(Debug, Clone)]
pub struct CallSpan {
    context: Context,
}

/// The span of one upstream request; ends when dropped.
#[derive(Debug)]
pub struct UpstreamSpan {
    context: Context,
}

/// What is known of a call when it ends. Texts may be empty: then there is no attribute.
#[derive(Debug, Clone, Copy)]
pub struct CallAttributes<'a> {
    /// `mcp.method.name`.
    pub method: &'a str,
    /// `gen_ai.tool.name`.
    pub tool: &'a str,
    /// `tollgate.mcp.server.name`.
    pub server: &'a str,
    /// `mcp.protocol.version`.
    pub protocol_version: &'a str,
    /// `tollgate.tenant.id`.
    pub tenant: &'a str,
    /// `tollgate.team.id`.
    pub team: &'a str,
    /// `tollgate.agent.id`.
    pub agent: &'a str,
    /// `jsonrpc.request.id`.
    pub request_id: &'a str,
    /// `tollgate.decision`: `allowed` or the reason.
    pub decision: &'a str,
    /// `tollgate.call.id`.
    pub call_id: &'a str,
    /// `client.address`: who sent it, through trusted proxies.
    pub client_address: &'a str,
    /// `error.type`; empty: the call went well.
    pub error_type: &'a str,
    /// `rpc.response.status_code`; zero: no JSON-RPC error.
    pub rpc_error_code: i64,
    /// `http.response.status_code`.
    pub http_status: u16,
    /// `tollgate.mcp.tokens.input`.
    pub input_tokens: u64,
    /// `tollgate.mcp.tokens.output`.
    pub output_tokens: u64,
    /// `tollgate.mcp.tokens.method`.
    pub token_method: &'static str,
    /// `tollgate.upstream.duration_ms`.
    pub upstream_ms: f64,
}

/// JSON-RPC codes that are the caller's mistake: no error of the server that answers with them.
const CALLER_ERRORS: [i64; 5] = [-32700, -32600, -32601, -32602, -32002];

impl Tracing {
    /// Exports as the OpenTelemetry environment variables say; without an endpoint, makes contexts only.
    #[must_use]
    pub fn from_environment() -> Self {
        let configured = ENDPOINTS.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let resource = Resource::builder().with_service_name("tollgate-data-plane").build();
        let builder = SdkTracerProvider::builder().with_resource(resource);
        let exporter = configured.then(|| opentelemetry_otlp::SpanExporter::builder().build());
        let provider = match exporter {
            Some(Ok(exporter)) => {
                builder.with_span_processor(Batches::builder(exporter, runtime::Tokio).build()).build()
            }
            Some(Err(error)) => {
                tracing::error!(%error, "spans cannot be exported: check the OTEL_EXPORTER_OTLP_… variables");
                builder.with_sampler(Sampler::AlwaysOff).build()
            }
            None => builder.with_sampler(Sampler::AlwaysOff).build(),
        };
        Self { tracer: provider.tracer("tollgate"), provider }
    }

    /// Opens a call's span under the caller's context: `params._meta` first, else the HTTP header.
    #[must_use]
    pub fn call(&self, meta: Option<&str>, header: Option<&str>, tracestate: Option<&str>) -> CallSpan {
        let parent = [meta, header].into_iter().flatten().map(|traceparent| extract(traceparent, tracestate));
        let parent = parent.into_iter().find(|context| context.span().span_context().is_valid()).unwrap_or_default();
        let span =
            self.tracer.span_builder("mcp").with_kind(SpanKind::Server).start_with_context(&self.tracer, &parent);
        CallSpan { context: parent.with_span(span) }
    }

    /// For what Tollgate asks of servers beside all calls: each request begins a trace of its own.
    #[must_use]
    pub fn aside(&self) -> CallSpan {
        CallSpan { context: Context::new() }
    }

    /// Opens the span of one request to a server.
    #[must_use]
    pub fn upstream(&self, call: &CallSpan, method: &str, tool: &str, address: Option<(&str, u16)>) -> UpstreamSpan {
        let mut attributes = vec![KeyValue::new("mcp.method.name", method.to_owned())];
        if !tool.is_empty() {
            attributes.push(KeyValue::new("gen_ai.tool.name", tool.to_owned()));
        }
        if let Some((host, port)) = address {
            attributes.push(KeyValue::new("server.address", host.to_owned()));
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        let span = self
            .tracer
            .span_builder(span_name(method, tool))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &call.context);
        UpstreamSpan { context: call.context.with_span(span) }
    }

    /// Sends what is still queued.
    pub async fn shutdown(&self) {
        let provider = self.provider.clone();
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

impl CallSpan {
    /// The trace's id in hex.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.context.span().span_context().trace_id().to_string()
    }

    /// The call came to a toolset's endpoint.
    pub fn at_toolset(&self, toolset: &str) {
        self.context.span().set_attribute(KeyValue::new("tollgate.mcp.toolset.name", toolset.to_owned()));
    }

    /// The answer lacks a server.
    pub fn left_out(&self, server: &str, reason: &'static str) {
        let attributes =
            vec![KeyValue::new("tollgate.mcp.server.name", server.to_owned()), KeyValue::new("error.type", reason)];
        self.context.span().add_event("tollgate.server.left_out", attributes);
    }

    /// Closes the span with all that is known; it ended then.
    pub fn end(&self, known: &CallAttributes<'_>, at: SystemTime) {
        let span = self.context.span();
        if !span.is_recording() {
            return;
        }
        span.update_name(span_name(known.method, known.tool));
        span.set_attributes(attributes(known));
        let caller_error = CALLER_ERRORS.contains(&known.rpc_error_code);
        if !known.error_type.is_empty() && !caller_error {
            span.set_status(Status::error(known.error_type.to_owned()));
        }
        span.end_with_timestamp(at);
    }
}

impl UpstreamSpan {
    /// `traceparent` and `tracestate` (W3C Trace Context) for what is sent.
    #[must_use]
    pub fn propagated(&self) -> (String, Option<String>) {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.context, &mut carrier);
        let tracestate = carrier.remove(TRACESTATE).filter(|state| !state.is_empty());
        (carrier.remove(TRACEPARENT).unwrap_or_default(), tracestate)
    }

    /// The request failed; `kind` is `error.type`.
    pub fn fail(&self, kind: &str) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new("error.type", kind.to_owned()));
        span.set_status(Status::error(kind.to_owned()));
    }
}

impl Drop for UpstreamSpan {
    fn drop(&mut self) {
        self.context.span().end();
    }
}

/// The name that the conventions give: method, and tool where there is one.
fn span_name(method: &str, tool: &str) -> String {
    if tool.is_empty() { method.to_owned() } else { format!("{method} {tool}") }
}

fn extract(traceparent: &str, tracestate: Option<&str>) -> Context {
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    carrier.extend(tracestate.map(|state| (TRACESTATE.to_owned(), state.to_owned())));
    TraceContextPropagator::new().extract(&carrier)
}

fn attributes(known: &CallAttributes<'_>) -> Vec<KeyValue> {
    let texts = [
        ("mcp.method.name", known.method),
        ("gen_ai.tool.name", known.tool),
        ("gen_ai.operation.name", if known.tool.is_empty() { "" } else { "execute_tool" }),
        ("tollgate.mcp.server.name", known.server),
        ("mcp.protocol.version", known.protocol_version),
        ("tollgate.tenant.id", known.tenant),
        ("tollgate.team.id", known.team),
        ("tollgate.agent.id", known.agent),
        ("jsonrpc.request.id", known.request_id),
        ("tollgate.decision", known.decision),
        ("tollgate.call.id", known.call_id),
        ("client.address", known.client_address),
        ("error.type", known.error_type),
    ];
    let mut all: Vec<KeyValue> = texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| KeyValue::new(key, text.to_owned()))
        .collect();
    if known.rpc_error_code != 0 {
        all.push(KeyValue::new("rpc.response.status_code", known.rpc_error_code.to_string()));
    }
    all.extend([
        KeyValue::new("network.transport", "tcp"),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("http.response.status_code", i64::from(known.http_status)),
        KeyValue::new("tollgate.mcp.tokens.input", i64::try_from(known.input_tokens).unwrap_or(i64::MAX)),
        KeyValue::new("tollgate.mcp.tokens.output", i64::try_from(known.output_tokens).unwrap_or(i64::MAX)),
        KeyValue::new("tollgate.mcp.tokens.method", known.token_method),
        KeyValue::new("tollgate.upstream.duration_ms", known.upstream_ms),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn a_call_continues_the_trace_of_its_meta() {
        let tracing = Tracing::from_environment();
        let call = tracing.call(Some(PARENT), None, None);
        assert_eq!(call.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let (traceparent, _) = tracing.upstream(&call, "tools/call", "echo", None).propagated();
        assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{traceparent}");
        assert!(!traceparent.contains("b7ad6b7169203331"), "the parent of what is sent is our own span");
    }

    #[tokio::test]
    async fn a_call_without_or_with_a_broken_context_begins_a_trace() {
        let tracing = Tracing::from_environment();
        for given in [None, Some("garbage"), Some("00-00000000000000000000000000000000-0000000000000000-00")] {
            let call = tracing.call(given, None, None);
            let (traceparent, _) = tracing.upstream(&call, "tools/list", "", None).propagated();
            assert_eq!(traceparent.len(), PARENT.len(), "{traceparent}");
            assert_ne!(call.trace_id(), "0".repeat(32));
        }
    }
}
