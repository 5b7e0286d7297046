//! Servers that fail: each is left out, named, and comes back by itself.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpClient, Reply, ScriptedServer, eventually_true};

use super::{both, deployment, names, pages, tools};

async fn list(client: &McpClient) -> (Vec<String>, Value) {
    let answer = client.request("tools/list", json!({})).await;
    (names(&answer), answer.result()["_meta"]["io.tollgate/left-out"].clone())
}

async fn setting() -> (Deployment, ScriptedServer, ScriptedServer, [McpClient; 2]) {
    let tollgate = deployment().await;
    let good = ScriptedServer::modern().tool("read", Reply::text("x")).start().await;
    let bad = ScriptedServer::modern().tool("read", Reply::text("x")).start().await;
    tollgate.register("good", &good).await;
    tollgate.register("bad", &bad).await;
    let agent = tollgate.agent("ci").grant("good:*").grant("bad:*").create().await;
    let clients = both(&tollgate, &agent).await;
    (tollgate, good, bad, clients)
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_left_out_and_comes_back() {
    let (tollgate, _good, bad, [here, there]) = setting().await;
    let circle = pages("tools", &tools(1), 1, &json!({"nextCursor": "again"}));
    let Reply::Pages(mut circle) = circle else { unreachable!() };
    circle.insert(Some("again".to_owned()), circle[&None].clone());
    for nonsense in [
        Reply::Pages(circle),
        Reply::Result(json!({"tools": "none"})),
        Reply::Error(-32603, "no".to_owned()),
        Reply::Raw(200, "text/html".to_owned(), "<p>".to_owned()),
    ] {
        bad.set_method("tools/list", nonsense);
        let missing = json!([{"server": "bad", "reason": "upstream_invalid"}]);
        assert_eq!(list(&here).await, (vec!["good__read".to_owned()], missing));
    }
    bad.set_method("tools/list", pages("tools", &tools(1), 1, &json!({})));
    assert_eq!(list(&there).await, (vec!["bad__tool_0000".to_owned(), "good__read".to_owned()], Value::Null));
    let metrics = metrics_of(&tollgate).await;
    let counted = r#"tollgate_servers_left_out_total{tollgate_mcp_server_name="bad",reason="upstream_invalid"} 4"#;
    assert!(metrics.contains(counted), "{metrics}");
}

async fn metrics_of(tollgate: &Deployment) -> String {
    tollgate_tests::Http::default().get(&format!("{}/metrics", tollgate.ops_url(0))).await.text()
}

#[tokio::test]
async fn a_server_that_is_down_or_slow_is_left_out_and_comes_back() {
    let (_tollgate, good, bad, [here, there]) = setting().await;
    good.set_method("tools/list", Reply::Hang);
    let missing = json!([{"server": "good", "reason": "upstream_timeout"}]);
    assert_eq!(list(&here).await, (vec!["bad__read".to_owned()], missing));
    good.set_method("tools/list", pages("tools", &tools(1), 1, &json!({})));
    let whole = ["bad__read", "good__tool_0000"];
    eventually_true("the slow server to come back", || async { list(&here).await.0 == whole }).await;
    bad.stop();
    eventually_true("the server that is down to be left out", || async {
        list(&there).await
            == (vec!["good__tool_0000".to_owned()], json!([{"server": "bad", "reason": "upstream_unavailable"}]))
    })
    .await;
}
