//! What records add up to: sums by hour (UTC), and by calendar day and month in the tenant's time zone, for each combination
//! of who called what and how it ended.
//!
//! Invariant: rollups change in the transaction that stores the records, by exactly those that it stored for the first
//! time, and in the one that rates records anew, by the difference; a month is what its days add up to, always; and what
//! intakes add, they add in one order, so that of two that meet one waits and none is undone.

mod digest;
pub(super) mod overhead;
pub(super) mod rebuild;
mod sql;

use std::{
    collections::{BTreeMap, HashMap},
    ops::{AddAssign, Neg},
};

use chrono::{DateTime, Datelike as _, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use super::fact::{Combination, Fact};
use crate::calendar::{Day, TimeZone};

const HOUR_S: i64 = 3_600;

/// What is added up of calls. Of one batch no sum leaves its type: a count is at most 2^50, and a batch has fewer than
/// 2^13 records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    records: i64,
    /// That a server saw.
    calls: i64,
    /// That were turned away.
    refused: i64,
    input_tokens: i64,
    output_tokens: i64,
    input_bytes: i64,
    output_bytes: i64,
    duration_us: i64,
    upstream_us: i64,
    /// What calls cost; those of a batch come to less than 2^13 · 10^9, which fits with all decimals.
    cost: Decimal,
    /// That would be charged and have no price.
    unpriced_calls: i64,
}

impl Sums {
    fn of(fact: &Fact) -> Self {
        Self {
            records: 1,
            calls: fact.forwarded.into(),
            refused: fact.is_refused().into(),
            input_tokens: fact.input_tokens,
            output_tokens: fact.output_tokens,
            input_bytes: fact.input_bytes,
            output_bytes: fact.output_bytes,
            duration_us: fact.duration_us,
            upstream_us: fact.upstream_us,
            cost: fact.rating.cost,
            unpriced_calls: fact.rating.unpriced.into(),
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.calls += other.calls;
        self.refused += other.refused;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
        self.duration_us += other.duration_us;
        self.upstream_us += other.upstream_us;
        self.cost += other.cost;
        self.unpriced_calls += other.unpriced_calls;
    }
}

impl Neg for Sums {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            records: -self.records,
            calls: -self.calls,
            refused: -self.refused,
            input_tokens: -self.input_tokens,
            output_tokens: -self.output_tokens,
            input_bytes: -self.input_bytes,
            output_bytes: -self.output_bytes,
            duration_us: -self.duration_us,
            upstream_us: -self.upstream_us,
            cost: -self.cost,
            unpriced_calls: -self.unpriced_calls,
        }
    }
}

/// The sums of one combination in one hour, day or month.
type Row<Period> = (Period, i64, Sums);

/// What facts of one tenant add up to.
#[derive(Debug)]
struct Rollup<'a> {
    zone: TimeZone,
    /// Of the fact before: the next one is most often of the same day.
    day: Day,
    /// In the order in which they came; sums name a combination by its place.
    combinations: Vec<&'a Combination>,
    places: HashMap<&'a Combination, usize>,
    hourly: HashMap<(DateTime<Utc>, usize), Sums>,
    daily: HashMap<(NaiveDate, usize), Sums>,
    /// Forwarded calls by hour and bucket of overhead.
    overhead: BTreeMap<(DateTime<Utc>, i32), i64>,
}

/// Adds facts that the transaction has stored for the first time to the rollups of the tenant that it has entered.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn add(
    connection: &mut PgConnection,
    tenant: TenantId,
    zone: TimeZone,
    facts: impl IntoIterator<Item = &Fact>,
) -> Result<(), sqlx::Error> {
    let mut rollup = Rollup::new(zone);
    for fact in facts {
        rollup.add(fact);
    }
    rollup.write(connection, tenant).await
}

/// Moves the rollups from what facts were rated at to what they are rated at now; each pair is one fact, and differs in
/// nothing else.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn rerate(
    connection: &mut PgConnection,
    tenant: TenantId,
    zone: TimeZone,
    changes: impl IntoIterator<Item = (&Fact, &Fact)>,
) -> Result<(), sqlx::Error> {
    let mut rollup = Rollup::new(zone);
    for (before, after) in changes {
        rollup.count(before, -Sums::of(before));
        rollup.count(after, Sums::of(after));
    }
    rollup.write(connection, tenant).await
}

