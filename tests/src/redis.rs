//! A Redis of one's own: it starts within a few hundredths of a second, so every deployment that wants one has one. A
//! cluster of three takes a few seconds. With replicas (`failover.rs`), either can lose a primary.
//!
//! Invariant: nothing is written to disk, and it ends with whoever started it.

mod failover;

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};

use tokio::net::TcpStream;

use crate::{deployment::Folder, ports::free_port, process::Process, relay::Relay, wait::eventually_true};

/// The port of the cluster's own bus, above that of its clients.
const BUS: u16 = 10_000;
/// A cluster has no fewer.
const PRIMARIES: usize = 3;

/// A running `redis-server`, or a cluster of them; replicas come last.
#[derive(Debug)]
pub struct Redis {
    ports: Vec<u16>,
    servers: Vec<Process>,
    /// Where the nodes of a cluster keep what they know of each other.
    folder: Option<Folder>,
    /// Leads to the primary, where there is no cluster that says which one that is.
    address: Option<Relay>,
}

impl Redis {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        let port = free_port();
        let server = Process::spawn("redis-server", server(port));
        listens(port).await;
        Self { ports: vec![port], servers: vec![server], folder: None, address: None }
    }

    /// `kill -9`, with all that it held.
    pub(crate) fn crash(&mut self) {
        self.servers.drain(..).for_each(|mut server| server.crash());
    }

    /// Starts the one that was there again, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        let [port] = self.ports[..] else { panic!("a cluster is not restarted") };
        assert!(self.servers.is_empty(), "Redis runs already");
        self.servers.push(Process::spawn("redis-server", server(port)));
        listens(port).await;
    }

    /// Runs a command and returns the lines of its answer.
    ///
    /// # Panics
    /// When `redis-cli` is not installed or fails.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let port = self.ports[0].to_string();
        let run = Command::new("redis-cli").args(["-c", "-p", &port]).args(arguments).output().expect("redis-cli runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect()
    }

    /// Starts a cluster of three primaries and waits until it answers for every slot.
    ///
    /// # Panics
    /// When `redis-server` or `redis-cli` is not installed, or the cluster does not form.
    pub async fn cluster() -> Self {
        Self::cluster_of(PRIMARIES, 0).await
    }

    async fn cluster_of(nodes: usize, replicas: usize) -> Self {
        let folder = Folder::create();
        let ports: Vec<u16> = std::iter::repeat_with(free_port_with_bus).take(nodes).collect();
        let mut servers = Vec::new();
        for &port in &ports {
            servers.push(Process::spawn("redis-server", node(port, &folder)));
            listens(port).await;
        }
        let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(nodes).args(["--cluster-replicas", &replicas.to_string()]);
        let created = create.arg("--cluster-yes").stdout(Stdio::null()).status().expect("redis-cli is installed");
        assert!(created.success(), "the cluster cannot be created");
        for &port in &ports {
            // The nodes learn of each other's slots a moment later.
            eventually_true("the cluster to form", || async move {
                ask(port, &["cluster", "info"]).contains("cluster_state:ok")
            })
            .await;
        }
        Self { ports, servers, folder: Some(folder), address: None }
    }

    /// How to connect to it: one URL, or those of all nodes of a cluster with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(address) = &self.address {
            return format!("redis://127.0.0.1:{}", address.port());
        }
        let urls: Vec<String> = self.ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect();
        urls.join(",")
    }
}

fn server(port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
    // A replica is wanted now, not when others might want one too; and it writes nothing to disk either.
    command.args(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"]);
    command
}

/// A node of a cluster.
fn node(port: u16, folder: &Folder) -> Command {
    let mut command = server(port);
    command.args(["--cluster-enabled", "yes", "--cluster-config-file"]);
    command.arg(folder.path().join(format!("{port}.conf")));
    command
}

/// What the server on this port answers; nothing when it is away.
fn ask(port: u16, arguments: &[&str]) -> String {
    let run = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    String::from_utf8_lossy(&run.expect("redis-cli is installed").stdout).into_owned()
}

async fn listens(port: u16) {
    let connects = || async move { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() };
    eventually_true("Redis to listen", connects).await;
}

fn free_port_with_bus() -> u16 {
    loop {
        let port = free_port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port + BUS)).is_ok() {
            return port;
        }
    }
}
