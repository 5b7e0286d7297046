//! `PolicyService.Watch`: one task per data plane.
//!
//! Invariant: a heartbeat, and with it the lease, goes out only while the database was seen lately, and the first one
//! behind every change that was known at the hello. Revocations go out ahead of everything else, whatever else is
//! unanswered, and heartbeats next: neither waits behind more than the policies that are under way, which are few.
//! What is spent of budgets goes out behind policies, and questions behind everything else.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, UnboundedSender},
        watch,
    },
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::{
    DataPlaneId, TenantId,
    policy::v1::{
        Heartbeat, Hello, InstanceReport, IntrospectRequest, IntrospectResponse, Synced, WatchRequest, WatchResponse,
        policy_service_server::PolicyService, watch_request::Message as Request, watch_response::Message as Response,
    },
};
use tonic::{Status, Streaming};

use super::{
    connected::Connection,
    inquiries::Inquiries,
    introspect,
    known::Known,
    ledger::Ledger,
    live::Told,
    spending::{Account, Spending},
};
use crate::{
    app::App,
    catalog,
    data_planes::{Answer, Record, Records, Seen, Verdict},
    grpc::admission::{self, Admitted},
    instance_health,
    telemetry::Metrics,
};

const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Heartbeats within a lease, at least: it does not run out because one of them comes late.
const HEARTBEATS_IN_LEASE: u32 = 4;
/// Messages that may wait for the data plane to read them.
const OUTBOUND_MESSAGES: usize = 16;
const REASON_CHARS_MAX: usize = 1_000;
const VERSION_CHARS_MAX: usize = 100;

/// Serves policy to data planes.
#[derive(Debug)]
pub struct PolicyStreams {
    app: Arc<App>,
    records: Records,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl PolicyStreams {
    /// Streams end at `stopping`; `tasks` knows of those that have not yet.
    #[must_use]
    pub const fn new(app: Arc<App>, records: Records, stopping: CancellationToken, tasks: TaskTracker) -> Self {
        Self { app, records, stopping, tasks }
    }
}

#[tonic::async_trait]
impl PolicyService for PolicyStreams {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: tonic::Request<Streaming<WatchRequest>>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let mut admitted = Admitted::of(&self.app, &request).await?;
        let (outbound, responses) = mpsc::channel(OUTBOUND_MESSAGES);
        let (app, stopping, tasks) = (Arc::clone(&self.app), self.stopping.clone(), self.tasks.clone());
        let (records, inbound) = (self.records.clone(), request.into_inner());
        self.tasks.spawn(async move {
            let data_plane = admitted.data_plane();
            let converse = converse(Arc::clone(&app), records, tasks, data_plane, inbound, outbound.clone());
            let admitted_for = async {
                tokio::select! {
                    ended = converse => ended,
                    status = admitted.ended() => {
                        let known = app.policy_changes.subscribe();
                        if let Some(at) = known.borrow().revoked_at(data_plane) {
                            app.metrics.revocation_enforced("data_plane", at.elapsed());
                        }
                        Err(status)
                    }
                }
            };
            if let Some(Err(status)) = stopping.run_until_cancelled(admitted_for).await {
                tracing::debug!(%status, "a policy stream ended");
                // The data plane may be gone, which is why the stream ended.
                let _ = outbound.try_send(Err(status));
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(responses)))
    }

