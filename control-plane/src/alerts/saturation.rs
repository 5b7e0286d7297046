//! Limits that refuse many calls: who set them should know, or whoever runs into them.
//!
//! Invariant: a refusal counts once, in the transaction that stores its record, and in the hour in which its call arrived;
//! of a limit and an hour there is one alert.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgConnection;
use tollgate_proto::{LimitId, TenantId};

use super::{Alert, AlertKind, raise, sql};
use crate::{db::TenantTx, limits};

/// A limit that refuses so many calls within an hour of the clock (UTC) is saturated: a few are what limits are for.
pub(crate) const REFUSED_MIN: i64 = 10;
/// Of what arrived longer ago, as when a data plane was cut off, nobody is told any more.
const TOLD_WITHIN: TimeDelta = TimeDelta::hours(24);
const HOUR: TimeDelta = TimeDelta::hours(1);

/// Notes which limits refused calls, and when those arrived, of records that are stored for the first time; raises an alert
/// for each limit that has become saturated. The transaction has entered `tenant`.
pub(crate) async fn note(
    connection: &mut PgConnection,
    tenant: TenantId,
    refusals: impl Iterator<Item = (LimitId, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let new = by_hour(refusals.filter(|(_, at)| now - *at < TOLD_WITHIN));
    if new.is_empty() {
        return Ok(());
    }
    for known in sql::add_refusals(connection, tenant, &new).await? {
        let same = |new: &&sql::Refused| (new.limit_id, new.hour) == (known.limit_id, known.hour);
        let before = known.refused - new.iter().find(same).map_or(0, |new| new.refused);
        if before < REFUSED_MIN && known.refused >= REFUSED_MIN {
            tell(connection, tenant, &known).await?;
        }
    }
    Ok(())
}

/// How many calls limits refused in the hour of the clock that it is and in the one before.
pub(crate) struct Refused {
    /// When this hour began.
    pub(crate) hour: DateTime<Utc>,
    known: Vec<sql::Refused>,
}

impl Refused {
    /// Of one limit, in this hour and in the one before.
    pub(crate) fn of(&self, limit: LimitId) -> [i64; 2] {
        let known = || self.known.iter().filter(|known| known.limit_id == limit.uuid());
        let sum = |is_counted: fn(&DateTime<Utc>, &DateTime<Utc>) -> bool| {
            known().filter(|known| is_counted(&known.hour, &self.hour)).map(|known| known.refused).sum()
        };
        [sum(|hour, now| hour >= now), sum(|hour, now| hour < now)]
    }
}

/// How many calls these limits refused of late.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn refused(tx: &mut TenantTx, limits: &[LimitId], now: DateTime<Utc>) -> Result<Refused, sqlx::Error> {
    let hour = now.duration_trunc(HOUR).unwrap_or(now);
    Ok(Refused { hour, known: sql::refusals(tx, limits, hour - HOUR).await? })
}

/// In the order of limits and hours, so that of two intakes that meet one waits and none is undone.
fn by_hour(refusals: impl Iterator<Item = (LimitId, DateTime<Utc>)>) -> Vec<sql::Refused> {
    let mut refused: BTreeMap<(LimitId, DateTime<Utc>), (i64, DateTime<Utc>)> = BTreeMap::new();
    for (limit, at) in refusals {
        let Ok(hour) = at.duration_trunc(HOUR) else { continue };
        let (count, since) = refused.entry((limit, hour)).or_insert((0, at));
        *count += 1;
        *since = at.min(*since);
    }
    let row = |((limit, hour), (refused, since)): ((LimitId, _), _)| sql::Refused {
        limit_id: limit.uuid(),
        hour,
        refused,
        since,
    };
    refused.into_iter().map(row).collect()
}

/// Nothing, when the limit was deleted meanwhile.
async fn tell(connection: &mut PgConnection, tenant: TenantId, known: &sql::Refused) -> Result<(), sqlx::Error> {
    let id = LimitId::from(known.limit_id);
    let Some((name, on)) = limits::named(connection, tenant, id).await? else { return Ok(()) };
    let hour = known.hour.to_rfc3339_opts(SecondsFormat::Secs, true);
    let alert = Alert {
        kind: AlertKind::LimitSaturated,
        key: format!("{id}|{hour}"),
        data: json!({
            "limit": name,
            "limit_id": id,
            "on": on,
            "refused": known.refused,
            "since": known.since.to_rfc3339_opts(SecondsFormat::Millis, true),
            "hour": hour,
        }),
    };
    raise(connection, tenant, &alert).await.map(drop)
}
