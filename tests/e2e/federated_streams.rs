//! Streams at the endpoint that joins all servers: what any of them says reaches the agent, whichever era each side
//! speaks and whichever data plane it comes to. Two data planes serve, and each story goes through both.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};
use tollgate_tests::{Agent, Deployment, McpClient, McpStream, Piece, Reply, ScriptedServer, eventually_true};

mod changes;
mod failing;
mod real;
mod subscriptions;

const VERSION: &str = "2025-11-25";
/// Longer than anything takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two data planes with these servers, and an agent that may use all of them.
async fn setting(servers: &[(&str, &ScriptedServer)]) -> (Deployment, Agent) {
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    for (name, server) in servers {
        tollgate.register(name, server).await;
    }
    let agent = agent(&tollgate, "ci", servers).await;
    (tollgate, agent)
}

async fn agent(tollgate: &Deployment, name: &str, servers: &[(&str, &ScriptedServer)]) -> Agent {
    let draft = tollgate.agent(name);
    servers.iter().fold(draft, |draft, (server, _)| draft.grant(&format!("{server}:*"))).create().await
}

/// The joined endpoint at each data plane.
async fn both(tollgate: &Deployment, agent: &Agent) -> [McpClient; 2] {
    let client = agent.at_all_servers().await;
    [0, 1].map(|index| client.clone().through(tollgate.data_plane_url(index)))
}

/// A session at the joined endpoint, at each data plane.
async fn session(tollgate: &Deployment, agent: &Agent) -> [McpClient; 2] {
    let session = agent.at_all_servers().await.initialize(VERSION).await;
    [0, 1].map(|index| session.clone().through(tollgate.data_plane_url(index)))
}

async fn next(stream: &mut McpStream) -> Value {
    timeout(PATIENCE, stream.next()).await.expect("something comes").expect("the stream goes on")
}

/// Reads on until this method comes; answers with the params.
async fn next_of(stream: &mut McpStream, method: &str) -> Value {
    loop {
        let said = next(stream).await;
        if said["method"] == method {
            return said["params"].clone();
        }
    }
}

fn told(method: &str, params: &Value) -> Piece {
    Piece::Notification(json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

fn changed(kind: &str) -> Piece {
    told(&format!("notifications/{kind}/list_changed"), &json!({}))
}

fn updated(uri: &str) -> Piece {
    told("notifications/resources/updated", &json!({"uri": uri}))
}

/// The acknowledgement of a modern server.
fn acknowledged(honoured: &Value) -> Piece {
    told("notifications/subscriptions/acknowledged", &json!({"notifications": honoured}))
}

fn until(released: &Arc<Notify>) -> Piece {
    Piece::Until(Arc::clone(released))
}

fn until_the_end() -> Piece {
    until(&Arc::default())
}

/// A modern server that says of itself what it can do, and on a subscription what these pieces are.
async fn modern(capabilities: Value, says: Vec<Piece>) -> ScriptedServer {
    let server = ScriptedServer::modern().tool("read", Reply::text("content")).start().await;
    let discovered = json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                            "ttlMs": 60_000, "cacheScope": "public"});
    server.set_method("server/discover", Reply::Result(discovered));
    server.set_method("subscriptions/listen", Reply::Events(says));
    server
}

async fn legacy(says: Vec<Piece>) -> ScriptedServer {
    ScriptedServer::legacy().tool("read", Reply::text("content")).stream(says).start().await
}

fn gets(server: &ScriptedServer) -> usize {
    server.seen().iter().filter(|seen| seen.http_method == "GET").count()
}

