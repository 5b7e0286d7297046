//! A deployment under the same load for a long time: whatever grows in the second half of it grows for ever.
//!
//! Two control planes, two data planes, PostgreSQL and Redis, each a process. `TOLLGATE_SOAK_SECONDS` says for how long.
//! What is kept for days is made old after an eighth of that time (`aging.rs`), so that a run of a few minutes sees
//! as much go as come.
//!
//! Invariant: an answer that is not the expected one ends the run, so that nothing is flat because nothing was done.

mod aging;
mod gauges;
mod load;
mod report;

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tollgate_tests::{Deployment, ReferenceServer, Speaks};

use self::{gauges::Gauges, load::Load};

const DATA_PLANES: usize = 2;
/// So many times everything is read.
const READINGS: u32 = 120;

#[tokio::main]
async fn main() {
    let seconds = std::env::var("TOLLGATE_SOAK_SECONDS").map_or(600, |text| text.parse().expect("a number of seconds"));
    let time = Duration::from_secs(seconds);
    let servers = [ReferenceServer::start(Speaks::Modern).await, ReferenceServer::start(Speaks::Legacy).await];
    let tollgate = set(&servers).await;
    let gauges = {
        let load = Load::prepare(&tollgate).await;
        let mut workers: FuturesUnordered<_> = load.workers().into_iter().collect();
        tokio::select! {
            gauges = watch(&tollgate, time) => gauges,
            _ = workers.next() => unreachable!("work has no end"),
        }
    };
    let grown = report::print(&gauges, time);
    // It looks at its logs when it ends.
    drop(tollgate);
    if grown > 0 {
        std::process::exit(1);
    }
}

/// Reads everything again and again, and lets it grow old meanwhile.
async fn watch(tollgate: &Deployment, time: Duration) -> Gauges {
    let mut gauges = Gauges::default();
    let mut reading = interval(time / READINGS);
    reading.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..READINGS {
        reading.tick().await;
        aging::age(tollgate, time / 8).await;
        gauges.read(tollgate).await;
    }
    gauges
}

/// A server of each era, and tokens that live for a minute only.
async fn set(servers: &[ReferenceServer; 2]) -> Deployment {
    let tollgate = Deployment::separate(DATA_PLANES).with_second_control_plane().start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.change_tenant(json!({"access_token_ttl": "1m"})).await;
    for (name, server) in ["modern", "legacy"].into_iter().zip(servers) {
        tollgate.register_url(name, server.url()).await;
    }
    tollgate
}
