//! Prompts, resources, templates and completions of real servers, by names that lead back.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpAnswer, McpClient, RealServer, ReferenceServer, Reply, ScriptedServer, Speaks};

use super::{both, deployment};
use crate::scene::{Refused, assert_refusal};

fn members(answer: &McpAnswer, list: &str, member: &str) -> Vec<String> {
    let items = answer.result()[list].as_array().unwrap_or_else(|| panic!("no {list}: {}", answer.body));
    items.iter().map(|item| item[member].as_str().unwrap_or_default().to_owned()).collect()
}

async fn modern() -> (Deployment, ReferenceServer, [McpClient; 2]) {
    let tollgate = deployment().await;
    let server = ReferenceServer::start(Speaks::Modern).await;
    tollgate.register_url("reference", server.url()).await;
    let agent = tollgate.agent("ci").grant("reference:*").create().await;
    let clients = both(&tollgate, &agent).await;
    (tollgate, server, clients)
}

#[tokio::test]
async fn prompts_lead_back_to_their_server() {
    let (_tollgate, _server, [here, there]) = modern().await;
    let listed = members(&here.request("prompts/list", json!({})).await, "prompts", "name");
    assert!(listed.contains(&"reference__test_prompt_with_arguments".to_owned()), "{listed:?}");
    let asked = json!({"name": "reference__test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"}});
    let got = there.request("prompts/get", asked).await;
    assert_eq!(got.result()["messages"][0]["content"]["text"], "Prompt with arguments: arg1='a', arg2='b'");
    let asked = json!({"name": "reference__test_prompt_with_embedded_resource", "arguments": {}});
    let got = there.request("prompts/get", asked).await;
    let uri = &got.result()["messages"][0]["content"]["resource"]["uri"];
    assert_eq!(uri, "tollgate://reference/test%3A%2F%2Fstatic-text");
    let read = here.request("resources/read", json!({"uri": uri})).await;
    assert_eq!(read.result()["contents"][0]["uri"], *uri);
    let unknown = here.request("prompts/get", json!({"name": "test_simple_prompt"})).await;
    assert_refusal(&unknown, Refused { status: 200, code: -32602, reason: "prompt_unknown" });
}

