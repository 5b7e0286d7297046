//! Calls that wait for their agent's answers.

use std::sync::Arc;

use nix::sys::signal::Signal;

use super::*;

/// A tool that asks `count` questions at once, and is done when the test says so.
fn asking(count: usize) -> (Reply, Arc<Notify>) {
    let answered = Arc::new(Notify::new());
    let ask = |index| {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let params = json!({"message": format!("Question {index}"), "requestedSchema": schema});
        Piece::Notification(json!({"jsonrpc": "2.0", "id": index, "method": "elicitation/create", "params": params}))
    };
    let mut pieces: Vec<Piece> = (0..count).map(ask).collect();
    pieces.push(Piece::Until(Arc::clone(&answered)));
    pieces.push(Piece::Result(json!({"content": [{"type": "text", "text": "done"}]})));
    (Reply::Events(pieces), answered)
}

fn accepted(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

fn state(answer: &McpAnswer) -> String {
    assert_eq!(answer.result()["resultType"], "input_required", "{}", answer.body);
    answer.result()["requestState"].as_str().expect("a state").to_owned()
}

/// The same call again, with the state that it gave and answers.
fn retried(state: &str, answers: &Value) -> Value {
    json!({"name": "read", "arguments": {}, "requestState": state, "inputResponses": answers})
}

/// Lets the tool go on once the server has been given `count` answers.
async fn release(scene: &Scene, answered: &Notify, count: usize) {
    eventually_true("the server to get its answers", || async { answers(scene).len() == count }).await;
    answered.notify_one();
}

/// What the server was answered, by the id of its question.
fn answers(scene: &Scene) -> Vec<(Value, Value)> {
    let seen = scene.server.seen();
    let responses = seen.iter().filter(|seen| seen.message.get("method").is_none() && seen.http_method == "POST");
    responses.map(|seen| (seen.message["id"].clone(), seen.message["result"].clone())).collect()
}

/// Whether the server heard that nobody waits for an answer.
fn was_cancelled(scene: &Scene) -> bool {
    scene.server.seen().iter().any(|seen| seen.message["method"] == "notifications/cancelled")
}

#[tokio::test]
async fn a_question_of_the_server_is_answered_through_the_other_data_plane_and_the_tool_runs_once() {
    let (scene, here, there) = at_two().await;
    let (reply, answered) = asking(2);
    scene.server.set("read", reply);
    let asked = here.call("read", json!({})).await;
    let requests = &asked.result()["inputRequests"];
    assert_eq!(requests["r1"]["method"], "elicitation/create", "{}", asked.body);
    assert_eq!(requests["r1"]["params"]["mode"], "form");
    assert_eq!(requests["r2"]["params"]["message"], "Question 1", "both are put in one round");
    let retry = retried(&state(&asked), &json!({"r1": accepted("Ada"), "r2": {"action": "decline"}}));
    let (done, ()) = tokio::join!(there.request("tools/call", retry), release(&scene, &answered, 2));
    assert_eq!(done.text(), "done", "{}", done.body);
    assert_eq!(scene.server.calls().len(), 1, "the tool ran once");
    let given = answers(&scene);
    assert!(given.contains(&(json!(0), accepted("Ada"))) && given.contains(&(json!(1), json!({"action": "decline"}))));
    let record = scene.tollgate.usage_of(done.call_id()).await;
    assert_eq!((record.decision.as_str(), record.tool.as_deref()), ("allowed", Some("read")));
}

#[tokio::test]
async fn a_missing_answer_is_asked_for_once_more() {
    let (scene, here, there) = at_two().await;
    let (reply, answered) = asking(2);
    scene.server.set("read", reply);
    let asked = here.call("read", json!({})).await;
    let again = there.request("tools/call", retried(&state(&asked), &json!({"r2": accepted("B"), "odd": {}}))).await;
    let asked_again = again.result()["inputRequests"].as_object().expect("questions");
    assert_eq!(asked_again.keys().collect::<Vec<_>>(), ["r1"]);
    let retry = retried(&state(&again), &json!({"r1": accepted("A")}));
    let (done, ()) = tokio::join!(here.request("tools/call", retry), release(&scene, &answered, 2));
    assert_eq!(done.text(), "done", "{}", done.body);
    assert_eq!(scene.server.calls().len(), 1);

    let root = Some(asked.call_id().to_owned());
    for (round, parent_call_id, goes_on) in [(&asked, None, true), (&again, root.clone(), true), (&done, root, false)] {
        let record = scene.tollgate.usage_of(round.call_id()).await;
        assert_eq!((record.parent_call_id, record.input_required), (parent_call_id, goes_on), "{}", round.body);
    }
}

#[tokio::test]
async fn a_state_serves_its_own_call_once_and_nobody_else() {
    let (scene, here, there) = at_two().await;
    let (reply, answered) = asking(1);
    scene.server.set("read", reply);
    let asked = here.call("read", json!({})).await;
    let (sealed, answer) = (state(&asked), json!({"r1": accepted("Ada")}));
    let mut tampered = sealed.clone().into_bytes();
    tampered[40] = if tampered[40] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).expect("base64");
    let other_arguments =
        json!({"name": "read", "arguments": {"path": "/etc"}, "requestState": sealed, "inputResponses": answer});
    for wrong in [retried(&tampered, &answer), retried("nonsense", &answer), other_arguments] {
        assert_refusal(&there.request("tools/call", wrong).await, STATE_UNKNOWN);
    }
    let thief = scene.tollgate.agent("thief").grant("files:read").create().await;
    let stolen = thief.at_server("files").await.request("tools/call", retried(&sealed, &answer)).await;
    assert_refusal(&stolen, STATE_UNKNOWN);
    assert!(answers(&scene).is_empty(), "nothing of all that reached the server");
    let retry = retried(&sealed, &answer);
    let (done, ()) = tokio::join!(there.request("tools/call", retry.clone()), release(&scene, &answered, 1));
    assert_eq!(done.text(), "done", "{}", done.body);
    assert_refusal(&here.request("tools/call", retry).await, STATE_UNKNOWN);
    assert_eq!((scene.server.calls().len(), answers(&scene).len()), (1, 1));
}