impl<'a> Rollup<'a> {
    fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            day: zone.day_at(DateTime::UNIX_EPOCH),
            combinations: Vec::new(),
            places: HashMap::new(),
            hourly: HashMap::new(),
            daily: HashMap::new(),
            overhead: BTreeMap::new(),
        }
    }

    fn add(&mut self, fact: &'a Fact) {
        self.count(fact, Sums::of(fact));
        if fact.forwarded {
            let bucket = overhead::bucket(fact.duration_us - fact.upstream_us);
            *self.overhead.entry((hour_of(fact.at), bucket)).or_default() += 1;
        }
    }

    /// Adds sums to the fact's combination, in its hour and day.
    fn count(&mut self, fact: &'a Fact, sums: Sums) {
        let place = *self.places.entry(&fact.combination).or_insert_with(|| {
            self.combinations.push(&fact.combination);
            self.combinations.len() - 1
        });
        if !self.day.span.contains(&fact.at) {
            self.day = self.zone.day_at(fact.at);
        }
        *self.hourly.entry((hour_of(fact.at), place)).or_default() += sums;
        *self.daily.entry((self.day.date, place)).or_default() += sums;
    }

    async fn write(self, connection: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
        if self.combinations.is_empty() {
            return Ok(());
        }
        let ids = dimension_ids(connection, tenant, &self.combinations).await?;
        let monthly = self.monthly();
        sql::add_hourly(connection, tenant, &in_order(self.hourly, &ids)).await?;
        sql::add_daily(connection, tenant, &in_order(self.daily, &ids)).await?;
        sql::add_overhead(connection, tenant, &self.overhead).await?;
        // Last: all intakes of a month meet here, also those that bring other days of it.
        sql::add_monthly(connection, tenant, &in_order(monthly, &ids)).await
    }

    /// What the days come to by month.
    fn monthly(&self) -> HashMap<(NaiveDate, usize), Sums> {
        let mut monthly = HashMap::<_, Sums>::with_capacity(self.daily.len());
        for ((day, place), sums) in &self.daily {
            *monthly.entry((month_of(*day), *place)).or_default() += *sums;
        }
        monthly
    }
}

/// The first day of the month that a day lies in.
fn month_of(day: NaiveDate) -> NaiveDate {
    day - Days::new(day.day0().into())
}

/// The beginning of the hour that a moment lies in.
pub(super) fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp().div_euclid(HOUR_S) * HOUR_S, 0).expect("it lies beside a moment")
}

/// The ids of combinations, in their order; those that are new get one.
async fn dimension_ids(
    connection: &mut PgConnection,
    tenant: TenantId,
    combinations: &[&Combination],
) -> Result<Vec<i64>, sqlx::Error> {
    let digests: Vec<_> = combinations.iter().map(|combination| digest::digest(combination)).collect();
    let mut known = sql::dimension_ids(connection, tenant, &digests).await?;
    let unknown: BTreeMap<_, _> =
        digests.iter().zip(combinations).filter(|(digest, _)| !known.contains_key(digest.as_slice())).collect();
    if !unknown.is_empty() {
        sql::insert_dimensions(connection, tenant, &unknown).await?;
        // A second look rather than what was returned: another intake may have made some of them meanwhile.
        known = sql::dimension_ids(connection, tenant, &digests).await?;
    }
    let id = |digest: &digest::Digest| known.get(digest.as_slice()).copied().ok_or(sqlx::Error::RowNotFound);
    digests.iter().map(id).collect()
}

/// Sums with the ids of their combinations, in the order in which all intakes add them.
fn in_order<Period: Ord + Copy>(sums: HashMap<(Period, usize), Sums>, ids: &[i64]) -> Vec<Row<Period>> {
    let mut rows: Vec<_> = sums.into_iter().map(|((period, place), sums)| (period, ids[place], sums)).collect();
    rows.sort_unstable_by_key(|(period, id, _)| (*period, *id));
    rows
}

#[cfg(test)]
mod tests;
