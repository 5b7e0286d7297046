//! What an admission costs, against `PING` on the same connection in the same run, with a Redis of its own.
//! `make admission`.
//!
//! Batches of each kind take turns, so that what else the machine does is shared by all of them. Of every kind it says the
//! median round trip and what Redis itself spent, per operation.

mod redis;

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tollgate_data_plane::{
    counters::{Counters, Request},
    policy::{Limit, OnStoreOutage, Rate, Subject},
    store::{
        BudgetKey, Charge, Class, Demand, Leg, Meter, Owner, Place, RingKey, Session, SessionId, Settled, Settlement,
        Spend, Store, Verdict,
    },
    telemetry::Metrics,
};
use tollgate_proto::{AgentId, BudgetId, CallId, InstanceId, LimitId, ServerId, TenantId};

use self::redis::Server;

const ROUNDS: usize = 60;
const BATCH: usize = 200;
const DEADLINE: Duration = Duration::from_secs(5);
/// Never reached.
const PLENTY: u32 = 1_000_000_000;

/// What is measured.
struct Kind {
    name: &'static str,
    what: What,
    round_trips: Vec<Duration>,
    redis_cpu: Duration,
}

enum What {
    Ping,
    Admit { session: Option<SessionId>, demand: Demand, admitted: bool },
    Settle(Demand),
    Lease(Box<Leased>),
}

/// A data plane that takes its limit in advance: one call in many asks Redis.
struct Leased {
    counters: Counters,
    metrics: Metrics,
    limit: Limit,
    demand: Demand,
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let server = Server::start();
    let store = Store::redis(&[server.url()], DEADLINE).expect("a usable URL");
    let owner = Owner { tenant: TenantId::new(), agent: AgentId::new(), user: None };
    let session = store.create_session(&session(owner)).await.expect("Redis runs");
    let exhausted = Charge { limit: 1, ..charge(Meter::Requests(Class::Executing)) };
    store.admit(owner, None, &rings(vec![exhausted])).await.expect("Redis runs");
    let admit = |session, demand| What::Admit { session, demand, admitted: true };
    let mut kinds = [
        kind("PING", What::Ping),
        kind("one limit on requests", admit(None, rings(limits(1)))),
        kind("requests and tokens", admit(None, rings(limits(2)))),
        kind("session, requests and tokens", admit(Some(session), rings(limits(2)))),
        kind("session, three limits on requests and tokens", admit(Some(session), rings(limits(6)))),
        kind("and calls at once", admit(Some(session), with_places(limits(6)))),
        kind("one budget", admit(None, a_budget())),
        kind("requests, tokens and a budget", admit(None, Demand { charges: limits(2), ..a_budget() })),
        kind("requests and tokens, taken in advance", What::Lease(Box::new(Leased::new()))),
        kind("refused", What::Admit { session: None, demand: rings(vec![exhausted]), admitted: false }),
        kind("settlement of one limit on tokens", What::Settle(rings(vec![charge(Meter::Tokens)]))),
        kind("and of a budget", What::Settle(Demand { charges: vec![charge(Meter::Tokens)], ..a_budget() })),
    ];
    for _ in 0..ROUNDS {
        for kind in &mut kinds {
            let before = server.cpu();
            for _ in 0..BATCH {
                let began = Instant::now();
                kind.what.run(&store, owner).await;
                kind.round_trips.push(began.elapsed());
            }
            kind.redis_cpu += server.cpu() - before;
        }
    }
    print(&mut kinds);
}

impl What {
    async fn run(&self, store: &Store, owner: Owner) {
        match self {
            Self::Ping => store.ping().await.expect("Redis runs"),
            Self::Admit { session, demand, admitted } => {
                let admission = store.admit(owner, session.as_ref(), demand).await.expect("Redis runs");
                assert_eq!(admission.verdict == Verdict::Admitted, *admitted);
            }
            Self::Settle(demand) => {
                let of = |charge: &Charge| Settlement { charge: *charge, slot: 0, actual: 7 };
                let settlements: Vec<_> = demand.charges.iter().map(of).collect();
                let spends: Vec<_> = demand.spends.iter().map(|spend| spend.came_to(7)).collect();
                let settled = Settled { spends: &spends, ..Settled::of(&settlements) };
                store.settle(owner.tenant, settled).await.expect("Redis runs");
            }
            Self::Lease(leased) => leased.admit(store, owner).await,
        }
    }
}

