//! When to stop: Ctrl-C and SIGTERM.
//!
//! Invariant: the first signal asks for an orderly stop; whoever stops listens for the second one, which hurries.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the next SIGINT or SIGTERM.
///
/// # Panics
/// When the system lets no handler be installed, because then nothing could be stopped in order.
pub(crate) async fn requested() {
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn listen(kind: SignalKind) -> Signal {
    signal(kind).expect("a process may handle SIGINT and SIGTERM")
}
