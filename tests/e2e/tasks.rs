//! Tasks of modern servers: their ids are of use to whose call made them, and lead to where the task is.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, McpAnswer, McpClient, Piece, Plan, Reply, ScriptedServer};

use crate::scene::{Refused, Scene, assert_refusal};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const UNKNOWN: Refused = Refused { status: 200, code: -32602, reason: "task_unknown" };

fn task(of: &str) -> Value {
    json!({
        "resultType": "task", "taskId": of, "status": "working", "ttlMs": 60_000,
        "createdAt": "2026-11-22T10:00:00Z", "lastUpdatedAt": "2026-11-22T10:00:00Z",
    })
}

fn standing(of: &str) -> Value {
    json!({"resultType": "complete", "taskId": of, "status": "completed", "result": {"taskId": "the tool's own", "content": []}})
}

/// A server whose tool `read` becomes the task `t-1`.
async fn setting(plan: Plan) -> Scene {
    let scene = Scene::set(plan, &Era::Modern).await;
    scene.server.set("read", Reply::Result(task("t-1")));
    scene.server.set_method("tasks/get", Reply::Result(standing("t-1")));
    scene.server.set_method("tasks/cancel", Reply::Result(json!({"resultType": "complete"})));
    scene
}

fn dev() -> Plan {
    Deployment::dev().argument("--no-demo")
}

async fn make(client: &McpClient, tool: &str) -> String {
    let answer = client.call(tool, json!({})).await;
    assert_eq!(answer.result()["resultType"], json!("task"), "{}", answer.body);
    assert_eq!(answer.result()["status"], json!("working"));
    answer.result()["taskId"].as_str().expect("a task has an id").to_owned()
}

/// What a client says that knows tasks.
fn declared() -> Value {
    json!({CAPABILITIES: {"extensions": {"io.modelcontextprotocol/tasks": {}}}})
}

async fn get(client: &McpClient, id: &str) -> McpAnswer {
    client.request("tasks/get", json!({"taskId": id, "_meta": declared()})).await
}

#[tokio::test]
async fn a_client_that_did_not_declare_tasks_is_told_so() {
    let scene = setting(dev()).await;
    let id = make(&scene.client, "read").await;
    let answer = scene.client.request("tasks/get", json!({"taskId": id})).await;
    assert_refusal(&answer, Refused { status: 400, code: -32021, reason: "missing_capability" });
    let required = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    assert_eq!(answer.error()["data"]["requiredCapabilities"], required);
}

#[tokio::test]
async fn a_task_is_found_by_the_id_that_its_call_was_answered_with() {
    let scene = setting(Deployment::separate(2)).await;
    for (client, tool) in [(scene.client.clone(), "read"), (scene.agent.at_all_servers().await, "files__read")] {
        let id = make(&client, tool).await;
        assert_ne!(id, "t-1", "the server's own id is not shown");
        let elsewhere = client.clone().through(scene.tollgate.data_plane_url(1));
        for client in [&client, &elsewhere] {
            let answer = get(client, &id).await;
            let expected = json!({"resultType": "complete", "taskId": id, "status": "completed",
                "result": {"taskId": "the tool's own", "content": []}});
            assert_eq!(*answer.result(), expected, "{}", answer.body);
        }
        let cancelled = elsewhere.request("tasks/cancel", json!({"taskId": id, "_meta": declared()})).await;
        assert_eq!(*cancelled.result(), json!({"resultType": "complete"}), "{}", cancelled.body);
    }
    let asked = scene
        .server
        .seen()
        .into_iter()
        .filter(|seen| seen.message["method"].as_str().is_some_and(|method| method.starts_with("tasks/")));
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), 6);
    for seen in asked {
        assert_eq!(seen.message["params"]["taskId"], json!("t-1"));
        assert_eq!(seen.header("mcp-name"), Some("t-1"), "it names the task as the server does");
    }
}

#[tokio::test]
async fn what_is_asked_about_a_task_is_recorded_with_the_call_that_made_it() {
    let scene = setting(dev()).await;
    let made = scene.client.call("read", json!({})).await;
    let id = made.result()["taskId"].as_str().expect("a task has an id");
    let answer = get(&scene.client, id).await;
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.method.as_deref(), record.tool.as_deref()), (Some("tasks/get"), Some("read")));
    assert_eq!(record.parent_call_id.as_deref(), Some(made.call_id()));
    assert_eq!(scene.tollgate.usage_of(made.call_id()).await.parent_call_id, None);
}

