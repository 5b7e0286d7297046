//! Tollgate in one binary: every role and every client command.
//!
//! Where things are:
//!
//! - `cli.rs` is the command line. Each command is a module of its own with its `Args` and one `run`.
//! - The roles: `control_plane.rs`, `data_plane.rs`, and `dev.rs`, which runs both with a database of its own
//!   (`postgres.rs`) and a server to call (`demo_server.rs`). `settings.rs` is where roles get their settings.
//! - The client commands speak to the control plane through `api_client.rs`; `call.rs` speaks MCP to a data plane.
//!
//! Invariant: standard output carries data, standard error everything else; the exit codes are those of
//! [`failure::Exit`].

use std::{process::ExitCode, time::Duration};

mod agents;
mod alerts;
mod api_client;
mod apply;
mod audit;
mod authorizations;
mod call;
mod can_i;
mod catalog;
mod cli;
mod control_plane;
mod convergence;
mod data_plane;
mod data_planes;
mod demo_server;
mod dev;
mod doctor;
mod enrollment_tokens;
mod export;
mod failure;
mod get;
mod http_client;
mod initial_access_tokens;
mod keys;
mod limits;
mod logging;
mod manifest;
mod plan;
mod postgres;
mod report;
mod revoke;
mod sessions;
mod settings;
mod shutdown;
mod sign_in_link;
mod statements;
mod tenant;
mod terminal;
mod usage;
mod users;
mod webhooks;

use failure::{Exit, Failure, OrFail as _};

/// How long what blocks a thread may take to end once the command is done.
const LEFTOVERS_END_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(error) => {
            // The terminal may be gone; there is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { code(Exit::Usage) } else { ExitCode::SUCCESS };
        }
    };
    match run(command) {
        Ok(exit) => code(exit),
        Err(failure) => {
            failure.print();
            code(failure.code())
        }
    }
}

fn run(command: cli::Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.or_fail("cannot start the runtime")?;
    let outcome = runtime.block_on(cli::run(command));
    // A look-up of a name, or a disk that is slow, holds up nobody who is done.
    runtime.shutdown_timeout(LEFTOVERS_END_WITHIN);
    outcome
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
