//! Redis away: killed, hanging, or not there yet.

use std::time::{Duration, Instant};

use super::{
    super::{Charge, Owner, Store, StoreError, Verdict, redis},
    charge, demand, owner,
    server::RedisServer,
};

/// Longest time from the return of Redis to the first answer: a probe interval, a dial, and a busy machine.
const RECOVERY: Duration = Duration::from_secs(30);

fn settings() -> redis::Settings {
    redis::Settings { deadline: Duration::from_millis(200), ..redis::Settings::default() }
}

fn open(server: &RedisServer) -> Store {
    Store::Redis(redis::Store::open(&[server.url()], settings()).expect("a usable URL"))
}

async fn try_admit(store: &Store, owner: Owner, charges: &[Charge]) -> Result<Verdict, StoreError> {
    store.admit(owner, None, &demand(charges)).await.map(|admission| admission.verdict)
}

/// Calls until the store fails at once, and checks that no call waited beyond its deadline.
async fn wait_for_the_breaker(store: &Store, owner: Owner, charges: &[Charge]) {
    for _ in 0..10 {
        let asked = Instant::now();
        let answer = try_admit(store, owner, charges).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(asked.elapsed() < settings().deadline * 25, "{:?}", asked.elapsed());
    }
    let asked = Instant::now();
    for _ in 0..100 {
        assert!(try_admit(store, owner, charges).await.is_err());
    }
    // A hundred calls pay for two probes at most.
    assert!(asked.elapsed() < settings().deadline * 25, "{:?}", asked.elapsed());
}

async fn wait_for_an_answer(store: &Store, owner: Owner, charges: &[Charge]) -> Verdict {
    let started = Instant::now();
    loop {
        match try_admit(store, owner, charges).await {
            Ok(verdict) => return verdict,
            Err(error) => assert!(started.elapsed() < RECOVERY, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_unavailable_quickly_and_comes_back() {
    let mut server = RedisServer::start().await;
    let (store, owner, charges) = (open(&server), owner(), [charge(100, 60)]);
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
    server.kill();
    wait_for_the_breaker(&store, owner, &charges).await;
    server.run().await;
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_is_unavailable_and_comes_back() {
    let server = RedisServer::start().await;
    let (store, owner, charges) = (open(&server), owner(), [charge(1_000, 60)]);
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
    server.signal("STOP");
    wait_for_the_breaker(&store, owner, &charges).await;
    server.signal("CONT");
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_starts_late_is_found() {
    let mut server = RedisServer::stopped();
    let (store, owner, charges) = (open(&server), owner(), [charge(1, 60)]);
    wait_for_the_breaker(&store, owner, &charges).await;
    server.run().await;
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
    assert!(matches!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Refused { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_the_functions_learns_them_again() {
    let server = RedisServer::start().await;
    let (store, owner, charges) = (open(&server), owner(), [charge(2, 60)]);
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
    server.query::<()>(::redis::cmd("SCRIPT").arg("FLUSH")).await;
    assert_eq!(wait_for_an_answer(&store, owner, &charges).await, Verdict::Admitted);
}

#[tokio::test]
async fn what_is_no_redis_url_is_refused_at_once() {
    for urls in [vec![], vec!["http://localhost"], vec!["redis://a", "nonsense"]] {
        let urls: Vec<String> = urls.into_iter().map(str::to_owned).collect();
        assert!(matches!(Store::redis(&urls, settings().deadline), Err(StoreError::Address(_))), "{urls:?}");
    }
}
