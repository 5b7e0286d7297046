//! A Redis of one's own: it starts within a few hundredths of a second, so every deployment that wants one has one.
//!
//! Invariant: nothing is written to disk, and it ends with whoever started it.

use std::{net::Ipv4Addr, process::Command};

use tokio::net::TcpStream;

use crate::{ports::free_port, process::Process, wait::eventually_true};

/// A running `redis-server`.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    _server: Process,
}

impl Redis {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        let server = Process::spawn("redis-server", command);
        eventually_true(
            "Redis to listen",
            || async move { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() },
        )
        .await;
        Self { port, _server: server }
    }

    /// Runs a command and returns the lines of its answer.
    ///
    /// # Panics
    /// When `redis-cli` is not installed or fails.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let port = self.port.to_string();
        let run = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().expect("redis-cli runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect()
    }

    /// How to connect to it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
