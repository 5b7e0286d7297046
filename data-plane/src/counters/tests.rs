//! Leases over one store, by a clock that the test moves, and a store that is away.

use std::sync::atomic::AtomicU64;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Builder;
use tollgate_proto::{AgentId, CallId, LimitId};

use super::*;
use crate::{
    policy::{OnStoreOutage, Rate, Subject},
    store::{Class, Loaded, Meter, RingKey, memory, tests::server::RedisServer},
};

const WINDOW_S: u32 = 10;

fn limit(count: u32) -> Limit {
    Limit {
        id: LimitId::new(),
        name: "l".to_owned(),
        on: Subject::Agent,
        requests: Some(Rate { count, window_s: WINDOW_S }),
        tokens: None,
        concurrency: None,
        on_store_outage: OnStoreOutage::Local,
        is_leased: true,
    }
}

fn owner() -> Owner {
    Owner { tenant: TenantId::new(), agent: AgentId::new(), user: None }
}

fn one_of(limit: &Limit) -> Demand {
    let key = RingKey { limit: limit.id, meter: Meter::Requests(Class::Executing) };
    let Rate { count, window_s } = limit.requests.expect("a rate");
    let window_s = window_s + if limit.is_leased { LEASE_S } else { 0 };
    Demand { charges: vec![Charge { key, limit: count, window_s, cost: 1 }], ..Demand::default() }
}

/// Data planes that share a store, and what they let through.
struct Fleet {
    began: Instant,
    passed_ms: Arc<AtomicU64>,
    store: Store,
    metrics: Metrics,
    owner: Owner,
    limit: Limit,
    data_planes: Vec<Counters>,
    admitted: Vec<Instant>,
    asked: usize,
}

impl Fleet {
    fn new(data_planes: usize, count: u32) -> Self {
        let passed_ms = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&passed_ms);
        let clock = memory::Clock::new(move || 1_800_000_000 + clock.load(Ordering::Relaxed) / 1_000);
        Self {
            began: Instant::now(),
            passed_ms,
            store: Store::Memory(memory::Store::with_clock(clock)),
            metrics: Metrics::new(),
            owner: owner(),
            limit: limit(count),
            data_planes: (0..data_planes).map(|_| Counters::default()).collect(),
            admitted: Vec::new(),
            asked: 0,
        }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    /// Lets time pass, and data planes do what they do then.
    async fn pass(&self, millis: u64) {
        self.passed_ms.fetch_add(millis, Ordering::Relaxed);
        for counters in &self.data_planes {
            for (tenant, unused) in counters.leases.end_those_over(self.now()) {
                counters.settling.add(tenant, vec![unused]);
            }
            counters.settling.tell(&self.store, &counters.refusals).await;
        }
    }

    async fn call(&mut self, data_plane: usize) -> Verdict {
        let limits = [&self.limit];
        let now = self.now();
        let request = Request { owner: self.owner, session: None, limits: &limits, budgets: &[], data_planes: 3, now };
        let counters = &self.data_planes[data_plane];
        let judged = counters.admit(&self.store, &self.metrics, request, one_of(&self.limit)).await.expect("an answer");
        self.asked += usize::from(judged.counted == CountedAt::Store);
        if judged.admission.verdict == Verdict::Admitted {
            self.admitted.push(now);
        }
        judged.admission.verdict
    }

    /// The most that was let through in any window.
    fn worst(&self) -> usize {
        let (window, mut first) = (Duration::from_secs(u64::from(WINDOW_S)), 0);
        let within = self.admitted.iter().enumerate().map(|(last, at)| {
            while self.admitted[first] + window <= *at {
                first += 1;
            }
            last + 1 - first
        });
        within.max().unwrap_or_default()
    }
}

/// How long nothing happens, and how many calls come then at each data plane.
fn load() -> impl Strategy<Value = Vec<(u64, [u8; 3])>> {
    let pause_ms = prop_oneof![5 => 1..200_u64, 1 => 900..1_200_u64, 1 => 3_000..12_000_u64];
    prop::collection::vec((pause_ms, prop::array::uniform3(0..12_u8)), 1..200)
}

