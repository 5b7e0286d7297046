//! A child process: its output, its signals, its end.
//!
//! Invariant: a [`Process`] that goes out of scope is gone, with everything in its process group.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::wait::{PAUSE, eventually};

/// How long a process may take to stop by itself once it is asked to.
const GRACE: Duration = Duration::from_secs(45);

/// A running (or finished) child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Process {
    /// Starts a program in its own process group, with both outputs captured and nothing to read.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: Command) -> Self {
        Self::spawn_reading(name, command, Stdio::null())
    }

    /// Starts a program that is spoken to; its standard input ends when the second value is dropped.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub(crate) fn spawn_listening(name: &str, command: Command) -> (Self, ChildStdin) {
        let mut process = Self::spawn_reading(name, command, Stdio::piped());
        let stdin = process.child.stdin.take().expect("stdin is piped");
        (process, stdin)
    }

    fn spawn_reading(name: &str, mut command: Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let stdout = Captured::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Captured::of(child.stderr.take().expect("stderr is piped"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// The process id, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended; -1 when a signal ended it.
    ///
    /// # Panics
    /// When it has not ended.
    #[must_use]
    pub(crate) fn exit_code(&mut self) -> i32 {
        let status = self.child.try_wait().expect("a started child can be waited for");
        status.expect("the process has ended").code().unwrap_or(-1)
    }

    /// Waits until a line of standard output satisfies `wanted`.
    ///
    /// # Panics
    /// When the process ends first, or takes a minute.
    pub async fn stdout_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, || {
            let found = self.stdout.text().lines().find(|line| wanted(line)).map(str::to_owned);
            assert!(found.is_some() || self.is_running(), "{} ended before {what}:\n{}", self.name, self.both());
            async move { found }
        })
        .await
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        let _already_gone = nix::sys::signal::kill(self.group(), signal);
    }

    /// `kill -9`, as a crash would, to the process alone; waits until it is gone.
    pub fn crash(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Panics
    /// When it does not stop in time: stopping is part of what is tested.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        match self.ended_within(GRACE) {
            Some(status) => status,
            None => panic!("{} did not stop within {GRACE:?} of {signal}:\n{}", self.name, self.both()),
        }
    }

    /// Both outputs, for the message of a failed test.
    #[must_use]
    pub fn both(&self) -> String {
        format!("--- {} stdout\n{}\n--- {} stderr\n{}", self.name, self.stdout(), self.name, self.stderr())
    }

    fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                _ => return None,
            }
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit in 31 bits"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
            let _stopped_or_not = self.ended_within(GRACE);
        }
        let _already_gone = killpg(self.group(), Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

/// What a pipe has yielded, collected by a thread of its own.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<String>>);

impl Captured {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let captured = Self::default();
        let into = captured.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                into.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        captured
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
