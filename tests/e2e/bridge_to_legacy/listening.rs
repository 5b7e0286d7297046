//! Modern agents that listen to legacy servers.

use std::time::Duration;

use tokio::time::timeout;
use tollgate_tests::McpStream;

use super::*;

/// Longer than anything takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(60);
const URI: &str = "demo://resource/dynamic/text/1";

async fn next(stream: &mut McpStream) -> Value {
    timeout(PATIENCE, stream.next()).await.expect("something comes").expect("the stream goes on")
}

async fn listening(client: &McpClient, notifications: Value) -> McpStream {
    client.open("subscriptions/listen", json!({"notifications": notifications})).await
}

/// Reads on to an update of the resource.
async fn updated(stream: &mut McpStream) -> Value {
    loop {
        let said = next(stream).await;
        if said["method"] == "notifications/resources/updated" {
            return said;
        }
    }
}

#[tokio::test]
async fn listeners_at_both_data_planes_hear_what_a_legacy_server_says_once() {
    let (tollgate, _server, agent) = everything().await;
    let client = agent.at_server("everything").await;
    let (here, there) =
        (client.clone().through(tollgate.data_plane_url(0)), client.through(tollgate.data_plane_url(1)));
    let mut first = listening(&here, json!({"toolsListChanged": true, "resourceSubscriptions": [URI]})).await;
    let acknowledged = next(&mut first).await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
    let honoured = json!({"toolsListChanged": true, "resourceSubscriptions": [URI]});
    assert_eq!(acknowledged["params"]["notifications"], honoured);
    let id = acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    assert!(id.is_u64(), "the id keeps its type: {acknowledged}");
    let mut second = listening(&there, json!({"resourceSubscriptions": [URI]})).await;
    next(&mut second).await;
    there.call("toggle-subscriber-updates", json!({})).await;
    let heard = updated(&mut first).await;
    assert_eq!(heard["params"]["uri"], URI);
    assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    updated(&mut second).await;
    // The one that read the server's stream goes; the other takes over, and says that it may have missed something.
    drop(first);
    updated(&mut second).await;
    updated(&mut second).await;
}

#[tokio::test]
async fn a_server_without_a_stream_promises_nothing() {
    let scene = Scene::legacy().await;
    let agent = scene.tollgate.agent("all").grant("files:*").create().await;
    let client = agent.at_server("files").await;
    let mut stream = listening(&client, json!({"toolsListChanged": true})).await;
    let acknowledged = next(&mut stream).await;
    assert_eq!(acknowledged["params"]["notifications"], json!({}), "{acknowledged}");
    let refused = client.request("subscriptions/listen", json!({})).await;
    assert_eq!((refused.status, refused.error()["code"].clone()), (400, json!(-32602)), "{}", refused.body);
}

#[tokio::test]
async fn a_data_plane_that_stops_ends_its_listeners_in_good_order() {
    let (mut tollgate, _server, agent) = everything().await;
    let client = agent.at_server("everything").await.through(tollgate.data_plane_url(0));
    let mut stream = listening(&client, json!({"resourceSubscriptions": [URI]})).await;
    next(&mut stream).await;
    let stopping = tokio::task::spawn_blocking(move || {
        tollgate.stop_data_plane(0, nix::sys::signal::Signal::SIGTERM);
        tollgate
    });
    let ended = loop {
        let said = next(&mut stream).await;
        if said.get("result").is_some() {
            break said;
        }
    };
    assert_eq!(ended["result"]["resultType"], "complete", "{ended}");
    assert!(ended["result"]["_meta"].get("io.modelcontextprotocol/subscriptionId").is_some());
    drop(stopping.await);
}