#[tokio::test]
async fn a_call_whose_holder_was_killed_is_lost_and_not_sent_again() {
    let (mut scene, here, there) = at_two().await;
    let (reply, _answered) = asking(1);
    scene.server.set("read", reply);
    let asked = here.call("read", json!({})).await;
    scene.tollgate.crash_data_plane(0);
    let lost = there.request("tools/call", retried(&state(&asked), &json!({"r1": accepted("Ada")}))).await;
    assert_refusal(&lost, Refused { status: 200, code: -32603, reason: "call_lost" });
    assert_eq!(scene.server.calls().len(), 1, "nobody sent it again");
}

#[tokio::test]
async fn what_the_agent_cannot_answer_is_declined_at_once() {
    let scene = Scene::legacy().await;
    let asked = json!({"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage",
                       "params": {"messages": [], "maxTokens": 1}});
    let ping = json!({"jsonrpc": "2.0", "id": "p", "method": "ping"});
    let pieces = vec![Piece::Notification(asked), Piece::Notification(ping), Piece::Result(json!({"content": []}))];
    scene.server.set("read", Reply::Events(pieces));
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.result()["resultType"], "complete", "{}", answer.body);
    eventually_true("the server to be answered", || async { answers(&scene).len() == 2 }).await;
    let seen = scene.server.seen();
    let to =
        |id: &str| seen.iter().find(|seen| seen.message["id"] == id && seen.message.get("method").is_none()).cloned();
    assert_eq!(to("s").expect("an answer").message["error"]["code"], -32601);
    assert_eq!(to("p").expect("an answer").message["result"], json!({}));
}

#[tokio::test]
async fn pages_to_visit_are_asked_for_and_then_the_call_is_sent_again() {
    let (scene, here, there) = at_two().await;
    let page = json!({"mode": "url", "elicitationId": "e1", "url": "https://example.com/in", "message": "Sign in"});
    let error = json!({"code": -32042, "message": "sign in first", "data": {"elicitations": [page]}});
    scene.server.set("read", Reply::Failure(error));
    let missing = here.call("read", json!({})).await;
    assert_eq!((missing.status, missing.error()["code"].clone()), (400, json!(-32021)), "{}", missing.body);
    assert_eq!(missing.error()["data"]["requiredCapabilities"], json!({"elicitation": {"url": {}}}));
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}}});
    let params = json!({"name": "read", "arguments": {}, "_meta": meta});
    let asked = here.request("tools/call", params.clone()).await;
    let shown = json!({"mode": "url", "url": "https://example.com/in", "message": "Sign in"});
    assert_eq!(asked.result()["inputRequests"]["r1"]["params"], shown, "{}", asked.body);
    let answering = |state: &str, action: &str| {
        let mut retry = retried(state, &json!({"r1": {"action": action}}));
        retry["_meta"] = meta.clone();
        retry
    };
    let declined = there.request("tools/call", answering(&state(&asked), "decline")).await;
    assert_refusal(&declined, Refused { status: 200, code: 40300, reason: "input_declined" });
    let asked = here.request("tools/call", params).await;
    scene.server.set("read", Reply::text("content"));
    let done = there.request("tools/call", answering(&state(&asked), "accept")).await;
    assert_eq!(done.text(), "content", "{}", done.body);
}

