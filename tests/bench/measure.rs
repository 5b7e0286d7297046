//! Requests for a while, and what they took.
//!
//! Invariant: what is counted was answered as expected; workers panic otherwise.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tollgate_tests::cpu_of;

/// What one endpoint did.
pub(crate) struct Measurement {
    /// The endpoint, and how it was asked.
    pub(crate) name: &'static str,
    /// Answers per second.
    pub(crate) per_second: f64,
    /// Half of the answers came within.
    pub(crate) p50: Duration,
    /// 99 of 100 answers came within.
    pub(crate) p99: Duration,
    /// Time of the control plane on its core, per answer.
    pub(crate) cpu: Duration,
}

impl Measurement {
    /// Answers for each second that the control plane's core was at work. More than [`Measurement::per_second`] when the
    /// core had to wait: for PostgreSQL, or for whoever asks.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        1.0 / self.cpu.as_secs_f64()
    }
}

/// Lets every worker ask again and again for `time`, after a tenth of it to warm up.
pub(crate) async fn run<W: AsyncFnMut()>(
    name: &'static str,
    time: Duration,
    control_plane: u32,
    workers: impl Iterator<Item = W>,
) -> Measurement {
    let mut workers: Vec<W> = workers.collect();
    ask(time / 10, &mut workers).await;
    let (began_at, cpu) = (Instant::now(), cpu_of(control_plane));
    let mut latencies = ask(time, &mut workers).await;
    let (elapsed, cpu) = (began_at.elapsed(), cpu_of(control_plane) - cpu);
    latencies.sort_unstable();
    let count = u32::try_from(latencies.len()).expect("fewer than four billion");
    let quantile = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    Measurement {
        name,
        per_second: f64::from(count) / elapsed.as_secs_f64(),
        p50: quantile(50),
        p99: quantile(99),
        cpu: cpu / count,
    }
}

async fn ask<W: AsyncFnMut()>(time: Duration, workers: &mut [W]) -> Vec<Duration> {
    let until = Instant::now() + time;
    let asking = workers.iter_mut().map(async |work| {
        let mut latencies = Vec::new();
        while latencies.is_empty() || Instant::now() < until {
            let began_at = Instant::now();
            work().await;
            latencies.push(began_at.elapsed());
        }
        latencies
    });
    join_all(asking).await.concat()
}
