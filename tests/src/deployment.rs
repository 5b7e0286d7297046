//! The product, running.
//!
//! Invariant: it is the real binary with real storage; what a story asserts is what a stranger would see.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
};

use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    agent::{Agent, AgentDraft},
    binary::{self, CommandOutput, tollgate_binary},
    http::{Answer, Http},
    mcp::McpClient,
    ports::free_port,
    postgres::Database,
    process::Process,
    redis::Redis,
    scripted::ScriptedServer,
    spans::SpanReceiver,
    wait::eventually_true,
};

mod plan;
mod verdict;

pub use plan::Plan;

/// A running deployment.
#[derive(Debug)]
pub struct Deployment {
    /// The control plane first; in `dev` it is the only one.
    services: Vec<Service>,
    /// Where people, programs and agents reach it.
    control_url: String,
    data_url: String,
    admin_token: String,
    folder: Folder,
    secrets: Secrets,
    tolerated: Mutex<Vec<String>>,
    http: Http,
    // Dropped last: nothing may still write to them.
    _redis: Option<Redis>,
    database: Option<Database>,
}

/// One process of a deployment, and how to start it again.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Base URL of its `/readyz` and `/metrics`.
    ops_url: String,
    /// Base URL of its MCP listener; the control plane has none.
    mcp_url: Option<String>,
    process: Option<Process>,
    /// What earlier runs of it logged.
    log: String,
}

/// What no log may hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

