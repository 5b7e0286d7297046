//! Tokens: counted to the last one, alike on every path that an answer can take.

use serde_json::{Value, json};
use tollgate_tests::{
    Agent, Deployment, Era, Http, McpAnswer, McpClient, Piece, Reply, ScriptedServer, UsageRecord, eventually_true,
};

use crate::scene::Scene;

/// Three tokens: `o200k_base` takes digits by threes.
const SAID: &str = "123456789";
const LEGACY: &str = "2025-11-25";
const REPORT: &str = "io.tollgate/usage";

fn said() -> Value {
    json!({"content": [{"type": "text", "text": SAID}], "_meta": {"hidden": SAID}})
}

/// With what a server may say beside its answer.
fn streamed() -> Reply {
    let log = json!({"level": "info", "data": SAID});
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": log});
    Reply::Events(vec![Piece::Progress, Piece::Notification(log), Piece::Result(said())])
}

async fn record(scene: &Scene, answer: &McpAnswer) -> UsageRecord {
    assert_eq!(answer.status, 200, "{}", answer.body);
    scene.tollgate.usage_of(answer.call_id()).await
}

/// The scene, and an agent that may do everything at its server.
async fn everything(era: &Era) -> (Scene, Agent) {
    let scene = Scene::set(Deployment::dev().argument("--no-demo"), era).await;
    scene.server.set("read", Reply::Result(said()));
    let agent = scene.tollgate.agent("all").grant("files:*").create().await;
    (scene, agent)
}

fn assert_counted(record: &UsageRecord, path: &str) {
    assert_eq!((record.output_tokens, record.token_method.as_str()), (3, "exact"), "{path}: {record:?}");
}

#[tokio::test]
async fn a_call_is_counted_to_the_last_token_on_its_record_and_in_reports() {
    let (scene, agent) = everything(&Era::Modern).await;
    let client = agent.at_server("files").await;
    // `{"`, `n`, `":"`, `123`, `456`, `"}`
    let answer = client.call("read", json!({"n": "123456"})).await;
    let record = record(&scene, &answer).await;
    assert_counted(&record, "a call");
    assert_eq!(record.input_tokens, 6, "{record:?}");
    assert!(record.tokenizer.starts_with("o200k_base/bpe-openai-"), "{record:?}");
    eventually_true("the report to have it", || async {
        let rows = scene.tollgate.command(&["usage", "--by", "agent", "-o", "json"]).await.success().json();
        let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["agent"] == "all")).cloned();
        row.is_some_and(|row| row["input_tokens"] == 6 && row["output_tokens"] == 3)
    })
    .await;
    let listed = client.request("tools/list", json!({})).await;
    let listed = scene.tollgate.usage_of(listed.call_id()).await;
    assert_eq!((listed.input_tokens, listed.output_tokens), (0, 0), "looking uses nothing");
    let refused = scene.client.call("write", json!({"text": SAID})).await;
    let refused = scene.tollgate.usage_of(refused.call_id()).await;
    assert_eq!(
        (refused.forwarded, refused.input_tokens, refused.output_tokens),
        (false, 0, 0),
        "nor does what is refused"
    );
}

#[tokio::test]
async fn an_answer_of_a_modern_server_counts_the_same_on_every_path() {
    let (scene, agent) = everything(&Era::Modern).await;
    scene.tollgate.toolset("desk", json!({"tools": [{"server": "files", "tool": "read", "name": "look"}]})).await;
    let toolset = scene.tollgate.agent("desk").grant("toolset/desk").create().await.at_toolset("desk").await;
    let (own, all) = (agent.at_server("files").await, agent.at_all_servers().await);
    let clients: [(&str, &McpClient, &str); 3] =
        [("its endpoint", &own, "read"), ("all servers", &all, "files__read"), ("a toolset", &toolset, "look")];
    for (how, reply) in [("JSON", Reply::Result(said())), ("a stream", streamed())] {
        scene.server.set("read", reply);
        for (path, client, tool) in clients {
            assert_counted(&record(&scene, &client.call(tool, json!({})).await).await, &format!("{path}, {how}"));
            let session = client.initialize(LEGACY).await;
            let answer = session.call(tool, json!({})).await;
            assert_counted(&record(&scene, &answer).await, &format!("{path}, {how}, a legacy agent"));
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_legacy_server_counts_the_same_on_every_path() {
    let (scene, agent) = everything(&Era::Legacy).await;
    let (own, all) = (agent.at_server("files").await, agent.at_all_servers().await);
    for (how, reply) in [("JSON", Reply::Result(said())), ("a stream", streamed())] {
        scene.server.set("read", reply);
        for (path, client, tool) in [("its endpoint", &own, "read"), ("all servers", &all, "files__read")] {
            let answer = client.call(tool, json!({})).await;
            assert_counted(&record(&scene, &answer).await, &format!("{path}, {how}, a modern agent"));
            let session = client.initialize(LEGACY).await;
            assert_counted(&record(&scene, &session.call(tool, json!({})).await).await, &format!("{path}, {how}"));
        }
    }
    let session = own.initialize("2025-03-26").await;
    let before = scene.server.ledger().len();
    let call =
        |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "read", "arguments": {}}});
    session.send_message(&json!([call("a"), call("b")])).await;
    for call in &scene.server.ledger()[before..] {
        assert_counted(&scene.tollgate.usage_of(call).await, "a batch");
    }
}

