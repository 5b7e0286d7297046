//! `UsageService.Report`: what data planes deliver, stored once.
//!
//! Invariant: records and the position that acknowledges them are written in one transaction, under the lock of the
//! data plane's row, and so is what they cost, add up to (`rollup.rs`) and give the alarm of (`alerts/saturation.rs`). A batch that comes again, to this control plane or
//! another, changes nothing; and no record that cannot be stored holds up those behind it. Whatever intakes lock, they lock
//! in one order: tenants by their ids, and of each its records by theirs; at last the tenants' marks, by their ids too.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use prost::Message as _;
use tokio::time::timeout;
use tollgate_proto::{
    DataPlaneId, TenantId,
    usage::v1::{ReportRequest, ReportResponse, SpooledRecord, UsageRecord, usage_service_server::UsageService},
};
use tonic::{Request, Response, Status};

use super::{
    fact::{self, Fact, Unstorable},
    rollup, sql,
    terms::{self, Terms, Timeliness},
};
use crate::{
    alerts::saturation,
    app::App,
    data_planes, db,
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

    /// Stores a batch of this data plane, which is who it says; answers with the position up to which all is stored.
    ///
    /// # Errors
    /// [`Status`]: the batch is none that anybody could store, or Postgres is away.
    pub async fn store(&self, data_plane: DataPlaneId, records: Vec<SpooledRecord>) -> Result<u64, Status> {
        if records.len() > RECORDS_MAX {
            return Err(Status::invalid_argument(format!("a batch has at most {RECORDS_MAX} records")));
        }
        let delivered = records
            .into_iter()
            .map(|SpooledRecord { position, record }| Some((i64::try_from(position).ok()?, record)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Status::invalid_argument("a `position` is beyond 2^63 - 1"))?;
        let stored = timeout(STORE_TIMEOUT, store(&self.app, data_plane, delivered));
        stored.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(i64::unsigned_abs).map_err(|error| {
            tracing::error!(%data_plane, error = &error as &dyn Error, "cannot store usage");
            Status::unavailable("usage cannot be stored now; deliver it again")
        })
    }
}

#[tonic::async_trait]
impl UsageService for UsageIntake {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let data_plane = Admitted::of(&self.app, &request).await?.data_plane();
        let ReportRequest { data_plane_id, records } = request.into_inner();
        admission::require_own_id(data_plane, &data_plane_id)?;
        let acknowledged_position = self.store(data_plane, records).await?;
        Ok(Response::new(ReportResponse { acknowledged_position }))
    }
}

/// A record with its position in the spool.
pub(super) type Delivered = (i64, Option<UsageRecord>);

/// Stores what is new of a batch; answers up to where everything is stored.
pub(super) async fn store(app: &App, data_plane: DataPlaneId, delivered: Vec<Delivered>) -> Result<i64, sqlx::Error> {
    let mut tx = app.db.platform().await?;
    let stored = data_planes::lock_usage_position(&mut tx, data_plane).await?;
    let Some(last) = delivered.iter().map(|(position, _)| *position).max().filter(|last| *last > stored) else {
        return Ok(stored);
    };
    let new = delivered.iter().filter(|(position, _)| *position > stored);
    let mut batch = Batch::read(new);
    let tenants = terms::hold(&mut tx, batch.facts.keys().copied()).await?;
    batch.sort_out(&tenants, Utc::now());

    if !batch.unattributed.is_empty() {
        sql::insert_unattributed(&mut tx, data_plane, &batch.unattributed).await?;
    }
    if let Some(first) = batch.quarantined.first() {
        let count = batch.quarantined.len();
        tracing::error!(%data_plane, count, first.position, %first.reason, "usage records that cannot be stored were put aside");
        sql::quarantine(&mut tx, data_plane, &batch.quarantined).await?;
    }
    data_planes::set_usage_position(&mut tx, data_plane, last).await?;
    let mut stored_of = Vec::new();
    for (tenant, facts) in &mut batch.facts {
        db::enter(&mut tx, *tenant).await?;
        let books = app.price_shelf.books(&mut tx, *tenant).await?;
        facts.iter_mut().for_each(|(_, fact)| fact.rate(&books));
        let facts: Vec<&Fact> = facts.iter().map(|(_, fact)| fact).collect();
        let new = sql::insert_facts(&mut tx, data_plane, *tenant, &facts).await?;
        if !new.is_empty() {
            stored_of.push(*tenant);
        }
        let new: Vec<&Fact> = facts.into_iter().filter(|fact| new.contains(&fact.call_id)).collect();
        rollup::add(&mut tx, *tenant, tenants[tenant].zone, new.iter().copied()).await?;
        let refusals = new.iter().filter_map(|fact| Some((fact.limit_id?.into(), fact.at)));
        saturation::note(&mut tx, *tenant, refusals, Utc::now()).await?;
    }
    if !stored_of.is_empty() {
        sql::mark(&mut tx, &stored_of).await?;
    }
    tx.commit().await?;
    for record in &batch.quarantined {
        app.metrics.usage_quarantined(record.reason.label());
    }
    Ok(last)
}