/// A folder of one's own, removed at the end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Deployment {
    /// Both planes in one process, with the demo server, on a database of its own.
    #[must_use]
    pub fn dev() -> Plan {
        Plan::dev()
    }

    /// A control plane, `data_planes` data planes and a Redis, each its own process.
    #[must_use]
    pub fn separate(data_planes: usize) -> Plan {
        Plan::separate(data_planes)
    }

    /// Base URL of REST, OAuth and the console.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// Base URL of the MCP endpoints, as agents know it.
    #[must_use]
    pub fn data_url(&self) -> &str {
        &self.data_url
    }

    /// The token endpoint of tenant `default`.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/t/default/oauth/token", self.control_url)
    }

    /// The federated endpoint of tenant `default`.
    #[must_use]
    pub fn federated_url(&self) -> String {
        format!("{}/t/default/mcp", self.data_url)
    }

    /// The endpoint of one server of tenant `default`.
    #[must_use]
    pub fn server_url(&self, server: &str) -> String {
        format!("{}/t/default/mcp/{server}", self.data_url)
    }

    /// Base URL of health and metrics of data plane `index` (in `dev`: of the process).
    #[must_use]
    pub fn ops_url(&self, index: usize) -> &str {
        &self.data_plane(index).ops_url
    }

    /// Base URL of the MCP listener of data plane `index` itself.
    ///
    /// # Panics
    /// When there is no such data plane.
    #[must_use]
    pub fn data_plane_url(&self, index: usize) -> &str {
        self.data_plane(index).mcp_url.as_deref().expect("a data plane has an MCP listener")
    }

    /// The folder with `admin-token`, `demo.json` and the data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// `demo.json`, as the first start of `dev` wrote it.
    ///
    /// # Panics
    /// When it is missing or no JSON.
    #[must_use]
    pub fn demo(&self) -> Value {
        let file = self.folder.0.join("demo.json");
        let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// The process of data plane `index` (in `dev`: the only one).
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn process(&mut self, index: usize) -> &mut Process {
        let position = self.position(index);
        self.services[position].process.as_mut().expect("the process runs")
    }

    /// Stops data plane `index` (in `dev`: everything) by a signal, and says how it ended.
    ///
    /// # Panics
    /// When it does not stop, or does not run.
    pub fn stop_data_plane(&mut self, index: usize, signal: Signal) -> ExitStatus {
        let position = self.position(index);
        let mut status = None;
        self.services[position].end(|process| status = Some(process.stop(signal)));
        status.expect("the process ran")
    }

    /// `kill -9` of data plane `index` (in `dev`: of everything).
    pub fn crash_data_plane(&mut self, index: usize) {
        let position = self.position(index);
        self.services[position].end(Process::crash);
    }

    /// Starts data plane `index` again and waits until it is ready.
    pub async fn start_data_plane(&mut self, index: usize) {
        let position = self.position(index);
        self.services[position].start().await;
    }

    /// Stops the control plane in an orderly way.
    pub fn stop_control_plane(&mut self) {
        self.services[0].end(|process| {
            let _exit = process.stop(Signal::SIGTERM);
        });
    }

    /// Starts the control plane again and waits until it is ready.
    pub async fn start_control_plane(&mut self) {
        self.services[0].start().await;
    }

    /// Remembers a secret: no log may ever hold it.
    pub fn remember_secret(&self, secret: &str) {
        self.secrets.remember(secret);
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Errors in the log that hold this text are what the story provokes.
    pub fn expect_error_log(&self, text: &str) {
        self.tolerated.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// An MCP client of the federated endpoint, without a token.
    #[must_use]
    pub fn federated(&self) -> McpClient {
        McpClient::new(&self.federated_url())
    }

    /// An MCP client of one server's endpoint, without a token.
    #[must_use]
    pub fn server(&self, server: &str) -> McpClient {
        McpClient::new(&self.server_url(server))
    }

    /// An agent that is yet to be made, in team `stories`.
    #[must_use]
    pub fn agent(&self, name: &str) -> AgentDraft<'_> {
        AgentDraft::new(self, name)
    }

    /// The agent that `dev` made for the demo.
    ///
    /// # Panics
    /// When `demo.json` lacks a member.
    #[must_use]
    pub fn demo_agent(&self) -> Agent {
        let demo = self.demo();
        let text = |name: &str| demo[name].as_str().unwrap_or_else(|| panic!("demo.json has no {name}")).to_owned();
        Agent::with_credential(self, "demo", &text("client_id"), &text("client_secret"))
    }

    /// Lets servers live on this machine, which `dev` does by itself and a control plane does not.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn allow_loopback_servers(&self) {
        let tenant = self.rest(Method::GET, "", &[], &Value::Null).await;
        let etag = tenant.header("etag").expect("a tenant has an ETag");
        let change = json!({"spec": {"egress_allow": ["127.0.0.0/8"]}});
        let answer = self.rest(Method::PATCH, "", &[("if-match", etag)], &change).await;
        assert_eq!(answer.status, 200, "PATCH tenant: {}", answer.text());
    }

    /// Registers a scripted server under a name.
    pub async fn register(&self, name: &str, server: &ScriptedServer) {
        self.register_url(name, &server.url()).await;
    }

    /// Registers whatever speaks MCP at a URL.
    pub async fn register_url(&self, name: &str, url: &str) {
        self.put(&format!("servers/{name}"), json!({"spec": {"instances": [{"url": url}]}})).await;
        self.policy_in_force().await;
    }

    /// Limits an agent's requests.
    pub async fn limit(&self, agent: &str, count: u32, per: &str) {
        let spec = json!({"to": {"agent": agent}, "requests": {"count": count, "per": per}});
        self.put(&format!("limits/{agent}"), json!({"spec": spec})).await;
        self.policy_in_force().await;
    }

    /// Applies YAML with the real command, and waits until it is in force.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn apply(&self, yaml: &str) -> CommandOutput {
        let output = self.command_with_input(&["apply", "-f", "-"], yaml).await.success();
        self.policy_in_force().await;
        output
    }

    /// Runs a client command as the administrator.
    pub async fn command(&self, arguments: &[&str]) -> CommandOutput {
        self.command_with_input(arguments, "").await
    }

    /// Runs a client command as the administrator, with something on its standard input.
    pub async fn command_with_input(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let mut command = Command::new(tollgate_binary());
        command
            .args(arguments)
            .env("TOLLGATE_URL", &self.control_url)
            .env("TOLLGATE_TOKEN", &self.admin_token)
            .env("NO_COLOR", "1");
        binary::run(command, input.as_bytes().to_vec()).await
    }

    /// Sends a request to the REST API of tenant `default` as the administrator. `path` starts behind the tenant.
    ///
    /// # Panics
    /// When the control plane cannot be reached.
    pub async fn rest(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let url =
            format!("{}/api/v1/tenants/default{}{path}", self.control_url, if path.is_empty() { "" } else { "/" });
        let bearer = format!("Bearer {}", self.admin_token);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        let body = if body.is_null() {
            String::new()
        } else {
            headers.push(("content-type", "application/json"));
            body.to_string()
        };
        self.http.send(method, &url, &headers, body).await.unwrap_or_else(|error| panic!("{url}: {error:#}"))
    }

    /// Reads from the REST API.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.rest(Method::GET, path, &[], &Value::Null).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Creates or replaces an object.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        let now = self.rest(Method::GET, path, &[], &Value::Null).await;
        let etag = now.header("etag").filter(|_| now.status == 200);
        let precondition: Vec<(&str, &str)> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        let answer = self.rest(Method::PUT, path, &precondition, &body).await;
        assert!(matches!(answer.status, 200 | 201), "PUT {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Deletes an object, and waits until that is in force.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn delete(&self, path: &str) {
        let now = self.rest(Method::GET, path, &[], &Value::Null).await;
        let etag = now.header("etag").unwrap_or_else(|| panic!("no ETag at {path}: {}", now.text()));
        let answer = self.rest(Method::DELETE, path, &[("if-match", etag)], &Value::Null).await;
        assert_eq!(answer.status, 204, "DELETE {path}: {}", answer.text());
        self.policy_in_force().await;
    }

    /// Waits until every connected data plane serves the tenant's newest policy.
    pub async fn policy_in_force(&self) {
        eventually_true("the data planes to acknowledge the newest policy", || async {
            let policy = &self.get("").await["status"]["policy"];
            let newest = policy["revision"].as_i64();
            let planes = policy["data_planes"].as_array().cloned().unwrap_or_default();
            let connected: Vec<_> = planes.iter().filter(|plane| plane["connected"] == true).collect();
            newest.is_some()
                && !connected.is_empty()
                && connected.iter().all(|plane| plane["acked_revision"].as_i64() == newest)
        })
        .await;
    }

    /// Asks the database itself, for what no interface shows or allows. Each row is its first column, as text.
    ///
    /// # Panics
    /// When the deployment has an embedded Postgres, or the statement fails.
    pub async fn sql(&self, statement: &str) -> Vec<String> {
        self.database.as_ref().expect("a database that the harness made").query(statement).await
    }

    fn data_plane(&self, index: usize) -> &Service {
        &self.services[self.position(index)]
    }

    /// In `dev` the only process is both planes.
    fn position(&self, index: usize) -> usize {
        if self.services.len() == 1 { 0 } else { index + 1 }
    }
}

