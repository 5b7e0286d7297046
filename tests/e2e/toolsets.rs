//! Toolsets: tools of several servers, chosen and renamed, at an endpoint of their own. Two data planes serve, and each
//! story goes through both.

use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, McpAnswer, McpClient, RealServer, Reply, Script, ScriptedServer};

use crate::scene::{Refused, assert_refusal};

mod access;
mod calls;
mod changes;

const LEGACY: &str = "2025-11-25";
const TOOL_UNKNOWN: Refused = Refused { status: 200, code: -32602, reason: "tool_unknown" };
const NOT_GRANTED: Refused = Refused { status: 403, code: 40300, reason: "tool_not_granted" };

/// A modern server `tracker` with the tools `list`, `create` and `delete`, a legacy one `chat` with `post` and `read`,
/// and the toolset `triage` of some of these.
struct Setting {
    tollgate: Deployment,
    tracker: ScriptedServer,
    chat: ScriptedServer,
}

impl Setting {
    async fn with(tracker: Script, chat: Script) -> Self {
        let tracker = tracker.tool("list", Reply::text("tickets")).tool("create", Reply::text("created"));
        let tracker = tracker.tool("delete", Reply::text("deleted")).start().await;
        let chat = chat.tool("post", Reply::text("posted")).tool("read", Reply::text("chatter")).start().await;
        let tollgate = Deployment::separate(2).start().await;
        tollgate.allow_loopback_servers().await;
        tollgate.register("tracker", &tracker).await;
        tollgate.register("chat", &chat).await;
        tollgate.toolset("triage", triage()).await;
        Self { tollgate, tracker, chat }
    }

    async fn new() -> Self {
        Self::with(ScriptedServer::modern(), ScriptedServer::legacy()).await
    }

    async fn agent(&self, name: &str, scopes: &[&str]) -> Agent {
        scopes.iter().fold(self.tollgate.agent(name), |draft, scope| draft.grant(scope)).create().await
    }

    /// The agent's modern client of the toolset at both data planes.
    async fn both(&self, agent: &Agent) -> [McpClient; 2] {
        let client = agent.at_toolset("triage").await;
        [client.clone(), self.elsewhere(&client)]
    }

    fn elsewhere(&self, client: &McpClient) -> McpClient {
        client.clone().through(self.tollgate.data_plane_url(1))
    }
}

fn triage() -> Value {
    json!({
        "display_name": "Ticket triage",
        "description": "Finds tickets and tells people of them.",
        "tools": [
            {"server": "tracker", "tool": "list", "name": "find_tickets", "description": "Finds tickets."},
            {"server": "chat", "tool": "post"},
            {"server": "tracker", "tool": "create", "name": "list"},
        ],
    })
}

fn tools(answer: &McpAnswer) -> &Vec<Value> {
    answer.result()["tools"].as_array().unwrap_or_else(|| panic!("a list of tools: {}", answer.body))
}

fn capabilities(answer: &McpAnswer) -> Vec<&String> {
    let said = answer.result()["capabilities"].as_object().unwrap_or_else(|| panic!("capabilities: {}", answer.body));
    said.keys().collect()
}

