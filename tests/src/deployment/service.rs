//! One process of a deployment, and how to start it again.
//!
//! Invariant: what it logged is kept over all its runs.

use http::Method;

use crate::{binary::tollgate_binary, http::Http, process::Process, wait::eventually_true};
use std::process::Command;

/// A process, running or not.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Base URL of its `/readyz` and `/metrics`.
    pub(super) ops_url: String,
    /// Base URL of its MCP listener; the control plane has none.
    pub(super) mcp_url: Option<String>,
    pub(super) process: Option<Process>,
    /// What earlier runs of it logged.
    pub(super) log: String,
}

impl Service {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Starts it and does not wait.
    pub(super) fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = Command::new(tollgate_binary());
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::spawn(&self.name, command));
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&mut self) {
        let process = self.process.as_mut().expect("it was started");
        if self.arguments[0] == "dev" {
            // It answers before it has set up everything; this line says that it has.
            process.stdout_line("`ready`", |line| line == "ready").await;
        }
        let (http, ready) = (Http::default(), format!("{}/readyz", self.ops_url));
        eventually_true(&format!("{} to be ready", self.name), || {
            assert!(process.is_running(), "{} ended at its start:\n{}", self.name, process.both());
            let (http, ready) = (http.clone(), ready.clone());
            async move { http.send(Method::GET, &ready, &[], "").await.is_ok_and(|answer| answer.status == 200) }
        })
        .await;
    }

    /// Ends the process and keeps what it logged.
    pub(super) fn end(&mut self, how: impl FnOnce(&mut Process)) {
        if let Some(mut process) = self.process.take() {
            how(&mut process);
            self.log.push_str(&process.stderr());
        }
    }
}
