//! Tokens are revoked while each part of a deployment fails in turn: no data plane accepts what it has confirmed to be
//! revoked, and none forgets it over an outage.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tollgate_tests::{
    Agent, Answer, Deployment, Era, McpClient, Outage,
    Part::{ControlPlane, DataPlane},
    eventually_true,
};
use uuid::Uuid;

use super::{AT_A_TIME, COUNT, PATIENCE, REVOKED, wanted};
use crate::scene::{Scene, assert_refusal};

const CONTROL_PLANES: usize = 2;
const DATA_PLANES: usize = 3;
/// What control planes log that stood still in a transaction, or have lost their database.
const PROVOKED: [&str; 5] = [
    "idle-in-transaction timeout",
    "cannot store usage",
    "a background job failed",
    "a request failed",
    "the authorization server could not answer",
];
/// Between two looks whether a part is still there.
const PAUSE: Duration = Duration::from_millis(25);

/// So many times something fails in each way until each part has failed in each way.
const ROUNDS: usize = CONTROL_PLANES * DATA_PLANES;

/// Something fails in each way, round by round another part.
fn outages(rounds: usize) -> Vec<Outage> {
    let of_round = |round: usize| {
        let control_plane = |more| ControlPlane((round + more) % CONTROL_PLANES);
        let data_plane = |more| (round + more) % DATA_PLANES;
        [
            Outage::Freeze(control_plane(0)),
            Outage::Crash(control_plane(1)),
            Outage::Freeze(DataPlane(data_plane(0))),
            Outage::Crash(DataPlane(data_plane(1))),
            Outage::WithoutControlPlane(data_plane(2)),
            Outage::WithoutRedis(data_plane(0)),
            Outage::Database,
            Outage::Redis,
        ]
    };
    (0..rounds).flat_map(of_round).collect()
}

/// The data planes that follow a control plane.
fn followers(control_plane: usize) -> impl Iterator<Item = usize> {
    (0..DATA_PLANES).filter(move |index| index % CONTROL_PLANES == control_plane)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_outage_lets_a_token_pass_whose_revocation_was_confirmed() {
    let plan = Deployment::separate(DATA_PLANES).with_second_control_plane().with_losable_database().with_wires();
    let mut scene = Scene::set(plan, &Era::Modern).await;
    // How long a policy may be used that nobody confirms is not what this is about.
    scene.tollgate.when_stale("none", "allow").await;
    for provoked in PROVOKED {
        scene.tollgate.expect_error_log(provoked);
    }
    let ground = Arc::new(Ground::of(&scene));
    let workers: Vec<_> = (0..AT_A_TIME).map(|index| tokio::spawn(Arc::clone(&ground).work(index))).collect();

    let outages = outages((wanted() / COUNT).clamp(1, ROUNDS));
    // As many while something is away as while nothing is.
    let at_a_time = wanted().div_ceil(2 * outages.len());
    for outage in outages {
        ground.goes_on(at_a_time, &workers).await;
        let away = Away::during(outage);
        ground.turn(&away);
        scene.tollgate.strike(outage).await;
        // Without a database nothing can be revoked.
        if outage != Outage::Database {
            ground.goes_on(at_a_time, &workers).await;
        }
        scene.tollgate.recover(outage).await;
        converges(&scene.tollgate).await;
        ground.turn(&away);
        ground.nothing_is_forgotten().await;
    }
    ground.over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.expect("what must not be was not seen");
    }
    ground.nothing_is_forgotten().await;
    let [revoked, confirmed, checked] =
        [&ground.revoked, &ground.confirmed, &ground.checked].map(|count| count.load(Ordering::SeqCst));
    eprintln!("{revoked} revocations between and during outages: {confirmed} confirmed in time, and {checked} times");
    eprintln!("a data plane was asked after that and refused");
    assert!(confirmed > 0, "no revocation was confirmed in time, so that nothing was looked at");
}

/// Whom an outage keeps from revoking, or from hearing of it.
#[derive(Default)]
struct Away {
    control_planes: Vec<usize>,
    data_planes: Vec<usize>,
}

impl Away {
    fn during(outage: Outage) -> Self {
        match outage {
            Outage::Freeze(ControlPlane(index)) | Outage::Crash(ControlPlane(index)) => {
                Self { control_planes: vec![index], data_planes: followers(index).collect() }
            }
            Outage::Freeze(DataPlane(index)) | Outage::Crash(DataPlane(index)) | Outage::WithoutControlPlane(index) => {
                Self { data_planes: vec![index], ..Self::default() }
            }
            Outage::Database => Self { control_planes: vec![0, 1], data_planes: (0..DATA_PLANES).collect() },
            // Neither revoking nor calling needs Redis.
            Outage::WithoutRedis(_) | Outage::Redis => Self::default(),
        }
    }
}

