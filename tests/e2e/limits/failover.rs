//! One limit over three data planes, under three times the load that it allows, while Redis fails over twice: its primary is
//! killed, and later changes places with its replica.
//!
//! Invariant: the server's own list of calls is the judge, by the clock of this process, which sends the calls too: a call
//! was admitted between the moment at which it was sent and that at which the server had it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tollgate_tests::Plan;

use super::*;

const DATA_PLANES: usize = 3;
const REQUESTS: usize = 600;
const TOKENS: u64 = 200_000;
const WINDOW: Duration = Duration::from_secs(60);
/// Three times what is allowed.
const CALLS_A_SECOND: u32 = 30;
/// So that the first room which comes free again is used up too.
const CALLS: usize = 84 * CALLS_A_SECOND as usize;
/// How long a call's tokens are counted at most before its limits are settled.
const COUNTING: Duration = Duration::from_secs(5);
/// The primary is killed when so many calls have been sent: while there is room in the limit.
const CRASH_AT: usize = 5 * CALLS_A_SECOND as usize;
/// And changes places when so many have: while room comes free, and is used up at once.
const HAND_OVER_AT: usize = 72 * CALLS_A_SECOND as usize;
/// How many tokens most answers of a tool have, and some: three times what is allowed on the average. With the answers of the
/// first tool requests are used up first, with those of the second tokens.
const SHORT: Size = Size { tool: "read", usual: 160, large: 1_000 };
const LONG: Size = Size { tool: "write", usual: 450, large: 1_000 };
/// More of an answer than is reserved for it is nothing unusual then: what 95 of 100 do not exceed is.
const LARGE_EVERY: usize = 25;

/// What the answers of a tool are like.
#[derive(Debug, Clone, Copy)]
struct Size {
    tool: &'static str,
    usual: u64,
    large: u64,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy)]
struct Ask {
    tool: &'static str,
    tokens: u64,
    /// Of these, how many are reserved at least.
    reserved: u64,
}

/// A call as its agent saw it.
struct Sent {
    number: usize,
    at: Instant,
    ended_at: Instant,
    answer: McpAnswer,
}

/// One that the server had.
struct Admitted {
    ask: Ask,
    sent_at: Instant,
    arrived_at: Instant,
    ended_at: Instant,
}

/// Redis was away, or its address led elsewhere.
struct Failover {
    /// What was written between these moments may be lost.
    lost: Option<(Instant, Instant)>,
    began_at: Instant,
    /// When every data plane had reached it again.
    over_at: Instant,
}