/// A batch sorted by where its records go. A fact keeps what it was read from, in case that it goes elsewhere.
#[derive(Debug, Default)]
struct Batch<'a> {
    facts: BTreeMap<TenantId, Vec<(&'a Delivered, Fact)>>,
    unattributed: Vec<Fact>,
    quarantined: Vec<Quarantined>,
}

/// A record that cannot be stored, as it came.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) position: i64,
    pub(super) reason: Unstorable,
    pub(super) payload: Vec<u8>,
}

impl Quarantined {
    fn new((position, record): &Delivered, reason: Unstorable) -> Self {
        let payload = record.as_ref().map(UsageRecord::encode_to_vec).unwrap_or_default();
        Self { position: *position, reason, payload }
    }
}

impl<'a> Batch<'a> {
    fn read(delivered: impl Iterator<Item = &'a Delivered>) -> Self {
        let mut batch = Self::default();
        for delivered in delivered {
            match delivered.1.as_ref().ok_or(Unstorable::Absent).and_then(Fact::read) {
                Ok(fact) => match fact.tenant {
                    Some(tenant) => batch.facts.entry(tenant).or_default().push((delivered, fact)),
                    None => batch.unattributed.push(fact),
                },
                Err(reason) => batch.quarantined.push(Quarantined::new(delivered, reason)),
            }
        }
        batch
    }

    /// Facts of a tenant that does not exist are nobody's, and those of a time that it takes none of are put aside. The
    /// others are put in the order of their call ids, each once: of a call that the batch has twice, the first counts.
    fn sort_out(&mut self, tenants: &HashMap<TenantId, Terms>, now: DateTime<Utc>) {
        let strangers = self.facts.extract_if(.., |tenant, _| !tenants.contains_key(tenant));
        self.unattributed.extend(strangers.flat_map(|(_, facts)| facts).map(|(_, fact)| fact));
        for (tenant, facts) in &mut self.facts {
            let terms = tenants[tenant];
            let wrong = |fact: &Fact| match terms.timeliness(fact.at, now) {
                Timeliness::Good => None,
                Timeliness::Future => Some(Unstorable::Future),
                Timeliness::Expired => Some(Unstorable::Expired),
            };
            let untimely = facts.extract_if(.., |(_, fact)| wrong(fact).is_some());
            self.quarantined
                .extend(untimely.filter_map(|(delivered, fact)| Some(Quarantined::new(delivered, wrong(&fact)?))));
            facts.sort_by_key(|(_, fact)| fact.call_id);
            facts.dedup_by_key(|(_, fact)| fact.call_id);
        }
        self.unattributed.sort_by_key(|fact| fact.call_id);
    }
}
