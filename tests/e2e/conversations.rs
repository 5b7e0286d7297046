//! What agent and server say to each other while neither waits for an answer: streams, questions, cancellations, and
//! how sessions end. Everywhere two data planes serve, and the parts of one story go through both.

use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{Deployment, McpClient, McpStream, Piece, Reply, ScriptedServer, eventually, eventually_true};

use crate::scene::{Refused, assert_refusal, end_the_time_of};

const UNKNOWN: Refused = Refused { status: 404, code: 40400, reason: "session_unknown" };

struct Setting {
    tollgate: Deployment,
    server: ScriptedServer,
    client: McpClient,
}

/// A legacy server `files` with the tool `read` behind two data planes, and an agent that may use all of it.
async fn setting(script: tollgate_tests::Script) -> Setting {
    let server = script.tool("read", Reply::text("content")).start().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:*").create().await;
    let client = agent.at_server("files").await;
    Setting { tollgate, server, client }
}

impl Setting {
    /// The same client at the other data plane.
    fn elsewhere(&self, client: &McpClient) -> McpClient {
        client.clone().through(self.tollgate.data_plane_url(1))
    }

    async fn federated(&self) -> McpClient {
        let agent = self.tollgate.agent("wide").grant("files:*").create().await;
        agent.at_all_servers().await.initialize("2025-11-25").await
    }
}

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
}

fn question(id: &Value) -> Value {
    let params = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params})
}

async fn ends(mut stream: McpStream) -> Vec<Value> {
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn a_stream_passes_with_its_ids_and_is_resumed_where_it_broke() {
    let pieces = vec![
        Piece::Bytes("id: s-1\ndata:\n\n".to_owned()),
        Piece::Bytes("id: s-2\nretry: 250\nevent: message\ndata: ".to_owned()),
        Piece::Bytes(format!("{}\n\n", changed())),
    ];
    let setting = setting(ScriptedServer::legacy().stream(pieces)).await;
    let session = setting.client.initialize("2025-11-25").await;
    let answer = session.stream(None).await.finish().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.messages, [changed()]);
    for line in ["id: s-1", "id: s-2", "retry: 250"] {
        assert!(answer.body.lines().any(|own| own == line), "{line} is not in {}", answer.body);
    }
    let resumed = setting.elsewhere(&session).stream(Some("s-2")).await.finish().await;
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    let gets: Vec<_> = setting.server.seen().into_iter().filter(|seen| seen.http_method == "GET").collect();
    assert_eq!(gets.iter().map(|get| get.header("last-event-id")).collect::<Vec<_>>(), [None, Some("s-2")]);
    assert_eq!(gets[0].header("mcp-session-id"), gets[1].header("mcp-session-id"));
    assert!(gets[0].header("authorization").is_none());
    let record = setting.tollgate.usage_of(answer.call_id()).await;
    assert_eq!(
        (record.method.as_deref(), record.server.as_deref(), record.forwarded),
        (Some("GET"), Some("files"), true)
    );
    assert_eq!(record.outcome, "ok");
}

#[tokio::test]
async fn a_stream_brings_no_list_and_no_answer_that_nobody_waits_for() {
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": 7, "result": result});
    let list = answer(json!({"tools": [{"name": "secret", "inputSchema": {"type": "object"}}]}));
    let of_call = answer(json!({"content": []}));
    let event = |message: &Value| Piece::Bytes(format!("event: message\ndata: {message}\n\n"));
    let pieces = vec![event(&list), event(&of_call), event(&changed())];
    let setting = setting(ScriptedServer::legacy().stream(pieces)).await;
    let session = setting.client.initialize("2025-11-25").await;
    assert_eq!(session.stream(None).await.finish().await.messages, [changed()]);
    assert_eq!(session.stream(Some("s-1")).await.finish().await.messages, [of_call, changed()], "a call goes on here");
}

