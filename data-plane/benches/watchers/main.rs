//! How long a change of policy takes to every data plane: from the request that makes it to each acknowledgement, under
//! one control plane that many data planes watch. `make watchers`, which starts the control plane and says where it is.
//!
//! The data planes are simulated: each joins as a real one does, with a key, a certificate and a connection of its own,
//! and acknowledges what it is sent without keeping it.
//!
//! Invariant: one change is one revision, and no other change is made meanwhile; the run ends where that is not so.

mod api;
mod report;
mod watcher;

use std::{
    env, fs,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use self::{api::Api, report::Report, watcher::Watcher};

const AGENTS: usize = 200;
const GRANTS_OF_AGENT: usize = 2;
/// Data planes that join at a time, and objects that are made at a time.
const AT_A_TIME: usize = 8;
/// How long the last change may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to see that it compiles.
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let (watchers, per_second, seconds): (usize, u32, u32) =
        (setting("TOLLGATE_BENCH_WATCHERS"), setting("TOLLGATE_BENCH_CHANGES"), setting("TOLLGATE_BENCH_SECONDS"));
    let api = Api::new(&setting::<String>("TOLLGATE_URL"), &token());
    prepare(&api).await;
    let folder: PathBuf = setting("TOLLGATE_BENCH_FOLDER");
    let joining = (0..watchers).map(|index| Watcher::join(folder.join(index.to_string())));
    let watchers: Vec<Watcher> = stream::iter(joining).buffer_unordered(AT_A_TIME).collect().await;
    eprintln!("{} data planes watch", watchers.len());

    let before = api.revision().await;
    everywhere(&watchers, before).await;
    let control_plane = report::Process::of(setting("TOLLGATE_BENCH_CONTROL_PLANE"));
    let (began_at, cpu) = (Instant::now(), control_plane.cpu());
    let sent = change(&api, per_second, per_second * seconds).await;
    let (elapsed, cpu) = (began_at.elapsed(), control_plane.cpu() - cpu);
    let last = before + sent.len() as u64;
    assert_eq!(api.revision().await, last, "somebody else changed the policy meanwhile");
    everywhere(&watchers, last).await;

    let times = watchers.iter().flat_map(|watcher| watcher.times(before, &sent)).collect();
    let report =
        Report { watchers: watchers.len(), changes: sent.len(), elapsed, cpu, memory: control_plane.memory(), times };
    report.print();
    report.write();
}

fn setting<T: FromStr>(name: &str) -> T {
    let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make watchers`"));
    text.parse().unwrap_or_else(|_| panic!("{name} cannot be `{text}`"))
}

fn token() -> String {
    let file: PathBuf = setting("TOLLGATE_TOKEN_FILE");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

/// A policy of a modest size.
async fn prepare(api: &Api) {
    api.put("teams/bench", json!({})).await;
    api.put("servers/bench", json!({"instances": [{"url": "https://mcp.example.com/mcp"}]})).await;
    let agents = (0..AGENTS).map(async |index| {
        let name = format!("agent-{index}");
        api.put(&format!("agents/{name}"), json!({"team": "bench", "type": "autonomous"})).await;
        for nth in 0..GRANTS_OF_AGENT {
            let spec = json!({"to": {"agent": name}, "scopes": [format!("bench:tool_{nth}")]});
            api.put(&format!("grants/{name}-{nth}"), spec).await;
        }
    });
    stream::iter(agents).buffer_unordered(AT_A_TIME).collect::<()>().await;
}

/// Makes so many changes, one after the other, and answers when each was sent.
async fn change(api: &Api, per_second: u32, changes: u32) -> Vec<Instant> {
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    for nth in 0..changes {
        ticks.tick().await;
        sent.push(Instant::now());
        let spec = json!({"to": {"agent": "agent-0"}, "scopes": [format!("bench:changed_{nth}")]});
        api.put(&format!("grants/changed-{nth}"), spec).await;
    }
    sent
}

/// Waits until every data plane has acknowledged this revision.
async fn everywhere(watchers: &[Watcher], revision: u64) {
    let all = async {
        for watcher in watchers {
            watcher.acknowledges(revision).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("every data plane acknowledges the last change");
}
