//! The cluster's files, and the programs of the version that made them.
//!
//! Invariant: `data` is complete or not there: it is made under another name and renamed when done.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{Binaries, Home, Owner, tail};
use crate::failure::{Failure, OrFail as _};

/// The cluster's superuser, and the name of the database.
pub(crate) const USER: &str = "tollgate";

/// An initialised cluster and the programs to run it with.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    binaries: Binaries,
    data_dir: PathBuf,
    owner: &'a Owner,
}

impl<'a> Cluster<'a> {
    /// Opens the cluster with the programs that fit it, or makes it with the first ones.
    pub(crate) async fn open(home: &Home, owner: &'a Owner, found: Vec<Binaries>) -> Result<Self, Failure> {
        let data_dir = home.data_dir();
        if !data_dir.exists() {
            let Some(binaries) = found.into_iter().next() else { return Err(Binaries::missing(&data_dir)) };
            let cluster = Self { binaries, data_dir, owner };
            cluster.initialise().await?;
            return Ok(cluster);
        }
        let made_with = version_of(&data_dir)?;
        let known: Vec<_> = found.iter().map(|binaries| (binaries.major(), binaries)).collect();
        match known.iter().find(|(major, _)| *major == Some(made_with)) {
            Some((_, binaries)) => Ok(Self { binaries: (*binaries).clone(), data_dir, owner }),
            None => Err(other_version(&data_dir, made_with, &known)),
        }
    }

    /// Where its files are.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.binaries.program(name)
    }

    /// Whether the server with this process id accepts connections: its pid file says `ready` in line 8.
    pub(crate) fn is_ready(&self, pid: Option<u32>) -> bool {
        let text = std::fs::read_to_string(self.data_dir.join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next().and_then(|line| line.trim().parse().ok()) == pid
            && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    /// Stops a server that an earlier run left behind.
    pub(crate) async fn stop_leftover(&self) -> Result<(), Failure> {
        if !self.data_dir.join("postmaster.pid").exists() || !self.pg_ctl(&["status"]).await?.status.success() {
            return Ok(());
        }
        tracing::info!("stopping the Postgres that an earlier run left");
        let stopped = self.pg_ctl(&["stop", "--mode=fast", "--wait"]).await?;
        if stopped.status.success() {
            return Ok(());
        }
        Err(failed("cannot stop the Postgres that an earlier run left", &stopped))
    }

    async fn pg_ctl(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = self.owner.command(&self.program("pg_ctl"));
        command.arg("-D").arg(&self.data_dir).args(arguments);
        run(command, "").await
    }

    async fn initialise(&self) -> Result<(), Failure> {
        let unfinished = self.data_dir.with_extension("new");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).or_fail(format!("cannot remove {}", unfinished.display()))?;
        }
        let mut initdb = self.owner.command(&self.program("initdb"));
        initdb.arg("-D").arg(&unfinished).arg(format!("--username={USER}"));
        // Only the socket is open, and only to its owner: see `home.rs`.
        initdb.args(["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C"]);
        let made = run(initdb, "").await?;
        if !made.status.success() {
            return Err(failed("initdb could not make the database", &made));
        }
        let mut create = self.owner.command(&self.program("postgres"));
        create.args(["--single", "-D"]).arg(&unfinished).arg("postgres");
        let created = run(create, &format!("CREATE DATABASE {USER};\n")).await?;
        if !created.status.success() {
            return Err(failed("the database could not be created", &created));
        }
        std::fs::rename(&unfinished, &self.data_dir).or_fail(format!("cannot rename {}", unfinished.display()))
    }
}

async fn run(mut command: Command, input: &str) -> Result<Output, Failure> {
    let what = format!("cannot run {}", Path::new(command.as_std().get_program()).display());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().or_fail(&what)?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).await.or_fail(&what)?;
    }
    child.wait_with_output().await.or_fail(what)
}

fn failed(what: &str, output: &Output) -> Failure {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    Failure::new(what).why(tail(&String::from_utf8_lossy(&said)))
}

fn version_of(data_dir: &Path) -> Result<u32, Failure> {
    let what = || format!("{} is no Postgres data directory", data_dir.display());
    let text = std::fs::read_to_string(data_dir.join("PG_VERSION")).or_fail(what())?;
    text.trim().parse().or_fail(what())
}

fn other_version(data_dir: &Path, made_with: u32, known: &[(Option<u32>, &Binaries)]) -> Failure {
    let found = known.iter().map(|(major, binaries)| {
        let major = major.map_or_else(|| "an unknown version".to_owned(), |major| format!("PostgreSQL {major}"));
        format!("{major} in {}", binaries.dir().display())
    });
    let found: Vec<_> = found.collect();
    let found = if found.is_empty() { "none at all".to_owned() } else { found.join(", ") };
    Failure::new(format!("the data in {} was made with PostgreSQL {made_with}, which is not there", data_dir.display()))
        .why(format!("on this machine there is {found}"))
        .cure(format!(
            "install PostgreSQL {made_with} or point TOLLGATE_PG_BIN to it; to begin anew instead, remove {}",
            data_dir.display()
        ))
}
