//! Tollgate's data plane: the path of every governed call, from an agent's request to a server's answer.
//!
//! Start reading at `pipeline.rs`: it names the ten stages of a call in their order. Each stage is one module in
//! `stage/`, takes the evidence of the one before and returns its own, or a [`refusal::Refusal`].
//!
//! - `data_plane.rs` starts and stops everything, `listener.rs` accepts connections, `front.rs` tells calls from other
//!   requests, `gateway.rs` is what calls share.
//! - `mcp/` is the protocol without I/O, `bridge/` the translation between its eras; `policy/` what may be done, swapped as a whole; `store/` sessions and
//!   counters; `upstream/` the servers behind; `usage/` the ledger's first half.
//! - `inquiry.rs` answers what operators ask about sessions, over the policy stream.
//! - `membership.rs` is how it belongs to an installation: enrolment, certificates, the connection to the control plane.
//! - `ops.rs` answers health and metrics on a port of its own.
//!
//! Invariants: one call, one policy snapshot, one record. No call waits for the control plane, but one that brings an
//! opaque token never seen before. Nothing is forwarded that the strict reader did not read.

pub mod bridge;
pub mod call;
mod catalog;
pub mod config;
pub mod counters;
pub mod data_plane;
pub mod endpoint;
pub mod front;
pub mod gateway;
mod inquiry;
pub mod listener;
pub mod mcp;
pub mod membership;
mod metadata;
pub mod metering;
pub mod ops;
pub mod pipeline;
pub mod policy;
pub mod reaper;
pub mod refusal;
pub mod seal;
pub mod stage;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod usage;

pub use config::Config;
pub use data_plane::{DataPlane, StartError, start};
