//! The harness of the end-to-end stories: it starts the real `tollgate` binary on real Postgres and real Redis,
//! with servers under the test's control behind it, and drives it as agents, administrators and browsers do.
//!
//! A story reads like this:
//!
//! ```no_run
//! # use tollgate_tests::{Deployment, Reply, ScriptedServer};
//! # use serde_json::json;
//! # async fn story() {
//! let tollgate = Deployment::dev().start().await;
//! let server = ScriptedServer::modern().tool("add", Reply::text("3")).start().await;
//! tollgate.register("calculator", &server).await;
//! let agent = tollgate.agent("ci").grant("calculator:add").create().await;
//! let answer = agent.at_server("calculator").await.call("add", json!({"a": 1, "b": 2})).await;
//! assert_eq!(answer.text(), "3");
//! # }
//! ```
//!
//! Where things are:
//!
//! - [`Deployment`] (`deployment.rs`) is the product, as `tollgate dev` or as separate processes; [`Agent`] gets
//!   tokens; [`McpClient`] speaks both eras of the protocol byte by byte; [`CommandOutput`] is what a client command did.
//! - [`ScriptedServer`] is a server that answers what the test says and remembers what it saw; [`SpanReceiver`] is a
//!   telemetry backend; `drivers.rs` runs the official clients.
//! - `postgres.rs`, `redis.rs`, `process.rs`, `ports.rs`, `wait.rs` are what those stand on.
//!
//! Invariant: when a [`Deployment`] goes out of scope, its processes are gone, its database is dropped, and the test
//! has failed if a log held an error, a panic or a secret. Nothing here sleeps: it waits for a condition.

mod agent;
mod binary;
mod deployment;
mod drivers;
mod http;
mod mcp;
mod ports;
mod postgres;
mod process;
mod redis;
mod scripted;
mod spans;
mod usage;
mod wait;

pub use self::{
    agent::{Agent, AgentDraft},
    binary::{CommandOutput, tollgate_binary},
    deployment::{Deployment, Plan},
    drivers::{NodeClient, PythonClient, RealServer, repository_root, run_browser_tests},
    http::{Answer, Http},
    mcp::{Era, McpAnswer, McpClient, McpStream},
    ports::free_port,
    postgres::Database,
    process::Process,
    redis::Redis,
    scripted::{Piece, Reply, ScriptedServer, Seen},
    spans::{Span, SpanReceiver},
    usage::UsageRecord,
    wait::{eventually, eventually_true},
};