    async fn introspect(
        &self,
        request: tonic::Request<IntrospectRequest>,
    ) -> Result<tonic::Response<IntrospectResponse>, Status> {
        Admitted::of(&self.app, &request).await?;
        introspect::answer(&self.app, request.into_inner()).await.map(tonic::Response::new)
    }
}

/// What is going on between this control plane and one data plane.
struct Stream {
    data_plane: DataPlaneId,
    connection: Connection,
    told: Told,
    ledger: Ledger,
    known: watch::Receiver<Known>,
    account: Account,
    spending: watch::Receiver<Spending>,
    record: Record,
    inquiries: Inquiries,
    reports: UnboundedSender<InstanceReport>,
    catalog: catalog::Reports,
    synced: bool,
    heartbeat_due: bool,
    lease_ms: u64,
}

/// Talks to one data plane until it goes away or says what makes no sense.
async fn converse(
    app: Arc<App>,
    records: Records,
    tasks: TaskTracker,
    data_plane: DataPlaneId,
    mut inbound: Streaming<WatchRequest>,
    outbound: mpsc::Sender<Result<WatchResponse, Status>>,
) -> Result<(), Status> {
    let mut known = app.policy_changes.subscribe();
    let Some(hello) = hear_hello(&mut inbound).await? else { return Ok(()) };
    // The sender lives in `app`, so that waiting cannot fail.
    let _ = known.wait_for(Known::is_complete).await;
    let (mut stream, health) = Stream::open(&app, &records, known, data_plane, hello)?;
    tasks.spawn(health);
    // The stream holds its own part in them.
    drop(records);
    let metrics = &app.metrics;

    let mut heartbeat = interval(HEARTBEAT_INTERVAL.min(app.policy_lease / HEARTBEATS_IN_LEASE));
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            permit = outbound.reserve(), if stream.has_something_to_say() => {
                let Ok(permit) = permit else { return Ok(()) };
                if let Some(message) = stream.say() {
                    permit.send(Ok(WatchResponse { message: Some(message) }));
                }
            }
            heard = inbound.message() => match heard? {
                Some(request) => stream.hear(request, metrics)?,
                None => return Ok(()),
            },
            _ = stream.known.changed() => stream.notice(),
            _ = stream.spending.changed() => stream.notice_spending(),
            () = stream.inquiries.arrive() => {}
            _ = heartbeat.tick() => stream.heartbeat_due = true,
        }
    }
}