#[tokio::test]
async fn agents_of_both_eras_see_the_tools_as_the_toolset_has_them_and_call_them() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let [here, there] = setting.both(&agent).await;
    let session = here.initialize(LEGACY).await;
    for client in [here, there, session.clone(), setting.elsewhere(&session)] {
        let listed = client.request("tools/list", json!({})).await;
        let seen: Vec<_> =
            tools(&listed).iter().map(|tool| (tool["name"].clone(), tool["description"].clone())).collect();
        let expected = [("find_tickets", "Finds tickets."), ("chat__post", "post"), ("list", "create")];
        let expected = expected.map(|(name, description)| (json!(name), json!(description)));
        assert_eq!(seen, expected, "in the toolset's order, and described by it or by their servers");
        for (name, text) in [("find_tickets", "tickets"), ("chat__post", "posted"), ("list", "created")] {
            let answer = client.call(name, json!({})).await;
            assert_eq!(answer.text(), text, "{name}: {}", answer.body);
        }
        for other in ["tracker__list", "create", "delete", "tracker__delete", "post", "chat__read", ""] {
            let answer = client.call(other, json!({})).await;
            assert_eq!((answer.status, answer.reason()), (200, "tool_unknown"), "{other}");
        }
    }
    let called: Vec<_> = setting.tracker.calls().iter().map(|call| call.message["params"]["name"].clone()).collect();
    let own = [json!("list"), json!("create")];
    assert_eq!(called, [own.clone(), own.clone(), own.clone(), own].concat(), "the server hears its own names");
    assert!(
        setting.tracker.calls().iter().all(|call| call.header("mcp-name") == call.message["params"]["name"].as_str())
    );
    assert_eq!(setting.chat.calls().len(), 4);
}

#[tokio::test]
async fn the_record_of_a_call_names_server_and_tool_as_they_are() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let [here, _] = setting.both(&agent).await;
    let answer = here.call("list", json!({})).await;
    let record = setting.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.server.as_deref(), record.tool.as_deref()), (Some("tracker"), Some("create")));
    let answer = here.call("tracker__delete", json!({})).await;
    let record = setting.tollgate.usage_of(answer.call_id()).await;
    assert_eq!(
        (record.decision.as_str(), record.server.as_deref(), record.forwarded),
        ("tool_unknown", Some(""), false)
    );
}

#[tokio::test]
async fn the_endpoint_introduces_itself_as_the_toolset_and_has_tools_alone() {
    let setting = Setting::new().await;
    let discovered = json!({
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true},
            "completions": {},
            "extensions": {"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {}}},
        "instructions": "List before you create.", "ttlMs": 0, "cacheScope": "public",
    });
    setting.tracker.set_method("server/discover", Reply::Result(discovered));
    let agent = setting.agent("ci", &["tracker:*", "chat:*"]).await;
    let [here, there] = setting.both(&agent).await;
    let answer = here.request("server/discover", json!({})).await;
    assert_eq!(capabilities(&answer), ["extensions", "tools"], "{}", answer.body);
    assert_eq!(answer.result()["capabilities"]["extensions"], json!({"io.modelcontextprotocol/tasks": {}}));
    let info = &answer.result()["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!((&info["name"], &info["title"]), (&json!("tollgate"), &json!("Ticket triage")));
    let told = answer.result()["instructions"].as_str().expect("instructions");
    assert!(told.starts_with("Finds tickets and tells people of them.\n\n"), "{told}");
    assert!(told.ends_with("## tracker\n\nList before you create."), "{told}");
    let answer = there.try_initialize(LEGACY).await;
    assert_eq!(capabilities(&answer), ["tools"], "{}", answer.body);
    assert_eq!(answer.result()["serverInfo"]["title"], "Ticket triage");

    let session = here.initialize(LEGACY).await;
    let reference = json!({"type": "ref/prompt", "name": "tracker__x"});
    let argument = json!({"name": "x", "value": "y"});
    for (method, params) in [
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "tracker__x"})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "tollgate://tracker/a%3Ab"})),
        ("completion/complete", json!({"ref": reference, "argument": argument})),
    ] {
        for (client, status) in [(&there, 404), (&session, 200)] {
            let answer = client.request(method, params.clone()).await;
            assert_refusal(&answer, Refused { status, code: -32601, reason: "unknown_method" });
        }
    }
}

