//! A Postgres server of one's own, which can be killed.
//!
//! Invariant: what was committed is on disk, so that a killed server has it when it is back.

use std::{
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
};

use nix::{
    sys::signal::Signal,
    unistd::{User, geteuid},
};
use sqlx::{Connection as _, PgConnection};
use url::Url;

use crate::{deployment::Folder, drivers::repository_root, ports::free_port, process::Process, wait::eventually_true};

/// Postgres refuses to run as root: the first of these that exists does it then.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The server; nobody else knows it, so that it asks for no password.
#[derive(Debug)]
pub(super) struct Instance {
    programs: PathBuf,
    port: u16,
    server: Option<Process>,
    folder: Folder,
}

impl Instance {
    /// Makes one and waits until it answers.
    pub(super) async fn start() -> Self {
        let found = Command::new(repository_root().join("scripts/setup.sh")).arg("postgres-bin").output();
        let found = found.expect("the repository has its scripts").stdout;
        let programs = PathBuf::from(String::from_utf8_lossy(&found).trim());
        let folder = Folder::create();
        if let Some(user) = other_user() {
            chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root gives folders away");
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        let mut instance = Self { programs, port: free_port(), server: None, folder };
        let mut make = instance.program("initdb");
        make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = make.output().expect("initdb is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        instance.restart().await;
        instance
    }

    /// The URL of its superuser.
    pub(super) fn url(&self) -> Url {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port).parse().expect("that is a URL")
    }

    /// `kill -9` of the server itself; the processes that it has for connections notice.
    pub(super) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.crash();
        }
    }

    /// Starts it, and waits until it answers.
    pub(super) async fn restart(&mut self) {
        let url = self.url();
        eventually_true("Postgres to answer", || {
            // It does not start as long as a process of the one before is left.
            if !self.server.as_mut().is_some_and(Process::is_running) {
                self.server = Some(self.run());
            }
            let url = url.clone();
            async move { PgConnection::connect(url.as_str()).await.is_ok() }
        })
        .await;
    }

    fn run(&self) -> Process {
        let mut run = self.program("postgres");
        for setting in ["fsync=on", "listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=32MB"] {
            run.args(["-c", setting]);
        }
        run.args(["-p", &self.port.to_string()]);
        Process::spawn("postgres", run)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").arg("-D").arg(self.folder.path().join("data"));
        if let Some(user) = other_user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            // It does not wait for its clients.
            server.signal(Signal::SIGINT);
        }
    }
}

fn other_user() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten())
}