/// A server that numbers its events, and goes on with the answer to the last call where a stream is resumed.
async fn numbering(first: Vec<Piece>) -> (Scene, McpClient, McpClient) {
    let rest = vec![Piece::Result(json!({"content": [{"type": "text", "text": "resumed"}]}))];
    let server = ScriptedServer::legacy().tool("read", Reply::Events(first)).stream(rest).start().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    let agent = tollgate.agent("ci").grant("files:read").create().await;
    let client = agent.at_server("files").await;
    let here = client.clone().through(tollgate.data_plane_url(0));
    let there = client.clone().through(tollgate.data_plane_url(1));
    (Scene { tollgate, server, agent, client }, here, there)
}

/// From which event the server was asked to go on.
fn resumed_from(scene: &Scene) -> Option<String> {
    let seen = scene.server.seen();
    let resumed = seen.iter().find(|seen| seen.http_method == "GET")?;
    resumed.header("last-event-id").map(str::to_owned)
}

#[tokio::test]
async fn a_call_whose_holder_was_killed_goes_on_where_the_server_numbers_its_events() {
    let never = Arc::new(Notify::new());
    let params = json!({"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}});
    let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
    let numbered = Piece::Bytes(format!("id: e7\nevent: message\ndata: {question}\n\n"));
    let (mut scene, here, there) = numbering(vec![numbered, Piece::Until(never)]).await;
    let asked = here.call("read", json!({})).await;
    let sealed = state(&asked);
    scene.tollgate.crash_data_plane(0);
    let done = there.request("tools/call", retried(&sealed, &json!({"r1": accepted("Ada")}))).await;
    assert_eq!(done.text(), "resumed", "{}", done.body);
    assert_eq!(resumed_from(&scene).as_deref(), Some("e7"));
    assert_eq!(answers(&scene), [(json!("q"), accepted("Ada"))]);
    assert_eq!(scene.server.calls().len(), 1, "nobody sent it again");
}

#[tokio::test]
async fn a_data_plane_that_stops_leaves_a_held_call_to_whoever_resumes_its_stream() {
    let never = Arc::new(Notify::new());
    let params = json!({"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}});
    let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
    let numbered = Piece::Bytes(format!("id: e7\nevent: message\ndata: {question}\n\n"));
    let (mut scene, here, there) = numbering(vec![numbered, Piece::Until(never)]).await;
    let sealed = state(&here.call("read", json!({})).await);
    assert!(scene.tollgate.stop_data_plane(0, Signal::SIGTERM).success());
    let done = there.request("tools/call", retried(&sealed, &json!({"r1": accepted("Ada")}))).await;
    assert_eq!(done.text(), "resumed", "{}", done.body);
    assert!(!was_cancelled(&scene), "somebody goes on with it");
}

#[tokio::test]
async fn a_data_plane_that_stops_cancels_a_held_call_that_nobody_can_go_on_with() {
    let (mut scene, here, there) = at_two().await;
    let (reply, _answered) = asking(1);
    scene.server.set("read", reply);
    let sealed = state(&here.call("read", json!({})).await);
    assert!(scene.tollgate.stop_data_plane(0, Signal::SIGTERM).success());
    eventually_true("the server to hear that nobody waits", || async { was_cancelled(&scene) }).await;
    let lost = there.request("tools/call", retried(&sealed, &json!({"r1": accepted("Ada")}))).await;
    assert_refusal(&lost, Refused { status: 200, code: -32603, reason: "call_lost" });
}

#[tokio::test]
async fn a_call_whose_server_wants_to_be_left_alone_is_cut_off_meanwhile() {
    let primed = Piece::Bytes("id: e1\nretry: 30000\ndata: \n\n".to_owned());
    let (scene, here, _) = numbering(vec![primed]).await;
    let mut call = here.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    scene.tollgate.delete("grants/ci").await;
    let told = call.next().await.expect("an error");
    assert_eq!(told["error"]["data"]["reason"], "tool_not_granted", "{told}");
    assert_eq!(resumed_from(&scene), None, "it was not yet time to ask the server again");
}

#[tokio::test]
async fn a_stream_that_the_server_closes_to_be_polled_is_resumed_for_the_agent() {
    let primed = Piece::Bytes("id: e1\nretry: 10\ndata: \n\n".to_owned());
    let (scene, here, _) = numbering(vec![primed]).await;
    let done = here.call("read", json!({})).await;
    assert_eq!(done.text(), "resumed", "{}", done.body);
    assert_eq!(resumed_from(&scene).as_deref(), Some("e1"));
    assert_eq!(scene.server.calls().len(), 1);
}

#[tokio::test]
async fn a_held_call_is_cancelled_when_its_agent_may_no_longer_make_it() {
    let scene = Scene::legacy().await;
    let (reply, _answered) = asking(1);
    scene.server.set("read", reply);
    let sealed = state(&scene.client.call("read", json!({})).await);
    scene.tollgate.delete("grants/ci").await;
    eventually_true("the server to hear that nobody waits", || async { was_cancelled(&scene) }).await;
    let refused = scene.client.request("tools/call", retried(&sealed, &json!({"r1": accepted("Ada")}))).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}
