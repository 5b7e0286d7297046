//! The private Postgres of `tollgate dev`: a child process on a Unix socket, nothing on the network.
//!
//! Invariant: no Postgres outlives Tollgate for long. It is stopped in order at the end; should Tollgate be killed, a
//! watcher sees the pipe to it close and stops Postgres; and a start first stops what an earlier run left.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::{sleep, timeout},
};
use url::Url;

use crate::failure::{Failure, OrFail as _};

mod binaries;
mod cluster;
mod home;
mod owner;

pub(crate) use binaries::Binaries;
use cluster::{Cluster, USER};
use home::Home;
use owner::Owner;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Waits for a line that says all is well; when the pipe closes without one, asks Postgres for a fast shutdown.
const WATCHER: &str = r#"read -r _ || kill -INT "$1""#;

/// A running private Postgres.
#[derive(Debug)]
pub(crate) struct EmbeddedPostgres {
    server: Child,
    watcher: Child,
    home: Home,
    url: String,
}

impl EmbeddedPostgres {
    /// Starts the Postgres whose data lives under `dir`, making it at the first time.
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failure> {
        let owner = Owner::choose()?;
        let home = Home::open(dir, &owner).await?;
        let cluster = Cluster::open(&home, &owner, Binaries::candidates(dir)).await?;
        cluster.stop_leftover().await?;
        let mut server = spawn_server(&cluster, &home, &owner)?;
        wait_until_ready(&mut server, &cluster, &home).await?;
        let watcher = spawn_watcher(&server, &owner)?;
        let url = url_of(home.socket_dir());
        Ok(Self { server, watcher, home, url })
    }

    /// Where to connect to it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops it: in order, or at once with recovery at the next start when it takes too long.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::SIGINT);
        if timeout(STOP_TIMEOUT, self.server.wait()).await.is_err() {
            tracing::warn!("Postgres takes too long to stop");
            self.stop_at_once().await;
        }
        self.dismiss_watcher().await;
        self.home.close();
    }

    /// Stops it without a checkpoint; the next start recovers from its log.
    pub(crate) async fn stop_at_once(&mut self) {
        self.signal(Signal::SIGQUIT);
        if timeout(STOP_TIMEOUT, self.server.wait()).await.is_err() {
            tracing::error!("Postgres does not stop");
        }
        self.dismiss_watcher().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.server.id().and_then(|id| i32::try_from(id).ok())
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::warn!(%error, "Postgres cannot be signalled");
        }
    }

    async fn dismiss_watcher(&mut self) {
        if let Some(mut pipe) = self.watcher.stdin.take() {
            // A watcher that is gone needs no word.
            let _ = pipe.write_all(b"stopped\n").await;
        }
        let _ = self.watcher.wait().await;
    }
}

fn spawn_server(cluster: &Cluster<'_>, home: &Home, owner: &Owner) -> Result<Child, Failure> {
    let log = home.log_file()?;
    let errors = log.try_clone().or_fail("cannot share Postgres' log file")?;
    let mut command: Command = owner.command(&cluster.program("postgres"));
    command.arg("-D").arg(cluster.data_dir());
    let socket_dir = format!("unix_socket_directories={}", home.socket_dir().display());
    for option in ["listen_addresses=", &socket_dir, "unix_socket_permissions=0700", "logging_collector=off"] {
        command.args(["-c", option]);
    }
    // A process group of its own: Ctrl-C in the terminal is for Tollgate, which stops Postgres last.
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    command.spawn().or_fail(format!("cannot run {}", cluster.program("postgres").display()))
}

/// Postgres writes `ready` into its pid file when it accepts connections.
async fn wait_until_ready(server: &mut Child, cluster: &Cluster<'_>, home: &Home) -> Result<(), Failure> {
    let waiting = async {
        loop {
            if let Some(status) = server.try_wait().or_fail("cannot watch Postgres")? {
                return Err(Failure::new(format!("Postgres ended at once ({status})")).why(home.log_tail()));
            }
            if cluster.is_ready(server.id()) {
                return Ok(());
            }
            sleep(POLL).await;
        }
    };
    let ended = timeout(START_TIMEOUT, waiting).await;
    ended.unwrap_or_else(|_| {
        let what = format!("Postgres was not ready within {} s", START_TIMEOUT.as_secs());
        Err(Failure::new(what).why(home.log_tail()))
    })
}

fn spawn_watcher(server: &Child, owner: &Owner) -> Result<Child, Failure> {
    let pid = server.id().ok_or_else(|| Failure::new("Postgres ended right after its start"))?;
    let mut command = owner.command(Path::new("/bin/sh"));
    command.args(["-c", WATCHER, "sh", &pid.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().or_fail("cannot run /bin/sh to watch over Postgres")
}

fn url_of(socket_dir: &Path) -> String {
    let mut url = Url::parse(&format!("postgres://{USER}@localhost/{USER}")).expect("the text is a URL");
    url.query_pairs_mut().append_pair("host", &socket_dir.to_string_lossy());
    url.into()
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// `path`, with a readable failure when it cannot be made.
fn make_dir(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(path).or_fail(format!("cannot make {}", path.display()))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests;