#[tokio::test]
async fn a_server_without_a_stream_is_not_stood_in_for() {
    let setting = setting(ScriptedServer::legacy()).await;
    let session = setting.client.initialize("2025-11-25").await;
    let answer = session.stream(None).await.finish().await;
    assert_refusal(&answer, Refused { status: 405, code: 40500, reason: "stream_not_offered" });
    assert_eq!(answer.header("allow"), Some("POST, DELETE"));
    assert_eq!(session.call("read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn a_newer_stream_of_a_session_ends_the_older_one_elsewhere() {
    let never = Arc::new(Notify::new());
    let pieces = vec![Piece::Notification(changed()), Piece::Until(never)];
    let setting = setting(ScriptedServer::legacy().stream(pieces)).await;
    let session = setting.client.initialize("2025-11-25").await;
    let mut older = session.stream(None).await;
    assert_eq!(older.next().await, Some(changed()));
    let mut newer = setting.elsewhere(&session).stream(None).await;
    assert_eq!(newer.next().await, Some(changed()));
    assert_eq!(ends(older).await, Vec::<Value>::new());
    let ended = session.terminate().await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    assert_eq!(ends(newer).await, Vec::<Value>::new(), "the end of the session ends its stream");
    let deleted = setting.server.seen().into_iter().filter(|seen| seen.http_method == "DELETE").count();
    assert_eq!(deleted, 1);
    assert_refusal(&session.stream(None).await.finish().await, UNKNOWN);
}

#[tokio::test]
async fn a_session_outlives_the_data_plane_that_held_its_stream() {
    let never = Arc::new(Notify::new());
    let numbered = Piece::Bytes(format!("id: s-1\ndata: {}\n\n", changed()));
    let mut setting = setting(ScriptedServer::legacy().stream(vec![numbered, Piece::Until(never)])).await;
    let session = setting.client.clone().through(setting.tollgate.data_plane_url(0)).initialize("2025-11-25").await;
    let mut stream = session.stream(None).await;
    assert_eq!(stream.next().await, Some(changed()));
    setting.tollgate.crash_data_plane(0);
    let elsewhere = setting.elsewhere(&session);
    assert_eq!(elsewhere.call("read", json!({})).await.text(), "content");
    let mut resumed = elsewhere.stream(Some("s-1")).await;
    assert_eq!(resumed.next().await, Some(changed()));
    let sessions =
        setting.server.seen().into_iter().filter_map(|seen| seen.header("mcp-session-id").map(str::to_owned));
    let sessions: std::collections::BTreeSet<String> = sessions.collect();
    assert_eq!(sessions.len(), 1, "one upstream session serves throughout");
}

#[tokio::test]
async fn a_stranger_gets_no_stream() {
    let setting = setting(ScriptedServer::legacy().stream(vec![Piece::Notification(changed())])).await;
    let session = setting.client.initialize("2025-11-25").await;
    let thief = setting.tollgate.agent("thief").grant("files:*").create().await;
    let stolen = thief.at_server("files").await;
    let stolen = stolen.with_session("2025-11-25", session.session_id().expect("a session id"));
    assert_refusal(&stolen.stream(None).await.finish().await, UNKNOWN);
    assert_eq!(session.clone().without_token().stream(None).await.finish().await.status, 401);
}

#[tokio::test]
async fn a_revoked_agent_loses_its_stream() {
    let never = Arc::new(Notify::new());
    let pieces = vec![Piece::Notification(changed()), Piece::Until(never)];
    let setting = setting(ScriptedServer::legacy().stream(pieces)).await;
    let session = setting.client.initialize("2025-11-25").await;
    let mut stream = session.stream(None).await;
    assert_eq!(stream.next().await, Some(changed()));
    setting.tollgate.command(&["revoke", "agent", "ci"]).await.success();
    assert_eq!(ends(stream).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_question_reaches_the_agent_and_its_answer_comes_through_another_data_plane() {
    let answered = Arc::new(Notify::new());
    let pieces = vec![
        Piece::Notification(json!({"jsonrpc": "2.0", "id": "p", "method": "ping"})),
        Piece::Notification(question(&json!(7))),
        Piece::Until(Arc::clone(&answered)),
        Piece::Result(json!({"content": [{"type": "text", "text": "done"}]})),
    ];
    let setting = setting(ScriptedServer::legacy().tool("ask", Reply::Events(pieces))).await;
    let session = setting.client.initialize("2025-11-25").await;
    let mut call = session.open("tools/call", json!({"name": "ask", "arguments": {}})).await;
    assert_eq!(call.next().await, Some(question(&json!(7))), "the ping is answered by Tollgate");
    let reply = json!({"jsonrpc": "2.0", "id": 7, "result": {"action": "accept", "content": {}}});
    assert_eq!(setting.elsewhere(&session).send_message(&reply).await.status, 202);
    answered.notify_one();
    assert_eq!(call.finish().await.text(), "done");
    let pong = json!({"jsonrpc": "2.0", "id": "p", "result": {}});
    eventually_true("both answers to arrive", || async { setting.server.replies().len() == 2 }).await;
    assert!(setting.server.replies().contains(&pong) && setting.server.replies().contains(&reply));
}

#[tokio::test]
async fn at_a_federated_endpoint_ids_are_mapped_and_cannot_be_forged() {
    let answered = Arc::new(Notify::new());
    let progress = |token: &Value| {
        let params = json!({"progressToken": token, "progress": 1});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    };
    let pieces = vec![
        Piece::Notification(progress(&json!("mine"))),
        Piece::Notification(question(&json!("q-1"))),
        Piece::Until(Arc::clone(&answered)),
        Piece::Result(json!({"content": [{"type": "text", "text": "done"}]})),
    ];
    let setting = setting(ScriptedServer::legacy().tool("ask", Reply::Events(pieces))).await;
    let session = setting.federated().await;
    let params = json!({"name": "files__ask", "arguments": {}, "_meta": {"progressToken": "mine"}});
    let mut call = session.open("tools/call", params).await;
    let asked = call.next().await.expect("a question");
    assert_eq!(
        asked["params"]["message"], "Sure?",
        "progress under a token that the server made up goes nowhere: {asked}"
    );
    let sealed = asked["id"].as_str().expect("a sealed id").to_owned();
    assert_ne!(sealed, "q-1");
    let reply = |id: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "decline"}});
    let thief = setting.tollgate.agent("thief").grant("files:*").create().await;
    let stranger = thief.at_all_servers().await.initialize("2025-11-25").await;
    for forged in [stranger.send_message(&reply(&sealed)).await, session.send_message(&reply("q-1")).await] {
        assert_eq!(forged.status, 202, "{}", forged.body);
    }
    assert_eq!(setting.elsewhere(&session).send_message(&reply(&sealed)).await.status, 202);
    answered.notify_one();
    assert_eq!(call.finish().await.text(), "done");
    assert_eq!(setting.server.replies(), [reply("q-1")], "exactly the owner's answer, under the server's own id");
    let sent = setting.server.calls().remove(0).message;
    assert!(sent["id"].is_string(), "the agent's id is a number: {sent}");
    assert_ne!(sent["params"]["_meta"]["progressToken"], "mine");
    let introduced = setting.server.seen().into_iter().rfind(|seen| seen.message["method"] == "initialize");
    let introduced = introduced.expect("the server was initialized").message;
    assert_eq!(introduced["params"]["capabilities"], json!({"elicitation": {}}), "{introduced}");
}

#[tokio::test]
async fn progress_comes_back_under_the_agents_own_token() {
    let setting = setting(ScriptedServer::legacy()).await;
    let session = setting.client.initialize("2025-11-25").await;
    let wide = setting.federated().await;
    let go = Arc::new(Notify::new());
    setting.server.set(
        "slow",
        Reply::Events(vec![Piece::Until(Arc::clone(&go)), Piece::Progress, Piece::Result(json!({"content": []}))]),
    );
    for (client, tool) in [(&session, "slow"), (&wide, "files__slow")] {
        let params = json!({"name": tool, "arguments": {}, "_meta": {"progressToken": 17}});
        let mut call = client.open("tools/call", params).await;
        go.notify_one();
        let progress = call.next().await.expect("progress");
        assert_eq!(progress["params"]["progressToken"], json!(17), "{tool}: {progress}");
        assert_eq!(call.finish().await.result()["content"], json!([]));
    }
}

#[tokio::test]
async fn a_cancellation_names_the_request_as_its_server_knows_it() {
    let go = Arc::new(Notify::new());
    let pieces =
        vec![Piece::Notification(changed()), Piece::Until(Arc::clone(&go)), Piece::Result(json!({"content": []}))];
    let setting = setting(ScriptedServer::legacy().tool("slow", Reply::Events(pieces))).await;
    let single = setting.client.initialize("2025-11-25").await;
    let wide = setting.federated().await;
    for (client, tool, mapped) in [(&single, "slow", false), (&wide, "files__slow", true)] {
        let message =
            json!({"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": {"name": tool, "arguments": {}}});
        let running = {
            let (client, message) = (client.clone(), message.clone());
            tokio::spawn(async move { client.send_message(&message).await })
        };
        let cancelled = |server: &ScriptedServer| {
            let cancelled = |seen: &tollgate_tests::Seen| seen.message["method"] == "notifications/cancelled";
            server
                .seen()
                .into_iter()
                .filter(cancelled)
                .map(|seen| seen.message["params"]["requestId"].clone())
                .next_back()
        };
        let call = eventually("the call to arrive", || async {
            setting.server.calls().pop().filter(|call| (call.message["id"] != json!(4711)) == mapped)
        });
        let call = call.await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4711}});
        assert_eq!(setting.elsewhere(client).send_message(&cancel).await.status, 202);
        assert_eq!(cancelled(&setting.server), Some(call.message["id"].clone()), "{tool}");
        go.notify_one();
        running.await.expect("the call ends");
    }
}

