use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::mcp::{
    json::Bounds,
    message::{Message, read_upstream},
};

fn wrapping(method: Method) -> Wrapping {
    Wrapping { server: "files".parse().unwrap(), method: Some(method) }
}

fn answered(method: Method, result: &Value) -> Value {
    let result = json::parse(&Bytes::from(result.to_string()), &Bounds::UPSTREAM).unwrap();
    let response = wrapping(method).answer(Response { id: None, outcome: Ok(result) });
    serde_json::from_slice(response.outcome.unwrap().as_bytes()).unwrap()
}

#[test]
fn what_was_read_is_known_by_the_uri_that_leads_back() {
    let result =
        json!({"contents": [{"uri": "file:///a", "text": "file:///a", "x": 1}], "ttlMs": 7, "y": {"uri": "file:///a"}});
    let wrapped = answered(Method::ResourcesRead, &result);
    let content = json!({"uri": "tollgate://files/file%3A%2F%2F%2Fa", "text": "file:///a", "x": 1});
    assert_eq!(wrapped, json!({"contents": [content], "ttlMs": 7, "y": {"uri": "file:///a"}}));
}

#[test]
fn a_tools_resources_and_links_lead_back_but_not_those_of_the_web() {
    let result = json!({"content": [
        {"type": "text", "text": "file:///a"},
        {"type": "resource_link", "uri": "file:///a", "name": "a"},
        {"type": "resource_link", "uri": "https://example.com/a", "name": "a"},
        {"type": "resource", "resource": {"uri": "ui://a", "mimeType": "text/html", "text": ""}},
        {"type": "unheard-of", "uri": "file:///a"},
    ], "structuredContent": {"uri": "file:///a"}});
    let wrapped = answered(Method::ToolsCall, &result);
    assert_eq!(wrapped["content"][0], result["content"][0]);
    assert_eq!(wrapped["content"][1]["uri"], "tollgate://files/file%3A%2F%2F%2Fa");
    assert_eq!(wrapped["content"][2], result["content"][2]);
    assert_eq!(wrapped["content"][3]["resource"]["uri"], "ui://tollgate/files/ui%3A%2F%2Fa");
    assert_eq!(wrapped["content"][4], result["content"][4]);
    assert_eq!(wrapped["structuredContent"], result["structuredContent"]);
}

#[test]
fn a_prompts_messages_lead_back_in_both_their_forms() {
    let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a"});
    let result = json!({"messages": [{"role": "user", "content": link}, {"role": "user", "content": [link]}]});
    let wrapped = answered(Method::PromptsGet, &result);
    assert_eq!(wrapped["messages"][0]["content"]["uri"], "tollgate://files/file%3A%2F%2F%2Fa");
    assert_eq!(wrapped["messages"][1]["content"][0]["uri"], "tollgate://files/file%3A%2F%2F%2Fa");
}

#[test]
fn what_came_of_a_task_leads_back_however_it_is_told() {
    let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a"});
    let task = json!({"taskId": "t", "status": "completed", "result": {"content": [link]}});
    let wrapped = answered(Method::TasksGet, &task);
    assert_eq!(wrapped["result"]["content"][0]["uri"], "tollgate://files/file%3A%2F%2F%2Fa");
    let told = json!({"jsonrpc": "2.0", "method": "notifications/tasks", "params": task}).to_string();
    let told = wrapping(Method::SubscriptionsListen).of_task(&Bytes::from(told)).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["params"], wrapped);
}

#[test]
fn a_skill_and_its_files_lead_back() {
    let file = json!({"uri": "skill://a/b/SKILL.md", "digest": "sha256:0", "size": 1});
    for resources in [json!([file]), json!("dynamic")] {
        let skill = json!({"uri": "skill://a/b/SKILL.md", "frontmatter": {"name": "b"}, "resources": resources});
        let wrapped = answered(Method::SkillsGet, &json!({"skill": skill}));
        assert_eq!(wrapped["skill"]["uri"], "tollgate://files/~/skill://a/b/SKILL.md");
        if resources.is_array() {
            assert_eq!(wrapped["skill"]["resources"][0]["uri"], wrapped["skill"]["uri"]);
        } else {
            assert_eq!(wrapped["skill"]["resources"], resources);
        }
    }
    let listed = answered(Method::ResourcesDirectoryRead, &json!({"resources": [file]}));
    assert_eq!(listed["resources"][0]["uri"], "tollgate://files/~/skill://a/b/SKILL.md");
}

#[test]
fn an_update_names_the_resource_as_the_agent_knows_it_and_keeps_the_rest() {
    let text = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a","x":1}}"#;
    let data = Bytes::from_static(text.as_bytes());
    let Ok(Message::Notification(notification)) = read_upstream(&data, &Bounds::UPSTREAM) else { panic!("{text}") };
    let event = sse::Event { id: Some("7".into()), data: Some(data), ..sse::Event::default() };
    let heard = wrapping(Method::ToolsCall).heard(FromServer::Notification(notification, event));
    let FromServer::Notification(heard, event) = heard else { panic!("{heard:?}") };
    assert_eq!(heard.params.uri(), Some("tollgate://files/file%3A%2F%2F%2Fa"));
    let data: Value = serde_json::from_slice(&event.data.unwrap()).unwrap();
    assert_eq!(data["params"], json!({"uri": "tollgate://files/file%3A%2F%2F%2Fa", "x": 1}));
    assert_eq!(event.id.as_deref(), Some("7"));
}
