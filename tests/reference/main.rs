//! A complete MCP server on `rmcp`: everything that the conformance suite calls by name, in both eras on one endpoint or
//! in one of them alone.
//!
//! `reference-server --port PORT [--legacy-only | --modern-only]`; the endpoint is `/mcp`. It prints `listening` when it
//! does.
//!
//! - `eras.rs` makes it what servers were before 2026-07-28, or what they are where the past is refused;
//! - `server.rs` is the table of methods; `tools.rs` and below, `library.rs` (resources, prompts, completions) and
//!   `skills.rs` are what it offers;
//! - `questions.rs` asks the client by the means of its era; `listeners.rs` tells whoever subscribed.
//!
//! Invariant: it knows nothing of Tollgate, and one tool means the same in both eras; only the way it asks differs.

// Sampling, roots and logging are deprecated, and still part of every revision that is spoken here.
#![allow(deprecated)]

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, bail};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;

mod eras;
mod library;
mod listeners;
mod questions;
mod server;
mod skills;
mod tools;

use eras::Eras;
use server::{Reference, Shared};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (port, eras) = settings(std::env::args().skip(1))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the port is taken")?;
    let shared = Arc::new(Shared::new(eras));
    let service = StreamableHttpService::new(
        move || Ok(Reference::new(Arc::clone(&shared))),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_legacy_session_mode(eras.legacy()),
    );
    let router = axum::Router::new().route_service("/mcp", service);
    let router = router.layer(axum::middleware::from_fn_with_state(eras, eras::guard));
    println!("listening on http://{}/mcp", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

fn settings(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<(u16, Eras)> {
    let (mut port, mut eras) = (0, Eras::Both);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => port = arguments.next().context("--port takes a number")?.parse()?,
            "--legacy-only" => eras = Eras::LegacyOnly,
            "--modern-only" => eras = Eras::ModernOnly,
            other => bail!("unknown argument {other}"),
        }
    }
    Ok((port, eras))
}