#[tokio::test]
async fn a_task_is_of_no_use_to_another_agent_or_elsewhere() {
    let scene = setting(dev()).await;
    let id = make(&scene.client, "read").await;
    let other = scene.tollgate.agent("cd").grant("files:*").create().await;
    for (client, id) in [
        (other.at_server("files").await, id.as_str()),
        (scene.agent.at_all_servers().await, id.as_str()),
        (scene.client.clone(), "t-1"),
        (scene.client.clone(), ""),
        (scene.client.clone(), &format!("{id}A")),
    ] {
        let answer = get(&client, id).await;
        assert_refusal(&answer, UNKNOWN);
    }
    assert!(scene.server.seen().iter().all(|seen| seen.message["method"] != "tasks/get"));
}

#[tokio::test]
async fn a_task_is_used_for_as_long_as_its_tool_may_be_called() {
    let scene = setting(dev()).await;
    let id = make(&scene.client, "read").await;
    assert_eq!(get(&scene.client, &id).await.status, 200);
    scene
        .tollgate
        .put("grants/denied", json!({"spec": {"to": {"agent": "ci"}, "deny": true, "scopes": ["files:read"]}}))
        .await;
    scene.tollgate.policy_in_force().await;
    let answer = get(&scene.client, &id).await;
    assert_eq!((answer.status, answer.reason()), (403, "tool_not_granted"), "{}", answer.body);
}

#[tokio::test]
async fn a_header_that_names_another_task_is_refused() {
    let scene = setting(dev()).await;
    let id = make(&scene.client, "read").await;
    let mut meta = crate::scene::modern_call("read")["params"]["_meta"].clone();
    meta[CAPABILITIES] = declared()[CAPABILITIES].clone();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": id, "_meta": meta}});
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tasks/get"),
        ("mcp-name", "t-1"),
    ];
    let answer = scene.client.post(&headers, message.to_string()).await;
    assert_refusal(&answer, Refused { status: 400, code: -32020, reason: "header_mismatch" });
}

#[tokio::test]
async fn a_task_is_asked_for_at_the_instance_that_has_it() {
    let scene = setting(dev()).await;
    let second = ScriptedServer::modern().tool("read", Reply::Result(task("t-2"))).start().await;
    second.set_method("tasks/get", Reply::Result(standing("t-2")));
    let instances = json!([{"url": scene.server.url()}, {"url": second.url()}]);
    scene.tollgate.put("servers/files", json!({"spec": {"instances": instances}})).await;
    scene.tollgate.policy_in_force().await;
    for _ in 0..12 {
        let id = make(&scene.client, "read").await;
        assert_eq!(get(&scene.client, &id).await.result()["status"], json!("completed"));
    }
    let ids = |server: &ScriptedServer| -> Vec<Value> {
        let asked = server.seen().into_iter().filter(|seen| seen.message["method"] == "tasks/get");
        asked.map(|seen| seen.message["params"]["taskId"].clone()).collect()
    };
    assert_eq!(ids(&scene.server).len() + ids(&second).len(), 12);
    assert!(ids(&scene.server).iter().all(|id| *id == "t-1") && ids(&second).iter().all(|id| *id == "t-2"));
    assert_eq!(ids(&scene.server).len(), scene.server.calls().len());
}

#[tokio::test]
async fn whoever_listens_hears_of_the_tasks_by_the_ids_that_they_know() {
    let scene = setting(dev()).await;
    let id = make(&scene.client, "read").await;
    let subscription = json!({"io.modelcontextprotocol/subscriptionId": 2});
    let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {"taskIds": ["t-1"]}, "_meta": subscription}});
    let told = json!({"jsonrpc": "2.0", "method": "notifications/tasks",
        "params": {"taskId": "t-1", "status": "completed", "_meta": subscription}});
    let ended = json!({"resultType": "complete", "_meta": subscription});
    let pieces = vec![Piece::Notification(acknowledged), Piece::Notification(told), Piece::Result(ended)];
    scene.server.set_method("subscriptions/listen", Reply::Events(pieces));
    let agent = scene.tollgate.agent("everything").grant("files:*").create().await.at_server("files").await;
    let own = make(&agent, "read").await;
    let filter = json!({"notifications": {"toolsListChanged": true, "taskIds": [own, id, "t-1"]}});
    let answer = agent.request("subscriptions/listen", filter).await;
    let seen = scene.server.seen().into_iter().find(|seen| seen.message["method"] == "subscriptions/listen");
    let asked = seen.expect("the server was asked").message["params"]["notifications"].clone();
    assert_eq!(
        asked,
        json!({"toolsListChanged": true, "taskIds": ["t-1"]}),
        "only the agent's own task is listened to"
    );
    assert_eq!(answer.messages[0]["params"]["notifications"]["taskIds"], json!([own]), "{}", answer.body);
    assert_eq!(answer.messages[1]["params"]["taskId"], json!(own), "{}", answer.body);
    assert_eq!(answer.messages[1]["params"]["status"], json!("completed"));
}
