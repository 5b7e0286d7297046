//! Once every data plane has said that a revocation is in force, none of them accepts what was revoked.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, McpClient, eventually};

use crate::scene::{Refused, Scene, assert_refusal};

mod outages;

const REVOKED: Refused = Refused { status: 401, code: 40100, reason: "token_revoked" };
/// How many tokens are revoked, where nobody says otherwise.
const COUNT: usize = 100;
/// How many says `make revocations`.
const COUNT_VARIABLE: &str = "TOLLGATE_TEST_REVOCATIONS";
const AT_A_TIME: usize = 4;
/// For so long the revocation endpoint waits for the data planes: an answer that came earlier has their word.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many tokens are to be revoked.
fn wanted() -> usize {
    std::env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_begins_and_is_accepted_after_its_token_is_revoked_everywhere() {
    let count = wanted();
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let begun = AtomicUsize::new(0);
    let workers = (0..AT_A_TIME).map(|_| async {
        let mut confirmed = 0;
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            confirmed += usize::from(revoke_under_load(&scene).await);
        }
        confirmed
    });
    let confirmed: usize = join_all(workers).await.into_iter().sum();
    assert!(confirmed > 0, "no revocation was confirmed in time, so that nothing was looked at");

    // How many times are kept is not what this is about: a data plane that connects anew begins anew.
    let measured = eventually("every revocation to be confirmed", || async {
        let listed = scene.tollgate.command(&["data-planes", "list", "-o", "json"]).await.success().json();
        let times: Vec<Value> =
            listed.as_array().expect("a list").iter().map(|plane| plane["revocations"].clone()).collect();
        let whole = |times: &Value| times["confirmed"] != json!(0) && times["unconfirmed"] == json!(0);
        (times.len() == 2 && times.iter().all(whole)).then_some(times)
    });
    eprintln!("{count} revocations, {confirmed} of them answered with the word of every data plane:");
    for times in measured.await {
        eprintln!(
            "  of {}: p50 {} ms, p99 {} ms, worst {} ms",
            times["confirmed"], times["p50_ms"], times["p99_ms"], times["worst_ms"]
        );
    }
}

/// Revokes a token that is being used at both data planes; whether they had confirmed it by the time of the answer. A
/// call that begins later than that is refused.
async fn revoke_under_load(scene: &Scene) -> bool {
    let token = scene.agent.token(scene.client.url()).await;
    let everywhere =
        [0, 1].map(|index| scene.client.clone().with_token(&token).through(scene.tollgate.data_plane_url(index)));
    for client in &everywhere {
        assert_eq!(client.call("read", json!({})).await.status, 200);
    }
    let revoke = async {
        let asked_at = Instant::now();
        assert_eq!(scene.agent.revoke(&token).await.status, 200);
        (asked_at.elapsed() < PATIENCE).then(Instant::now)
    };
    let (confirmed_at, calls) = tokio::join!(revoke, join_all(everywhere.iter().map(call_until_refused)));
    let Some(confirmed_at) = confirmed_at else { return false };
    for began_at in calls.into_iter().flatten() {
        assert!(began_at <= confirmed_at, "a call that began {:?} too late was accepted", began_at - confirmed_at);
    }
    for client in &everywhere {
        assert_refusal(&client.call("read", json!({})).await, REVOKED);
    }
    true
}

/// When the calls began that were accepted.
async fn call_until_refused(client: &McpClient) -> Vec<Instant> {
    let mut accepted = Vec::new();
    loop {
        let began_at = Instant::now();
        let answer = client.call("read", json!({})).await;
        if answer.status != 200 {
            assert_refusal(&answer, REVOKED);
            return accepted;
        }
        accepted.push(began_at);
    }
}