#[test]
fn no_window_sees_more_than_the_limit_however_many_data_planes_lease_from_it() {
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let result = runner.run(&(20..400_u32, load()), |(count, load)| {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let worst = runtime.block_on(async {
            let mut fleet = Fleet::new(3, count);
            for (pause_ms, calls) in load {
                fleet.pass(pause_ms).await;
                for (data_plane, calls) in calls.into_iter().enumerate() {
                    for _ in 0..calls {
                        fleet.call(data_plane).await;
                    }
                }
            }
            fleet.worst()
        });
        prop_assert!(worst <= count as usize, "{worst} of {count}");
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[tokio::test]
async fn leases_spare_the_store_and_waste_next_to_nothing() {
    let mut fleet = Fleet::new(3, 6_000);
    let (mut offered, ticks) = (0, 400);
    for _ in 0..ticks {
        fleet.pass(100).await;
        for data_plane in 0..3 {
            for _ in 0..60 {
                offered += 1;
                fleet.call(data_plane).await;
            }
        }
    }
    // Three times as much is offered as the limit allows, for four windows.
    assert_eq!(offered, 3 * 60 * ticks);
    assert!(fleet.worst() <= 6_000);
    assert!(fleet.admitted.len() >= 19_000, "{}", fleet.admitted.len());
}

#[tokio::test]
async fn a_steady_agent_asks_the_store_now_and_then() {
    let mut fleet = Fleet::new(1, 60_000);
    for _ in 0..1_000 {
        fleet.pass(10).await;
        assert_eq!(fleet.call(0).await, Verdict::Admitted);
    }
    assert!(fleet.asked < 150, "{}", fleet.asked);
}

#[tokio::test]
async fn what_is_leased_and_not_used_goes_back() {
    let mut fleet = Fleet::new(1, 400);
    for _ in 0..100 {
        fleet.pass(10).await;
        fleet.call(0).await;
    }
    fleet.pass(2_000).await;
    let left = fleet.store.admit(fleet.owner, None, &one_of(&fleet.limit)).await.expect("an answer");
    assert_eq!(left.rings[0].remaining, 400 - 100 - 1);
}

/// A store that does not answer.
fn away() -> Store {
    Store::redis(&["redis+unix:///nowhere/redis.sock".to_owned()], Duration::from_millis(20)).expect("a usable URL")
}

async fn alone(counters: &Counters, owner: Owner, limits: &[&Limit], places: Vec<Place>) -> Result<Judged, StoreError> {
    let request = Request { owner, session: None, limits, budgets: &[], data_planes: 3, now: Instant::now() };
    let charges = limits.iter().filter(|limit| limit.requests.is_some()).flat_map(|limit| one_of(limit).charges);
    let demand = Demand { charges: charges.collect(), places, ..Demand::default() };
    counters.admit(&away(), &Metrics::new(), request, demand).await
}

#[tokio::test]
async fn while_the_store_is_away_each_data_plane_keeps_to_its_share() {
    let (counters, owner, limit) = (Counters::default(), owner(), Limit { is_leased: false, ..limit(100) });
    for call in 0..30 {
        let judged = alone(&counters, owner, &[&limit], vec![]).await.expect("it decides");
        assert_eq!(judged.admission.verdict, Verdict::Admitted, "{call}");
        assert_eq!(judged.admission.rings[0].remaining, 29 - call);
    }
    let judged = alone(&counters, owner, &[&limit], vec![]).await.expect("it decides");
    assert!(matches!(judged.admission.verdict, Verdict::Refused { .. }));
    assert!(counters.is_store_away());
}

#[tokio::test]
async fn what_a_limit_does_without_its_counters_is_its_own_choice() {
    let (counters, owner) = (Counters::default(), owner());
    let with = |on_store_outage| Limit { on_store_outage, is_leased: false, ..limit(100) };
    let (open, local, deny) = (with(OnStoreOutage::Open), with(OnStoreOutage::Local), with(OnStoreOutage::Deny));
    for _ in 0..200 {
        let judged = alone(&counters, owner, &[&open], vec![]).await.expect("it does not count");
        assert_eq!((judged.admission.verdict, judged.counted), (Verdict::Admitted, CountedAt::Nowhere));
    }
    let judged = alone(&counters, owner, &[&open, &local], vec![]).await.expect("one of them is counted");
    assert_eq!(judged.demand.charges.len(), 1);
    assert!(alone(&counters, owner, &[&local, &deny], vec![]).await.is_err());
    let tiny = Limit { requests: Some(Rate { count: 3, window_s: 60 }), ..local };
    assert!(alone(&counters, owner, &[&tiny], vec![]).await.is_err(), "a share of nothing is no share");
}

#[tokio::test]
async fn places_are_shared_too() {
    let (counters, owner) = (Counters::default(), owner());
    let limit = Limit { requests: None, concurrency: Some(7), is_leased: false, ..limit(1) };
    let place = || vec![Place { limit: limit.id, places: 7, call: CallId::new() }];
    for _ in 0..2 {
        let judged = alone(&counters, owner, &[&limit], place()).await.expect("it decides");
        assert_eq!(judged.admission.verdict, Verdict::Admitted);
    }
    let judged = alone(&counters, owner, &[&limit], place()).await.expect("it decides");
    assert!(matches!(judged.admission.verdict, Verdict::Refused { .. }));
}

#[tokio::test]
async fn what_was_let_through_alone_is_charged_when_the_store_is_back() {
    let (counters, back, limit) = (Counters::default(), Store::memory(), Limit { is_leased: false, ..limit(100) });
    let owner = owner();
    let request =
        Request { owner, session: None, limits: &[&limit], budgets: &[], data_planes: 3, now: Instant::now() };
    for _ in 0..20 {
        counters.admit(&away(), &Metrics::new(), request, one_of(&limit)).await.expect("it decides");
    }
    assert!(counters.alone.tell(&away()).await.is_err(), "it is kept for when the store is back");
    // The second time there is nothing to tell.
    for _ in 0..2 {
        counters.alone.tell(&back).await.expect("the store answers");
    }
    let left = back.admit(owner, None, &one_of(&limit)).await.expect("an answer");
    assert_eq!(left.rings[0].remaining, 100 - 20 - 1);
}

/// How often functions were run, by what Redis itself counts.
async fn runs(server: &RedisServer) -> u64 {
    let statistics: String = server.query(redis::cmd("INFO").arg("commandstats")).await;
    let runs = statistics.lines().filter_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next());
    runs.map(|calls| calls.parse::<u64>().expect("a number")).sum()
}

#[tokio::test]
async fn an_agent_that_asks_again_and_again_costs_redis_one_look_a_second() {
    let server = RedisServer::start().await;
    let store = Store::redis(&[server.url()], Duration::from_secs(5)).expect("a usable URL");
    let (counters, metrics, owner) = (Counters::default(), Metrics::new(), owner());
    let limit = Limit { requests: Some(Rate { count: 1, window_s: 86_400 }), is_leased: false, ..limit(1) };
    let (began, limits) = (Instant::now(), [&limit]);
    let request = Request { owner, session: None, limits: &limits, budgets: &[], data_planes: 1, now: began };
    let ask = async |now, session| {
        let request = Request { now, session, ..request };
        counters.admit(&store, &metrics, request, one_of(&limit)).await.expect("Redis answers")
    };
    assert_eq!(ask(began, None).await.admission.verdict, Verdict::Admitted);
    let before = runs(&server).await;
    for minute in 1..=5 {
        let now = began + Duration::from_secs(60 * minute);
        let first = ask(now, None).await;
        assert_eq!(first.counted, CountedAt::Store);
        for millis in 0..999 {
            let again = ask(now + Duration::from_millis(millis), None).await;
            assert_eq!(again.counted, CountedAt::Remembered);
            let waits = [&first, &again].map(|judged| judged.admission.rings[0].retry_after_s);
            assert!(waits[1] == waits[0] || waits[1] + 1 == waits[0], "{waits:?} within a second");
        }
    }
    assert_eq!(runs(&server).await - before, 5);

    // Who has no session is told that first.
    let stranger = SessionId::generate().expect("an id");
    let now = began + Duration::from_secs(300);
    let judged = ask(now, Some(&stranger)).await;
    assert!(matches!(judged.admission.session, Loaded::Missing));
    assert_eq!((judged.admission.verdict, judged.counted), (Verdict::NotTested, CountedAt::Store));
}
