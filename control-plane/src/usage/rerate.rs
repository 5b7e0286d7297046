//! Charging calls anew: where a price was wrong, or came too late.
//!
//! No rating is changed: another one is put beside it, with who asked for it and why, and the last one counts. Sums of hours
//! and days move by the difference in the same transaction. What statements have said of a closed month stays; the next one
//! that is closed has the difference as a correction (`statements.rs`).
//!
//! Invariant: of a tenant one page of records is charged anew at a time, so that of two who ask for the same the second one
//! finds nothing left to do; and ratings and sums change together or not at all.

use std::{collections::BTreeMap, iter, ops::Range, sync::Arc};

use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use tollgate_proto::{Currency, PriceBookVersionId, ReratingId, TenantId, rating::Books};
use uuid::Uuid;

use super::{
    fact::Fact,
    rollup::{self, rebuild},
    terms::{self, Terms},
};
use crate::{
    app::App,
    audit,
    calendar::TimeZone,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    price_books,
    resource::Kind as _,
    tenants::TenantSpec,
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

/// How many days one request charges anew at most.
const DAYS_MAX: i64 = 366;
/// How many records one transaction charges anew: no sum over them leaves its type, and none waits for it for long.
const PAGE: i64 = 2_000;
const REASON_CHARS_MAX: usize = 500;

/// What is charged anew, by what, and why.
#[derive(Debug, Clone)]
struct Asked {
    /// The first day.
    from: NaiveDate,
    /// The last day.
    to: NaiveDate,
    /// The team that was charged; `None`: all of them.
    team: Option<String>,
    /// Whose prices stand in for its book's; `None`: what is published counts.
    by: Option<PriceBookVersionId>,
    reason: String,
    /// Whether only to say what would change.
    dry_run: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Rerated {
    /// `None`: nothing was to be changed.
    id: Option<ReratingId>,
    /// That were looked at.
    records: u64,
    /// That have another rating now.
    changed: u64,
    /// By currency; of all that were looked at.
    totals: BTreeMap<Option<Currency>, Totals>,
}

/// What records cost and cost now, and how many have no price.
#[derive(Debug, Default)]
struct Totals {
    before: Decimal,
    after: Decimal,
    unpriced_before: u64,
    unpriced_after: u64,
}

/// A re-rating that has begun.
struct Job {
    tenant: TenantId,
    /// `None`: nothing is changed.
    id: Option<ReratingId>,
    zone: TimeZone,
    span: Range<DateTime<Utc>>,
    team: Option<String>,
    books: Arc<Books>,
}

/// A record as it is rated now.
struct Rated {
    fact: Fact,
    /// How often it was charged anew.
    ratings: i32,
}

/// A record that is rated otherwise now.
struct Change {
    before: Rated,
    after: Fact,
}

/// Charges records anew, a page in a transaction: what breaks off may be repeated.
///
/// # Errors
/// [`ApiError::Forbidden`]; [`ApiError::Invalid`] for what cannot be charged anew; [`ApiError::DaysBeingCounted`]; or when
/// Postgres is away.
async fn rerate(app: &App, caller: &Caller, asked: &Asked) -> Result<Rerated, ApiError> {
    caller.require(Role::Finance)?;
    asked.check()?;
    let job = begin(app, caller, asked).await?;
    let mut rerated = Rerated { id: job.id, ..Rerated::default() };
    let mut after = None;
    loop {
        let mut tx = app.db.tenant(job.tenant).await?;
        let page = job.page(&mut tx, after).await?;
        after = page.last().map(|rated| (rated.fact.at, rated.fact.call_id));
        let changes = rerated.compare(page, &job.books);
        if let Some(id) = job.id.filter(|_| !changes.is_empty()) {
            sql::insert(&mut tx, id, &changes).await?;
            let pairs = changes.iter().map(|change| (&change.before.fact, &change.after));
            rollup::rerate(&mut tx, job.tenant, job.zone, pairs).await?;
            tx.commit().await?;
        }
        if after.is_none() {
            return Ok(rerated);
        }
    }
}

/// Says who does it and why, before anything is done.
async fn begin(app: &App, caller: &Caller, asked: &Asked) -> Result<Job, ApiError> {
    let mut tx = app.db.tenant(caller.tenant).await?;
    let terms = hold(&mut tx, asked.from).await?;
    let books = books(app, &mut tx, asked.by).await?;
    let id = (!asked.dry_run).then(ReratingId::new);
    if let Some(id) = id {
        sql::begin(&mut tx, id, asked, &caller.actor).await?;
        let event = audit::Event {
            actor: &caller.actor,
            action: "usage.rerate",
            object_kind: TenantSpec::NOUN,
            object_id: &caller.tenant.to_string(),
            object_name: &caller.tenant_name,
            detail: json!({ "rerating": id, "from": asked.from, "to": asked.to, "team": asked.team,
                            "price_book_version": asked.by, "reason": asked.reason }),
        };
        audit::record(&mut tx, event).await?;
    }
    tx.commit().await?;
    let end = asked.to + Days::new(1);
    let span = terms.zone.start_of(asked.from)..terms.zone.start_of(end);
    Ok(Job { tenant: caller.tenant, id, zone: terms.zone, span, team: asked.team.clone(), books })
}

/// The tenant's terms, which do not change until the transaction ends: its days are counted, and the records from this one
/// on are kept.
async fn hold(tx: &mut TenantTx, from: NaiveDate) -> Result<Terms, ApiError> {
    let tenant = tx.tenant();
    let held = terms::hold(tx, iter::once(tenant)).await?;
    let terms = *held.get(&tenant).ok_or(sqlx::Error::RowNotFound)?;
    if !terms.days_are_counted() {
        return Err(ApiError::DaysBeingCounted);
    }
    match terms.countable_from() {
        Some(first) if from < first => {
            let detail = format!("{first} or later: records of days before are not kept, and what they cost stays");
            Err(ApiError::fault("/from", "not_kept", detail))
        }
        _ => Ok(terms),
    }
}

async fn books(app: &App, tx: &mut TenantTx, by: Option<PriceBookVersionId>) -> Result<Arc<Books>, ApiError> {
    let tenant = tx.tenant();
    let Some(version) = by else { return Ok(app.price_shelf.books(tx, tenant).await?) };
    let books = price_books::as_if(tx, version).await?.map(Arc::new);
    books.ok_or_else(|| ApiError::fault("/price_book_version", "unknown", format!("there is no version {version}")))
}

impl Asked {
    fn check(&self) -> Result<(), ApiError> {
        let mut faults = Faults::default();
        if !(0..DAYS_MAX).contains(&(self.to - self.from).num_days()) {
            faults.add("/to", "out_of_range", format!("`from` or a later day, at most {DAYS_MAX} days in all"));
        }
        if self.reason.trim().is_empty() {
            faults.add("/reason", "required", "say why: whoever sees the difference will ask");
        }
        if self.reason.chars().count() > REASON_CHARS_MAX {
            faults.add("/reason", "too_long", format!("at most {REASON_CHARS_MAX} characters"));
        }
        if faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(faults)) }
    }
}

