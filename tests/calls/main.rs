//! What a governed call costs: time of a data plane and of Redis for each call, of a tool with 0.5 KB of arguments and 2 KB of
//! text, by what limits the agent has. Closed loop: it says what a call costs, not how many a machine takes.
//!
//! `TOLLGATE_BENCH_SECONDS` is how long each measurement takes, 10 unless told.
//!
//! Invariant: an answer that is not the expected one ends the run, so that no figure counts refusals.

mod caller;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tollgate_tests::{Deployment, Reply, ScriptedServer, cpu_of};

use self::caller::Caller;

/// Calls that are under way at a time.
const CALLERS: usize = 32;
const RESULT_BYTES: usize = 2_000;
/// What a limit may be at most; neither is reached.
const REQUESTS: u32 = 1_000_000;
const TOKENS: u32 = 1_000_000_000;

/// What the calls of one agent cost, each.
struct Row {
    name: &'static str,
    calls: u32,
    elapsed: Duration,
    p50: Duration,
    data_plane: Duration,
    redis: Duration,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::var("TOLLGATE_BENCH_SECONDS").map_or(10, |text| text.parse().expect("a number of seconds"));
    let time = Duration::from_secs(seconds);
    let server = ScriptedServer::modern().tool("read", Reply::text(&"text ".repeat(RESULT_BYTES / 5))).start().await;
    let tollgate = Deployment::separate(1).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let url = tollgate.server_url("files");
    let [requests, tokens] = [REQUESTS, TOKENS].map(|count| json!({"count": count, "per": "1m"}));
    let mut rows = Vec::new();
    for (name, mode) in [
        ("none", None),
        ("requests and tokens, each call asked of Redis", Some("strict")),
        ("requests and tokens, taken in advance", Some("leased")),
    ] {
        let agent = tollgate.agent(mode.unwrap_or("free")).grant("files:read").create().await;
        if let Some(mode) = mode {
            let limit = json!({"to": {"agent": agent.name}, "requests": requests, "tokens": tokens, "mode": mode});
            tollgate.limits(mode, limit).await;
        }
        let caller = Caller::new(&url, &agent.token(&url).await);
        run(time / 10, &caller).await;
        rows.push(measure(name, time, &tollgate, &caller).await);
    }
    print(&rows);
}

async fn measure(name: &'static str, time: Duration, tollgate: &Deployment, caller: &Caller) -> Row {
    let data_plane = tollgate.process_id("tollgate data-plane 0");
    let (began_at, cpu, redis) = (Instant::now(), cpu_of(data_plane), cpu_of_redis(tollgate));
    let mut latencies = run(time, caller).await;
    let elapsed = began_at.elapsed();
    latencies.sort_unstable();
    let calls = u32::try_from(latencies.len()).expect("fewer than four billion");
    let data_plane = (cpu_of(data_plane) - cpu) / calls;
    let redis = (cpu_of_redis(tollgate) - redis) / calls;
    Row { name, calls, elapsed, p50: latencies[latencies.len() / 2], data_plane, redis }
}

async fn run(time: Duration, caller: &Caller) -> Vec<Duration> {
    let until = Instant::now() + time;
    let calls = (0..CALLERS).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while latencies.is_empty() || Instant::now() < until {
                let began_at = Instant::now();
                caller.call().await;
                latencies.push(began_at.elapsed());
            }
            latencies
        })
    });
    join_all(calls).await.into_iter().flat_map(|latencies| latencies.expect("it ends")).collect()
}

/// What Redis says of itself (`INFO cpu`).
fn cpu_of_redis(tollgate: &Deployment) -> Duration {
    let lines = tollgate.redis(&["INFO", "cpu"]);
    let seconds = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|seconds| seconds.trim().parse::<f64>().ok()).expect("Redis says so")
    };
    Duration::from_secs_f64(seconds("used_cpu_user") + seconds("used_cpu_sys"))
}

fn print(rows: &[Row]) {
    println!("| limits of the agent | calls | per second | p50 | a call costs the data plane | and Redis |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for Row { name, calls, elapsed, p50, data_plane, redis } in rows {
        let micros = |time: &Duration| time.as_secs_f64() * 1e6;
        println!(
            "| {name} | {calls} | {:.0} | {:.1} ms | {:.0} µs | {:.1} µs |",
            f64::from(*calls) / elapsed.as_secs_f64(),
            micros(p50) / 1e3,
            micros(data_plane),
            micros(redis),
        );
    }
}