#[tokio::test]
async fn resources_and_what_is_made_of_templates_lead_back_to_their_server() {
    let (_tollgate, _server, [here, there]) = modern().await;
    for uri in members(&here.request("resources/list", json!({})).await, "resources", "uri") {
        let read = there.request("resources/read", json!({"uri": uri})).await;
        assert_eq!(read.result()["contents"][0]["uri"], json!(uri), "{}", read.body);
    }
    let templates = here.request("resources/templates/list", json!({})).await;
    let templates = members(&templates, "resourceTemplates", "uriTemplate");
    assert_eq!(templates, ["tollgate://reference/~/test://template/{id}/data"]);
    let uri = templates[0].replace("{id}", "4%2F2");
    let read = there.request("resources/read", json!({"uri": uri})).await;
    let text = read.result()["contents"][0]["text"].as_str().expect("a text");
    assert!(text.contains(r#""id":"4%2F2""#), "the server gets what the client wrote: {text}");
    for unknown in ["test://static-text", "tollgate://nobody/test%3A%2F%2Fx", "tollgate://reference/test:%2F%2Fx"] {
        let answer = here.request("resources/read", json!({"uri": unknown})).await;
        assert_refusal(&answer, Refused { status: 200, code: -32602, reason: "resource_unknown" });
    }
}

#[tokio::test]
async fn completions_lead_back_to_their_server() {
    let (_tollgate, _server, [here, there]) = modern().await;
    let prompt = json!({"type": "ref/prompt", "name": "reference__test_prompt_with_arguments"});
    let asked = json!({"ref": prompt, "argument": {"name": "arg1", "value": "par"}});
    let completed = here.request("completion/complete", asked).await;
    assert_eq!(completed.result()["completion"]["values"], json!(["paris", "park", "party"]));
    let template = json!({"type": "ref/resource", "uri": "tollgate://reference/~/test://template/{id}/data"});
    let asked = json!({"ref": template, "argument": {"name": "id", "value": "2"}});
    let completed = there.request("completion/complete", asked).await;
    assert_eq!(completed.result()["completion"]["values"], json!(["2"]));
}

#[tokio::test]
async fn the_everything_server_is_whole_behind_the_endpoint_in_both_eras() {
    let tollgate = deployment().await;
    let server = RealServer::everything().await;
    tollgate.register_url("everything", &server.url()).await;
    let agent = tollgate.agent("ci").grant("everything:*").create().await;
    let [modern, _] = both(&tollgate, &agent).await;
    let session = modern.initialize("2025-11-25").await;
    for client in [modern, session.through(tollgate.data_plane_url(1))] {
        let prompts = members(&client.request("prompts/list", json!({})).await, "prompts", "name");
        assert!(prompts.contains(&"everything__simple-prompt".to_owned()), "{prompts:?}");
        let got = client.request("prompts/get", json!({"name": "everything__simple-prompt"})).await;
        assert!(got.result()["messages"][0]["content"]["text"].is_string(), "{}", got.body);
        let resources = members(&client.request("resources/list", json!({})).await, "resources", "uri");
        assert!(!resources.is_empty());
        let read = client.request("resources/read", json!({"uri": resources[0]})).await;
        assert_eq!(read.result()["contents"][0]["uri"], json!(resources[0]), "{}", read.body);
        let templates = client.request("resources/templates/list", json!({})).await;
        let templates = members(&templates, "resourceTemplates", "uriTemplate");
        assert!(templates.iter().all(|uri| uri.starts_with("tollgate://everything/~/")), "{templates:?}");
        let links = client.call("everything__get-resource-links", json!({"count": 2})).await;
        let blocks = links.result()["content"].as_array().expect("content").clone();
        let links: Vec<_> = blocks.iter().filter(|block| block["type"] == "resource_link").collect();
        assert!(!links.is_empty(), "{blocks:?}");
        for link in links {
            let read = client.request("resources/read", json!({"uri": link["uri"]})).await;
            assert_eq!(read.status, 200, "{}", read.body);
            assert!(read.result()["contents"][0]["uri"].is_string(), "{}", read.body);
        }
    }
}

#[tokio::test]
async fn prompts_and_resources_are_granted_with_the_whole_server() {
    let tollgate = deployment().await;
    let server = ReferenceServer::start(Speaks::Modern).await;
    tollgate.register_url("reference", server.url()).await;
    let agent = tollgate.agent("ci").grant("reference:test_simple_text").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    for (method, list) in [("prompts/list", "prompts"), ("resources/list", "resources")] {
        assert_eq!(here.request(method, json!({})).await.result()[list], json!([]), "{method}");
    }
    let read = there.request("resources/read", json!({"uri": "tollgate://reference/test%3A%2F%2Fstatic-text"})).await;
    assert_refusal(&read, Refused { status: 403, code: 40300, reason: "tool_not_granted" });
    let got = there.request("prompts/get", json!({"name": "reference__test_simple_prompt"})).await;
    assert_refusal(&got, Refused { status: 403, code: 40300, reason: "tool_not_granted" });
}

#[tokio::test]
async fn a_tool_names_its_user_interface_as_the_agent_can_read_it() {
    let tollgate = deployment().await;
    let server = ScriptedServer::modern().start().await;
    let tool = json!({"name": "map", "inputSchema": {"type": "object"}, "x": 1,
        "_meta": {"ui": {"resourceUri": "ui://map/view", "visibility": ["model"]}, "y": 2}});
    server.set_method("tools/list", Reply::Result(json!({"tools": [tool]})));
    let view = json!({"contents": [{"uri": "ui://map/view", "mimeType": "text/html;profile=mcp-app", "text": "<p>"}]});
    server.set_method("resources/read", Reply::Result(view));
    tollgate.register("maps", &server).await;
    let agent = tollgate.agent("ci").grant("maps:*").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    let listed = here.request("tools/list", json!({})).await.result()["tools"][0].clone();
    let uri = json!("ui://tollgate/maps/ui%3A%2F%2Fmap%2Fview");
    assert_eq!(listed["_meta"], json!({"ui": {"resourceUri": uri, "visibility": ["model"]}, "y": 2}));
    assert_eq!(listed["x"], 1);
    let read = there.request("resources/read", json!({"uri": uri})).await;
    assert_eq!(read.result()["contents"][0]["uri"], uri);
    let asked: Vec<Value> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.message["method"] == "resources/read")
        .map(|seen| seen.message)
        .collect();
    assert_eq!(asked[0]["params"]["uri"], "ui://map/view", "the server hears its own URI");
}

#[tokio::test]
async fn the_level_of_the_log_reaches_every_server_of_a_session() {
    let tollgate = deployment().await;
    let servers = [ScriptedServer::legacy().start().await, ScriptedServer::legacy().start().await];
    for (name, server) in ["one", "two"].iter().zip(&servers) {
        server.set_method("logging/setLevel", Reply::Result(json!({})));
        tollgate.register(name, server).await;
    }
    let agent = tollgate.agent("ci").grant("one:*").grant("two:*").create().await;
    let [here, _] = both(&tollgate, &agent).await;
    let session = here.initialize("2025-11-25").await.through(tollgate.data_plane_url(1));
    let answer = session.request("logging/setLevel", json!({"level": "warning"})).await;
    assert_eq!(answer.result(), &json!({}));
    for server in &servers {
        let told: Vec<Value> = server.seen().into_iter().map(|seen| seen.message).collect();
        let levels: Vec<_> = told.iter().filter(|message| message["method"] == "logging/setLevel").collect();
        assert_eq!(levels.len(), 1);
        assert_eq!(levels[0]["params"]["level"], "warning");
    }
    let answer = session.request("logging/setLevel", json!({"level": "loud"})).await;
    assert_eq!(answer.error()["code"], -32602);
}
