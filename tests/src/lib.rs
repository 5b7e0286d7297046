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
//! - [`InteractiveAgent`] acts for users. People answer in a real [`Browser`], or as a [`Person`] without one, which is
//!   quick. [`OauthClient`] runs the clients of others, which find their way from a 401 by themselves.
//! - [`ScriptedServer`] is a server that answers what the test says and remembers what it saw; [`SpanReceiver`] is a
//!   telemetry backend; [`OidcProvider`] is where people have accounts, [`Site`] where clients publish who they are;
//!   `drivers.rs` runs the official clients. [`ReferenceServer`] has everything that the conformance suite calls by
//!   name; [`Findings`] are what that suite says, to which a [`Balancer`] lends a token.
//! - `postgres.rs`, `redis.rs`, `process.rs`, `cpu.rs`, `conversation.rs`, `relay.rs`, `ports.rs`, `wait.rs` are what those stand
//!   on.
//!
//! Invariant: when a [`Deployment`] goes out of scope, its processes are gone, its database is dropped, and the test
//! has failed if a log held an error, a panic or a secret. Nothing here sleeps: it waits for a condition.

mod agent;
mod authority;
mod balancer;
mod binary;
mod browser;
mod conversation;
mod cpu;
mod deployment;
mod drivers;
mod front;
mod html;
mod http;
mod identity_provider;
mod interactive;
mod keys;
mod mcp;
mod person;
mod ports;
mod postgres;
mod process;
mod redis;
mod reference;
mod relay;
mod rmcp_client;
mod scripted;
mod site;
mod spans;
mod suite;
mod trend;
mod trial;
mod usage;
mod wait;

pub use self::{
    agent::{Agent, AgentDraft},
    authority::Authority,
    balancer::Balancer,
    binary::{CommandOutput, tollgate_binary},
    browser::{Browser, Errand, Journey},
    cpu::cpu_of,
    deployment::{Deployment, Outage, Part, Plan},
    drivers::{NodeClient, OauthClient, PythonClient, RealServer, repository_root, run_browser_tests},
    front::Front,
    http::{Answer, Http},
    identity_provider::{OidcDraft, OidcProvider},
    interactive::{InteractiveAgent, InteractiveDraft, Tokens, code_of},
    keys::KeyPair,
    mcp::{Era, McpAnswer, McpClient, McpStream},
    person::Person,
    ports::free_port,
    postgres::Database,
    process::Process,
    redis::Redis,
    reference::{ReferenceServer, Speaks},
    relay::Relay,
    scripted::{Piece, Reply, Script, ScriptedServer, Seen},
    site::Site,
    spans::{Span, SpanReceiver},
    suite::{Comparison, Conformance, Findings},
    trend::{Bound, Trend},
    trial::TrialClient,
    usage::UsageRecord,
    wait::{eventually, eventually_true},
};
