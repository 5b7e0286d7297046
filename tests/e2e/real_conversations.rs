//! Conversations with a legacy server that no one here wrote, over two data planes: what one of them begins, the other
//! goes on with.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpClient, McpStream, RealServer};

struct Setting {
    tollgate: Deployment,
    _server: RealServer,
    client: McpClient,
}

async fn setting() -> Setting {
    let server = RealServer::everything().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    let manifest = format!(
        "
apiVersion: tollgate/v1
kind: Team
metadata: {{name: stories}}
spec: {{display_name: Stories}}
---
apiVersion: tollgate/v1
kind: Server
metadata: {{name: everything}}
spec: {{team: stories, instances: [{{url: {}}}]}}
",
        server.url()
    );
    tollgate.apply(&manifest).await;
    let agent = tollgate.agent("ci").grant("everything:*").create().await;
    let client = agent.at_server("everything").await;
    Setting { tollgate, _server: server, client }
}

/// The next message of this method.
async fn next_of(stream: &mut McpStream, method: &str) -> Value {
    loop {
        let message = stream.next().await.unwrap_or_else(|| panic!("the stream ends before {method}"));
        if message["method"] == method {
            return message;
        }
    }
}

#[tokio::test]
async fn the_everything_server_asks_through_both_data_planes() {
    let setting = setting().await;
    let session = setting.client.initialize("2025-11-25").await;
    let elsewhere = session.clone().through(setting.tollgate.data_plane_url(1));
    let wide = setting.tollgate.agent("wide").grant("everything:*").create().await;
    let wide = wide.at_all_servers().await.initialize("2025-11-25").await;
    let wide_elsewhere = wide.clone().through(setting.tollgate.data_plane_url(1));
    let trigger = "trigger-elicitation-request";
    for (asks, answers, tool) in
        [(&session, &elsewhere, trigger.to_owned()), (&wide_elsewhere, &wide, format!("everything__{trigger}"))]
    {
        let mut call = asks.open("tools/call", json!({"name": tool, "arguments": {}})).await;
        let asked = next_of(&mut call, "elicitation/create").await;
        assert!(asked["params"]["requestedSchema"].is_object(), "{asked}");
        let outcome = json!({"action": "accept", "content": {"name": "Ada", "check": true}});
        let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": outcome});
        assert_eq!(answers.send_message(&reply).await.status, 202);
        let answer = call.finish().await;
        assert!(answer.body.contains("Ada"), "{tool}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_everything_server_tells_of_a_resource_over_the_session_s_stream() {
    let setting = setting().await;
    let session = setting.client.initialize("2025-11-25").await;
    let elsewhere = session.clone().through(setting.tollgate.data_plane_url(1));
    let mut stream = session.stream(None).await;
    assert_eq!(stream.status, 200);
    let uri = "demo://resource/dynamic/text/1";
    assert_eq!(elsewhere.request("resources/subscribe", json!({"uri": uri})).await.result(), &json!({}));
    assert!(elsewhere.call("toggle-subscriber-updates", json!({})).await.text().starts_with("Started"));
    let updated = next_of(&mut stream, "notifications/resources/updated").await;
    assert_eq!(updated["params"]["uri"], uri);
    assert!(matches!(elsewhere.terminate().await.status, 200 | 204));
    while stream.next().await.is_some() {}
}
