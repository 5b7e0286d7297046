//! How many usage records a second a control plane stores: decoded, rated, written once and added up, over gRPC into a real
//! PostgreSQL. `make intake`, which starts both and says where they are.
//!
//! The data planes are simulated: each joins as a real one does and delivers one batch after the other, the next one when the
//! last was acknowledged, as its spool does. What they deliver is made beforehand, but for its ids.
//!
//! Invariant: nothing is counted that was not acknowledged.

mod load;
mod report;

use std::{
    env,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::membership::Membership;
use tollgate_proto::{
    DataPlaneId, EnrollmentToken,
    usage::v1::{ReportRequest, SpooledRecord, usage_service_client::UsageServiceClient},
};
use tonic::transport::Channel;

use self::{load::Load, report::Report};

/// As many as a spool ships at once.
const BATCH: usize = 2_000;
/// Batches of each data plane before the clock starts: what calls have in common is known then.
const WARM_UP: usize = 5;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to see that it compiles.
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let (data_planes, records): (usize, usize) =
        (setting("TOLLGATE_BENCH_DATA_PLANES"), setting("TOLLGATE_BENCH_RECORDS"));
    let folder: PathBuf = setting("TOLLGATE_BENCH_FOLDER");
    let joining = (0..data_planes).map(|index| DataPlane::join(folder.join(index.to_string()), index));
    let mut joined: Vec<DataPlane> = stream::iter(joining).buffer_unordered(data_planes).collect().await;
    deliver(&mut joined, WARM_UP).await;
    let batches = records.div_ceil(BATCH * data_planes);
    let cpu = report::Cpu::now();
    let began_at = Instant::now();
    let times = deliver(&mut joined, batches).await;
    let report = Report {
        data_planes,
        records: batches * BATCH * data_planes,
        elapsed: began_at.elapsed(),
        cpu: cpu.since(),
        times,
    };
    report.print();
    report.write();
}

fn setting<T: FromStr>(name: &str) -> T {
    let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make intake`"));
    text.parse().unwrap_or_else(|_| panic!("{name} cannot be `{text}`"))
}

/// Has all of them deliver so many batches each; answers how long each batch took.
async fn deliver(data_planes: &mut [DataPlane], batches: usize) -> Vec<Duration> {
    let all = data_planes.iter_mut().map(|data_plane| data_plane.deliver(batches));
    futures_util::future::join_all(all).await.into_iter().flatten().collect()
}

/// A data plane that only delivers.
struct DataPlane {
    id: DataPlaneId,
    client: UsageServiceClient<Channel>,
    load: Load,
    /// Of the last record that was delivered.
    position: u64,
}

impl DataPlane {
    /// Joins with the installation's token.
    async fn join(folder: PathBuf, index: usize) -> Self {
        let token = EnrollmentToken::read(&setting::<String>("TOLLGATE_ENROLLMENT_TOKEN")).expect("a token");
        let (id, url) = (DataPlaneId::new(), setting::<String>("TOLLGATE_GRPC_URL"));
        let (membership, mut link) = Membership::open(&folder, id, &url, Some(token)).expect("it can join");
        tokio::spawn(membership.keep(CancellationToken::new()));
        link.replaced().await;
        let channel = link.channel().expect("a certificate was issued");
        let load = Load::new(&setting::<String>("TOLLGATE_BENCH_TENANT"), index);
        Self { id, client: UsageServiceClient::new(channel), load, position: 0 }
    }

    async fn deliver(&mut self, batches: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(batches);
        for _ in 0..batches {
            let positions = self.position + 1..;
            let records: Vec<_> = positions
                .zip(self.load.next(BATCH))
                .map(|(position, record)| SpooledRecord { position, record: Some(record) })
                .collect();
            self.position += BATCH as u64;
            let request = ReportRequest { data_plane_id: self.id.uuid().to_string(), records };
            let sent_at = Instant::now();
            let stored = self.client.report(request).await.expect("the control plane stores it").into_inner();
            assert_eq!(stored.acknowledged_position, self.position, "all of it is stored");
            times.push(sent_at.elapsed());
        }
        times
    }
}
