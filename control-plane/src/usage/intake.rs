//! `UsageService.Report`: what data planes deliver, stored once.
//!
//! Invariant: records and the position that acknowledges them are written in one transaction, under the lock of the
//! data plane's row, and so is what they add up to (`rollup.rs`). A batch that comes again, to this control plane or
//! another, changes nothing; and no record that cannot be read holds up those behind it. Whatever intakes lock, they lock
//! in one order: tenants by their ids, and of each its records by theirs.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use sqlx::PgConnection;
use tokio::time::timeout;
use tollgate_proto::{
    DataPlaneId, TenantId,
    usage::v1::{ReportRequest, ReportResponse, SpooledRecord, UsageRecord, usage_service_server::UsageService},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    fact::{self, Fact, Unreadable},
    rollup, sql,
};
use crate::{
    app::App,
    calendar::TimeZone,
    data_planes,
    db::{self, Db},
    grpc::admission::{self, Admitted},
};

const RECORDS_MAX: usize = 5_000;
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
const _: () = assert!(i64::MAX / fact::COUNT_MAX > RECORDS_MAX as i64, "no sum over a batch overflows");

/// Takes usage from data planes.
#[derive(Debug)]
pub struct UsageIntake {
    app: Arc<App>,
}

impl UsageIntake {
    /// Stores into the database of `app`.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl UsageService for UsageIntake {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let data_plane = Admitted::of(&self.app, &request).await?.data_plane();
        let ReportRequest { data_plane_id, records } = request.into_inner();
        admission::require_own_id(data_plane, &data_plane_id)?;
        if records.len() > RECORDS_MAX {
            return Err(Status::invalid_argument(format!("a batch has at most {RECORDS_MAX} records")));
        }
        let delivered = records
            .into_iter()
            .map(|SpooledRecord { position, record }| Some((i64::try_from(position).ok()?, record)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Status::invalid_argument("a `position` is beyond 2^63 - 1"))?;
        let stored = timeout(STORE_TIMEOUT, store(&self.app.db, data_plane, delivered));
        match stored.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(position) => Ok(Response::new(ReportResponse { acknowledged_position: position.unsigned_abs() })),
            Err(error) => {
                tracing::error!(%data_plane, error = &error as &dyn Error, "cannot store usage");
                Err(Status::unavailable("usage cannot be stored now; deliver it again"))
            }
        }
    }
}

/// A record with its position in the spool.
pub(super) type Delivered = (i64, Option<UsageRecord>);

/// Stores what is new of a batch; answers up to where everything is stored.
pub(super) async fn store(db: &Db, data_plane: DataPlaneId, delivered: Vec<Delivered>) -> Result<i64, sqlx::Error> {
    let mut tx = db.platform().await?;
    let stored = data_planes::lock_usage_position(&mut tx, data_plane).await?;
    let Some(last) = delivered.iter().map(|(position, _)| *position).max().filter(|last| *last > stored) else {
        return Ok(stored);
    };
    let mut batch = Batch::default();
    for (position, record) in delivered.into_iter().filter(|(position, _)| *position > stored) {
        batch.add(position, record);
    }
    let tenants = known_tenants(&mut tx, &batch).await?;
    batch.disown_all_but(&tenants);
    batch.put_in_order();

    sql::insert_unattributed(&mut tx, data_plane, &batch.unattributed).await?;
    if let Some(first) = batch.quarantined.first() {
        let count = batch.quarantined.len();
        tracing::error!(%data_plane, count, first.position, %first.reason, "usage records that cannot be read were put aside");
        sql::quarantine(&mut tx, data_plane, &batch.quarantined).await?;
    }
    data_planes::set_usage_position(&mut tx, data_plane, last).await?;
    for (tenant, facts) in &batch.facts {
        db::enter(&mut tx, *tenant).await?;
        let new = sql::insert_facts(&mut tx, data_plane, *tenant, facts).await?;
        let new = facts.iter().filter(|fact| new.contains(&fact.call_id));
        rollup::add(&mut tx, *tenant, tenants[tenant], new).await?;
    }
    tx.commit().await?;
    Ok(last)
}

async fn known_tenants(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<HashMap<TenantId, TimeZone>, sqlx::Error> {
    let named: Vec<Uuid> = batch.facts.keys().map(|tenant| tenant.uuid()).collect();
    sql::hold_time_zones(connection, &named).await?;
    sql::lock_tenants(connection, &named).await
}

/// A batch sorted by where its records go.
#[derive(Debug, Default)]
struct Batch {
    facts: BTreeMap<TenantId, Vec<Fact>>,
    unattributed: Vec<Fact>,
    quarantined: Vec<Quarantined>,
}

/// A record that cannot be read, as it came.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) position: i64,
    pub(super) reason: Unreadable,
    pub(super) payload: Vec<u8>,
}

impl Batch {
    fn add(&mut self, position: i64, record: Option<UsageRecord>) {
        match record.as_ref().ok_or(Unreadable::Absent).and_then(Fact::read) {
            Ok(fact) => match fact.tenant {
                Some(tenant) => self.facts.entry(tenant).or_default().push(fact),
                None => self.unattributed.push(fact),
            },
            Err(reason) => {
                let payload = record.map(|record| record.encode_to_vec()).unwrap_or_default();
                self.quarantined.push(Quarantined { position, reason, payload });
            }
        }
    }

    /// Facts of a tenant that does not exist are nobody's.
    fn disown_all_but(&mut self, tenants: &HashMap<TenantId, TimeZone>) {
        let strangers = self.facts.extract_if(.., |tenant, _| !tenants.contains_key(tenant));
        self.unattributed.extend(strangers.flat_map(|(_, facts)| facts));
    }

    /// By call id, each once: of a call that the batch has twice, the first record counts.
    fn put_in_order(&mut self) {
        for facts in self.facts.values_mut().chain([&mut self.unattributed]) {
            facts.sort_by_key(|fact| fact.call_id);
            facts.dedup_by_key(|fact| fact.call_id);
        }
    }
}
