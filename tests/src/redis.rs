//! A Redis of one's own: it starts within a few hundredths of a second, so every deployment that wants one has one. A
//! cluster of three takes a few seconds.
//!
//! Invariant: nothing is written to disk, and it ends with whoever started it.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};

use tokio::net::TcpStream;

use crate::{deployment::Folder, ports::free_port, process::Process, wait::eventually_true};

/// The port of the cluster's own bus, above that of its clients.
const BUS: u16 = 10_000;

/// A running `redis-server`, or a cluster of them.
#[derive(Debug)]
pub struct Redis {
    ports: Vec<u16>,
    servers: Vec<Process>,
    /// Where the nodes of a cluster keep what they know of each other.
    _folder: Option<Folder>,
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
        Self { ports: vec![port], servers: vec![server], _folder: None }
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

    /// Starts a cluster of three masters and waits until it answers for every slot.
    ///
    /// # Panics
    /// When `redis-server` or `redis-cli` is not installed, or the cluster does not form.
    pub async fn cluster() -> Self {
        let folder = Folder::create();
        let ports: Vec<u16> = std::iter::repeat_with(free_port_with_bus).take(3).collect();
        let mut servers = Vec::new();
        for &port in &ports {
            let mut command = server(port);
            let config = folder.path().join(format!("{port}.conf"));
            command.args(["--cluster-enabled", "yes", "--cluster-config-file"]).arg(config);
            servers.push(Process::spawn("redis-server", command));
            listens(port).await;
        }
        let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(nodes).arg("--cluster-yes").stdout(Stdio::null());
        assert!(create.status().expect("redis-cli is installed").success(), "the cluster cannot be created");
        for &port in &ports {
            // The nodes learn of each other's slots a moment later.
            eventually_true("the cluster to form", || async move {
                let info = Command::new("redis-cli").args(["-p", &port.to_string(), "cluster", "info"]).output();
                String::from_utf8_lossy(&info.expect("redis-cli is installed").stdout).contains("cluster_state:ok")
            })
            .await;
        }
        Self { ports, servers, _folder: Some(folder) }
    }

    /// How to connect to it: the URLs of all nodes, with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect();
        urls.join(",")
    }
}

fn server(port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
    command
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
