//! What operators see of calls: spans over OTLP and Prometheus metrics.
//!
//! Invariant: every name of a span, an attribute or a metric is written here and nowhere else (the OpenTelemetry
//! conventions for MCP are in development, and their names still move); no agent, session or request is a label.

pub mod metrics;
pub mod span;

pub use metrics::{Metrics, SessionEnd};
pub use span::{CallSpan, Tracing};
