//! Looks up what is spent of budgets: once a second, of tenants of which usage came in, and once a minute of each.
//!
//! What lies before yesterday is added up once a minute alone, so that a year's budget costs a second no more than a day's.
//!
//! Invariant: it waits for nothing that policies, revocations and heartbeats need: it has a connection of its own, and whoever
//! sends reads what was found last.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    TenantId,
    policy::v1::{self as wire, TenantPolicy},
};

use crate::{
    app::App,
    budgets::{Period, Span, Target, spending},
    calendar::TimeZone,
    db::Db,
    usage,
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is late, or was mended, is seen after this at the latest.
const EVERYTHING_EVERY: Duration = Duration::from_secs(60);
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 1;
/// How long before it begins data planes are told of a period: their clocks may be ahead.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

struct Looker<'a> {
    app: &'a App,
    db: &'a Db,
    tenants: BTreeMap<TenantId, Watched>,
}

/// What is kept of a tenant from one look to the next.
struct Watched {
    /// Of the policy whose budgets these are.
    revision: u64,
    budgets: Vec<Budget>,
    /// That of the usage which the last look has seen.
    mark: i64,
    /// What does not change every second; `None` when it has to be looked up.
    settled: Option<Settled>,
}

/// A budget of a policy.
struct Budget {
    id: String,
    target: Target,
    period: Period,
    currency: String,
}

/// What was spent before yesterday.
struct Settled {
    looked_at: Instant,
    zone: TimeZone,
    /// From this day on it is looked up every time.
    until: NaiveDate,
    spans: Vec<(Period, Span)>,
    sums: spending::Sums,
}

