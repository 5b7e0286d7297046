//! Toolsets that change while agents use them.

use std::sync::Arc;

use tokio::sync::Notify;
use tollgate_tests::Piece;

use super::*;

#[tokio::test]
async fn another_name_is_seen_at_once_and_the_old_one_is_unknown() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let [here, there] = setting.both(&agent).await;
    let session = here.initialize(LEGACY).await;
    assert_eq!(session.call("find_tickets", json!({})).await.text(), "tickets");
    let mut spec = triage();
    spec["tools"][0]["name"] = json!("search");
    spec["tools"][0]["description"] = json!("Searches.");
    setting.tollgate.toolset("triage", spec).await;
    for client in [&here, &there, &session, &setting.elsewhere(&session)] {
        let listed = client.request("tools/list", json!({})).await;
        let first = &tools(&listed)[0];
        assert_eq!((&first["name"], &first["description"]), (&json!("search"), &json!("Searches.")), "{}", listed.body);
        assert_eq!(client.call("search", json!({})).await.text(), "tickets");
        assert_refusal(&client.call("find_tickets", json!({})).await, TOOL_UNKNOWN);
    }
}

#[tokio::test]
async fn a_tool_that_is_taken_out_is_refused_at_once() {
    let setting = Setting::new().await;
    let by_toolset = setting.agent("ci", &["toolset/triage"]).await;
    let by_server = setting.agent("wide", &["tracker:*"]).await;
    let federated = by_toolset.at_all_servers().await;
    assert_eq!(federated.call("tracker__create", json!({})).await.text(), "created");
    let mut spec = triage();
    spec["tools"].as_array_mut().expect("tools").pop();
    setting.tollgate.toolset("triage", spec).await;
    for agent in [&by_toolset, &by_server] {
        for client in setting.both(agent).await {
            assert_refusal(&client.call("list", json!({})).await, TOOL_UNKNOWN);
            assert_eq!(client.call("find_tickets", json!({})).await.text(), "tickets");
        }
    }
    assert_refusal(&federated.call("tracker__create", json!({})).await, NOT_GRANTED);
    assert_eq!(federated.tool_names().await, ["chat__post", "tracker__list"]);
    assert_eq!(by_server.at_all_servers().await.call("tracker__create", json!({})).await.text(), "created");
}

#[tokio::test]
async fn a_call_ends_when_its_tool_is_taken_out() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:*"]).await;
    let never = Arc::new(Notify::new());
    let notice = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
    let pieces = vec![Piece::Notification(notice), Piece::Until(never)];
    setting.tracker.set("create", Reply::Events(pieces));
    let [here, _] = setting.both(&agent).await;
    let meta = json!({"io.modelcontextprotocol/logLevel": "info"});
    let mut call = here.open("tools/call", json!({"name": "list", "arguments": {}, "_meta": meta})).await;
    assert_eq!(call.next().await.expect("a message")["method"], "notifications/message");
    let mut spec = triage();
    spec["tools"].as_array_mut().expect("tools").pop();
    setting.tollgate.toolset("triage", spec).await;
    let answer = call.finish().await;
    assert_eq!(answer.reason(), "tool_unknown", "{}", answer.body);
    let record = setting.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.outcome.as_str(), record.decision.as_str()), ("cut_off", "tool_unknown"));
}

#[tokio::test]
async fn a_session_is_used_at_the_endpoint_where_it_was_opened() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:*", "chat:*"]).await;
    let tools = json!([{"server": "tracker", "tool": "list", "name": "find_tickets"}]);
    setting.tollgate.toolset("other", json!({"tools": tools})).await;
    let session = agent.at_toolset("triage").await.initialize(LEGACY).await;
    let id = session.session_id().expect("a session id");
    let unknown = Refused { status: 404, code: 40400, reason: "session_unknown" };
    for client in [agent.at_all_servers().await, agent.at_server("tracker").await, agent.at_toolset("other").await] {
        let stolen = setting.elsewhere(&client.with_session(LEGACY, id));
        assert_refusal(&stolen.request("tools/list", json!({})).await, unknown);
    }
    let wide = agent.at_all_servers().await.initialize(LEGACY).await;
    let id = wide.session_id().expect("a session id");
    let stolen = agent.at_toolset("triage").await.with_session(LEGACY, id);
    assert_refusal(&stolen.request("tools/list", json!({})).await, unknown);
    assert_eq!(session.call("find_tickets", json!({})).await.text(), "tickets");
    assert_eq!(setting.elsewhere(&session).terminate().await.status, 204);
    assert_refusal(&session.request("tools/list", json!({})).await, unknown);
}

#[tokio::test]
async fn a_toolset_that_is_deleted_takes_its_endpoint_and_its_scope_with_it() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let (client, federated) = (agent.at_toolset("triage").await, agent.at_all_servers().await);
    let session = client.initialize(LEGACY).await;
    setting.tollgate.delete("toolsets/triage").await;
    let unknown = Refused { status: 404, code: 40400, reason: "toolset_unknown" };
    for client in [&client, &setting.elsewhere(&session)] {
        assert_refusal(&client.call("find_tickets", json!({})).await, unknown);
    }
    assert_refusal(&federated.call("tracker__list", json!({})).await, NOT_GRANTED);
    setting.tollgate.toolset("triage", triage()).await;
    assert_eq!(client.call("find_tickets", json!({})).await.text(), "tickets", "it stands for something again");
}
