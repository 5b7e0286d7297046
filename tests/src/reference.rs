//! The reference server: everything that the conformance suite calls by name, in both eras or in one of them.
//!
//! Invariant: it is the binary that this very build made, found beside the test executable.

use std::process::Command;

use crate::{binary::built, process::Process};

/// Which eras it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Up to 2025-11-25 and 2026-07-28, on one endpoint.
    Both,
    /// Up to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// The server, running.
#[derive(Debug)]
pub struct ReferenceServer {
    url: String,
    _process: Process,
}

impl ReferenceServer {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(speaks: Speaks) -> Self {
        let mut command = Command::new(built("reference-server"));
        match speaks {
            Speaks::Both => {}
            Speaks::Legacy => drop(command.arg("--legacy-only")),
            Speaks::Modern => drop(command.arg("--modern-only")),
        }
        let mut process = Process::spawn("the reference server", command);
        let line = process.stdout_line("the reference server to listen", |line| line.starts_with("listening")).await;
        let url = line.trim_start_matches("listening on ").trim().to_owned();
        Self { url, _process: process }
    }

    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
