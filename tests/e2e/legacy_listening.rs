//! Legacy clients that listen to servers of the modern era: the session's stream is a subscription there, and what the
//! session subscribes to at one data plane reaches the stream that another one holds.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{Agent, Deployment, McpClient, Piece, Reply, ScriptedServer, eventually};

use crate::scene::{Refused, assert_refusal};

const VERSION: &str = "2025-11-25";

struct Setting {
    tollgate: Deployment,
    server: ScriptedServer,
    agent: Agent,
}

/// A modern server `files` that says this of itself, behind two data planes, and an agent that may use all of it.
async fn setting(capabilities: Value) -> Setting {
    let server = ScriptedServer::modern().tool("read", Reply::text("content")).start().await;
    let discovered = json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                            "ttlMs": 60_000, "cacheScope": "public"});
    server.set_method("server/discover", Reply::Result(discovered));
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:*").create().await;
    Setting { tollgate, server, agent }
}

impl Setting {
    async fn session(&self) -> McpClient {
        self.agent.at_server("files").await.initialize(VERSION).await
    }

    fn elsewhere(&self, session: &McpClient) -> McpClient {
        session.clone().through(self.tollgate.data_plane_url(1))
    }

    /// What every subscription so far asked for.
    fn filters(&self) -> Vec<Value> {
        let seen = self.server.seen().into_iter().map(|seen| seen.message);
        let listens = seen.filter(|message| message["method"] == "subscriptions/listen");
        listens.map(|message| message["params"]["notifications"].clone()).collect()
    }
}

