//! What happens in the middle of calls, and the clients of others.

use std::sync::Arc;

use tokio::sync::Notify;
use tollgate_tests::{NodeClient, Piece, PythonClient, Seen, SpanReceiver, eventually, eventually_true};

use super::*;
use crate::scene::modern_call;

const TASKS: &str = "io.modelcontextprotocol/tasks";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

fn accepted(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

fn form() -> Value {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    json!({"message": "Who?", "requestedSchema": schema})
}

/// A legacy server's tool that asks for a name, and is done when the test says so.
fn asking() -> (Reply, Arc<Notify>) {
    let answered = Arc::new(Notify::new());
    let question = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": form()});
    let done = Piece::Result(json!({"content": [{"type": "text", "text": "done"}]}));
    (Reply::Events(vec![Piece::Notification(question), Piece::Until(Arc::clone(&answered)), done]), answered)
}

/// Lets the tool go on once the server has its answer.
async fn release(server: &ScriptedServer, answered: &Notify) {
    eventually_true("the server to get its answer", || async { server.replies().len() == 1 }).await;
    answered.notify_one();
}

#[tokio::test]
async fn a_legacy_servers_question_reaches_agents_of_both_eras_and_is_answered_at_another_data_plane() {
    for is_modern in [true, false] {
        let setting = Setting::new().await;
        let agent = setting.agent("ci", &["toolset/triage"]).await;
        let (reply, answered) = asking();
        setting.chat.set("post", reply);
        let [here, there] = setting.both(&agent).await;
        let call = json!({"name": "chat__post", "arguments": {}});
        let done = if is_modern {
            let asked = here.request("tools/call", call.clone()).await;
            assert_eq!(asked.result()["resultType"], "input_required", "{}", asked.body);
            let mut retry = call;
            retry["requestState"] = asked.result()["requestState"].clone();
            retry["inputResponses"] = json!({"r1": accepted("Ada")});
            tokio::join!(there.request("tools/call", retry), release(&setting.chat, &answered)).0
        } else {
            let session = here.initialize(LEGACY).await;
            let mut stream = session.open("tools/call", call).await;
            let question = stream.next().await.expect("a question");
            assert_ne!(question["id"], json!(7), "its id is sealed to the session");
            let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": accepted("Ada")});
            assert_eq!(setting.elsewhere(&session).send_message(&reply).await.status, 202);
            release(&setting.chat, &answered).await;
            stream.finish().await
        };
        assert_eq!(done.text(), "done", "{}", done.body);
        assert_eq!(setting.chat.calls().len(), 1, "the tool ran once");
        assert_eq!(setting.chat.replies()[0], json!({"jsonrpc": "2.0", "id": 7, "result": accepted("Ada")}));
    }
}

#[tokio::test]
async fn a_modern_servers_question_reaches_agents_of_both_eras() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let [here, there] = setting.both(&agent).await;
    let question = json!({"method": "elicitation/create", "params": {"mode": "form", "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {}}}});
    let asks = Reply::Result(json!({"resultType": "input_required", "inputRequests": {"q": question},
        "requestState": "round"}));
    let turns = Reply::Then(Box::new(asks), Box::new(Reply::text("done")));

    setting.tracker.set("create", turns.clone());
    let asked = here.call("list", json!({})).await;
    let state = &asked.result()["requestState"];
    let retry =
        json!({"name": "list", "arguments": {}, "requestState": state, "inputResponses": {"q": accepted("Ada")}});
    assert_eq!(there.request("tools/call", retry).await.text(), "done");

    setting.tracker.set("create", turns);
    let session = here.initialize(LEGACY).await;
    let mut stream = session.open("tools/call", json!({"name": "list", "arguments": {}})).await;
    let question = stream.next().await.expect("a question");
    let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": accepted("Ada")});
    assert_eq!(setting.elsewhere(&session).send_message(&reply).await.status, 202);
    assert_eq!(stream.finish().await.text(), "done");
    let names: Vec<_> = setting.tracker.calls().iter().map(|call| call.message["params"]["name"].clone()).collect();
    assert_eq!(names, vec![json!("create"); 4], "each round by the server's own name");
}

#[tokio::test]
async fn progress_and_cancellation_find_their_call() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let go = Arc::new(Notify::new());
    let done = Piece::Result(json!({"content": []}));
    setting.chat.set("post", Reply::Events(vec![Piece::Progress, Piece::Until(Arc::clone(&go)), done]));
    let session = setting.both(&agent).await[0].initialize(LEGACY).await;
    let params = json!({"name": "chat__post", "arguments": {}, "_meta": {"progressToken": 17}});
    let message = json!({"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": params});
    let running = {
        let session = session.clone();
        tokio::spawn(async move { session.send_message(&message).await })
    };
    let call = eventually("the call to arrive", || async { setting.chat.calls().pop() }).await;
    assert_ne!(call.message["id"], json!(4711), "ids are mapped");
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4711}});
    assert_eq!(setting.elsewhere(&session).send_message(&cancel).await.status, 202);
    let cancelled = |seen: &Seen| seen.message["method"] == "notifications/cancelled";
    let cancelled = setting.chat.seen().into_iter().find(cancelled).expect("a cancellation");
    assert_eq!(cancelled.message["params"]["requestId"], call.message["id"]);
    go.notify_one();
    let answer = running.await.expect("the call ends");
    let tokens: Vec<_> = answer.messages.iter().filter_map(|said| said["params"].get("progressToken")).collect();
    assert_eq!(tokens, [&json!(17)], "{}", answer.body);
}

