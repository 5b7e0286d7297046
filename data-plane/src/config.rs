//! What a data plane is told at its start.
//!
//! Invariant: a [`Config`] is complete and valid; where its values come from is the binary's business.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tollgate_proto::{EnrollmentToken, TrustedProxies};

use crate::metering::TokenCount;

/// Renders metrics of something else that lives in the process, in the OpenMetrics text format.
pub type OtherMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Settings of one data-plane process.
#[derive(Clone)]
pub struct Config {
    /// Where agents connect.
    pub mcp_addr: SocketAddr,
    /// Where health and metrics answer.
    pub ops_addr: SocketAddr,
    /// The control plane's gRPC address, `https://host:7401`.
    pub control_grpc_url: String,
    /// What this data plane joins with; needed only while the state directory holds no certificate that is good.
    pub enrollment_token: Option<EnrollmentToken>,
    /// Redis; several for a cluster, none: sessions and counters live in this process.
    pub redis_urls: Vec<String>,
    /// How long Redis may take before a call is told that sessions and limits cannot be reached.
    pub store_timeout: Duration,
    /// Where the spool, the last policies, and this data plane's key and certificate are kept.
    pub state_dir: PathBuf,
    /// Certificate and key; without them agents are served in plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Proxies in front of it, whose word on where a request is from is taken.
    pub trusted_proxies: TrustedProxies,
    /// How long a server may take to its first byte.
    pub upstream_timeout: Duration,
    /// How tokens are counted.
    pub token_count: TokenCount,
    /// How long running calls may go on after the stop was asked for.
    pub drain_timeout: Duration,
    /// What `/metrics` shows beside the data plane's own: the control plane's, where both share a process.
    pub other_metrics: Option<OtherMetrics>,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("mcp_addr", &self.mcp_addr)
            .field("ops_addr", &self.ops_addr)
            .field("control_grpc_url", &self.control_grpc_url)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}
