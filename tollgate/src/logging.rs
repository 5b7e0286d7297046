//! Where logs go: standard error, for people on a terminal, as JSON lines otherwise.
//!
//! Invariant: `RUST_LOG` wins over everything else that names a level.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::failure::{Failure, OrFail as _};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

impl Format {
    /// Text on a terminal, JSON when something else reads along.
    pub(crate) fn for_a_server() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Starts logging; `filter` is a level or a directive list such as `info,tollgate_data_plane=debug`.
pub(crate) fn start(filter: &str, format: Format) -> Result<(), Failure> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(&filter)
        .or_fail(format!("`{filter}` is no log filter"))
        .map_err(|failure| failure.cure("use a level: error, warn, info, debug or trace"))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