/// How often a part went away and came back: odd while it is away.
#[derive(Debug, Default)]
struct Turns(AtomicUsize);

impl Turns {
    fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Answers now, if the part is there.
    fn here(&self) -> Option<usize> {
        Some(self.0.load(Ordering::SeqCst)).filter(|turns| turns % 2 == 0)
    }

    /// Whether the part was there all the time since.
    fn stayed(&self, since: usize) -> bool {
        self.0.load(Ordering::SeqCst) == since
    }

    /// What comes of it while the part stays; nothing when it goes away before.
    async fn during<T>(&self, since: usize, work: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            while self.stayed(since) {
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = gone => None,
        }
    }
}

/// What the workers share.
struct Ground {
    /// The agent, at each control plane.
    agents: Vec<Agent>,
    /// A client of each data plane, without a token.
    clients: Vec<McpClient>,
    control_planes: [Turns; CONTROL_PLANES],
    data_planes: [Turns; DATA_PLANES],
    /// What was revoked since it was last looked whether anything was forgotten.
    tokens: Mutex<Vec<String>>,
    revoked: AtomicUsize,
    confirmed: AtomicUsize,
    checked: AtomicUsize,
    over: AtomicBool,
}

impl Ground {
    fn of(scene: &Scene) -> Self {
        let clients = (0..DATA_PLANES)
            .map(|index| scene.client.clone().without_token().through(scene.tollgate.data_plane_url(index)));
        Self {
            agents: vec![scene.agent.clone(), scene.agent.clone().through(&scene.tollgate.second_control_url())],
            clients: clients.collect(),
            control_planes: Default::default(),
            data_planes: Default::default(),
            tokens: Mutex::default(),
            revoked: AtomicUsize::new(0),
            confirmed: AtomicUsize::new(0),
            checked: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn turn(&self, away: &Away) {
        away.control_planes.iter().for_each(|index| self.control_planes[*index].turn());
        away.data_planes.iter().for_each(|index| self.data_planes[*index].turn());
    }

    fn url(&self) -> String {
        self.clients[0].url().to_owned()
    }

    /// Waits until so many more tokens have been revoked.
    async fn goes_on(&self, count: usize, workers: &[JoinHandle<()>]) {
        let mut reached = self.revoked.load(Ordering::SeqCst);
        let end = reached + count;
        while reached < end {
            // Each of them in time, however many there are.
            let next = reached + 1;
            eventually_true("revocations to go on", || async {
                let failed = workers.iter().any(JoinHandle::is_finished);
                assert!(!failed, "a worker saw what must not be: its message is above");
                self.revoked.load(Ordering::SeqCst) >= next
            })
            .await;
            reached = self.revoked.load(Ordering::SeqCst);
        }
    }

    /// Revokes until it is over, at one control plane after the other.
    async fn work(self: Arc<Self>, first: usize) {
        for round in first.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let index = round % CONTROL_PLANES;
            match self.control_planes[index].here() {
                Some(since) => drop(self.control_planes[index].during(since, self.revoke(index, since)).await),
                None => sleep(PAUSE).await,
            }
        }
    }

    /// Revokes a token at a control plane while it is used at the data planes that follow it. Once they have confirmed
    /// it, none of them accepts a call that begins; answers whether they have, and nothing came between.
    async fn revoke(&self, index: usize, since: usize) -> bool {
        let watched: Vec<(usize, usize)> =
            followers(index).filter_map(|at| Some((at, self.data_planes[at].here()?))).collect();
        let Some(token) = self.token(index, since).await else { return false };
        let answered = AtomicBool::new(false);
        let calls = watched.iter().map(|(at, here)| {
            self.data_planes[*at].during(*here, self.call_until_refused(*at, *here, &token, &answered))
        });
        let revoking = async {
            let asked_at = Instant::now();
            let answer = self.agents[index].try_revoke(&token).await;
            let confirmed_at = (asked_at.elapsed() < PATIENCE).then(Instant::now);
            answered.store(true, Ordering::SeqCst);
            self.asserted(index, since, answer).map(|_| confirmed_at)
        };
        let (revoked, calls) = tokio::join!(revoking, join_all(calls));
        let Some(in_time) = revoked else { return false };
        self.revoked.fetch_add(1, Ordering::SeqCst);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        let Some(confirmed_at) = in_time else { return false };
        let stayed = watched.iter().zip(calls).filter(|((at, here), _)| self.data_planes[*at].stayed(*here));
        for ((at, _), accepted) in stayed {
            let late = accepted.into_iter().flatten().find(|began_at| *began_at > confirmed_at);
            assert!(late.is_none(), "data plane {at} accepted a call that began after it had confirmed the revocation");
            self.checked.fetch_add(1, Ordering::SeqCst);
        }
        self.confirmed.fetch_add(1, Ordering::SeqCst);
        true
    }

    async fn token(&self, index: usize, since: usize) -> Option<String> {
        let answer = self.agents[index].try_ask_for_token(&[("resource", &self.url())]).await;
        let body = self.asserted(index, since, answer)?;
        Some(body["access_token"].as_str().expect("a token answer has a token").to_owned())
    }

    /// The body that a control plane answered; it fails only when it, or its database, has just gone away.
    fn asserted(&self, index: usize, since: usize, answer: anyhow::Result<Answer>) -> Option<Value> {
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        assert!(!matches!(status, 400..500), "an outage is nobody's mistake: {answer:?}");
        if status == 200 {
            let body = answer.expect("it has a status").body;
            return Some(serde_json::from_slice(&body).unwrap_or_default());
        }
        assert!(!self.control_planes[index].stayed(since), "control plane {index} answers {answer:?}");
        None
    }

    /// When the calls began that were accepted, until one is refused or the revocation has failed.
    async fn call_until_refused(&self, at: usize, here: usize, token: &str, answered: &AtomicBool) -> Vec<Instant> {
        let client = self.clients[at].clone().with_token(token);
        let mut accepted = Vec::new();
        let mut is_last = false;
        loop {
            let began_at = Instant::now();
            match client.try_call("read", json!({})).await {
                Ok(answer) if answer.status == 200 => accepted.push(began_at),
                Ok(answer) => {
                    assert_refusal(&answer, REVOKED);
                    return accepted;
                }
                Err(error) => assert!(!self.data_planes[at].stayed(here), "data plane {at}: {error:#}"),
            }
            // One call that begins after the answer shows whether it holds.
            if is_last {
                return accepted;
            }
            is_last = answered.load(Ordering::SeqCst);
        }
    }

    /// Whatever was revoked up to now is refused by every data plane once it has confirmed a later revocation.
    async fn nothing_is_forgotten(&self) {
        let tokens = std::mem::take(&mut *self.tokens.lock().unwrap_or_else(PoisonError::into_inner));
        for index in 0..CONTROL_PLANES {
            let since = self.control_planes[index].here().expect("everything is there");
            eventually_true("a revocation to be confirmed", || self.revoke(index, since)).await;
        }
        let clients =
            self.clients.iter().flat_map(|client| tokens.iter().map(|token| client.clone().with_token(token)));
        let refused = stream::iter(clients).for_each_concurrent(AT_A_TIME, |client| async move {
            assert_refusal(&client.call("read", json!({})).await, REVOKED);
            self.checked.fetch_add(1, Ordering::SeqCst);
        });
        refused.await;
    }
}

/// A change of policy reaches every data plane: whoever had lost its stream has one again.
async fn converges(tollgate: &Deployment) {
    let change = || async {
        let scope = format!("files:{}", Uuid::new_v4());
        let spec = json!({"to": {"agent": "ci"}, "deny": true, "scopes": [scope]});
        let path = "grants/ci-nothing";
        let now = tollgate.rest(Method::GET, path, &[], &Value::Null).await;
        let etag = now.header("etag").map(|etag| ("if-match", etag));
        let answer = tollgate.rest(Method::PUT, path, etag.as_slice(), &json!({ "spec": spec })).await;
        matches!(answer.status, 200 | 201)
    };
    eventually_true("a change to be made", change).await;
    eventually_true("every data plane to acknowledge the newest policy", || async {
        let answer = tollgate.rest(Method::GET, "", &[], &Value::Null).await;
        let policy = if answer.status == 200 { answer.json()["status"]["policy"].take() } else { Value::Null };
        let newest = policy["revision"].as_i64();
        let acknowledged = policy["data_planes"].as_array().into_iter().flatten();
        newest.is_some()
            && acknowledged.filter(|plane| plane["acked_revision"].as_i64() == newest).count() == DATA_PLANES
    })
    .await;
}
