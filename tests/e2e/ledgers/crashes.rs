//! Three ledgers agree, and the money with them, although data planes, control planes, Redis and Postgres are killed at random
//! under load.
//!
//! Invariant: what dies when is decided by a seed alone, which a failed run says and `TOLLGATE_TEST_SEED` gives back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;
use tollgate_tests::{
    McpAnswer,
    Part::{ControlPlane, DataPlane},
    Plan, Reply, eventually_true,
};

use super::{sheets, *};

const SEED_VARIABLE: &str = "TOLLGATE_TEST_SEED";
const DATA_PLANES: usize = 3;
/// How many callers each data plane has.
const LANES: usize = 3;
/// Between two calls of a lane: a load, but none that starves what it is put on.
const BREATH: Duration = Duration::from_millis(60);
/// How long a call's tokens are counted at most, before it is written down how it ended.
const COUNTING: Duration = Duration::from_secs(5);
/// How often each part is killed.
const ROUNDS: usize = 2;

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Postgres,
    Redis,
    ControlPlane(usize),
    DataPlane(usize),
}

/// In the order in which they can start again.
const VICTIMS: [Victim; 7] = [
    Victim::Postgres,
    Victim::Redis,
    Victim::ControlPlane(0),
    Victim::ControlPlane(1),
    Victim::DataPlane(0),
    Victim::DataPlane(1),
    Victim::DataPlane(2),
];

/// A call, as its client knows it.
struct Sent {
    data_plane: usize,
    tool: &'static str,
    tokens: i64,
    at: Instant,
    ended_at: Instant,
    /// None: the connection broke, or there was none.
    answer: Option<McpAnswer>,
}

/// Everything that clients know, by the numbers of the calls.
type Clients = Arc<Mutex<BTreeMap<u64, Sent>>>;

/// When data planes were killed.
type Deaths = Vec<(usize, Instant)>;

/// Numbers that only look random (SplitMix64).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn of_this_run() -> Self {
        let chosen = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a seed is a number"));
        let seed = chosen.unwrap_or_else(|| u64::from_le_bytes(rand_bytes()));
        eprintln!("{SEED_VARIABLE}={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Every part as often as it is to be killed, one or two at a time.
    fn strikes(&mut self) -> Vec<Vec<usize>> {
        let mut all: Vec<usize> = (0..VICTIMS.len() * ROUNDS).map(|place| place % VICTIMS.len()).collect();
        for place in (1..all.len()).rev() {
            all.swap(place, usize::try_from(self.below(place as u64 + 1)).expect("a small number"));
        }
        let mut strikes: Vec<Vec<usize>> = Vec::new();
        for victim in all {
            match strikes.last_mut() {
                Some(last) if last.len() == 1 && last[0] != victim && self.below(3) == 0 => last.push(victim),
                _ => strikes.push(vec![victim]),
            }
        }
        strikes
    }
}

