//! A child process that is spoken to: one JSON object per line, both ways.
//!
//! Invariant: every line it wrote is heard once, in order.

use std::{
    io::Write,
    process::{ChildStdin, Command},
};

use serde_json::Value;

use crate::{process::Process, wait::eventually};

/// The process and how far it was heard.
#[derive(Debug)]
pub(crate) struct Conversation {
    // Dropped first: a program that reads to the end of its input ends by itself then.
    stdin: ChildStdin,
    process: Process,
    name: String,
    lines_heard: usize,
}

impl Conversation {
    /// Starts the program.
    pub(crate) fn start(name: &str, command: Command) -> Self {
        let (process, stdin) = Process::spawn_listening(name, command);
        Self { stdin, process, name: name.to_owned(), lines_heard: 0 }
    }

    /// Says something.
    pub(crate) fn say(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").unwrap_or_else(|error| panic!("{} does not listen: {error}", self.name));
    }

    /// Waits for the next thing that it says.
    ///
    /// # Panics
    /// When it ends without, takes a minute, or says something else than JSON.
    pub(crate) async fn hear(&mut self) -> Value {
        let line = eventually(&format!("{} to say something", self.name), || {
            let running = self.process.is_running();
            // Only a line that is complete.
            let text = self.process.stdout();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            let line = complete.lines().nth(self.lines_heard).map(str::to_owned);
            assert!(line.is_some() || running, "{} ended:\n{}", self.name, self.process.both());
            async move { line }
        })
        .await;
        self.lines_heard += 1;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{} said {line}: {error}", self.name))
    }
}
