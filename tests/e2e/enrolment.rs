//! Data planes join with a token, live on certificates, and can be sent away.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, Http, Plan, eventually, eventually_true};

use crate::scene::Scene;

const NOT_CERTIFIED: &str = "does not certify this data plane";

async fn set(plan: Plan) -> Scene {
    let scene = Scene::set(plan, &Era::Modern).await;
    // Some of these stories start a data plane alone.
    scene.tollgate.when_stale("60m", "allow").await;
    scene
}

/// A new token for one data plane.
async fn token(tollgate: &Deployment) -> String {
    let made = tollgate.command(&["data-planes", "enroll", "--name", "story"]).await.success().json();
    made["enrollment_token"].as_str().expect("a token").to_owned()
}

/// The data planes as the command lists them, the newest first.
async fn fleet(tollgate: &Deployment) -> Vec<Value> {
    let listed = tollgate.command(&["data-planes", "list", "-o", "json"]).await.success().json();
    listed.as_array().expect("a list").clone()
}

async fn serves(scene: &Scene, index: usize) -> bool {
    let client = scene.client.clone().through(scene.tollgate.data_plane_url(index));
    client.try_call("read", json!({})).await.is_ok_and(|answer| answer.status == 200)
}

/// The one file of a policy on the disk of a data plane.
fn policy_file(tollgate: &Deployment, index: usize) -> PathBuf {
    let dir = tollgate.state_dir(index).join("policy");
    let mut files = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "policy")).expect("a policy")
}

#[tokio::test]
async fn a_token_lets_one_data_plane_join_which_then_needs_it_no_more() {
    let mut scene = set(Deployment::separate(1)).await;
    scene.tollgate.expect_error_log(NOT_CERTIFIED);
    let token = token(&scene.tollgate).await;
    let joined = scene.tollgate.join(&token);
    scene.tollgate.data_plane_ready(joined).await;
    assert!(serves(&scene, joined).await);
    let identity = scene.tollgate.state_dir(joined).join("identity/identity.json");
    assert_eq!(identity.metadata().expect("it is kept").permissions().mode() & 0o777, 0o600);

    let late = scene.tollgate.join(&token);
    scene.tollgate.data_plane_logs(late, "has been used: make another one with `tollgate data-planes enroll`").await;
    assert!(!serves(&scene, late).await);
    scene.tollgate.stop_data_plane(late, Signal::SIGTERM);

    scene.tollgate.stop_data_plane(joined, Signal::SIGTERM);
    scene.tollgate.set_variable(joined, "TOLLGATE_ENROLLMENT_TOKEN", "");
    scene.tollgate.start_data_plane(joined).await;
    scene.tollgate.policy_in_force().await;
    assert!(serves(&scene, joined).await, "without the token");
    assert_eq!(fleet(&scene.tollgate).await.len(), 2);
}

#[tokio::test]
async fn a_token_that_has_ended_or_names_another_authority_says_so_and_is_not_shown() {
    let mut scene = set(Deployment::separate(1)).await;
    scene.tollgate.expect_error_log(NOT_CERTIFIED);
    let expired = token(&scene.tollgate).await;
    scene.tollgate.sql("UPDATE enrollment_tokens SET expires_at = now() - interval '1 s' RETURNING name").await;
    let late = scene.tollgate.join(&expired);
    scene.tollgate.data_plane_logs(late, "make another one with `tollgate data-planes enroll`").await;

    let fresh = token(&scene.tollgate).await;
    let (secret, _) = fresh.split_once('.').expect("a fingerprint");
    let astray = scene.tollgate.join(&format!("{secret}.{}", "A".repeat(43)));
    scene.tollgate.data_plane_logs(astray, "UnknownIssuer").await;
    let unused = scene.tollgate.sql("SELECT uses_left::text FROM enrollment_tokens WHERE expires_at > now()").await;
    assert_eq!(unused, ["1"]);
}

