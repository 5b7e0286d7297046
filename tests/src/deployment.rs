//! The product, running.
//!
//! Invariant: it is the real binary with real storage; what a story asserts is what a stranger would see.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    agent::{Agent, AgentDraft},
    balancer::Balancer,
    http::Http,
    interactive::InteractiveDraft,
    mcp::McpClient,
    ports::free_port,
    postgres::Database,
    process::Process,
    redis::Redis,
    relay::Relay,
};

mod admin;
mod fleet;
mod outage;
mod plan;
mod service;
mod verdict;
mod wires;

pub use outage::{Outage, Part};
pub use plan::Plan;
use service::Service;
use wires::Wires;

/// A running deployment.
#[derive(Debug)]
pub struct Deployment {
    /// The control planes first, then the data planes; in `dev` there is one that is both.
    services: Vec<Service>,
    /// Where people, programs and agents reach it.
    control_url: String,
    data_url: String,
    admin_token: String,
    folder: Folder,
    secrets: Secrets,
    tolerated: Mutex<Vec<String>>,
    http: Http,
    _balancer: Option<Balancer>,
    // Dropped last: nothing may still write to them.
    database_wire: Option<Relay>,
    wires: Wires,
    redis: Option<Redis>,
    database: Option<Database>,
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

    /// Base URL at which the second control plane itself answers; agents know it by that of the first one.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn second_control_url(&self) -> String {
        let second = self.services.get(1).filter(|service| service.mcp_url.is_none()).expect("a second control plane");
        let of = |(name, value): &(String, String)| (name == "TOLLGATE_CONTROL_ADDR").then(|| value.clone());
        // The last one wins, as in the process.
        let address = second.environment.iter().rev().find_map(of).expect("it has an address");
        format!("http://{address}")
    }

    /// Base URL of the MCP endpoints, as agents know it.
    #[must_use]
    pub fn data_url(&self) -> &str {
        &self.data_url
    }

    /// The issuer of tenant `default`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/t/default", self.control_url)
    }

    /// The token endpoint of tenant `default`.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.issuer())
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

    /// The endpoint of a toolset of tenant `default`.
    #[must_use]
    pub fn toolset_url(&self, toolset: &str) -> String {
        format!("{}/t/default/toolsets/{toolset}", self.data_url)
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

    /// Every process of the product that runs, by name, with its id.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u32)> {
        let running = |service: &Service| Some((service.name.clone(), service.process.as_ref()?.id()));
        self.services.iter().filter_map(running).collect()
    }

    /// The id of a process of the product by its name.
    ///
    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn process_id(&self, name: &str) -> u32 {
        let processes = self.processes();
        let found = processes.iter().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("no {name} among {processes:?}")).1
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

    /// Takes Postgres away from the control plane, as if it had been stopped.
    ///
    /// # Panics
    /// When the plan did not say that this would happen.
    pub async fn take_database_away(&self) {
        self.database_wire.as_ref().expect("the database can be taken away").cut().await;
    }

    /// Gives Postgres back.
    ///
    /// # Panics
    /// When it was not taken away.
    pub fn give_database_back(&self) {
        self.database_wire.as_ref().expect("the database can be taken away").mend();
    }

    /// Cuts the data planes off from the control plane.
    ///
    /// # Panics
    /// When the plan did not say that this would happen.
    pub async fn cut_off_data_planes(&self) {
        for wire in &self.wires.to_control_planes {
            wire.cut().await;
        }
    }

    /// Lets the data planes reach the control plane again.
    ///
    /// # Panics
    /// When they were not cut off.
    pub fn reconnect_data_planes(&self) {
        self.wires.to_control_planes.iter().for_each(Relay::mend);
    }

    /// Runs a command in Redis, which the deployment must have.
    ///
    /// # Panics
    /// When there is no Redis, or the command fails.
    #[must_use]
    pub fn redis(&self, arguments: &[&str]) -> Vec<String> {
        self.redis.as_ref().expect("the deployment has a Redis").command(arguments)
    }

    /// A value on the page of metrics of data plane `index`: the series by its name, with its labels where it has some; none
    /// where it is not there.
    pub async fn gauge(&self, index: usize, series: &str) -> Option<f64> {
        let page = Http::default().get(&format!("{}/metrics", self.ops_url(index))).await.text();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    /// Takes Redis away.
    pub fn stop_redis(&mut self) {
        self.redis = None;
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

    /// An agent that acts for users and is yet to be made, in team `stories`.
    #[must_use]
    pub fn interactive_agent(&self, name: &str) -> InteractiveDraft<'_> {
        InteractiveDraft::new(self, name)
    }

    /// The agent that `dev` made for the demo.
    ///
    /// # Panics
    /// When `demo.json` lacks a member.
    #[must_use]
    pub fn demo_agent(&self) -> Agent {
        let demo = self.demo();
        let text = |name: &str| demo[name].as_str().unwrap_or_else(|| panic!("demo.json has no {name}")).to_owned();
        Agent::with_credential(self, "demo-agent", &text("client_id"), &text("client_secret"))
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

    fn is_dev(&self) -> bool {
        self.services.len() == 1
    }

    fn control_planes(&self) -> usize {
        self.services.iter().take_while(|service| service.mcp_url.is_none()).count()
    }

    /// In `dev` the only process is both planes.
    fn position(&self, index: usize) -> usize {
        if self.is_dev() { 0 } else { self.control_planes() + index }
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
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn create() -> Self {
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