#[tokio::test]
async fn an_answer_on_a_stream_that_is_gone_on_with_is_counted_as_it_passes() {
    let answer = json!({"jsonrpc": "2.0", "id": 7, "result": said()});
    let event = Piece::Bytes(format!("event: message\ndata: {answer}\n\n"));
    let server = ScriptedServer::legacy().stream(vec![event]).start().await;
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let client = tollgate.agent("ci").grant("files:*").create().await.at_server("files").await;
    let session = client.initialize(LEGACY).await;
    let resumed = session.stream(Some("s-1")).await.finish().await;
    assert_eq!(resumed.messages, [answer], "{}", resumed.body);
    assert_counted(&tollgate.usage_of(resumed.call_id()).await, "a resumed stream");
}

#[tokio::test]
async fn a_question_counts_for_nothing_and_the_answer_after_it_once() {
    let (scene, agent) = everything(&Era::Legacy).await;
    let client = agent.at_server("files").await;
    let params = json!({"message": SAID, "requestedSchema": {"type": "object", "properties": {}}});
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params});
    let answered = std::sync::Arc::new(tokio::sync::Notify::new());
    let pieces = vec![Piece::Notification(question), Piece::Until(answered.clone()), Piece::Result(said())];
    scene.server.set("read", Reply::Events(pieces));
    let asked = client.call("read", json!({})).await;
    let waits = record(&scene, &asked).await;
    assert_eq!((waits.output_tokens, waits.token_method.as_str()), (0, "exact"), "{waits:?}");
    let state = asked.result()["requestState"].clone();
    let answers = json!({"r1": {"action": "accept", "content": {}}});
    answered.notify_one();
    let retry = json!({"name": "read", "arguments": {}, "requestState": state, "inputResponses": answers});
    assert_counted(&record(&scene, &client.request("tools/call", retry).await).await, "a retry");
}

#[tokio::test]
async fn what_is_handed_out_otherwise_is_counted_too() {
    let (scene, agent) = everything(&Era::Modern).await;
    let client = agent.at_server("files").await;
    let block = json!({"type": "text", "text": SAID});
    let complete = |mut result: Value| {
        result["resultType"] = json!("complete");
        Reply::Result(result)
    };
    let prompt = json!({"description": SAID, "messages": [{"role": "user", "content": block}]});
    let completion = json!({"completion": {"values": ["123456", "789"]}});
    let read = json!({"contents": [{"uri": "file:///a", "text": SAID}], "ttlMs": 0, "cacheScope": "private"});
    let reference = json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "b"}});
    for (method, params, result) in [
        ("prompts/get", json!({"name": "p"}), prompt),
        ("completion/complete", reference, completion),
        ("resources/read", json!({"uri": "file:///a"}), read),
    ] {
        scene.server.set_method(method, complete(result));
        assert_counted(&record(&scene, &client.request(method, params).await).await, method);
    }
}

#[tokio::test]
async fn what_came_of_a_task_is_counted_when_it_is_handed_out() {
    let (scene, client, id) = a_task_that_is_done(&said()).await;
    assert_counted(&record(&scene, &get_task(&client, &id).await).await, "a task");
}

/// A scene, a client, and the id of a task of which this came; that it was made has no tokens.
async fn a_task_that_is_done(result: &Value) -> (Scene, McpClient, Value) {
    let (scene, agent) = everything(&Era::Modern).await;
    let client = agent.at_server("files").await;
    let task = json!({
        "resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": 60_000,
        "createdAt": "2026-11-22T10:00:00Z", "lastUpdatedAt": "2026-11-22T10:00:00Z",
    });
    scene.server.set("read", Reply::Result(task));
    let made = client.call("read", json!({})).await;
    assert_eq!(record(&scene, &made).await.output_tokens, 0);
    let done = json!({"resultType": "complete", "taskId": "t-1", "status": "completed", "result": result});
    scene.server.set_method("tasks/get", Reply::Result(done));
    let id = made.result()["taskId"].clone();
    (scene, client, id)
}

async fn get_task(client: &McpClient, id: &Value) -> McpAnswer {
    let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
    client.request("tasks/get", json!({"taskId": id, "_meta": meta})).await
}