impl Job {
    /// The records behind `after`, which nobody else charges anew until the transaction ends.
    async fn page(&self, tx: &mut TenantTx, after: Option<(DateTime<Utc>, Uuid)>) -> Result<Vec<Rated>, ApiError> {
        rebuild::take_turn(tx, self.tenant).await?;
        let terms = hold(tx, self.zone.day_at(self.span.start).date).await?;
        if terms.zone != self.zone {
            return Err(ApiError::Conflict);
        }
        Ok(sql::records(tx, &self.span, self.team.as_deref(), after, PAGE).await?)
    }
}

impl Rerated {
    /// Rates records, and answers those whose rating is another one now.
    fn compare(&mut self, records: Vec<Rated>, books: &Books) -> Vec<Change> {
        let mut changes = Vec::new();
        for before in records {
            let mut after = before.fact.clone();
            after.rate(books);
            self.count(&before.fact, &after);
            if after.rating != before.fact.rating {
                changes.push(Change { before, after });
            }
        }
        changes
    }

    fn count(&mut self, before: &Fact, after: &Fact) {
        self.records += 1;
        self.changed += u64::from(before.rating != after.rating);
        let of = self.totals.entry(before.rating.currency).or_default();
        of.before = of.before.saturating_add(before.rating.cost);
        of.unpriced_before += u64::from(before.rating.unpriced);
        let of = self.totals.entry(after.rating.currency).or_default();
        of.after = of.after.saturating_add(after.rating.cost);
        of.unpriced_after += u64::from(after.rating.unpriced);
    }
}
