//! Three ledgers agree, whatever crashes: what the client saw, what the server ran, what Tollgate recorded.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use tollgate_tests::{Deployment, Era, McpClient, UsageRecord, eventually};

use crate::scene::Scene;

mod crashes;
mod sheets;

#[tokio::test]
async fn every_call_is_recorded_once_although_the_data_plane_was_killed() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    // A data plane that has just started has not heard its control plane yet.
    scene.tollgate.when_stale("none", "allow").await;
    let mut seen_by_client = calls(&scene.client, 40).await;
    let storm = tokio::spawn(storm(scene.client.clone(), 400));
    eventually("the storm to reach the server", || async { (scene.server.calls().len() > 80).then_some(()) }).await;
    scene.tollgate.crash_data_plane(0);
    seen_by_client.extend(storm.await.expect("the storm ends"));
    scene.tollgate.start_data_plane(0).await;
    seen_by_client.extend(calls(&scene.client, 20).await);
    assert_ledgers_agree(&scene, &seen_by_client).await;
}

#[tokio::test]
async fn every_call_is_recorded_once_although_the_control_plane_restarted() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    scene.tollgate.when_stale("none", "allow").await;
    let mut seen_by_client = calls(&scene.client, 20).await;
    scene.tollgate.stop_control_plane();
    seen_by_client.extend(calls(&scene.client, 20).await);
    scene.tollgate.start_control_plane().await;
    seen_by_client.extend(calls(&scene.client, 20).await);
    assert_ledgers_agree(&scene, &seen_by_client).await;
}

#[tokio::test]
async fn every_call_is_recorded_once_although_dev_was_killed() {
    let mut scene = Scene::modern().await;
    scene.tollgate.when_stale("none", "allow").await;
    let mut seen_by_client = calls(&scene.client, 30).await;
    scene.tollgate.crash_data_plane(0);
    scene.tollgate.start_data_plane(0).await;
    seen_by_client.extend(calls(&scene.client, 10).await);
    assert_ledgers_agree(&scene, &seen_by_client).await;
}

/// Calls one after the other, each of which must succeed; returns their ids.
async fn calls(client: &McpClient, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = client.call("read", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        ids.push(answer.call_id().to_owned());
    }
    ids
}

/// Calls eight at a time until the gateway is gone; returns the ids of those that were answered.
async fn storm(client: McpClient, count: usize) -> Vec<String> {
    let lanes = (0..8).map(|_| {
        let client = client.clone();
        async move {
            let mut ids = Vec::new();
            for _ in 0..count / 8 {
                match client.try_call("read", json!({})).await {
                    Ok(answer) => ids.push(answer.call_id().to_owned()),
                    Err(_) => break,
                }
            }
            ids
        }
    });
    join_all(lanes).await.concat()
}

async fn assert_ledgers_agree(scene: &Scene, seen_by_client: &[String]) {
    let ran: Vec<String> = scene.server.ledger();
    let recorded = scene.tollgate.usage_with(&ran).await;
    let ids: Vec<&str> = recorded.iter().map(|record| record.call_id.as_str()).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "a call was recorded twice");
    assert_eq!(ran.len(), ran.iter().collect::<BTreeSet<_>>().len(), "a call ran twice");
    for id in seen_by_client {
        assert!(ran.contains(id), "the client has an answer to {id}, which the server never ran");
    }
    for UsageRecord { call_id, outcome, .. } in &recorded {
        let known = ran.contains(call_id);
        assert!(known || outcome == "unknown", "{call_id} is recorded as {outcome}, and the server never ran it");
        if seen_by_client.contains(call_id) && outcome != "unknown" {
            assert_eq!(outcome, "ok");
        }
    }
}