#[tokio::test]
async fn only_what_the_caller_may_use_of_it_is_shown() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:create", "tracker:delete", "chat:read"]).await;
    let [here, there] = setting.both(&agent).await;
    assert_eq!(here.tool_names().await, ["list"]);
    assert!(setting.chat.seen().is_empty(), "a server is not asked in vain");
    assert_refusal(&there.call("find_tickets", json!({})).await, NOT_GRANTED);
    let stranger = setting.agent("stranger", &["chat:read"]).await;
    let url = setting.tollgate.toolset_url("triage");
    assert_eq!(stranger.ask_for_token(&[("resource", &url)]).await.status, 400, "nothing here is granted");
}

#[tokio::test]
async fn a_tool_that_its_server_has_no_more_is_missing_and_a_server_that_fails_is_named() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let [here, there] = setting.both(&agent).await;
    let left = json!({"tools": [{"name": "list", "inputSchema": {"type": "object"}}]});
    setting.tracker.set_method("tools/list", Reply::Result(left));
    assert_eq!(here.tool_names().await, ["find_tickets", "chat__post"]);
    setting.chat.stop();
    let listed = there.request("tools/list", json!({})).await;
    assert_eq!(tools(&listed).len(), 1, "{}", listed.body);
    let missing = json!([{"server": "chat", "reason": "upstream_unavailable"}]);
    assert_eq!(listed.result()["_meta"]["io.tollgate/left-out"], missing);
    assert_eq!(here.call("find_tickets", json!({})).await.text(), "tickets");
}

#[tokio::test]
async fn a_few_of_many_tools_come_in_one_page_and_cursors_of_other_endpoints_are_worth_nothing() {
    let setting = Setting::new().await;
    let tools: Vec<_> = (0..1_200)
        .map(|number| json!({"name": format!("tool_{number:04}"), "inputSchema": {"type": "object"}}))
        .collect();
    let page = |from: usize| json!({"tools": tools[from..from + 400]});
    let mut pages = [page(0), page(400), page(800)];
    pages[0]["nextCursor"] = json!("1");
    pages[1]["nextCursor"] = json!("2");
    let keys = [None, Some("1".to_owned()), Some("2".to_owned())];
    setting.tracker.set_method("tools/list", Reply::Pages(keys.into_iter().zip(pages).collect()));
    let picked = ["tool_1199", "tool_0000", "tool_0600"];
    let selected: Vec<_> = picked.iter().map(|tool| json!({"server": "tracker", "tool": tool, "name": tool})).collect();
    setting.tollgate.toolset("triage", json!({"tools": selected})).await;
    let agent = setting.agent("ci", &["tracker:*"]).await;
    let [here, there] = setting.both(&agent).await;
    assert_eq!(there.tool_names().await, picked);
    let wide = agent.at_all_servers().await.request("tools/list", json!({})).await;
    let answer = here.request("tools/list", json!({"cursor": wide.result()["nextCursor"]})).await;
    assert_refusal(&answer, Refused { status: 200, code: -32602, reason: "cursor_unknown" });
}

#[tokio::test]
async fn a_link_in_a_result_leads_to_the_endpoint_of_all_servers() {
    let setting = Setting::new().await;
    let server = RealServer::everything().await;
    setting.tollgate.register_url("everything", &server.url()).await;
    let links = json!({"server": "everything", "tool": "get-resource-links", "name": "links"});
    setting.tollgate.toolset("triage", json!({"tools": [links]})).await;
    let agent = setting.agent("ci", &["everything:*"]).await;
    let (all, [modern, there]) = (agent.at_all_servers().await, setting.both(&agent).await);
    for client in [modern, there.initialize(LEGACY).await] {
        let answer = client.call("links", json!({"count": 2})).await;
        let blocks = answer.result()["content"].as_array().expect("content").clone();
        let links: Vec<_> = blocks.iter().filter(|block| block["type"] == "resource_link").collect();
        assert!(!links.is_empty(), "{blocks:?}");
        for link in links {
            let read = all.request("resources/read", json!({"uri": link["uri"]})).await;
            assert!(read.result()["contents"][0]["uri"].is_string(), "{}", read.body);
        }
    }
}