impl Service {
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = Command::new(tollgate_binary());
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::spawn(&self.name, command);
        let (http, ready) = (Http::default(), format!("{}/readyz", self.ops_url));
        eventually_true(&format!("{} to be ready", self.name), || {
            assert!(process.is_running(), "{} ended at its start:\n{}", self.name, process.both());
            let (http, ready) = (http.clone(), ready.clone());
            async move { http.send(Method::GET, &ready, &[], "").await.is_ok_and(|answer| answer.status == 200) }
        })
        .await;
        self.process = Some(process);
    }

    /// Ends the process and keeps what it logged.
    fn end(&mut self, how: impl FnOnce(&mut Process)) {
        if let Some(mut process) = self.process.take() {
            how(&mut process);
            self.log.push_str(&process.stderr());
        }
    }
}

impl Secrets {
    pub(crate) fn remember(&self, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
    }

    fn are_in(&self, line: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|secret| line.contains(secret))
    }
}

impl Folder {
    fn create() -> Self {
        // Short: the path of a Unix socket in it has a limit of about a hundred bytes.
        let path = std::env::temp_dir().join(format!("tg-{}", &Uuid::new_v4().simple().to_string()[..12]));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

/// `http://127.0.0.1:{port}` of a free port, and the address alone.
fn free_address() -> (String, String) {
    let address = format!("127.0.0.1:{}", free_port());
    (format!("http://{address}"), address)
}
