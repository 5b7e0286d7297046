//! Real Redis for tests: the installed binary, in a directory of its own, gone when the test ends.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ::redis::{Client, Cmd, FromRedisValue, cluster::ClusterClient};
use uuid::Uuid;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// One server on a Unix socket.
pub(crate) struct RedisServer {
    dir: PathBuf,
    child: Option<Child>,
}

/// Three masters on loopback.
pub(super) struct RedisCluster {
    nodes: Vec<Child>,
    ports: Vec<u16>,
    dir: PathBuf,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self::stopped();
        server.run().await;
        server
    }

    /// A server that does not run yet.
    pub(super) fn stopped() -> Self {
        Self { dir: temporary_dir(), child: None }
    }

    pub(super) async fn run(&mut self) {
        let socket = self.dir.join("redis.sock");
        let mut command = redis_server();
        command.args(["--port", "0", "--unixsocket"]).arg(&socket).arg("--dir").arg(&self.dir);
        self.child = Some(spawn(&mut command));
        let started = Instant::now();
        let client = Client::open(self.url()).expect("a usable URL");
        while client.get_multiplexed_async_connection().await.is_err() {
            assert!(started.elapsed() < START_TIMEOUT, "redis-server did not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }

    /// Stops or continues the process without ending it: `STOP` or `CONT`.
    pub(super) fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("a server that runs");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(sent.expect("kill(1) is installed").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.join("redis.sock").display())
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let client = Client::open(self.url()).expect("a usable URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis runs");
        command.query_async(&mut connection).await.expect("an answer")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

impl RedisCluster {
    pub(super) async fn start() -> Self {
        let dir = temporary_dir();
        let ports: Vec<u16> = std::iter::repeat_with(free_port).take(3).collect();
        let nodes = ports.iter().map(|port| {
            let node_dir = dir.join(port.to_string());
            fs::create_dir(&node_dir).expect("a directory for the node");
            let mut command = redis_server();
            command.args(["--bind", "127.0.0.1", "--cluster-enabled", "yes", "--port", &port.to_string(), "--dir"]);
            spawn(command.arg(node_dir))
        });
        let cluster = Self { nodes: nodes.collect(), ports, dir };
        cluster.form().await;
        cluster
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect()
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let client = ClusterClient::new(self.urls()).expect("usable URLs");
        let mut connection = client.get_async_connection().await.expect("the cluster runs");
        command.query_async(&mut connection).await.expect("an answer")
    }

    async fn form(&self) {
        let started = Instant::now();
        let addresses: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        while !redis_cli(
            ["--cluster", "create"]
                .iter()
                .copied()
                .chain(addresses.iter().map(String::as_str))
                .chain(["--cluster-yes"]),
        )
        .0
        {
            Self::wait(started).await;
        }
        // The nodes learn of each other's slots a moment later.
        for port in &self.ports {
            while !redis_cli(["-p", &port.to_string(), "cluster", "info"].into_iter()).1.contains("cluster_state:ok") {
                Self::wait(started).await;
            }
        }
    }

    async fn wait(started: Instant) {
        assert!(started.elapsed() < START_TIMEOUT, "the cluster did not form");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            end(node);
        }
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

fn redis_server() -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no"]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether it succeeded, and what it printed.
fn redis_cli<'a>(arguments: impl Iterator<Item = &'a str>) -> (bool, String) {
    let output = Command::new("redis-cli").args(arguments).output().expect("redis-cli is installed");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().expect("these tests need the program redis-server (Debian: apt-get install redis-server)")
}

fn end(child: &mut Child) {
    let _killed = child.kill();
    let _reaped = child.wait();
}

fn temporary_dir() -> PathBuf {
    // Short: the path of a Unix socket has 107 bytes at most.
    let dir = std::env::temp_dir().join(format!("tg-{}", Uuid::new_v4().simple()));
    fs::create_dir_all(&dir).expect("a temporary directory");
    dir
}

/// A port that is free now, and whose cluster bus port, 10,000 above, is free too.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (Uuid::new_v4().as_u128() % 20_000) as u16;
        let both = [port, port + 10_000].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if both.iter().all(Result::is_ok) {
            return port;
        }
    }
}
