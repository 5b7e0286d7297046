//! `subscriptions/listen` of modern agents at the joined endpoint.

use super::*;

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

async fn listening(client: &McpClient, notifications: Value) -> McpStream {
    client.open("subscriptions/listen", json!({"notifications": notifications})).await
}

fn filters(server: &ScriptedServer) -> Vec<Value> {
    let seen = server.seen().into_iter().map(|seen| seen.message);
    let listens = seen.filter(|message| message["method"] == "subscriptions/listen");
    listens.map(|message| message["params"]["notifications"].clone()).collect()
}

/// A legacy server whose resources can be subscribed to.
async fn subscribable(says: Vec<Piece>) -> ScriptedServer {
    let server = ScriptedServer::legacy().tool("read", Reply::text("content")).stream(says).start().await;
    let welcome = json!({"protocolVersion": VERSION, "serverInfo": {"name": "scripted", "version": "1"},
                         "capabilities": {"resources": {"subscribe": true, "listChanged": true}}});
    let welcome = Reply::Header("mcp-session-id", b"scripted-1".to_vec(), Box::new(Reply::Result(welcome)));
    server.set_method("initialize", welcome);
    server.set_method("resources/subscribe", Reply::Result(json!({})));
    server
}

#[tokio::test]
async fn one_subscription_is_one_at_each_server_in_its_own_era() {
    let touched = Arc::new(Notify::new());
    let honoured = json!({"resourceSubscriptions": ["demo://a"]});
    let says = vec![acknowledged(&honoured), until(&touched), updated("demo://a/part"), until_the_end()];
    let new = modern(json!({"resources": {"subscribe": true}}), says).await;
    let old_touched = Arc::new(Notify::new());
    let old = subscribable(vec![until(&old_touched), updated("demo://b"), changed("tools"), until_the_end()]).await;
    let (tollgate, agent) = setting(&[("new", &new), ("old", &old)]).await;
    let [_, there] = both(&tollgate, &agent).await;
    let wanted = json!({
        "resourcesListChanged": true,
        "resourceSubscriptions": ["tollgate://new/demo%3A%2F%2Fa", "tollgate://old/demo%3A%2F%2Fb",
                                  "tollgate://new/demo%3A%2F%2Frefused", "tollgate://nobody/demo%3A%2F%2Fc"],
    });
    let mut stream = listening(&there, wanted).await;
    let first = next(&mut stream).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    let honoured = json!({
        "resourcesListChanged": true,
        "resourceSubscriptions": ["tollgate://new/demo%3A%2F%2Fa", "tollgate://old/demo%3A%2F%2Fb"],
    });
    assert_eq!(first["params"]["notifications"], honoured);
    let id = &first["params"]["_meta"][SUBSCRIPTION_ID];
    assert!(id.is_u64(), "the id keeps its type: {first}");
    let own = json!({"resourcesListChanged": true, "resourceSubscriptions": ["demo://a", "demo://refused"]});
    assert_eq!(filters(&new), [own]);
    for (released, uri) in
        [(&touched, "tollgate://new/demo%3A%2F%2Fa%2Fpart"), (&old_touched, "tollgate://old/demo%3A%2F%2Fb")]
    {
        released.notify_one();
        let heard = next(&mut stream).await;
        assert_eq!(heard["params"], json!({"uri": uri, "_meta": {SUBSCRIPTION_ID: id}}), "{heard}");
    }
}

#[tokio::test]
async fn a_subscription_is_narrowed_to_what_is_granted() {
    let says =
        vec![acknowledged(&json!({"toolsListChanged": true})), changed("tools"), changed("prompts"), until_the_end()];
    let new = modern(json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true}}), says).await;
    let hidden = modern(json!({"tools": {"listChanged": true}}), vec![acknowledged(&json!({})), until_the_end()]).await;
    let (tollgate, _) = setting(&[("new", &new), ("hidden", &hidden)]).await;
    let narrow = tollgate.agent("narrow").grant("new:read").create().await;
    let [here, _] = both(&tollgate, &narrow).await;
    let uris = ["tollgate://new/demo%3A%2F%2Fa"];
    let everything = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
                            "resourceSubscriptions": uris});
    let mut stream = listening(&here, everything).await;
    let first = next(&mut stream).await;
    assert_eq!(first["params"]["notifications"], json!({"toolsListChanged": true}), "{first}");
    next_of(&mut stream, "notifications/tools/list_changed").await;
    assert_eq!(filters(&new), [json!({"toolsListChanged": true})]);
    assert!(filters(&hidden).is_empty(), "an agent that may use nothing of it listens to nothing of it");
    let refused = here.request("subscriptions/listen", json!({})).await;
    assert_eq!((refused.status, refused.error()["code"].clone()), (400, json!(-32602)), "{}", refused.body);
}

#[tokio::test]
async fn a_server_that_fails_is_left_out_and_heard_when_it_is_back() {
    let says = Reply::Events(vec![acknowledged(&json!({"toolsListChanged": true})), until_the_end()]);
    let down = Reply::Refusal(503, -32000, "starting".to_owned());
    let new = modern(json!({"tools": {"listChanged": true}}), Vec::new()).await;
    new.set_method("subscriptions/listen", Reply::Then(Box::new(down), Box::new(says)));
    let good = modern(json!({}), vec![acknowledged(&json!({})), until_the_end()]).await;
    let (tollgate, agent) = setting(&[("new", &new), ("good", &good)]).await;
    let [here, _] = both(&tollgate, &agent).await;
    let mut stream = listening(&here, json!({"toolsListChanged": true})).await;
    let first = next(&mut stream).await;
    let missing = json!([{"server": "new", "reason": "upstream_unavailable"}]);
    assert_eq!(first["params"]["_meta"]["io.tollgate/left-out"], missing, "{first}");
    next_of(&mut stream, "notifications/tools/list_changed").await;
    assert_eq!(filters(&new).len(), 2);
}

#[tokio::test]
async fn a_data_plane_that_stops_ends_the_subscription_with_its_result() {
    let new = modern(json!({}), vec![acknowledged(&json!({})), until_the_end()]).await;
    let (mut tollgate, agent) = setting(&[("new", &new)]).await;
    let [here, _] = both(&tollgate, &agent).await;
    let mut stream = listening(&here, json!({"toolsListChanged": true})).await;
    let id = next(&mut stream).await["params"]["_meta"][SUBSCRIPTION_ID].clone();
    let stopping = tokio::task::spawn_blocking(move || {
        tollgate.stop_data_plane(0, nix::sys::signal::Signal::SIGTERM);
        tollgate
    });
    let ended = timeout(PATIENCE, stream.finish()).await.expect("the subscription ends");
    assert_eq!(*ended.result(), json!({"resultType": "complete", "_meta": {SUBSCRIPTION_ID: id}}));
    drop(stopping.await);
}
