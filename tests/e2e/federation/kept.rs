//! What servers allow to be kept, and what makes it stale.

use serde_json::{Value, json};
use tollgate_tests::{McpClient, Piece, Reply, ScriptedServer, eventually_true};

use super::{both, deployment, names, pages, tools};

fn asked(server: &ScriptedServer) -> usize {
    server.seen().iter().filter(|seen| seen.message["method"] == "tools/list").count()
}

async fn list(client: &McpClient) -> Vec<String> {
    names(&client.request("tools/list", json!({})).await)
}

fn hints(scope: &str) -> Value {
    json!({"ttlMs": 600_000, "cacheScope": scope})
}

#[tokio::test]
async fn a_public_list_is_asked_for_once_and_filtered_for_each_agent() {
    let tollgate = deployment().await;
    let server = ScriptedServer::modern().start().await;
    server.set_method("tools/list", pages("tools", &tools(3), 2, &hints("public")));
    tollgate.register("files", &server).await;
    let one = tollgate.agent("one").grant("files:tool_0000").create().await;
    let two = tollgate.agent("two").grant("files:tool_0002").create().await;
    let [here, _] = both(&tollgate, &one).await;
    assert_eq!(list(&here).await, ["files__tool_0000"]);
    assert_eq!(list(&here).await, ["files__tool_0000"]);
    let [other, _] = both(&tollgate, &two).await;
    let answer = other.request("tools/list", json!({})).await;
    assert_eq!(names(&answer), ["files__tool_0002"]);
    assert_eq!(asked(&server), 2, "each page once");
    assert_eq!(answer.result()["cacheScope"], "private", "what is filtered is nobody else's");
    assert!(answer.result()["ttlMs"].as_i64().is_some_and(|ttl| (1..=600_000).contains(&ttl)), "{}", answer.body);
}

#[tokio::test]
async fn a_private_list_is_kept_for_the_agent_that_it_was_asked_for() {
    let tollgate = deployment().await;
    let server = ScriptedServer::modern().start().await;
    server.set_method("tools/list", pages("tools", &tools(1), 1, &hints("private")));
    tollgate.register("files", &server).await;
    for name in ["one", "two"] {
        let agent = tollgate.agent(name).grant("files:*").create().await;
        let [here, _] = both(&tollgate, &agent).await;
        for _ in 0..3 {
            assert_eq!(list(&here).await, ["files__tool_0000"]);
        }
    }
    assert_eq!(asked(&server), 2, "once for each agent");
}

#[tokio::test]
async fn what_does_not_say_for_how_long_is_not_kept() {
    let tollgate = deployment().await;
    let server = ScriptedServer::modern().tool("read", Reply::text("x")).start().await;
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:*").create().await;
    let [here, _] = both(&tollgate, &agent).await;
    for _ in 0..3 {
        assert_eq!(list(&here).await, ["files__read"]);
    }
    assert_eq!(asked(&server), 3);
}

#[tokio::test]
async fn a_change_that_one_data_plane_hears_of_is_known_to_the_other() {
    let tollgate = deployment().await;
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let says = Reply::Events(vec![Piece::Notification(changed), Piece::Result(json!({"content": []}))]);
    let server = ScriptedServer::modern().tool("change", says).start().await;
    let change = json!({"name": "change", "inputSchema": {"type": "object"}});
    server.set_method("tools/list", pages("tools", &[change], 1, &hints("public")));
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:*").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    for client in [&here, &there] {
        assert_eq!(list(client).await, ["files__change"]);
    }
    server.set_method("tools/list", pages("tools", &tools(1), 1, &hints("public")));
    assert_eq!(list(&there).await, ["files__change"], "it is kept");
    assert_eq!(here.call("files__change", json!({})).await.status, 200);
    for client in [&here, &there] {
        eventually_true("the list to be asked for anew", || async { list(client).await == ["files__tool_0000"] }).await;
    }
}
