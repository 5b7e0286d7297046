//! The program under test.
//!
//! Invariant: it is the binary that this very build made, found beside the test executable; never one from `PATH`.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Where the `tollgate` binary of this build lies.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn tollgate_binary() -> PathBuf {
    built("tollgate")
}

/// Where a binary of this build lies.
///
/// # Panics
/// When it was not built.
#[must_use]
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/e2e-… → target/debug/tollgate
    let built = test.ancestors().nth(2).expect("test executables lie two folders deep").join(name);
    assert!(built.is_file(), "{} is missing: run `cargo build -p tollgate -p tollgate-tests` first", built.display());
    built
}

/// What a command that ran to its end did.
#[derive(Debug)]
pub struct CommandOutput {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl CommandOutput {
    /// Asserts that the command succeeded.
    ///
    /// # Panics
    /// When it did not.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "the command failed:\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}\n{}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end with `input` on its standard input, on a thread that may block.
///
/// # Panics
/// When the program cannot be started.
pub(crate) async fn run(mut command: Command, input: Vec<u8>) -> CommandOutput {
    tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A command that does not read its input closes the pipe, which is no failure.
        let _unread = stdin.write_all(&input);
        drop(stdin);
        let output = child.wait_with_output().expect("a started child can be waited for");
        CommandOutput {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
    .await
    .expect("running a command does not panic")
}