#[tokio::test]
async fn a_task_is_used_where_it_was_made_and_for_as_long_as_its_tool_is_there() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:*"]).await;
    let [here, there] = setting.both(&agent).await;
    let task = json!({"resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": 60_000,
        "createdAt": "2026-11-22T10:00:00Z", "lastUpdatedAt": "2026-11-22T10:00:00Z"});
    setting.tracker.set("create", Reply::Result(task));
    let standing = json!({"resultType": "complete", "taskId": "t-1", "status": "completed", "result": {"content": []}});
    setting.tracker.set_method("tasks/get", Reply::Result(standing));
    let made = here.call("list", json!({})).await;
    let id = made.result()["taskId"].as_str().expect("a task").to_owned();
    assert_ne!(id, "t-1", "the server's own id is not shown");
    let get = |client: McpClient| {
        let meta = json!({CAPABILITIES: {"extensions": {TASKS: {}}}});
        let params = json!({"taskId": id, "_meta": meta});
        async move { client.request("tasks/get", params).await }
    };
    let answer = get(there.clone()).await;
    assert_eq!((&answer.result()["status"], &answer.result()["taskId"]), (&json!("completed"), &json!(id)));
    let unknown = Refused { status: 200, code: -32602, reason: "task_unknown" };
    for elsewhere in [agent.at_all_servers().await, agent.at_server("tracker").await] {
        assert_refusal(&get(elsewhere).await, unknown);
    }
    let mut spec = triage();
    spec["tools"].as_array_mut().expect("tools").pop();
    setting.tollgate.toolset("triage", spec).await;
    assert_refusal(&get(there).await, TOOL_UNKNOWN);
}

#[tokio::test]
async fn headers_are_checked_against_the_name_and_the_arguments_that_the_agent_knows() {
    let setting = Setting::new().await;
    let region = json!({"type": "string", "x-mcp-header": "Region"});
    let schema = json!({"type": "object", "properties": {"region": region}});
    let listed = json!({"tools": [{"name": "list", "inputSchema": schema}], "ttlMs": 0, "cacheScope": "public"});
    setting.tracker.set_method("tools/list", Reply::Result(listed));
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let mut call = modern_call("find_tickets");
    call["params"]["arguments"] = json!({"region": "eu"});
    let mismatch = Refused { status: 400, code: -32020, reason: "header_mismatch" };
    for client in setting.both(&agent).await {
        let post = |name: &'static str, region: &'static str| {
            let (client, body) = (client.clone(), call.to_string());
            async move { client.post_as_call_with(&[("mcp-param-region", region)], name, body).await }
        };
        assert_eq!(post("find_tickets", "eu").await.text(), "tickets");
        assert_refusal(&post("find_tickets", "us").await, mismatch);
        assert_refusal(&post("list", "eu").await, mismatch);
    }
    let sent: Vec<_> =
        setting.tracker.calls().iter().map(|call| call.header("mcp-param-region").map(str::to_owned)).collect();
    assert_eq!(sent, vec![Some("eu".to_owned()); 2]);
    let session = agent.at_toolset("triage").await.initialize(LEGACY).await;
    assert_eq!(session.call("find_tickets", json!({"region": "eu"})).await.text(), "tickets");
    assert_eq!(setting.tracker.calls()[2].header("mcp-param-region"), Some("eu"), "what the agent's era has not");
}