#[tokio::test]
async fn a_revoked_data_plane_is_cut_off_and_stays_out_while_the_others_serve() {
    let mut scene = set(Deployment::separate(1)).await;
    scene.tollgate.expect_error_log("this data plane was revoked");
    let token = token(&scene.tollgate).await;
    let joined = scene.tollgate.join(&token);
    scene.tollgate.data_plane_ready(joined).await;
    assert!(serves(&scene, joined).await);
    let id = fleet(&scene.tollgate).await[0]["id"].as_str().expect("an id").to_owned();
    scene.tollgate.command(&["data-planes", "revoke", &id]).await.success();
    eventually_true("the revoked data plane to serve nobody", || async { !serves(&scene, joined).await }).await;
    let client = scene.client.clone().through(scene.tollgate.data_plane_url(joined));
    let refused = client.call("read", json!({})).await;
    assert_eq!((refused.status, refused.reason()), (503, "not_ready"));
    assert!(serves(&scene, 0).await, "the other one");
    eventually_true("its policies and key to be gone", || async {
        let dir = scene.tollgate.state_dir(joined);
        let kept = fs::read_dir(dir.join("policy")).expect("a directory").flatten();
        let kept = kept.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "policy")).count();
        kept == 0 && !dir.join("identity/identity.json").exists() && !dir.join("identity/policy-key").exists()
    })
    .await;
    assert_eq!(fleet(&scene.tollgate).await[0]["state"], "revoked");

    scene.tollgate.stop_data_plane(joined, Signal::SIGTERM);
    let ended = scene.tollgate.data_plane_fails(joined).await;
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("empty its state directory"), "{}", ended.stderr);

    // One that was away then learns it when it comes back, from nothing but its id.
    scene.tollgate.stop_data_plane(0, Signal::SIGTERM);
    let id = fleet(&scene.tollgate).await[1]["id"].as_str().expect("an id").to_owned();
    let url = format!("{}/api/v1/data-planes/{id}", scene.tollgate.control_url());
    let bearer = format!("Bearer {}", scene.tollgate.admin_token());
    let answer = Http::default().send(Method::DELETE, &url, &[("authorization", &bearer)], "").await;
    assert_eq!(answer.expect("an answer").status, 204);
    scene.tollgate.spawn_data_plane(0);
    scene.tollgate.data_plane_logs(0, "this data plane was revoked: it serves nobody any more").await;
    assert!(!serves(&scene, 0).await);
}

#[tokio::test]
async fn a_certificate_is_renewed_while_calls_go_on_and_an_expired_one_says_what_to_do() {
    let mut scene = set(Deployment::separate(1).env("TOLLGATE_CERTIFICATE_LIFE", "12s")).await;
    scene.tollgate.expect_error_log(NOT_CERTIFIED);
    let token = token(&scene.tollgate).await;
    let joined = scene.tollgate.join(&token);
    scene.tollgate.data_plane_ready(joined).await;
    let mut serial = fleet(&scene.tollgate).await[0]["certificate_serial"].clone();
    for _ in 0..2 {
        serial = eventually("a renewal", || async {
            assert!(serves(&scene, joined).await);
            let now = fleet(&scene.tollgate).await[0]["certificate_serial"].clone();
            (now != serial).then_some(now)
        })
        .await;
    }

    scene.tollgate.stop_data_plane(joined, Signal::SIGTERM);
    scene.tollgate.set_variable(joined, "TOLLGATE_ENROLLMENT_TOKEN", "");
    let expired = || async { fleet(&scene.tollgate).await[0]["state"] == "expired" };
    eventually_true("the certificate to expire", expired).await;
    scene.tollgate.spawn_data_plane(joined);
    scene
        .tollgate
        .data_plane_logs(joined, "has expired: make an enrollment token with `tollgate data-planes enroll`")
        .await;
    scene.tollgate.data_plane_ready(joined).await;
    assert!(serves(&scene, joined).await, "the policy on disk is good");
}

#[tokio::test]
async fn a_policy_file_is_worth_nothing_without_the_key_nor_when_it_is_old() {
    let mut scene = set(Deployment::separate(1)).await;
    scene.tollgate.expect_error_log("a policy on disk");
    let old = fs::read(policy_file(&scene.tollgate, 0)).expect("a policy");
    scene.tollgate.agent("another").grant("files:write").create().await;
    scene.tollgate.policy_in_force().await;
    scene.tollgate.stop_data_plane(0, Signal::SIGTERM);
    scene.tollgate.stop_control_plane();
    let file = policy_file(&scene.tollgate, 0);
    let new = fs::read(&file).expect("a policy");
    assert_ne!(old, new);

    fs::write(&file, &old).expect("written");
    scene.tollgate.spawn_data_plane(0);
    scene.tollgate.data_plane_logs(0, "older than what was in force").await;
    assert!(!serves(&scene, 0).await);
    scene.tollgate.stop_data_plane(0, Signal::SIGTERM);

    fs::write(&file, &new).expect("written");
    scene.tollgate.start_data_plane(0).await;
    assert!(serves(&scene, 0).await, "the newest one");
    scene.tollgate.stop_data_plane(0, Signal::SIGTERM);

    fs::remove_file(scene.tollgate.state_dir(0).join("identity/policy-key")).expect("it was there");
    scene.tollgate.spawn_data_plane(0);
    scene.tollgate.data_plane_logs(0, "sealed with another key").await;
    assert!(!serves(&scene, 0).await);
}
