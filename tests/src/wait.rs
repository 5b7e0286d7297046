//! Waiting for a condition, with a deadline.
//!
//! Invariant: a wait that runs into its deadline fails the test and says what it waited for.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// No condition of any story takes this long, even on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

/// Looks again and again until `probe` yields something, and returns it.
///
/// # Panics
/// When a minute passes without.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain for {what}", PATIENCE.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`eventually`], for a condition that is true or not.
///
/// # Panics
/// When it does not become true within a minute.
pub async fn eventually_true<F>(what: &str, mut probe: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    eventually(what, || {
        let holds = probe();
        async move { holds.await.then_some(()) }
    })
    .await;
}
