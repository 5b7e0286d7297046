//! Keys that sign tokens come and go, and nobody's calls notice, unless a key is revoked.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, Era, McpClient, eventually_true};

use crate::scene::Scene;

/// Two control planes, and a data plane that follows each.
async fn two_of_each() -> Scene {
    Scene::set(Deployment::separate(2).with_second_control_plane(), &Era::Modern).await
}

/// The agent at either control plane.
fn at_both(scene: &Scene) -> [Agent; 2] {
    [scene.agent.clone(), scene.agent.clone().through(&scene.tollgate.second_control_url())]
}

/// The key that signed a token.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

fn client(scene: &Scene, data_plane: usize, token: &str) -> McpClient {
    let client = McpClient::new(scene.client.url()).with_token(token);
    client.through(scene.tollgate.data_plane_url(data_plane))
}

/// Takes out tokens at one control plane and shows each to both data planes, with the first one beside it, until told
/// to stop. A key is among the `used` ones once all that it signed was let in.
async fn work(scene: &Scene, agent: &Agent, used: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    let first = agent.token(scene.client.url()).await;
    while !stop.load(Ordering::Relaxed) {
        let token = agent.token(scene.client.url()).await;
        for data_plane in [0, 1] {
            for token in [&token, &first] {
                let answer = client(scene, data_plane, token).call("read", json!({})).await;
                assert_eq!(answer.status, 200, "key {}: {}", kid(token), answer.body);
            }
        }
        used.lock().expect("no panic before").insert(kid(&token));
    }
}

#[tokio::test]
async fn keys_rotate_under_load_and_not_one_token_is_refused() {
    let scene = two_of_each().await;
    let agents = at_both(&scene);
    let (used, stop) = ([Mutex::default(), Mutex::default()], AtomicBool::new(false));
    let both_used = async |keys: usize| {
        eventually_true("both control planes to sign with the newest key", || async {
            used.iter().all(|used: &Mutex<BTreeSet<String>>| used.lock().expect("no panic before").len() == keys)
        })
        .await;
    };
    let rotate = async {
        both_used(1).await;
        for rotation in 1..=3 {
            let _output = scene.tollgate.command(&["keys", "rotate"]).await.success();
            both_used(rotation + 1).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(work(&scene, &agents[0], &used[0], &stop), work(&scene, &agents[1], &used[1], &stop), rotate);
    let keys = scene.tollgate.command(&["keys", "list", "-o", "json"]).await.success().json();
    let states: Vec<&str> = keys.as_array().expect("a list").iter().filter_map(|key| key["state"].as_str()).collect();
    assert_eq!(states, ["active", "retiring", "retiring", "retiring"]);
}

#[tokio::test]
async fn a_revoked_key_takes_all_that_it_signed_with_it_and_agents_go_on_with_the_next() {
    let scene = two_of_each().await;
    let agents = at_both(&scene);
    let mut stolen = Vec::new();
    for agent in &agents {
        stolen.push(agent.token(scene.client.url()).await);
    }
    let compromised = kid(&stolen[0]);
    assert_eq!(kid(&stolen[1]), compromised);
    let _output = scene.tollgate.command(&["keys", "revoke", &compromised]).await.success();
    // Either control plane signs with another key from the next token on.
    for agent in &agents {
        let token = agent.token(scene.client.url()).await;
        assert_ne!(kid(&token), compromised);
        for data_plane in [0, 1] {
            let agent = client(&scene, data_plane, &token);
            eventually_true("the new token to work", || async { agent.call("read", json!({})).await.status == 200 })
                .await;
        }
    }
    for token in &stolen {
        for data_plane in [0, 1] {
            let thief = client(&scene, data_plane, token);
            eventually_true("the token to be refused", || async { thief.call("read", json!({})).await.status == 401 })
                .await;
        }
    }
    let jwks = scene.tollgate.command(&["keys", "list"]).await.success().stdout;
    assert!(jwks.contains("revoked") && jwks.contains("active"), "{jwks}");
    assert_eq!(scene.tollgate.command(&["keys", "revoke", "nobody"]).await.code, 5);
}

/// Takes out tokens and shows each to both data planes, until told to stop. None is refused but those of the
/// `compromised` key, and for a moment those of a key that the data plane has not heard of yet.
async fn go_on(scene: &Scene, agent: &Agent, compromised: &str, done: &AtomicUsize, stop: &AtomicBool) {
    let mut known = [false; 2];
    while !stop.load(Ordering::Relaxed) {
        let token = agent.token(scene.client.url()).await;
        let is_compromised = kid(&token) == compromised;
        for (data_plane, known) in known.iter_mut().enumerate() {
            let answer = client(scene, data_plane, &token).call("read", json!({})).await;
            match answer.status {
                200 if is_compromised => assert!(!*known, "the compromised key signs after the next one"),
                200 => *known = true,
                401 => assert!(is_compromised || !*known, "key {}: {}", kid(&token), answer.body),
                _ => panic!("key {}: {} {}", kid(&token), answer.status, answer.body),
            }
        }
        if known == [true; 2] {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_key_is_revoked_under_load_and_only_what_it_signed_is_refused() {
    let scene = two_of_each().await;
    let agents = at_both(&scene);
    let stolen = agents[0].token(scene.client.url()).await;
    let compromised = kid(&stolen);
    let (done, stop) = ([AtomicUsize::new(0), AtomicUsize::new(0)], AtomicBool::new(false));
    let revoke = async {
        let _output = scene.tollgate.command(&["keys", "revoke", &compromised]).await.success();
        for data_plane in [0, 1] {
            let thief = client(&scene, data_plane, &stolen);
            eventually_true("the token to be refused", || async { thief.call("read", json!({})).await.status == 401 })
                .await;
        }
        eventually_true("both to go on with the next key", || async {
            done.iter().all(|done| done.load(Ordering::Relaxed) > 3)
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        go_on(&scene, &agents[0], &compromised, &done[0], &stop),
        go_on(&scene, &agents[1], &compromised, &done[1], &stop),
        revoke
    );
}