fn rand_bytes() -> [u8; 8] {
    *uuid::Uuid::new_v4().as_bytes().last_chunk().expect("it has sixteen")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_is_killed_and_every_sum_is_the_same() {
    let mut dice = Dice::of_this_run();
    let mut scene = Scene::set(plan(), &Era::Modern).await;
    // Of a control plane without its database.
    for provoked in ["cannot store usage", "a background job failed"] {
        scene.tollgate.expect_error_log(provoked);
    }
    scene.tollgate.when_stale("none", "allow").await;
    prepare(&scene).await;
    let client = scene.tollgate.agent("loop").grant("files:read").grant("files:write").create().await;
    let client = client.at_server("files").await;

    let (clients, stop) = (Clients::default(), Arc::new(AtomicBool::new(false)));
    let lanes: Vec<JoinHandle<()>> = (0..DATA_PLANES * LANES)
        .map(|lane| {
            let data_plane = lane % DATA_PLANES;
            let client = client.clone().through(scene.tollgate.data_plane_url(data_plane));
            let (clients, stop) = (Arc::clone(&clients), Arc::clone(&stop));
            let dice = Dice(dice.below(u64::MAX));
            tokio::spawn(drive(Lane { lane, data_plane, client, dice, clients, stop }))
        })
        .collect();
    let deaths = kill_at_random(&mut scene, &mut dice, &clients).await;
    stop.store(true, Ordering::Relaxed);
    for lane in lanes {
        lane.await.expect("a lane ends");
    }

    let clients = std::mem::take(&mut *clients.lock().unwrap_or_else(PoisonError::into_inner));
    let records = drained(&scene, &clients).await;
    assert_as_it_was(&scene, &clients, &records, &deaths);
    sheets::assert_alike(&scene.tollgate, &records).await;
}

fn plan() -> Plan {
    Deployment::separate(DATA_PLANES).with_second_control_plane().with_own_postgres()
}

/// Tools that answer, fail, and are not granted; prices with awkward decimals; and a limit, so that calls need Redis.
async fn prepare(scene: &Scene) {
    scene.server.set("read", Reply::AsAsked);
    let failed = json!({"content": [{"type": "text", "text": "123456"}], "isError": true});
    scene.server.set("write", Reply::Result(failed));
    scene.tollgate.apply(sheets::PRICES).await;
    let limit = json!({"to": {"tenant": "default"}, "requests": {"count": 1_000_000, "per": "1m"}});
    scene.tollgate.limits("much", limit).await;
}

struct Lane {
    lane: usize,
    data_plane: usize,
    client: McpClient,
    dice: Dice,
    clients: Clients,
    stop: Arc<AtomicBool>,
}

/// Sends one call after the other, whatever becomes of them.
async fn drive(lane: Lane) {
    let Lane { lane, data_plane, client, mut dice, clients, stop } = lane;
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let tool = ["read", "read", "read", "write", "delete"][usize::try_from(dice.below(5)).expect("a small number")];
        let tokens = dice.below(700).cast_signed();
        let number = (turn * DATA_PLANES * LANES + lane) as u64;
        let at = Instant::now();
        let answer = client.try_call(tool, json!({"number": number, "tokens": tokens})).await.ok();
        let sent = Sent { data_plane, tool, tokens, at, ended_at: Instant::now(), answer };
        clients.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sent);
        tokio::time::sleep(BREATH).await;
    }
}

/// Kills and starts again, between as many calls as the dice say.
async fn kill_at_random(scene: &mut Scene, dice: &mut Dice, clients: &Clients) -> Deaths {
    let mut deaths = Vec::new();
    let tollgate = &mut scene.tollgate;
    for mut strike in dice.strikes() {
        goes_on(clients, 20 + dice.below(60)).await;
        let killed: Vec<Victim> = strike.iter().map(|&victim| VICTIMS[victim]).collect();
        eprintln!("killing {killed:?}");
        for victim in killed {
            if let Victim::DataPlane(index) = victim {
                deaths.push((index, Instant::now()));
            }
            match victim {
                Victim::Postgres => tollgate.crash_postgres(),
                Victim::Redis => tollgate.crash_redis(),
                Victim::ControlPlane(index) => tollgate.crash(ControlPlane(index)),
                Victim::DataPlane(index) => tollgate.crash(DataPlane(index)),
            }
        }
        goes_on(clients, dice.below(60)).await;
        strike.sort_unstable();
        for victim in strike {
            match VICTIMS[victim] {
                Victim::Postgres => tollgate.restart_postgres().await,
                Victim::Redis => tollgate.restart_redis().await,
                Victim::ControlPlane(index) => tollgate.restart(ControlPlane(index)).await,
                Victim::DataPlane(index) => tollgate.restart(DataPlane(index)).await,
            }
        }
    }
    goes_on(clients, 60).await;
    deaths
}

/// Waits until clients have made so many calls more.
async fn goes_on(clients: &Clients, calls: u64) {
    let made = || clients.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    let before = made();
    eventually_true("calls to go on", || async { made() >= before + calls }).await;
}

/// All records, once nothing is on its way any more and everything that is known of is there.
async fn drained(scene: &Scene, clients: &BTreeMap<u64, Sent>) -> Vec<UsageRecord> {
    let answered = clients.values().filter_map(|sent| sent.answer.as_ref());
    let known: BTreeSet<String> =
        answered.map(|answer| answer.call_id().to_owned()).chain(scene.server.ledger()).collect();
    eventually_true("the data planes to have delivered everything", || async {
        for index in 0..DATA_PLANES {
            if scene.tollgate.gauge(index, "tollgate_spool_records").await != Some(0.0) {
                return false;
            }
        }
        true
    })
    .await;
    let known: Vec<String> = known.into_iter().collect();
    scene.tollgate.usage_with(&known).await
}

