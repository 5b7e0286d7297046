//! Sends the spool's records to the control plane, for as long as it takes.
//!
//! Invariant: one batch is under way at a time, and the next begins where the acknowledgement of the last one ended.

use std::time::Duration;

use aws_lc_rs::rand;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    DataPlaneId,
    usage::v1::{ReportRequest, SpooledRecord, UsageRecord, usage_service_client::UsageServiceClient},
};
use tonic::Status;

use super::spool::{Cursor, Spool};
use crate::membership::Link;

const RECORDS_MAX: usize = 1_000;
/// Records of calls that end close together share a batch.
const GATHER: Duration = Duration::from_millis(20);
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// During a drain the time is short: no longer pauses than this.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);

/// The task that ships; dropping it stops the shipping, and the next start goes on.
#[derive(Debug)]
pub struct Shipping {
    spool: Spool,
    draining: CancellationToken,
    task: JoinHandle<()>,
}

struct Shipper {
    spool: Spool,
    data_plane: DataPlaneId,
    link: Link,
    draining: CancellationToken,
}

impl Shipping {
    /// Starts to ship over `link`, as soon as there is a connection. Must be called in a Tokio runtime.
    #[must_use]
    pub fn start(spool: Spool, data_plane: DataPlaneId, link: Link) -> Self {
        let draining = CancellationToken::new();
        let shipper = Shipper { spool: spool.clone(), data_plane, link, draining: draining.clone() };
        Self { spool, draining, task: tokio::spawn(shipper.run()) }
    }

    /// Ships what is left, for at most `deadline`, and returns how many records stay for the next start.
    pub async fn drain(mut self, deadline: Duration) -> u64 {
        self.draining.cancel();
        let delivered = tokio::time::timeout(deadline, &mut self.task).await;
        if delivered.is_err() {
            let spool = self.spool.clone();
            // A disk that is slower leaves the sync to the operating system.
            let synced = tokio::task::spawn_blocking(move || spool.sync());
            let _late = tokio::time::timeout(deadline, synced).await;
        }
        self.spool.depth()
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shipper {
    async fn run(mut self) {
        let mut cursor = Cursor::default();
        loop {
            let spool = self.spool.clone();
            let read = tokio::task::spawn_blocking(move || {
                let records = spool.read(&mut cursor, RECORDS_MAX);
                (cursor, records)
            });
            let Ok((read_to, records)) = read.await else { return };
            cursor = read_to;
            match records {
                Ok(records) if !records.is_empty() => self.deliver(records).await,
                Ok(_) if self.draining.is_cancelled() && self.spool.depth() == 0 => return,
                Ok(_) => self.wait_for_records().await,
                Err(error) => {
                    tracing::error!(%error, "the usage spool cannot be read; trying on");
                    self.pause(BACKOFF_MAX).await;
                }
            }
        }
    }

    async fn wait_for_records(&self) {
        if self.draining.is_cancelled() {
            tokio::time::sleep(DRAIN_PAUSE).await;
            return;
        }
        tokio::select! {
            () = self.spool.completed() => self.pause(GATHER).await,
            () = self.draining.cancelled() => {}
        }
    }

    /// Sends a batch until all of it is acknowledged.
    async fn deliver(&mut self, records: Vec<(u64, UsageRecord)>) {
        let mut records: Vec<SpooledRecord> =
            records.into_iter().map(|(position, record)| SpooledRecord { position, record: Some(record) }).collect();
        let mut backoff = BACKOFF_MIN;
        let mut failing = false;
        while let Some(last) = records.last().map(|record| record.position) {
            let mark = match self.report(&records).await {
                Ok(mark) => mark,
                Err(status) => {
                    if !failing {
                        tracing::warn!(code = ?status.code(), error = status.message(), "usage is not taken; trying on");
                        failing = true;
                    }
                    0
                }
            };
            if mark > last {
                tracing::error!(mark, last, "the control plane acknowledged more than was sent: was the spool copied?");
            }
            let stored = records.partition_point(|record| record.position <= mark);
            if stored == 0 {
                self.pause(jittered(backoff)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
            backoff = BACKOFF_MIN;
            records.drain(..stored);
            self.acknowledge(mark.min(last), stored as u64).await;
        }
        if failing {
            tracing::info!("usage is taken again");
        }
    }

    async fn report(&mut self, records: &[SpooledRecord]) -> Result<u64, Status> {
        let request = ReportRequest { data_plane_id: self.data_plane.uuid().to_string(), records: records.to_vec() };
        let channel = self.link.channel().ok_or_else(|| Status::unavailable("this data plane is not enrolled"))?;
        let mut client = UsageServiceClient::new(channel);
        let response = tokio::time::timeout(REPORT_TIMEOUT, client.report(request))
            .await
            .map_err(|_| Status::deadline_exceeded("no answer in time"))??;
        Ok(response.into_inner().acknowledged_position)
    }

    async fn acknowledge(&self, position: u64, records: u64) {
        let spool = self.spool.clone();
        let done = tokio::task::spawn_blocking(move || spool.acknowledge(position, records)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "segments of the usage spool were not deleted; they will be");
        }
    }

    /// Sleeps, but not long once a drain has begun.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.drain_pause() => {}
        }
    }

    async fn drain_pause(&self) {
        self.draining.cancelled().await;
        tokio::time::sleep(DRAIN_PAUSE).await;
    }
}

/// Between half of the time and all of it, so that data planes do not return in step.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, which is no harm.
    let _random = rand::fill(&mut byte);
    time / 2 + time * u32::from(byte[0]) / 512
}
