//! Primaries with replicas, which take their places.
//!
//! Where there is no cluster, what stands for the service address that a managed Redis or an operator gives is a wire, which
//! is led to the new primary.
//!
//! Invariant: what can be lost with a primary was written between two moments that are known.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{PRIMARIES, Redis, ask, listens, node, server};
use crate::{process::Process, relay::Relay, wait::eventually_true};

impl Redis {
    /// Starts a primary and its replica, behind an address that leads to whichever is the primary.
    ///
    /// # Panics
    /// When `redis-server` or `redis-cli` is not installed.
    pub async fn replicated() -> Self {
        let mut redis = Self::start().await;
        let primary = redis.ports[0];
        redis.address = Some(Relay::to(address(primary)));
        let replica = crate::ports::free_port();
        redis.ports.push(replica);
        redis.servers.push(Process::spawn("redis-server", server(replica)));
        listens(replica).await;
        follow(replica, primary).await;
        redis
    }

    /// Starts a cluster of three primaries, each with a replica.
    ///
    /// # Panics
    /// When `redis-server` or `redis-cli` is not installed, or the cluster does not form.
    pub async fn replicated_cluster() -> Self {
        let redis = Self::cluster_of(2 * PRIMARIES, 1).await;
        for &port in &redis.ports {
            eventually_true("the replicas to follow", || async move { is_primary(port) || is_following(port) }).await;
        }
        redis
    }

    /// `kill -9` of the primary that holds something, right after its replica has been seen to have all of it.
    ///
    /// # Panics
    /// When the replica does not get it.
    pub(crate) fn crash_primary(&mut self) -> Lost {
        let index = self.holder();
        let replica = self.replica_of(self.ports[index]);
        let tag = tag(self.ports[index]);
        let replicated_at = Instant::now();
        replicate(self.ports[index], &tag);
        self.servers[index].crash();
        Lost { index, replica, between: (replicated_at, Instant::now()) }
    }

    /// Has its replica take over, and what was lost start again, empty, as the replica of that one.
    pub(crate) async fn take_over(&mut self, Lost { index, replica, .. }: Lost) {
        let port = self.ports[index];
        if let Some(folder) = &self.folder {
            // The operator's word: for a vote both other primaries would have to be quick, and the next one is a minute later.
            assert_eq!(ask(replica, &["CLUSTER", "FAILOVER", "TAKEOVER"]).trim(), "OK");
            becomes_primary(replica).await;
            self.servers[index] = Process::spawn("redis-server", node(port, folder));
            listens(port).await;
            follows(port).await;
        } else {
            let _ = ask(replica, &["REPLICAOF", "NO", "ONE"]);
            self.lead_to(replica).await;
            self.servers[index] = Process::spawn("redis-server", server(port));
            listens(port).await;
            follow(port, replica).await;
        }
    }

    /// Has the primary that holds something and its replica change places, which loses nothing.
    pub(crate) async fn hand_over(&mut self) {
        let primary = self.ports[self.holder()];
        let replica = self.replica_of(primary);
        if self.folder.is_some() {
            changes_places(replica).await;
        } else {
            let _ = ask(primary, &["FAILOVER"]);
            becomes_primary(replica).await;
            self.lead_to(replica).await;
        }
        follows(primary).await;
    }

    async fn lead_to(&self, primary: u16) {
        let wire = self.address.as_ref().expect("without a cluster there is an address");
        wire.cut().await;
        wire.mend_to(address(primary));
    }

    /// The primary that holds something: all of one tenant is with one.
    fn holder(&self) -> usize {
        let holds = |port: &u16| is_primary(*port) && !ask(*port, &["KEYS", "tg:*"]).trim().is_empty();
        self.ports.iter().position(holds).expect("a primary holds something")
    }

    fn replica_of(&self, primary: u16) -> u16 {
        let follows = |port: &&u16| ask(**port, &["ROLE"]).lines().nth(2) == Some(&primary.to_string());
        let is_replica = |port: &&u16| !is_primary(**port);
        *self.ports.iter().filter(is_replica).find(follows).expect("the primary has a replica")
    }
}

/// A primary that is gone.
#[derive(Debug)]
pub(crate) struct Lost {
    index: usize,
    replica: u16,
    /// When its replica had everything, and when it was gone: all that is lost with it was written in between.
    pub(crate) between: (Instant, Instant),
}

/// Waits until the replica has all that was written before.
fn replicate(primary: u16, tag: &str) {
    let mut client = Command::new("redis-cli");
    client.args(["-p", &primary.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().expect("redis-cli is installed");
    let mut input = client.stdin.take().expect("stdin is piped");
    // `WAIT` is for what the same connection has written, and so for what came before that.
    write!(input, "SET {tag}replicated 1\nWAIT 1 10000\n").expect("redis-cli reads");
    drop(input);
    let said = client.wait_with_output().expect("redis-cli ends").stdout;
    assert_eq!(String::from_utf8_lossy(&said).lines().collect::<Vec<_>>(), ["OK", "1"], "no replica has it");
}

/// What the keys of a tenant begin with, here.
fn tag(port: u16) -> String {
    let keys = ask(port, &["KEYS", "tg:*"]);
    let (tag, _) = keys.split_once('}').expect("a key has the tag of its tenant");
    format!("{tag}}}:")
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn is_primary(port: u16) -> bool {
    ask(port, &["ROLE"]).lines().next() == Some("master")
}

fn is_following(port: u16) -> bool {
    ask(port, &["INFO", "replication"]).contains("master_link_status:up")
}

async fn follow(replica: u16, primary: u16) {
    let _ = ask(replica, &["REPLICAOF", "127.0.0.1", &primary.to_string()]);
    follows(replica).await;
}

async fn follows(replica: u16) {
    eventually_true("the replica to follow", || async move { is_following(replica) }).await;
}

/// Asks again where it was given up, which a slow machine does after five seconds.
async fn changes_places(replica: u16) {
    for _ in 0..6 {
        let _ = ask(replica, &["CLUSTER", "FAILOVER"]);
        if timeout(Duration::from_secs(10), becomes_primary(replica)).await.is_ok() {
            return;
        }
    }
    panic!("the primary and its replica do not change places");
}

async fn becomes_primary(replica: u16) {
    eventually_true("the replica to take over", || async move { is_primary(replica) }).await;
}
