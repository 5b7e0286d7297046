//! Each part of a deployment fails in turn, under load: what is allowed stays allowed, what is denied stays denied, a
//! change reaches whoever can hear of it, and every decision is the one of the revision that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tollgate_tests::{
    Agent, Deployment, Era, McpClient, Outage,
    Part::{ControlPlane, DataPlane},
    eventually, eventually_true,
};

use crate::scene::Scene;

const DATA_PLANES: usize = 3;
/// Between two rounds of a worker: a load, but none that starves what it is put on.
const BREATH: Duration = Duration::from_millis(40);
/// The agent whom a deny comes and goes for.
const CHANGING: &str = "ops";

/// What is put on one data plane, for as long as the story takes.
struct Worker {
    /// The data plane may be away now.
    away: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    task: JoinHandle<BTreeSet<String>>,
}

/// The deployment under load, and what its policy was.
struct Site {
    scene: Scene,
    changing: McpClient,
    workers: Vec<Worker>,
    stop: Arc<AtomicBool>,
    /// Whether the changing agent was let use its tool, from each revision on.
    granted: BTreeMap<i64, bool>,
}

impl Site {
    async fn set() -> Self {
        let plan = Deployment::separate(DATA_PLANES).with_second_control_plane().with_losable_database().with_wires();
        let scene = Scene::set(plan, &Era::Modern).await;
        // How long a policy may be used that nobody confirms is not what this is about.
        scene.tollgate.when_stale("none", "allow").await;
        let changing = scene.tollgate.agent(CHANGING).grant("files:write").create().await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut site = Self {
            changing: changing.at_server("files").await,
            workers: Vec::new(),
            stop,
            scene,
            granted: BTreeMap::new(),
        };
        site.granted.insert(site.revision(0).await, true);
        for index in 0..DATA_PLANES {
            let worker = Worker::start(&site, index, &changing).await;
            site.workers.push(worker);
        }
        site.goes_on(&[0, 1, 2]).await;
        site
    }

    fn at(&self, client: &McpClient, index: usize) -> McpClient {
        client.clone().through(self.scene.tollgate.data_plane_url(index))
    }

    /// The newest revision, as a control plane has it.
    async fn revision(&self, control_plane: usize) -> i64 {
        let tenant = self.scene.tollgate.rest_at(control_plane, Method::GET, "", &[], &Value::Null).await;
        tenant.json()["status"]["policy"]["revision"].as_i64().expect("a revision")
    }

    /// Denies the changing agent its tool, or takes that back, at a control plane.
    async fn change(&mut self, control_plane: usize) {
        let is_granted = !self.granted.last_key_value().expect("the first one").1;
        let tollgate = &self.scene.tollgate;
        let path = "grants/ops-denied";
        // A change may be made though the answer to it is lost.
        eventually_true("the change to be made", || async {
            let now = tollgate.rest_at(control_plane, Method::GET, path, &[], &Value::Null).await;
            let _looked_at_again = match (is_granted, now.status) {
                (true, 404) | (false, 200) => return true,
                (true, 200) => {
                    let etag = now.header("etag").expect("a grant has an ETag");
                    tollgate.rest_at(control_plane, Method::DELETE, path, &[("if-match", etag)], &Value::Null).await
                }
                _ => {
                    let spec = json!({"to": {"agent": CHANGING}, "deny": true, "scopes": ["files:write"]});
                    tollgate.rest_at(control_plane, Method::PUT, path, &[], &json!({ "spec": spec })).await
                }
            };
            false
        })
        .await;
        let revision = self.revision(control_plane).await;
        self.granted.insert(revision, is_granted);
    }

    /// Waits until these data planes decide by the newest change.
    async fn heard_at(&self, data_planes: &[usize]) {
        let status = if *self.granted.last_key_value().expect("the first one").1 { 200 } else { 403 };
        for &index in data_planes {
            let client = self.at(&self.changing, index);
            eventually_true("the change to be in force", || async {
                client.try_call("write", json!({})).await.is_ok_and(|answer| answer.status == status)
            })
            .await;
        }
    }