#[tokio::test]
async fn the_span_of_a_call_names_the_toolset_and_the_tool_as_its_server_does() {
    let receiver = SpanReceiver::start().await;
    let tollgate = Deployment::dev().argument("--no-demo").spans_to(&receiver).start().await;
    let server = ScriptedServer::modern().tool("read", Reply::text("content")).start().await;
    tollgate.register("files", &server).await;
    let tools = json!([{"server": "files", "tool": "read", "name": "look"}]);
    tollgate.toolset("desk", json!({"tools": tools})).await;
    let agent = tollgate.agent("ci").grant("toolset/desk").create().await;
    assert_eq!(agent.at_toolset("desk").await.call("look", json!({})).await.text(), "content");
    let span = receiver.span("SPAN_KIND_SERVER", "tools/call read").await;
    for (name, value) in [("tollgate.mcp.toolset.name", "desk"), ("tollgate.mcp.server.name", "files")] {
        assert_eq!(span.attributes.get(name).map(String::as_str), Some(value), "{name} in {:?}", span.attributes);
    }
}

#[tokio::test]
async fn the_official_clients_use_a_toolset_in_both_eras() {
    let tollgate = Deployment::dev().start().await;
    let demo = |tool: &str, name: &str| json!({"server": "demo", "tool": tool, "name": name});
    let tools = json!([demo("echo", "say"), demo("countdown", "count"), demo("confirm_order", "order")]);
    tollgate.toolset("kiosk", json!({"tools": tools})).await;
    let agent = tollgate.agent("ci").grant("toolset/kiosk").create().await;
    let url = tollgate.toolset_url("kiosk");
    let token = agent.token(&url).await;
    let mut steps = vec![
        json!({"list": true}),
        json!({"call": "say", "arguments": {"text": "hello"}}),
        json!({"call": "count", "arguments": {"from": 3, "interval_ms": 10}}),
    ];
    let assert_served = |outcome: &Value| {
        let steps = &outcome["steps"];
        assert_eq!(steps[0]["tools"], json!(["say", "count", "order"]), "{outcome}");
        assert_eq!(steps[1]["text"], "hello", "{outcome}");
        assert_eq!(steps[2]["progress"].as_array().map(Vec::len), Some(3), "{outcome}");
    };
    for era in ["legacy", "auto"] {
        let request = json!({"url": url, "era": era, "token": token, "steps": steps});
        assert_served(&NodeClient.run(&request).await);
    }
    steps.push(json!({"call": "order", "arguments": {"item": "tea"}}));
    steps.push(json!({"call": "demo__echo", "arguments": {"text": "hello"}}));
    for mode in ["legacy", "2026-07-28", "auto"] {
        let answer = json!({"action": "accept", "content": {"confirmed": true, "quantity": 3}});
        let request = json!({"url": url, "mode": mode, "token": token, "steps": steps, "answer": answer});
        let outcome = PythonClient.run(&request).await;
        assert_served(&outcome);
        assert_eq!(outcome["steps"][3]["text"], "Ordered 3 × tea.", "{outcome}");
        assert_eq!(outcome["steps"][3]["questions"].as_array().map(Vec::len), Some(1), "{outcome}");
        assert!(outcome["steps"][4]["error"].is_object(), "names of another endpoint are unknown: {outcome}");
    }
}