/// Compares what clients saw, what the server ran and what was recorded, call by call.
fn assert_as_it_was(scene: &Scene, clients: &BTreeMap<u64, Sent>, records: &[UsageRecord], deaths: &Deaths) {
    let ran: HashMap<String, u64> = scene
        .server
        .calls()
        .iter()
        .map(|call| {
            let number = call.message["params"]["arguments"]["number"].as_u64().expect("a number");
            (call.header("tollgate-call-id").expect("every call has an id").to_owned(), number)
        })
        .collect();
    assert_eq!(ran.len(), scene.server.calls().len(), "a call ran twice under one id");
    assert_eq!(ran.len(), ran.values().collect::<BTreeSet<_>>().len(), "a call ran twice");
    let answered = clients.iter().filter_map(|(number, sent)| Some((sent.answer.as_ref()?.call_id(), *number)));
    let answered: HashMap<&str, u64> = answered.collect();
    let of: HashMap<&str, &UsageRecord> = records.iter().map(|record| (&*record.call_id, record)).collect();
    assert_eq!(of.len(), records.len(), "a call was recorded twice");

    let (mut unknown, mut strange) = (0, 0);
    for record in records {
        let call = ran.get(&record.call_id).or_else(|| answered.get(&*record.call_id));
        if record.outcome == "unknown" {
            unknown += 1;
        }
        match call.map(|number| &clients[number]) {
            Some(sent) => assert_recorded(record, sent, ran.contains_key(&record.call_id), deaths),
            None => {
                strange += 1;
                assert!(["unknown", "refused"].contains(&&*record.outcome), "nobody knows of {record:?}");
            }
        }
    }
    let unanswered = clients.values().filter(|sent| sent.answer.is_none());
    let unanswered = unanswered.filter(|sent| is_in_flight(sent, deaths)).count();
    eprintln!(
        "{} calls sent, {} answered, {} ran; {} records, {unknown} of unknown outcome, {strange} that only they know of",
        clients.len(),
        answered.len(),
        ran.len(),
        records.len()
    );
    assert!(strange <= unanswered, "{strange} records that nobody knows of, and {unanswered} calls that got no answer");
    assert!(answered.len() * 2 > clients.len(), "most calls are answered");
}

/// A record says what the client saw and what it asked for; that nobody knows, only of a call that was under way when its data
/// plane was killed.
fn assert_recorded(record: &UsageRecord, sent: &Sent, has_run: bool, deaths: &Deaths) {
    assert_eq!(record.tool.as_deref(), Some(sent.tool), "{record:?}");
    assert_eq!(record.forwarded, has_run, "{record:?}");
    if record.outcome == "unknown" {
        assert!(is_in_flight(sent, deaths), "not under way when its data plane died: {record:?}");
        return;
    }
    let expected = match sent.tool {
        "read" => "ok",
        "write" => "tool_error",
        _ => "refused",
    };
    assert_eq!(record.outcome, expected, "{record:?}");
    if let Some(answer) = &sent.answer {
        assert_eq!(record.http_status, i64::from(answer.status), "{record:?}");
    } else {
        assert!(is_in_flight(sent, deaths), "a call got no answer from a data plane that lived: {record:?}");
    }
    let tokens = match sent.tool {
        "read" => sent.tokens,
        "write" => 2,
        _ => 0,
    };
    if record.token_method == "exact" {
        assert_eq!(record.output_tokens, tokens, "{record:?}");
    }
}

/// Whether its data plane was killed between its sending and the moment at which it must have been written down.
fn is_in_flight(sent: &Sent, deaths: &Deaths) -> bool {
    let ended_by = sent.ended_at + COUNTING;
    deaths.iter().any(|(data_plane, at)| *data_plane == sent.data_plane && sent.at <= *at && *at <= ended_by)
}