fn told(method: &str, mut params: Value) -> Piece {
    params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": "s"});
    Piece::Notification(json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

fn acknowledged() -> Piece {
    told("notifications/subscriptions/acknowledged", json!({"notifications": {}}))
}

fn until_the_end() -> Piece {
    Piece::Until(Arc::new(Notify::new()))
}

fn list_changed(kind: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": format!("notifications/{kind}/list_changed")})
}

#[tokio::test]
async fn the_stream_of_a_session_is_a_subscription_at_a_modern_server() {
    let setting =
        setting(json!({"tools": {"listChanged": true}, "prompts": {}, "resources": {"listChanged": true}})).await;
    let says = vec![
        acknowledged(),
        told("notifications/tools/list_changed", json!({})),
        told("notifications/message", json!({"level": "info"})),
        told("notifications/resources/list_changed", json!({"example.com/own": 1})),
        until_the_end(),
    ];
    setting.server.set_method("subscriptions/listen", Reply::Events(says));
    let session = setting.session().await;
    let mut stream = setting.elsewhere(&session).stream(None).await;
    assert_eq!(stream.next().await, Some(list_changed("tools")), "nothing of the subscription itself");
    let changed = stream.next().await.expect("the next change");
    assert_eq!(
        (&changed["method"], &changed["params"]),
        (&json!("notifications/resources/list_changed"), &json!({"example.com/own": 1}))
    );
    assert_eq!(setting.filters(), [json!({"toolsListChanged": true, "resourcesListChanged": true})]);
    assert_eq!(session.terminate().await.status, 204);
    assert_eq!(stream.next().await, None, "the end of the session ends its stream");
}

#[tokio::test]
async fn what_a_session_subscribes_to_elsewhere_reaches_its_stream() {
    let setting = setting(json!({"resources": {"subscribe": true, "listChanged": true}})).await;
    let touched = Arc::new(Notify::new());
    let lists_only = vec![acknowledged(), until_the_end()];
    let updated = told("notifications/resources/updated", json!({"uri": "demo://a"}));
    let subscribed = vec![acknowledged(), Piece::Until(Arc::clone(&touched)), updated, until_the_end()];
    let after = vec![acknowledged(), told("notifications/resources/list_changed", json!({})), until_the_end()];
    let [first, second, third] = [lists_only, subscribed, after].map(|pieces| Box::new(Reply::Events(pieces)));
    setting.server.set_method("subscriptions/listen", Reply::Then(first, Box::new(Reply::Then(second, third))));
    let session = setting.session().await;
    let mut stream = session.stream(None).await;
    let uri = json!({"uri": "demo://a"});
    let other = setting.elsewhere(&session);
    assert_eq!(*other.request("resources/subscribe", uri.clone()).await.result(), json!({}));
    let lists = json!({"resourcesListChanged": true});
    let both = json!({"resourcesListChanged": true, "resourceSubscriptions": ["demo://a"]});
    // It holds by the time that the answer is here.
    assert_eq!(setting.filters(), [lists.clone(), both.clone()]);
    touched.notify_one();
    let heard = stream.next().await.expect("the update");
    assert_eq!(heard, json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": uri}));
    assert_eq!(*session.request("resources/unsubscribe", uri).await.result(), json!({}));
    assert_eq!(stream.next().await, Some(list_changed("resources")));
    assert_eq!(setting.filters(), [lists.clone(), both, lists]);
}

#[tokio::test]
async fn a_session_that_subscribed_before_it_listens_hears_of_it() {
    let setting = setting(json!({"resources": {"subscribe": true}})).await;
    let updated = told("notifications/resources/updated", json!({"uri": "demo://a"}));
    let says = vec![acknowledged(), updated, until_the_end()];
    setting.server.set_method("subscriptions/listen", Reply::Events(says));
    let session = setting.session().await;
    assert_eq!(*session.request("resources/subscribe", json!({"uri": "demo://a"})).await.result(), json!({}));
    assert!(setting.filters().is_empty(), "nobody listens yet");
    let mut stream = setting.elsewhere(&session).stream(None).await;
    assert_eq!(stream.next().await.expect("the update")["params"]["uri"], "demo://a");
    assert_eq!(setting.filters(), [json!({"resourceSubscriptions": ["demo://a"]})]);
}

#[tokio::test]
async fn an_interrupted_subscription_is_taken_up_again_and_told_of() {
    let setting = setting(json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true}})).await;
    let breaks_off = Reply::Events(vec![acknowledged()]);
    let goes_on = Reply::Events(vec![acknowledged(), until_the_end()]);
    let down = Reply::Refusal(503, -32000, "starting".to_owned());
    let then = |first, rest| Reply::Then(Box::new(first), Box::new(rest));
    setting.server.set_method("subscriptions/listen", then(breaks_off, then(down, goes_on)));
    let session = setting.session().await;
    let mut stream = session.stream(None).await;
    let heard = [stream.next().await, stream.next().await];
    assert_eq!(heard, [Some(list_changed("tools")), Some(list_changed("prompts"))], "both may have changed meanwhile");
    assert_eq!(setting.filters().len(), 3);
}

#[tokio::test]
async fn a_server_that_tells_of_nothing_has_no_stream() {
    let setting = setting(json!({"tools": {}})).await;
    let session = setting.session().await;
    let answer = session.stream(None).await.finish().await;
    assert_refusal(&answer, Refused { status: 405, code: 40500, reason: "stream_not_offered" });
    assert!(setting.filters().is_empty());
}

#[tokio::test]
async fn a_newer_stream_takes_the_subscription_over() {
    let setting = setting(json!({"tools": {"listChanged": true}})).await;
    let says = vec![acknowledged(), told("notifications/tools/list_changed", json!({})), until_the_end()];
    setting.server.set_method("subscriptions/listen", Reply::Events(says));
    let session = setting.session().await;
    let mut older = session.stream(None).await;
    assert_eq!(older.next().await, Some(list_changed("tools")));
    let mut newer = setting.elsewhere(&session).stream(None).await;
    assert_eq!(newer.next().await, Some(list_changed("tools")));
    assert_eq!(older.next().await, None);
    let call_id = older.headers["tollgate-call-id"].to_str().expect("ids are text").to_owned();
    let record = eventually("the record of the older stream", || async {
        setting.tollgate.usage().await.into_iter().find(|record| record.call_id == call_id)
    });
    assert_eq!(record.await.outcome, "ok");
}
