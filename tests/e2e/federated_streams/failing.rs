//! Servers, sessions and data planes that fail while somebody listens.

use super::*;

/// Tells that a list changed whenever it is released.
fn on_release(released: &Arc<Notify>) -> Vec<Piece> {
    vec![until(released), changed("prompts"), until_the_end()]
}

#[tokio::test]
async fn a_server_that_hangs_or_is_down_holds_up_nobody() {
    let hanging = modern(json!({"tools": {"listChanged": true}}), Vec::new()).await;
    hanging.set_method("subscriptions/listen", Reply::Hang);
    let silent = ScriptedServer::legacy().tool("read", Reply::text("x")).start().await;
    let good = legacy(vec![updated("file:///a"), until_the_end()]).await;
    let down = legacy(vec![until_the_end()]).await;
    let servers = [("down", &down), ("good", &good), ("hanging", &hanging), ("silent", &silent)];
    let (tollgate, agent) = setting(&servers).await;
    let [_, there] = session(&tollgate, &agent).await;
    down.stop();
    let mut stream = there.stream(None).await;
    let heard = next_of(&mut stream, "notifications/resources/updated").await;
    assert_eq!(heard["uri"], "tollgate://good/file%3A%2F%2F%2Fa");
    eventually_true("the server without a stream to be asked", || async { gets(&silent) >= 1 }).await;
    assert_eq!(gets(&silent), 1, "a server without a stream is asked once, and is silent");
}

#[tokio::test]
async fn a_forgotten_upstream_session_is_opened_again_with_what_was_subscribed_to() {
    let broken = Arc::new(Notify::new());
    let first = Reply::Events(vec![updated("file:///a"), until(&broken)]);
    let again = Reply::Events(vec![updated("file:///a"), until_the_end()]);
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    old.set_method("GET", Reply::Then(Box::new(first), Box::new(again)));
    old.set_method("resources/subscribe", Reply::Result(json!({})));
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let uri = json!({"uri": "tollgate://old/file%3A%2F%2F%2Fa"});
    assert_eq!(here.request("resources/subscribe", uri.clone()).await.status, 200);
    let mut stream = there.stream(None).await;
    assert_eq!(next_of(&mut stream, "notifications/resources/updated").await, uri);
    old.forget_sessions();
    broken.notify_one();
    next_of(&mut stream, "notifications/tools/list_changed").await;
    let subscribed: Vec<String> = old
        .seen()
        .iter()
        .filter(|seen| seen.message["method"] == "resources/subscribe")
        .map(|seen| format!("{} {}", seen.header("mcp-session-id").unwrap_or_default(), seen.message["params"]["uri"]))
        .collect();
    assert_eq!(subscribed, ["scripted-1 \"file:///a\"", "scripted-2 \"file:///a\""]);
    assert_eq!(here.call("old__read", json!({})).await.text(), "content", "the calls use the same one");
    let sessions = old.seen().iter().filter(|seen| seen.message["method"] == "initialize").count();
    assert_eq!(sessions, 2);
}

#[tokio::test]
async fn an_upstream_session_that_a_call_opens_joins_the_stream() {
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    let listened = Reply::Events(vec![until_the_end()]);
    let again = Reply::Events(vec![updated("file:///late"), until_the_end()]);
    old.set_method("GET", Reply::Then(Box::new(listened), Box::new(again)));
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    eventually_true("the server to be listened to", || async { gets(&old) == 1 }).await;
    // The stream of the session that it forgets stays open: only the call finds out.
    old.forget_sessions();
    assert_eq!(there.call("old__read", json!({})).await.text(), "content");
    let heard = next_of(&mut stream, "notifications/resources/updated").await;
    assert_eq!(heard["uri"], "tollgate://old/file%3A%2F%2F%2Flate");
}

#[tokio::test]
async fn an_interrupted_stream_is_resumed_where_the_server_numbers_its_events() {
    let numbered = Piece::Bytes("id: s-1\ndata:\n\n".to_owned());
    let first = Reply::Events(vec![numbered]);
    let again = Reply::Events(vec![updated("file:///a"), until_the_end()]);
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    old.set_method("GET", Reply::Then(Box::new(first), Box::new(again)));
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, _] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    let heard = next(&mut stream).await;
    assert_eq!(
        heard["method"], "notifications/resources/updated",
        "nothing was missed, so nothing else is said: {heard}"
    );
    let resumed: Vec<_> = old.seen().into_iter().filter(|seen| seen.http_method == "GET").collect();
    assert_eq!(resumed[1].header("last-event-id"), Some("s-1"));
}

#[tokio::test]
async fn a_client_whose_data_plane_dies_listens_at_the_other() {
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    let then = Reply::Then(Box::new(Reply::Events(on_release(&first))), Box::new(Reply::Events(on_release(&second))));
    old.set_method("GET", then);
    let (mut tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    first.notify_one();
    next_of(&mut stream, "notifications/prompts/list_changed").await;
    tollgate.crash_data_plane(0);
    let mut stream = there.stream(None).await;
    second.notify_one();
    next_of(&mut stream, "notifications/prompts/list_changed").await;
    let seen = old.seen();
    let sessions: BTreeSet<_> = seen.iter().filter_map(|seen| seen.header("mcp-session-id")).collect();
    assert_eq!(sessions.len(), 1, "one upstream session serves throughout");
}

#[tokio::test]
async fn a_data_plane_that_stops_ends_the_stream() {
    let old = legacy(vec![changed("tools"), until_the_end()]).await;
    let (mut tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, _] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    next_of(&mut stream, "notifications/tools/list_changed").await;
    let stopping = tokio::task::spawn_blocking(move || {
        tollgate.stop_data_plane(0, nix::sys::signal::Signal::SIGTERM);
        tollgate
    });
    timeout(PATIENCE, stream.finish()).await.expect("the stream ends in an orderly way");
    drop(stopping.await);
}

#[tokio::test]
async fn a_stream_that_the_server_still_holds_for_somebody_else_is_waited_for() {
    let taken = Reply::Refusal(409, -32000, "Conflict: Only one SSE stream is allowed per session".to_owned());
    let free = Reply::Events(vec![updated("file:///a"), until_the_end()]);
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    old.set_method("GET", Reply::Then(Box::new(taken.clone()), Box::new(free.clone())));
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, _] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    next_of(&mut stream, "notifications/resources/updated").await;
    // The same at the server's own endpoint, in either era.
    old.set_method("GET", Reply::Then(Box::new(taken.clone()), Box::new(free.clone())));
    let alone = agent.at_server("old").await;
    let mut stream = alone.initialize(VERSION).await.stream(None).await;
    assert_eq!(next(&mut stream).await["params"]["uri"], "file:///a");
    old.set_method("GET", Reply::Then(Box::new(taken), Box::new(free)));
    let welcome = json!({"protocolVersion": VERSION, "capabilities": {"resources": {"subscribe": true}},
                         "serverInfo": {"name": "scripted", "version": "1"}});
    let welcome = Reply::Header("mcp-session-id", b"scripted-99".to_vec(), Box::new(Reply::Result(welcome)));
    old.set_method("initialize", welcome);
    old.set_method("resources/subscribe", Reply::Result(json!({})));
    let wanted = json!({"notifications": {"resourceSubscriptions": ["file:///a"]}});
    let mut stream = alone.open("subscriptions/listen", wanted).await;
    let acknowledged = next_of(&mut stream, "notifications/subscriptions/acknowledged").await;
    assert_eq!(acknowledged["notifications"], json!({"resourceSubscriptions": ["file:///a"]}));
    next_of(&mut stream, "notifications/resources/updated").await;
}