#[tokio::test]
async fn an_image_counts_by_its_pixels_and_other_content_by_its_bytes() {
    let (scene, agent) = everything(&Era::Modern).await;
    // The header of a PNG of 300 by 200.
    let image = "iVBORw0KGgoAAAANSUhEUgAAASwAAADICAYAAAA=";
    let blob = "QUJD".repeat(10_000);
    scene.server.set(
        "read",
        Reply::Result(json!({"content": [
            {"type": "image", "data": image, "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "a:1", "blob": blob}},
            {"type": "text", "text": SAID},
        ]})),
    );
    let record = record(&scene, &agent.at_server("files").await.call("read", json!({})).await).await;
    assert_eq!((record.output_tokens, record.token_method.as_str()), (80 + 3, "exact"), "{record:?}");
    assert_eq!((record.images, record.audio, record.media_bytes), (1, 0, 29 + 30_000));
}

#[tokio::test]
async fn what_a_server_reports_is_taken_of_trusted_ones_and_only_when_it_makes_sense() {
    let server = ScriptedServer::modern().tool("read", Reply::text(SAID)).start().await;
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:read").create().await;
    let register = async |reported_usage: &str| {
        let spec = json!({"instances": [{"url": server.url()}], "reported_usage": reported_usage});
        tollgate.put("servers/files", json!({"spec": spec})).await;
        tollgate.policy_in_force().await;
    };
    let report = async |usage: Value| {
        let mut result = said();
        result["_meta"][REPORT] = usage;
        server.set("read", Reply::Result(result));
        let answer = agent.at_server("files").await.call("read", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        tollgate.usage_of(answer.call_id()).await
    };
    let good = json!({
        "inputTokens": 70, "outputTokens": 80, "cost": {"amount": 0.10, "currency": "EUR"}, "chargeId": "ch_1",
    });
    register("ignore").await;
    let record = report(good.clone()).await;
    assert_counted(&record, "ignored");
    assert_eq!(record.reported, Value::Null);
    register("record").await;
    let record = report(good.clone()).await;
    assert_counted(&record, "recorded");
    let cost = json!({"amount": "0.1", "currency": "EUR"});
    let expected = json!({"billed": false, "input_tokens": 70, "output_tokens": 80, "cost": cost, "charge_id": "ch_1"});
    assert_eq!(record.reported, expected);
    register("bill").await;
    let record = report(good).await;
    assert_eq!((record.input_tokens, record.output_tokens, &*record.token_method), (70, 80, "server_reported"));
    assert_eq!(record.reported["counted"], json!({"input_tokens": 1, "output_tokens": 3}), "{record:?}");
    let nonsense = [
        json!({"outputTokens": -5}),
        json!({"outputTokens": 1e30}),
        json!({"outputTokens": "NaN"}),
        json!({"outputTokens": 5, "cost": {"amount": "1,5", "currency": "EUR"}}),
        json!({"outputTokens": 5, "cost": {"amount": 1, "currency": "shells"}}),
    ];
    for usage in &nonsense {
        let record = report(usage.clone()).await;
        assert_counted(&record, &usage.to_string());
        assert_eq!(record.reported, Value::Null, "{usage}");
    }
    let metrics = Http::default().get(&format!("{}/metrics", tollgate.ops_url(0))).await.text();
    for line in [
        format!(r#"tollgate_usage_reports_total{{result="malformed"}} {}"#, nonsense.len()),
        r#"tollgate_usage_reports_total{result="taken"} 2"#.to_owned(),
        r#"tollgate_tokens_total{direction="output",method="server_reported"} 80"#.to_owned(),
        r#"tollgate_token_estimates_total{reason="queue_full"} 0"#.to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn the_tokens_of_a_limit_are_settled_to_the_count() {
    let (scene, _) = everything(&Era::Modern).await;
    let tokens = json!({"count": 10_000, "per": "10m"});
    scene.tollgate.limits("words", json!({"to": {"agent": "ci"}, "tokens": tokens})).await;
    // One for the arguments and three hundred for the answer, where six hundred would have been reserved by its bytes.
    scene.server.set("read", Reply::text(&"7".repeat(900)));
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    settled(&scene.client, "9699").await;
}

#[tokio::test]
async fn what_came_of_a_task_is_charged_when_it_is_handed_out() {
    let (scene, client, id) =
        a_task_that_is_done(&json!({"content": [{"type": "text", "text": "7".repeat(900)}]})).await;
    let tokens = json!({"count": 10_000, "per": "10m"});
    scene.tollgate.limits("words", json!({"to": {"agent": "all"}, "tokens": tokens})).await;
    assert_eq!(client.call("read", json!({})).await.status, 200);
    assert_eq!(get_task(&client, &id).await.status, 200);
    settled(&client, "9699").await;
}

/// Waits until a limit on tokens has so many left, as a call hears that asks for all of them.
async fn settled(client: &McpClient, left: &str) {
    let left = format!(r#""words.tokens";r={left};"#);
    eventually_true("the tokens to be settled", || async {
        let refused = client.call("read", json!({"text": "7".repeat(40_000)})).await;
        assert_eq!(refused.status, 429, "{}", refused.body);
        refused.header("ratelimit").is_some_and(|header| header.contains(&left))
    })
    .await;
}

#[tokio::test]
async fn what_is_not_counted_is_estimated_and_says_so() {
    let plan = Deployment::dev().argument("--no-demo").env("TOLLGATE_TOKEN_COUNT", "estimate");
    let scene = Scene::set(plan, &Era::Modern).await;
    scene.server.set("read", Reply::text(&"x".repeat(700)));
    let record = record(&scene, &scene.client.call("read", json!({})).await).await;
    assert_eq!((record.output_tokens, &*record.token_method, &*record.tokenizer), (200, "estimated", ""), "{record:?}");
}