/// One of which it is not known yet when data planes had noticed.
struct Happened {
    lost: Option<(Instant, Instant)>,
    began_at: Instant,
    done_at: Instant,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_has_more_than_the_limit_across_data_planes_and_failovers_of_redis() {
    holds_across_failovers("Redis", Deployment::separate(DATA_PLANES).on_replicated_redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_has_more_than_the_limit_across_data_planes_and_failovers_of_redis_cluster() {
    holds_across_failovers("Redis Cluster", Deployment::separate(DATA_PLANES).on_replicated_redis_cluster()).await;
}

async fn holds_across_failovers(store: &str, plan: Plan) {
    let mut scene = Scene::set(plan, &Era::Modern).await;
    scene.server.set(SHORT.tool, Reply::AsAsked);
    scene.server.set(LONG.tool, Reply::AsAsked);
    let client = scene.tollgate.agent("loop").grant("files:*").create().await.at_server("files").await;
    let requests = json!({"count": REQUESTS, "per": "1m"});
    let tokens = json!({"count": TOKENS, "per": "1m"});
    // What passes without Redis has bounds of its own.
    let limit = json!({"to": {"agent": "loop"}, "requests": requests, "tokens": tokens, "on_store_outage": "deny"});
    scene.tollgate.limits("both", limit).await;
    let clients = (0..DATA_PLANES).map(|index| client.clone().through(scene.tollgate.data_plane_url(index))).collect();

    let count = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn(load(clients, Arc::clone(&count)));
    let happened = [fail_over(&mut scene, &count).await, hand_over(&mut scene, &count).await];
    let calls = join_all(load.await.expect("all are sent")).await;
    let calls: Vec<Sent> = calls.into_iter().map(|call| call.expect("every call is answered")).collect();
    assert!(count.load(Ordering::Relaxed) == CALLS);

    let failovers = happened.map(|it| it.noticed(&calls));
    let admitted = admitted(&scene, &calls);
    assert_refused_well(&calls, &failovers);
    assert_windows(store, &admitted, &failovers);
}

/// Sends calls at a constant rate, to one data plane after the other, whether earlier ones are answered or not.
async fn load(clients: Vec<McpClient>, count: Arc<AtomicUsize>) -> Vec<JoinHandle<Sent>> {
    let mut rate = tokio::time::interval(Duration::from_secs(1) / CALLS_A_SECOND);
    let mut calls = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        rate.tick().await;
        let client = clients[number % DATA_PLANES].clone();
        calls.push(tokio::spawn(async move {
            let Ask { tool, tokens, .. } = ask(number);
            let at = Instant::now();
            let answer = client.call(tool, json!({"number": number, "tokens": tokens})).await;
            Sent { number, at, ended_at: Instant::now(), answer }
        }));
        count.fetch_add(1, Ordering::Relaxed);
    }
    calls
}

fn ask(number: usize) -> Ask {
    let Size { tool, usual, large } = if number < CALLS / 2 { SHORT } else { LONG };
    let tokens = if number.is_multiple_of(LARGE_EVERY) { large } else { usual };
    Ask { tool, tokens, reserved: usual }
}

/// The primary is killed, and its replica takes over.
async fn fail_over(scene: &mut Scene, count: &AtomicUsize) -> Happened {
    sent(count, CRASH_AT).await;
    let lost = scene.tollgate.fail_redis_over().await;
    Happened { lost: Some(lost), began_at: lost.0, done_at: Instant::now() }
}

/// The primary and its replica change places.
async fn hand_over(scene: &mut Scene, count: &AtomicUsize) -> Happened {
    // In steps, because nothing else takes as long as this load.
    for step in CRASH_AT / CALLS_A_SECOND as usize..HAND_OVER_AT / CALLS_A_SECOND as usize {
        sent(count, (step + 1) * CALLS_A_SECOND as usize).await;
    }
    let began_at = Instant::now();
    scene.tollgate.hand_redis_over().await;
    Happened { lost: None, began_at, done_at: Instant::now() }
}

async fn sent(count: &AtomicUsize, wanted: usize) {
    eventually_true("the load to go on", || async { count.load(Ordering::Relaxed) >= wanted }).await;
}

impl Happened {
    /// It is over when each data plane has admitted a call that was sent afterwards: a refusal may be one that it remembers.
    fn noticed(self, calls: &[Sent]) -> Failover {
        let Self { lost, began_at, done_at } = self;
        let reached_at = |data_plane: usize| {
            let later = calls.iter().filter(|call| call.number % DATA_PLANES == data_plane && call.at >= done_at);
            later.filter(|call| call.answer.status == 200).map(|call| call.ended_at).min().expect("it goes on")
        };
        let over_at = (0..DATA_PLANES).map(reached_at).max().expect("there are data planes");
        eprintln!("a failover took {:?}, noticed within {:?}", done_at - began_at, over_at - done_at);
        Failover { lost, began_at, over_at }
    }
}

/// The calls that the server had: those that were answered with 200, and no others.
fn admitted(scene: &Scene, calls: &[Sent]) -> Vec<Admitted> {
    let seen = scene.server.calls();
    let number = |number: &Value| usize::try_from(number.as_u64().expect("a number")).expect("a small one");
    let arrived: BTreeMap<usize, Instant> =
        seen.iter().map(|call| (number(&call.message["params"]["arguments"]["number"]), call.at)).collect();
    assert_eq!(arrived.len(), seen.len(), "a call ran twice");
    let mut admitted = Vec::new();
    for Sent { number, at, ended_at, answer } in calls {
        assert_eq!(answer.status == 200, arrived.contains_key(number), "call {number}: {}", answer.body);
        if let Some(&arrived_at) = arrived.get(number) {
            admitted.push(Admitted { ask: ask(*number), sent_at: *at, arrived_at, ended_at: *ended_at });
        }
    }
    admitted
}

/// Whoever is refused hears when to come again; and that nobody counts, only while nobody could.
fn assert_refused_well(calls: &[Sent], failovers: &[Failover]) {
    let mut reasons = BTreeMap::new();
    for Sent { at, ended_at, answer, .. } in calls.iter().filter(|call| call.answer.status != 200) {
        *reasons.entry(answer.reason().to_owned()).or_insert(0) += 1;
        match answer.status {
            // The window, and the slot in which it ends.
            429 => assert!((1..=61).contains(&retry_after(answer)), "{}", answer.body),
            503 => {
                let was_away = |failover: &Failover| failover.began_at <= *ended_at && *at <= failover.over_at;
                assert!(failovers.iter().any(was_away), "{}", answer.body);
            }
            status => panic!("{status}: {}", answer.body),
        }
    }
    eprintln!("refused: {reasons:?}");
    for reason in ["rate_limited_requests", "rate_limited_tokens"] {
        assert!(reasons.contains_key(reason), "both were used up: {reasons:?}");
    }
}

/// Looks at every window: whatever has surely been admitted in it is within the bound, and the limit has been used.
fn assert_windows(store: &str, admitted: &[Admitted], failovers: &[Failover]) {
    let mut busiest = (0, 0);
    let mut over = (0, 0);
    for Admitted { sent_at: from, .. } in admitted {
        let to = *from + WINDOW;
        let window: Vec<&Admitted> =
            admitted.iter().filter(|call| call.sent_at >= *from && call.arrived_at < to).collect();
        let tokens: u64 = window.iter().map(|call| call.ask.tokens).sum();
        let (lost, excess) = allowed_beyond(&window, failovers);
        assert!(window.len() <= REQUESTS + lost, "{store}: {} requests in a window, {lost} lost", window.len());
        assert!(tokens <= TOKENS + excess, "{store}: {tokens} tokens in a window, {excess} beyond at most");
        busiest = (busiest.0.max(window.len()), busiest.1.max(tokens));
        over = (over.0.max(lost), over.1.max(excess));
    }
    eprintln!(
        "{store}: {} calls admitted of {CALLS}; at most {} requests and {} tokens in a window, of {} and {} that may be",
        admitted.len(),
        busiest.0,
        busiest.1,
        REQUESTS + over.0,
        TOKENS + over.1
    );
    assert!(
        busiest.0 * 10 >= REQUESTS * 9 && busiest.1 * 10 >= TOKENS * 9,
        "{store}: the limit is not used: {busiest:?}"
    );
}

/// How many requests and tokens may have been admitted in a window beyond the limit.
///
/// Requests: what the primary that died had not handed on. Tokens: those of such calls too; and what calls came to beyond what
/// was reserved for them, of those that had not been settled when the last one was admitted, or never were because Redis was
/// away.
fn allowed_beyond(window: &[&Admitted], failovers: &[Failover]) -> (usize, u64) {
    let is_lost = |call: &&&Admitted| {
        failovers.iter().filter_map(|it| it.lost).any(|(from, to)| call.arrived_at >= from && call.sent_at <= to)
    };
    let last = window.iter().map(|call| call.sent_at).max().expect("a window begins with a call");
    let is_unsettled = |call: &&&Admitted| {
        let settled_by = call.ended_at + COUNTING;
        settled_by >= last || failovers.iter().any(|it| call.sent_at <= it.over_at && settled_by >= it.began_at)
    };
    let lost: Vec<u64> = window.iter().filter(is_lost).map(|call| call.ask.tokens).collect();
    let excess = window.iter().filter(is_unsettled).map(|call| call.ask.tokens - call.ask.reserved);
    (lost.len(), lost.iter().sum::<u64>() + excess.sum::<u64>())
}