async fn hear_hello(inbound: &mut Streaming<WatchRequest>) -> Result<Option<Hello>, Status> {
    let first = timeout(HELLO_TIMEOUT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello within 10 s of opening the stream"))??;
    match first {
        None => Ok(None),
        Some(WatchRequest { message: Some(Request::Hello(hello)) }) => Ok(Some(hello)),
        Some(_) => Err(Status::invalid_argument("the first message of a policy stream is a hello")),
    }
}

impl Stream {
    /// The stream after its hello, and the work of keeping how it sees instances.
    fn open(
        app: &App,
        records: &Records,
        mut known: watch::Receiver<Known>,
        data_plane: DataPlaneId,
        hello: Hello,
    ) -> Result<(Self, impl Future<Output = ()> + use<>), Status> {
        admission::require_own_id(data_plane, &hello.data_plane_id)?;
        let mut told = Told::new(&hello.epoch, &hello.revocations)
            .map_err(|error| Status::invalid_argument(format!("in `revocations`: {error}")))?;
        let mut ledger = Ledger::new(&hello.epoch, hello.held)
            .map_err(|error| Status::invalid_argument(format!("in `held`: {error}")))?;
        let (asker, inquiries) = Inquiries::new();
        let connection = app.policy_changes.connected().enter(data_plane, asker);
        let version = printable(&hello.version, VERSION_CHARS_MAX);
        tracing::info!(%data_plane, version, "a data plane opened its policy stream");
        let record = records.open(data_plane, Seen { version, lease: app.policy_lease });
        let (reports, reported) = mpsc::unbounded_channel();
        {
            let known = known.borrow_and_update();
            for (tenant, revision) in told.held(&known) {
                connection.apply(tenant, revision);
            }
            for (tenant, revision) in ledger.held(&known) {
                record.answer(Answer { tenant, revision, verdict: Verdict::Acknowledged });
            }
            told.compare(&known);
            ledger.compare(&known);
        }
        let (mut account, mut spending) = (Account::default(), app.policy_changes.spending().subscribe());
        account.compare(&spending.borrow_and_update());
        let health = instance_health::keep(app.db.clone(), data_plane, reported);
        let stream = Self {
            data_plane,
            connection,
            told,
            ledger,
            known,
            account,
            spending,
            record,
            inquiries,
            reports,
            catalog: app.catalog_reports.clone(),
            synced: false,
            heartbeat_due: false,
            lease_ms: u64::try_from(app.policy_lease.as_millis()).unwrap_or(u64::MAX),
        };
        Ok((stream, health))
    }

    /// Whether [`Stream::say`] is worth calling.
    fn has_something_to_say(&self) -> bool {
        let is_settled = self.ledger.is_settled();
        !self.told.is_settled()
            || self.ledger.has_next()
            || (is_settled && !self.synced)
            || (self.synced && self.heartbeat_due)
            || (self.synced && is_settled && (self.account.has_next() || self.inquiries.is_waiting()))
    }

    /// The next message: revocations, then a heartbeat where it would not make a policy current that was replaced while
    /// nobody listened, then changes, then what is spent of budgets; questions when there is nothing else.
    fn say(&mut self) -> Option<Response> {
        if self.known.has_changed().unwrap_or(false) {
            self.notice();
        }
        let known = self.known.borrow();
        if let Some(revocations) = self.told.next(&known) {
            return Some(Response::Revocations(revocations));
        }
        if self.synced && std::mem::take(&mut self.heartbeat_due) && known.is_current() {
            return Some(Response::Heartbeat(Heartbeat { lease_ms: self.lease_ms, data_planes: known.data_planes() }));
        }
        if let Some((tenant, message)) = self.ledger.next(&known) {
            if matches!(message, Response::Policy(_)) {
                self.account.begin(tenant, &self.spending.borrow());
            }
            return Some(message);
        }
        if !self.ledger.is_settled() {
            return None;
        }
        if !self.synced {
            self.synced = true;
            return Some(Response::Synced(Synced { epoch: known.epoch().to_owned() }));
        }
        if let Some(states) = self.account.next(&self.spending.borrow()) {
            return Some(Response::BudgetStates(states));
        }
        self.inquiries.next().map(Response::Question)
    }

    /// Takes in what changed since the last time.
    fn notice(&mut self) {
        let known = self.known.borrow_and_update();
        self.told.compare(&known);
        self.ledger.compare(&known);
    }

    fn notice_spending(&mut self) {
        self.account.compare(&self.spending.borrow_and_update());
    }

    fn hear(&mut self, request: WatchRequest, metrics: &Metrics) -> Result<(), Status> {
        let (tenant_id, revision, verdict) = match request.message {
            Some(Request::Ack(ack)) => (ack.tenant_id, ack.revision, Verdict::Acknowledged),
            Some(Request::Nack(nack)) => {
                let reason = printable(&nack.reason, REASON_CHARS_MAX);
                (nack.tenant_id, nack.revision, Verdict::Refused { reason })
            }
            Some(Request::RevocationsApplied(applied)) => {
                for (kind, took) in self.connection.apply(tenant_of(&applied.tenant_id)?, applied.revision) {
                    metrics.revocation_enforced(kind, took);
                }
                return Ok(());
            }
            Some(Request::Hello(_)) => return Err(Status::invalid_argument("a policy stream has one hello")),
            Some(Request::Reply(reply)) => {
                self.inquiries.answer(reply);
                return Ok(());
            }
            Some(Request::InstanceReport(report)) => {
                // The receiver lives until this sender is gone.
                let _ = self.reports.send(report);
                return Ok(());
            }
            Some(Request::CatalogReport(report)) => {
                self.catalog.hear(self.data_plane, report);
                return Ok(());
            }
            // Something that a newer data plane says beside the rest.
            None => return Ok(()),
        };
        let tenant = tenant_of(&tenant_id)?;
        if !self.ledger.answer(&self.known.borrow(), tenant, revision) {
            tracing::warn!(data_plane = %self.data_plane, %tenant, revision, "an answer to no policy that was sent");
            return Ok(());
        }
        if let Verdict::Refused { reason } = &verdict {
            tracing::error!(data_plane = %self.data_plane, %tenant, revision, reason, "a data plane refused a policy");
        }
        self.record.answer(Answer { tenant, revision, verdict });
        Ok(())
    }
}

fn tenant_of(text: &str) -> Result<TenantId, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("{error}")))
}

/// Text from a data plane as Postgres and a log can hold it.
fn printable(text: &str, chars_max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect()
}