    /// Lets something happen. Meanwhile a change at control plane `changed_at` is heard at some data planes, and the load
    /// goes on at some; afterwards the next change is heard everywhere, and the load goes on everywhere.
    async fn survives(&mut self, outage: Outage, changed_at: Option<usize>, hear: &[usize], go_on: &[usize]) {
        self.scene.tollgate.strike(outage).await;
        if let Some(control_plane) = changed_at {
            self.change(control_plane).await;
        }
        self.heard_at(hear).await;
        self.goes_on(go_on).await;
        self.scene.tollgate.recover(outage).await;
        self.heard_at(&ALL).await;
        self.change(0).await;
        self.heard_at(&ALL).await;
        self.goes_on(&ALL).await;
    }

    /// Waits until the load on these data planes has gone on for a while, with whatever is away now.
    async fn goes_on(&self, data_planes: &[usize]) {
        let rounds = |index: &usize| self.workers[*index].rounds.load(Ordering::Relaxed);
        let before: Vec<usize> = data_planes.iter().map(rounds).collect();
        eventually_true("calls to go on", || async {
            for worker in &self.workers {
                assert!(!worker.task.is_finished(), "a worker saw what must not be: its message is above");
            }
            data_planes.iter().map(rounds).zip(&before).all(|(now, before)| now > before + 3)
        })
        .await;
    }

    async fn end(self) -> (Scene, BTreeMap<i64, bool>, BTreeSet<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls = BTreeSet::new();
        for worker in self.workers {
            calls.extend(worker.task.await.expect("what must not be was not seen"));
        }
        (self.scene, self.granted, calls)
    }
}

impl Worker {
    /// Asks data plane `index` for what is allowed, what is denied, and what is either, until told to stop. Answers the
    /// ids of the calls that were answered.
    async fn start(site: &Site, index: usize, changing: &Agent) -> Self {
        let allowed = site.at(&site.scene.client, index);
        let either = site.at(&changing.at_server("files").await, index);
        let (away, rounds, stop) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::clone(&site.stop));
        let (is_away, done) = (Arc::clone(&away), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            let mut calls = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                for (client, tool, statuses) in
                    [(&allowed, "read", &[200][..]), (&allowed, "write", &[403]), (&either, "write", &[200, 403])]
                {
                    let was_away = is_away.load(Ordering::Relaxed);
                    match client.try_call(tool, json!({})).await {
                        Ok(answer) => {
                            assert!(
                                statuses.contains(&answer.status),
                                "{tool} at {index}: {} {}",
                                answer.status,
                                answer.body
                            );
                            calls.insert(answer.call_id().to_owned());
                        }
                        Err(error) => {
                            let excused = was_away || is_away.load(Ordering::Relaxed);
                            assert!(excused, "{tool} at {index}: {error:#}");
                        }
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(BREATH).await;
            }
            calls
        });
        Self { away, rounds, task }
    }
}

/// The data planes that follow a control plane.
fn followers(control_plane: usize) -> Vec<usize> {
    (0..DATA_PLANES).filter(|index| index % 2 == control_plane).collect()
}

fn others(data_plane: usize) -> Vec<usize> {
    (0..DATA_PLANES).filter(|index| *index != data_plane).collect()
}

const ALL: [usize; DATA_PLANES] = [0, 1, 2];

#[tokio::test]
async fn each_part_fails_in_turn_and_every_decision_is_that_of_its_revision() {
    let mut site = Site::set().await;
    // Of a control plane that stood still in a transaction, and of one without its database.
    for provoked in ["idle-in-transaction timeout", "cannot store usage", "a background job failed"] {
        site.scene.tollgate.expect_error_log(provoked);
    }
    site.change(0).await;
    site.heard_at(&ALL).await;

    for (down, other) in [(0, 1), (1, 0)] {
        for outage in [Outage::Freeze(ControlPlane(down)), Outage::Crash(ControlPlane(down))] {
            site.survives(outage, Some(other), &followers(other), &ALL).await;
        }
    }
    for down in ALL {
        let others = others(down);
        site.survives(Outage::Freeze(DataPlane(down)), Some(0), &others, &others).await;
        site.workers[down].away.store(true, Ordering::Relaxed);
        site.survives(Outage::Crash(DataPlane(down)), Some(1), &others, &others).await;
        site.workers[down].away.store(false, Ordering::Relaxed);
        site.survives(Outage::WithoutControlPlane(down), Some(0), &others, &ALL).await;
        site.survives(Outage::WithoutRedis(down), Some(1), &ALL, &ALL).await;
    }
    site.survives(Outage::Database, None, &[], &ALL).await;
    site.survives(Outage::Redis, Some(1), &ALL, &ALL).await;

    let (scene, granted, calls) = site.end().await;
    assert_as_decided(&scene, &granted, &calls).await;
}