#[tokio::test]
async fn a_server_that_forgot_a_session_costs_a_single_session_and_one_leg_of_a_federated_one() {
    let setting = setting(ScriptedServer::legacy()).await;
    let other = ScriptedServer::legacy().tool("look", Reply::text("seen")).start().await;
    setting.tollgate.register("shop", &other).await;
    let single = setting.client.initialize("2025-11-25").await;
    let agent = setting.tollgate.agent("wide").grant("files:*").grant("shop:*").create().await;
    let wide = agent.at_all_servers().await.initialize("2025-11-25").await;
    assert_eq!(wide.call("files__read", json!({})).await.text(), "content");
    assert_eq!(wide.call("shop__look", json!({})).await.text(), "seen");
    setting.server.forget_sessions();
    assert_refusal(&single.call("read", json!({})).await, UNKNOWN);
    assert_refusal(&setting.elsewhere(&single).call("read", json!({})).await, UNKNOWN);
    let elsewhere = setting.elsewhere(&wide);
    assert_eq!(elsewhere.call("files__read", json!({})).await.text(), "content");
    assert_eq!(elsewhere.call("shop__look", json!({})).await.text(), "seen");
    let handshakes =
        |server: &ScriptedServer| server.seen().iter().filter(|seen| seen.message["method"] == "initialize").count();
    assert_eq!((handshakes(&setting.server), handshakes(&other)), (3, 1));
    assert_eq!(setting.client.initialize("2025-11-25").await.call("read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn an_instance_that_died_ends_its_sessions() {
    let setting = setting(ScriptedServer::legacy()).await;
    let session = setting.client.initialize("2025-11-25").await;
    assert_eq!(session.call("read", json!({})).await.text(), "content");
    setting.server.stop();
    let gone = eventually("the connections to end", || async {
        Some(session.call("read", json!({})).await).filter(|answer| answer.status == 404)
    });
    assert_refusal(&gone.await, UNKNOWN);
    let again = setting.client.try_initialize("2025-11-25").await;
    assert_refusal(&again, Refused { status: 502, code: 50200, reason: "upstream_unavailable" });
}

#[tokio::test]
async fn a_session_whose_time_is_up_is_ended_at_its_servers_too() {
    let setting = setting(ScriptedServer::legacy()).await;
    let session = setting.client.initialize("2025-11-25").await;
    assert_eq!(session.call("read", json!({})).await.text(), "content");
    let upstream = setting.server.calls()[0].header("mcp-session-id").expect("an upstream session").to_owned();
    end_the_time_of(&setting.tollgate, "sess", "idle_until");
    let ended = |server: &ScriptedServer| {
        let deleted: Vec<_> = server.seen().into_iter().filter(|seen| seen.http_method == "DELETE").collect();
        deleted.iter().map(|seen| seen.header("mcp-session-id").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    eventually_true("the server to hear of it", || async { !ended(&setting.server).is_empty() }).await;
    assert_eq!(ended(&setting.server), [upstream]);
    assert_refusal(&session.call("read", json!({})).await, UNKNOWN);
}

#[tokio::test]
async fn an_agent_that_reads_nothing_holds_up_no_stop_and_no_change_of_policy() {
    let event = format!("event: message\ndata: {}\n\n", changed());
    let poured = vec![Piece::Forever(event.repeat(64))];
    let script = ScriptedServer::legacy().stream(poured.clone()).tool("pour", Reply::Events(poured));
    let mut setting = setting(script).await;
    let session = setting.client.initialize("2025-11-25").await;
    let unread_stream = session.stream(None).await;
    let unread_call = session.open("tools/call", json!({"name": "pour", "arguments": {}})).await;
    let call_id = unread_call.headers["tollgate-call-id"].to_str().expect("ids are text").to_owned();
    assert_eq!(session.call("read", json!({})).await.text(), "content");
    setting.tollgate.delete("grants/ci").await;
    let record = setting.tollgate.usage_of(&call_id).await;
    assert_eq!((record.outcome.as_str(), record.decision.as_str()), ("cut_off", "tool_not_granted"));
    assert!(setting.tollgate.stop_data_plane(0, Signal::SIGTERM).success());
    drop((unread_stream, unread_call));
}

#[tokio::test]
async fn a_legacy_agent_that_goes_away_cancels_nothing() {
    let go = Arc::new(Notify::new());
    let pieces = vec![
        Piece::Notification(changed()),
        Piece::Until(Arc::clone(&go)),
        Piece::Result(json!({"content": [{"type": "text", "text": "done"}], "isError": true})),
    ];
    let setting = setting(ScriptedServer::legacy().tool("slow", Reply::Events(pieces))).await;
    let session = setting.client.initialize("2025-11-25").await;
    let mut call = session.open("tools/call", json!({"name": "slow", "arguments": {}})).await;
    assert_eq!(call.next().await, Some(changed()));
    let call_id = call.headers["tollgate-call-id"].to_str().expect("an id").to_owned();
    drop(call);
    go.notify_one();
    let record = setting.tollgate.usage_of(&call_id).await;
    assert_eq!(record.outcome, "tool_error", "the answer was read to its end");
    assert!(setting.server.seen().iter().all(|seen| seen.message["method"] != "notifications/cancelled"));
}

#[tokio::test]
async fn a_subscription_asks_for_what_its_agent_may_have() {
    let script = ScriptedServer::modern().stream(vec![Piece::Result(json!({"resultType": "complete"}))]);
    let setting = setting(script).await;
    let narrow = setting.tollgate.agent("narrow").grant("files:read").create().await.at_server("files").await;
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    for client in [&setting.client, &narrow] {
        let answer = client.request("subscriptions/listen", json!({"notifications": filter})).await;
        assert_eq!(answer.result()["resultType"], "complete");
    }
    let seen = setting.server.seen().into_iter().filter(|seen| seen.message["method"] == "subscriptions/listen");
    let filters: Vec<Value> = seen.map(|seen| seen.message["params"]["notifications"].clone()).collect();
    assert_eq!(filters, [filter, json!({"toolsListChanged": true})]);
}

#[tokio::test]
async fn a_modern_client_listens_until_the_gateway_stops() {
    let never = Arc::new(Notify::new());
    let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
        "notifications": {"toolsListChanged": true}, "_meta": {"io.modelcontextprotocol/subscriptionId": 1},
    }});
    let pieces = vec![Piece::Notification(acknowledged.clone()), Piece::Until(never)];
    let mut scene = setting(ScriptedServer::modern().stream(pieces)).await;
    let params = json!({"notifications": {"toolsListChanged": true}});
    let mut stream = scene.client.open("subscriptions/listen", params).await;
    assert_eq!(stream.next().await, Some(acknowledged));
    scene.tollgate.stop_data_plane(0, Signal::SIGTERM);
    let rest = ends(stream).await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["result"]["resultType"], "complete");
    assert_eq!(rest[0]["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], rest[0]["id"]);
}