#[tokio::test]
async fn one_stream_brings_what_servers_of_both_eras_say() {
    let numbered = Piece::Bytes(
        "id: s-1\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\
                                 \"notifications/resources/updated\",\"params\":{\"uri\":\"file:///a\"}}\n\n"
            .to_owned(),
    );
    let old =
        legacy(vec![numbered, told("notifications/message", &json!({"level": "info", "data": "x"})), until_the_end()])
            .await;
    let says = vec![acknowledged(&json!({})), changed("tools"), until_the_end()];
    let new = modern(json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}}), says).await;
    let (tollgate, agent) = setting(&[("old", &old), ("new", &new)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut stream = there.stream(None).await;
    assert_eq!(stream.status, 200);
    let mut heard = BTreeSet::new();
    while heard.len() < 3 {
        heard.insert(next(&mut stream).await.to_string());
    }
    let expected = [
        json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
               "params": {"uri": "tollgate://old/file%3A%2F%2F%2Fa"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
    ];
    assert_eq!(heard, expected.map(|message| message.to_string()).into());
    assert_eq!(here.terminate().await.status, 204);
    let rest = timeout(PATIENCE, stream.finish()).await.expect("the end of the session ends its stream");
    assert!(!rest.body.lines().any(|line| line.starts_with("id:")), "nobody could resume it: {}", rest.body);
    let record = tollgate.usage_of(rest.call_id()).await;
    assert_eq!((record.method.as_deref(), record.outcome.as_str()), (Some("GET"), "ok"));
}

#[tokio::test]
async fn a_question_on_the_stream_is_answered_through_another_data_plane() {
    let params = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    let question = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": params});
    let ping = Piece::Notification(json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
    let old = legacy(vec![ping, Piece::Notification(question.clone()), until_the_end()]).await;
    let other = legacy(vec![until_the_end()]).await;
    let (tollgate, agent) = setting(&[("old", &old), ("other", &other)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    let asked = next(&mut stream).await;
    assert_eq!((&asked["method"], &asked["params"]), (&question["method"], &params));
    assert!(asked["id"].as_str().is_some_and(|id| id.len() > 40), "a sealed id: {asked}");
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}});
    assert_eq!(there.send_message(&reply).await.status, 202);
    let answered = json!({"jsonrpc": "2.0", "id": 7, "result": {"action": "decline"}});
    eventually_true("the question to be answered", || async { old.replies().contains(&answered) }).await;
    assert!(old.replies().contains(&json!({"jsonrpc": "2.0", "id": "p", "result": {}})), "the ping was Tollgate's");
    assert!(other.replies().is_empty());
}

#[tokio::test]
async fn what_a_session_subscribes_to_elsewhere_reaches_its_stream_under_the_name_that_it_used() {
    let touched = Arc::new(Notify::new());
    let lists = Reply::Events(vec![acknowledged(&json!({})), until_the_end()]);
    let uris = Reply::Events(vec![acknowledged(&json!({})), until(&touched), updated("demo://a"), until_the_end()]);
    let new = modern(json!({"resources": {"subscribe": true, "listChanged": true}}), Vec::new()).await;
    new.set_method("subscriptions/listen", Reply::Then(Box::new(lists), Box::new(uris)));
    let old_touched = Arc::new(Notify::new());
    let old = legacy(vec![until(&old_touched), updated("demo://b"), until_the_end()]).await;
    old.set_method("resources/subscribe", Reply::Result(json!({})));
    let (tollgate, agent) = setting(&[("new", &new), ("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    eventually_true("both servers to be listened to", || async {
        gets(&old) == 1 && new.seen().iter().any(|seen| seen.message["method"] == "subscriptions/listen")
    })
    .await;
    for (server, own, released) in [("new", "demo://a", &touched), ("old", "demo://b", &old_touched)] {
        let uri = format!("tollgate://{server}/{}", own.replace(':', "%3A").replace('/', "%2F"));
        let subscribed = there.request("resources/subscribe", json!({"uri": uri})).await;
        assert!(subscribed.messages[0].get("result").is_some(), "{}", subscribed.body);
        released.notify_one();
        assert_eq!(next_of(&mut stream, "notifications/resources/updated").await, json!({"uri": uri}));
    }
    let asked = old.seen().into_iter().find(|seen| seen.message["method"] == "resources/subscribe");
    assert_eq!(asked.expect("the server was asked").message["params"]["uri"], "demo://b");
}

#[tokio::test]
async fn of_a_sessions_streams_the_newest_goes_on() {
    let old = legacy(vec![changed("tools"), until_the_end()]).await;
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut older = here.stream(None).await;
    next_of(&mut older, "notifications/tools/list_changed").await;
    let mut newer = there.stream(None).await;
    next_of(&mut newer, "notifications/tools/list_changed").await;
    timeout(PATIENCE, older.finish()).await.expect("the older one ends");
    assert_eq!(here.call("old__read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn the_endpoint_promises_what_its_streams_bring() {
    let new = modern(json!({"tools": {}, "resources": {"subscribe": true}}), vec![until_the_end()]).await;
    let old = legacy(vec![until_the_end()]).await;
    let (tollgate, agent) = setting(&[("new", &new), ("old", &old)]).await;
    let [here, _] = both(&tollgate, &agent).await;
    let promised = json!({"tools": {"listChanged": true}, "resources": {"listChanged": true, "subscribe": true}});
    assert_eq!(here.request("server/discover", json!({})).await.result()["capabilities"], promised);
    assert_eq!(here.try_initialize(VERSION).await.result()["capabilities"], promised);
    let narrow = tollgate.agent("narrow").grant("new:read").create().await;
    let [here, _] = both(&tollgate, &narrow).await;
    let promised = json!({"tools": {"listChanged": true}});
    assert_eq!(here.request("server/discover", json!({})).await.result()["capabilities"], promised);
}