impl Leased {
    fn new() -> Self {
        let rate = Rate { count: PLENTY, window_s: 60 };
        let limit = Limit {
            id: LimitId::new(),
            name: "leased".to_owned(),
            on: Subject::Agent,
            requests: Some(rate),
            tokens: Some(rate),
            concurrency: None,
            on_store_outage: OnStoreOutage::Local,
            is_leased: true,
        };
        let charge = |meter| Charge { key: RingKey { limit: limit.id, meter }, ..charge(meter) };
        let demand = rings(vec![charge(Meter::Requests(Class::Executing)), charge(Meter::Tokens)]);
        Self { counters: Counters::default(), metrics: Metrics::new(), limit, demand }
    }

    async fn admit(&self, store: &Store, owner: Owner) {
        let limits = [&self.limit];
        let now = Instant::now();
        let request = Request { owner, session: None, limits: &limits, budgets: &[], data_planes: 1, now };
        let judged = self.counters.admit(store, &self.metrics, request, self.demand.clone()).await;
        assert_eq!(judged.expect("Redis runs").admission.verdict, Verdict::Admitted);
    }
}

fn kind(name: &'static str, what: What) -> Kind {
    Kind { name, what, round_trips: Vec::new(), redis_cpu: Duration::ZERO }
}

fn limits(rings: usize) -> Vec<Charge> {
    let meters = [Meter::Requests(Class::Executing), Meter::Tokens];
    (0..rings).map(|ring| charge(meters[ring % 2])).collect()
}

fn charge(meter: Meter) -> Charge {
    Charge { key: RingKey { limit: LimitId::new(), meter }, limit: PLENTY, window_s: 60, cost: 1 }
}

fn a_budget() -> Demand {
    let key = BudgetKey { budget: BudgetId::new(), period_start: 1_793_491_200, decimals: 9 };
    let spend = Spend { key, amount: u64::from(PLENTY), known: Some(0), cost: 1, lasts_s: 86_400 };
    Demand { spends: vec![spend], ..Demand::default() }
}

fn rings(charges: Vec<Charge>) -> Demand {
    Demand { charges, ..Demand::default() }
}

/// One call that takes its place again and again.
fn with_places(charges: Vec<Charge>) -> Demand {
    Demand {
        charges,
        places: vec![Place { limit: LimitId::new(), places: PLENTY, call: CallId::new() }],
        ..Demand::default()
    }
}

fn session(owner: Owner) -> Session {
    let leg = Leg {
        instance: InstanceId::new(),
        upstream_session: Some("an-upstream-session".to_owned()),
        protocol_version: "2025-11-25".to_owned(),
    };
    Session {
        owner,
        endpoint: "http://data/t/acme/s/files/mcp".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        initialize_params:
            br#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}"#.to_vec(),
        created_at_ms: 0,
        legs: [(ServerId::new(), leg)].into(),
        log_level: None,
        subscriptions: Default::default(),
    }
}

fn print(kinds: &mut [Kind]) {
    println!("{:<48} {:>10} {:>8} {:>14}", "", "median us", "x PING", "Redis CPU us");
    let mut ping = 0.0;
    for Kind { name, round_trips, redis_cpu, .. } in kinds {
        round_trips.sort_unstable();
        let median = round_trips[round_trips.len() / 2].as_secs_f64() * 1e6;
        if ping == 0.0 {
            ping = median;
        }
        let cpu = redis_cpu.as_secs_f64() * 1e6 / round_trips.len() as f64;
        println!("{name:<48} {median:>10.1} {:>8.2} {cpu:>14.1}", median / ping);
    }
}