/// Compares what was decided with what the policy was at the revision that the record names.
async fn assert_as_decided(scene: &Scene, granted: &BTreeMap<i64, bool>, calls: &BTreeSet<String>) {
    let records = eventually("the records of what was decided", || async {
        let records = scene.tollgate.usage().await;
        let recorded: BTreeSet<&str> = records.iter().map(|record| &*record.call_id).collect();
        calls.iter().all(|call| recorded.contains(&**call)).then_some(records)
    })
    .await;
    let newest = scene.tollgate.get("").await["status"]["policy"]["revision"].as_i64().expect("a revision");
    let mut compared = BTreeSet::new();
    for record in records.iter().filter(|record| record.method.as_deref() == Some("tools/call")) {
        let is_allowed = match (record.agent.as_deref(), record.tool.as_deref()) {
            (Some("ci"), Some(tool)) => tool == "read",
            (Some(CHANGING), Some("write")) => match granted.get(&record.policy_revision) {
                Some(is_granted) => *is_granted,
                // One that something else brought, or one on the way to the next change.
                None => {
                    assert!(record.policy_revision <= newest, "nobody made revision {}", record.policy_revision);
                    continue;
                }
            },
            other => panic!("nobody made such a call: {other:?}"),
        };
        compared.insert(record.policy_revision);
        let decision = if is_allowed { "allowed" } else { "tool_not_granted" };
        assert_eq!(record.decision, decision, "call {} at revision {}", record.call_id, record.policy_revision);
    }
    let known = granted.keys().filter(|revision| compared.contains(revision)).count();
    assert!(known * 2 > granted.len(), "most revisions have decided something: {known} of {}", granted.len());
}

#[tokio::test]
async fn a_data_plane_starts_with_everything_else_dead_and_serves_what_it_served() {
    let plan = Deployment::separate(1).with_losable_database();
    let mut scene = Scene::set(plan, &Era::Modern).await;
    scene.tollgate.expect_error_log("cannot store usage");
    scene.tollgate.when_stale("none", "allow").await;
    let gone = scene.tollgate.agent("gone").grant("files:read").create().await;
    let gone = gone.at_server("files").await;
    assert_eq!(gone.call("read", json!({})).await.status, 200);
    let _output = scene.tollgate.command(&["revoke", "agent", "gone"]).await.success();
    eventually_true("the agent to be refused", || async { gone.call("read", json!({})).await.status == 401 }).await;

    scene.tollgate.take_database_away().await;
    scene.tollgate.crash(ControlPlane(0));
    scene.tollgate.crash_redis();
    scene.tollgate.crash(DataPlane(0));
    scene.tollgate.restart(DataPlane(0)).await;

    scene.assert_goes_on().await;
    assert_eq!(scene.client.tool_names().await, ["read"]);
    let denied = scene.client.call("write", json!({})).await;
    assert_eq!((denied.status, denied.reason()), (403, "tool_not_granted"));
    let revoked = gone.call("read", json!({})).await;
    assert_eq!((revoked.status, revoked.reason()), (401, "token_revoked"));

    // What it did alone is in the books once somebody keeps them again.
    scene.tollgate.give_database_back();
    scene.tollgate.restart_redis().await;
    scene.tollgate.restart(ControlPlane(0)).await;
    let record = scene.tollgate.usage_of(denied.call_id()).await;
    assert_eq!(record.decision, "tool_not_granted");
}