/// Keeps what streams tell of budgets at what the ledger has, until `stopping`.
pub async fn follow_spending(app: Arc<App>, stopping: CancellationToken) {
    let db = app.db.apart(CONNECTIONS);
    let mut looker = Looker { app: &app, db: &db, tenants: BTreeMap::new() };
    let mut round = interval(LOOK_EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_away = false;
    let look = async {
        loop {
            round.tick().await;
            let looked = timeout(LOOK_TIMEOUT, looker.look()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            if let Err(error) = &looked
                && !was_away
            {
                tracing::warn!(error = error as &dyn Error, "cannot look up what is spent of budgets");
            }
            was_away = looked.is_err();
        }
    };
    stopping.run_until_cancelled(look).await;
}

impl Looker<'_> {
    /// Of each tenant with budgets what may have changed. One that cannot be looked up keeps no other from its turn.
    async fn look(&mut self) -> Result<(), sqlx::Error> {
        self.take_in_policies();
        if self.tenants.is_empty() {
            return Ok(());
        }
        let tenants: Vec<TenantId> = self.tenants.keys().copied().collect();
        let mut connection = self.db.pool().acquire().await?;
        let marks = usage::marks(&mut connection, &tenants).await?;
        drop(connection);
        let mut looked = Ok(());
        for (tenant, watched) in &mut self.tenants {
            let mark = marks.get(tenant).copied().unwrap_or_default();
            match watched.look(self.db, *tenant, mark, Utc::now()).await {
                Ok(Some(found)) => {
                    let spending = self.app.policy_changes.spending();
                    spending.send_if_modified(|spending| spending.set(*tenant, found));
                }
                Ok(None) => {}
                Err(error) => looked = Err(error),
            }
        }
        looked
    }

    /// Takes the budgets of the policies that are known for those to be looked after.
    fn take_in_policies(&mut self) {
        let known = self.app.policy_changes.known().borrow();
        let with_budgets = |tenant: TenantId| known.policy(tenant).is_some_and(|policy| !policy.budgets.is_empty());
        self.tenants.retain(|tenant, _| with_budgets(*tenant));
        for (tenant, policy) in known.policies().filter(|(_, policy)| !policy.budgets.is_empty()) {
            if self.tenants.get(&tenant).is_none_or(|watched| watched.revision != policy.revision) {
                self.tenants.insert(tenant, Watched::of(policy));
            }
        }
        self.app.policy_changes.spending().send_if_modified(|spending| {
            spending.retain(with_budgets);
            false
        });
    }
}

impl Watched {
    fn of(policy: &TenantPolicy) -> Self {
        let budgets = policy.budgets.iter().filter_map(Budget::of).collect();
        Self { revision: policy.revision, budgets, mark: 0, settled: None }
    }

    /// What is spent of each budget in its periods of now; `None` when nothing can have changed.
    async fn look(
        &mut self,
        db: &Db,
        tenant: TenantId,
        mark: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<BTreeMap<(String, i64), Decimal>>, sqlx::Error> {
        let kept = self.settled.take().filter(|settled| settled.is_good(&self.budgets, now));
        if let Some(settled) = kept {
            if mark == self.mark {
                self.settled = Some(settled);
                return Ok(None);
            }
            let mut tx = db.tenant(tenant).await?;
            let recent = spending::sums(&mut tx, tenant, &settled.recent()).await?;
            let found = self.added_up(&settled, &recent);
            (self.settled, self.mark) = (Some(settled), mark);
            return Ok(Some(found));
        }
        // Both as of one moment, so that nothing is in neither when midnight comes.
        let mut tx = db.tenant_snapshot(tenant).await?;
        let zone = usage::time_zone(&mut tx).await?;
        let mut settled = Settled::new(zone, &self.budgets, now);
        settled.sums = spending::sums(&mut tx, tenant, &settled.before()).await?;
        let recent = spending::sums(&mut tx, tenant, &settled.recent()).await?;
        let found = self.added_up(&settled, &recent);
        (self.settled, self.mark) = (Some(settled), mark);
        Ok(Some(found))
    }

    fn added_up(&self, settled: &Settled, recent: &spending::Sums) -> BTreeMap<(String, i64), Decimal> {
        let mut found = BTreeMap::new();
        for budget in &self.budgets {
            for (place, (_, span)) in settled.spans.iter().enumerate().filter(|(_, (of, _))| *of == budget.period) {
                let cost = |sums: &spending::Sums| sums.cost(place, budget.target, &budget.currency);
                let start = span.start(settled.zone).timestamp();
                found.insert((budget.id.clone(), start), cost(&settled.sums).saturating_add(cost(recent)));
            }
        }
        found
    }
}

impl Budget {
    /// `None` for one that means nothing here: a newer control plane compiled it.
    fn of(sent: &wire::Budget) -> Option<Self> {
        let target = match sent.on.as_ref()? {
            wire::budget::On::AgentId(id) => Target::Agent(id.parse().ok()?),
            wire::budget::On::TeamId(id) => Target::Team(id.parse().ok()?),
            wire::budget::On::Tenant(_) => Target::Tenant,
        };
        let (id, currency) = (sent.id.clone(), sent.currency.clone());
        Some(Self { id, target, period: Period::of_wire(sent.period())?, currency })
    }
}

impl Settled {
    fn new(zone: TimeZone, budgets: &[Budget], now: DateTime<Utc>) -> Self {
        let until = until(zone, now);
        let spans = spans(zone, budgets, now);
        Self { looked_at: Instant::now(), zone, until, spans, sums: spending::Sums::default() }
    }

    /// Whether it is young enough, and about the periods of now.
    fn is_good(&self, budgets: &[Budget], now: DateTime<Utc>) -> bool {
        self.looked_at.elapsed() < EVERYTHING_EVERY
            && self.until == until(self.zone, now)
            && self.spans == spans(self.zone, budgets, now)
    }

    fn before(&self) -> Vec<Span> {
        self.spans.iter().map(|(_, span)| Span { to: span.to.min(self.until), ..*span }).collect()
    }

    fn recent(&self) -> Vec<Span> {
        self.spans.iter().map(|(_, span)| Span { from: span.from.max(self.until), ..*span }).collect()
    }
}

/// Yesterday.
fn until(zone: TimeZone, now: DateTime<Utc>) -> NaiveDate {
    zone.day_at(now).date - Days::new(1)
}

/// The periods that calls may count towards now.
fn spans(zone: TimeZone, budgets: &[Budget], now: DateTime<Utc>) -> Vec<(Period, Span)> {
    let (today, soon) = (zone.day_at(now).date, zone.day_at(now + AHEAD).date);
    let is_used = |period: &Period| budgets.iter().any(|budget| budget.period == *period);
    let of = |period: Period| {
        let (current, next) = (period.around(today), period.around(soon));
        [Some(current), Some(next).filter(|next| *next != current)]
            .into_iter()
            .flatten()
            .map(move |span| (period, span))
    };
    Period::ALL.into_iter().filter(is_used).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_period_is_told_of_a_minute_ahead() {
        let zone: TimeZone = "Europe/Berlin".parse().expect("a zone");
        let budget = |period| Budget { id: String::new(), target: Target::Tenant, period, currency: String::new() };
        let budgets = [budget(Period::Month), budget(Period::Day), budget(Period::Month)];
        let at = |text: &str| {
            let spans = spans(zone, &budgets, text.parse().expect("a moment"));
            spans.into_iter().map(|(period, span)| (period, span.from.to_string())).collect::<Vec<_>>()
        };
        let expected = |spans: &[(Period, &str)]| -> Vec<_> {
            spans.iter().map(|(period, from)| (*period, (*from).to_owned())).collect()
        };
        let (day, month) = (Period::Day, Period::Month);
        assert_eq!(at("2026-11-30T22:58:59Z"), expected(&[(day, "2026-11-30"), (month, "2026-11-01")]));
        assert_eq!(
            at("2026-11-30T22:59:00Z"),
            expected(&[(day, "2026-11-30"), (day, "2026-12-01"), (month, "2026-11-01"), (month, "2026-12-01")]),
        );
        assert_eq!(at("2026-11-30T23:00:00Z"), expected(&[(day, "2026-12-01"), (month, "2026-12-01")]));
    }

    #[test]
    fn what_is_settled_and_what_is_recent_are_the_whole_period() {
        let budgets =
            [Budget { id: String::new(), target: Target::Tenant, period: Period::Week, currency: String::new() }];
        // A Monday, a Tuesday and a Sunday.
        for now in ["2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z", "2026-11-29T23:59:30Z"] {
            let settled = Settled::new(TimeZone::UTC, &budgets, now.parse().expect("a moment"));
            let (before, recent) = (settled.before(), settled.recent());
            for (place, (_, span)) in settled.spans.iter().enumerate() {
                let days = |span: &Span| (span.to - span.from).num_days().max(0);
                assert_eq!(days(&before[place]) + days(&recent[place]), days(span), "{now}");
                assert!(days(&recent[place]) <= 7 && recent[place].to == span.to);
            }
        }
    }
}
