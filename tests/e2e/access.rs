//! What grants let through: tools by pattern, prompts and resources by name, certain arguments, certain networks. At the
//! endpoint of one server and at that of all.

use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, McpAnswer, McpClient, Reply, ScriptedServer};

use crate::scene::{Refused, assert_refusal};

const NOT_GRANTED: Refused = Refused { status: 403, code: 40300, reason: "tool_not_granted" };
const TTL: u64 = 0;

/// A modern server `files` with tools, prompts, resources and a template of both sorts: those that are granted and others.
struct Setting {
    tollgate: Deployment,
    server: ScriptedServer,
}

impl Setting {
    async fn new() -> Self {
        let script = ScriptedServer::modern().tool("get_issue", Reply::text("issue"));
        let server = script.tool("get_user", Reply::text("user")).tool("set_issue", Reply::text("set")).start().await;
        let offers = [
            ("prompts/list", list("prompts", &[("name", "review"), ("name", "plan")])),
            ("resources/list", list("resources", &[("uri", "file:///docs/a"), ("uri", "file:///etc/a")])),
            (
                "resources/templates/list",
                list("resourceTemplates", &[("uriTemplate", "file:///docs/{n}"), ("uriTemplate", "file:///etc/{n}")]),
            ),
            ("prompts/get", json!({"messages": [], "resultType": "complete"})),
            (
                "resources/read",
                json!({"contents": [], "resultType": "complete", "ttlMs": TTL, "cacheScope": "private"}),
            ),
        ];
        for (method, result) in offers {
            server.set_method(method, Reply::Result(result));
        }
        let tollgate = Deployment::dev().argument("--no-demo").start().await;
        tollgate.allow_loopback_servers().await;
        tollgate.register("files", &server).await;
        Self { tollgate, server }
    }

    /// An agent that has what the spec of a grant says beside its target.
    async fn agent(&self, granted: Value) -> Agent {
        let agent = self.tollgate.agent("ci").create().await;
        self.grant(granted).await;
        agent
    }

    async fn grant(&self, mut spec: Value) {
        spec["to"] = json!({"agent": "ci"});
        self.tollgate.put("grants/some", json!({"spec": spec})).await;
        self.tollgate.policy_in_force().await;
    }

    /// How many requests of this method the server has seen.
    fn seen(&self, method: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.message["method"] == method).count()
    }
}

fn list(member: &str, items: &[(&str, &str)]) -> Value {
    let item = |(key, value): &(&str, &str)| {
        let mut item = json!({"name": value});
        item[*key] = json!(value);
        item
    };
    let items: Vec<Value> = items.iter().map(item).collect();
    let mut result = json!({"resultType": "complete", "ttlMs": TTL, "cacheScope": "public"});
    result[member] = json!(items);
    result
}

/// What a list has under this key.
async fn listed(client: &McpClient, method: &str, member: &str, key: &str) -> Vec<Value> {
    let answer = client.request(method, json!({})).await;
    let items = answer.result()[member].as_array().unwrap_or_else(|| panic!("a list: {}", answer.body));
    items.iter().map(|item| item[key].clone()).collect()
}

fn assert_lacks(answer: &McpAnswer, scope: &str) {
    assert_refusal(answer, NOT_GRANTED);
    assert_eq!(answer.error()["data"]["required_scope"], scope, "{}", answer.body);
}

#[tokio::test]
async fn a_pattern_grants_the_tools_that_are_called_so() {
    let setting = Setting::new().await;
    let agent = setting.agent(json!({"scopes": ["files:get_*"]})).await;
    for (client, prefix) in [(agent.at_server("files").await, ""), (agent.at_all_servers().await, "files__")] {
        let [get, user, set] = ["get_issue", "get_user", "set_issue"].map(|tool| format!("{prefix}{tool}"));
        assert_eq!(client.tool_names().await, [get.clone(), user]);
        assert_eq!(client.call(&get, json!({})).await.text(), "issue");
        assert_lacks(&client.call(&set, json!({})).await, "files:set_issue");
    }
    assert_eq!(setting.server.calls().len(), 2);
}

#[tokio::test]
async fn prompts_and_resources_are_granted_by_name_and_nothing_else_with_them() {
    let setting = Setting::new().await;
    let agent = setting.agent(json!({"scopes": ["files:@prompt/re*", "files:@resource/file:///docs/*"]})).await;
    let at = agent.at_server("files").await;
    assert_eq!(at.tool_names().await, Vec::<String>::new());
    assert_eq!(listed(&at, "prompts/list", "prompts", "name").await, ["review"]);
    assert_eq!(listed(&at, "resources/list", "resources", "uri").await, ["file:///docs/a"]);
    let templates = listed(&at, "resources/templates/list", "resourceTemplates", "uriTemplate").await;
    assert_eq!(templates, ["file:///docs/{n}"]);
    for (method, key, mine, other, lacks) in [
        ("prompts/get", "name", "review", "plan", "files:@prompt/plan"),
        ("resources/read", "uri", "file:///docs/b", "file:///etc/a", "files:@resource/file:///etc/a"),
    ] {
        let answer = at.request(method, json!({key: mine})).await;
        assert!(answer.result().is_object(), "{}", answer.body);
        assert_lacks(&at.request(method, json!({key: other})).await, lacks);
        assert_eq!(setting.seen(method), 1, "{method}");
    }
    assert_lacks(&at.call("get_issue", json!({})).await, "files:get_issue");

    let at_all = agent.at_all_servers().await;
    assert_eq!(listed(&at_all, "prompts/list", "prompts", "name").await, ["files__review"]);
    let uris = listed(&at_all, "resources/list", "resources", "uri").await;
    assert_eq!(uris, ["tollgate://files/file%3A%2F%2F%2Fdocs%2Fa"]);
    let read = at_all.request("resources/read", json!({"uri": "tollgate://files/file%3A%2F%2F%2Fetc%2Fa"})).await;
    assert_lacks(&read, "files:@resource/file:///etc/a");
}

#[tokio::test]
async fn a_condition_is_on_the_arguments_of_each_call_and_hides_nothing() {
    let setting = Setting::new().await;
    let conditions = json!([{"pointer": "/path", "prefix": "/docs/"}, {"pointer": "/lines", "range": {"max": 100}}]);
    let agent = setting.agent(json!({"scopes": ["files:get_issue"], "conditions": conditions})).await;
    let client = agent.at_server("files").await;
    assert_eq!(client.tool_names().await, ["get_issue"]);
    assert_eq!(client.call("get_issue", json!({"path": "/docs/a", "lines": 100})).await.text(), "issue");
    for (arguments, pointer) in [
        (json!({"path": "/etc/passwd", "lines": 1}), "/path"),
        (json!({"path": "/docs/a", "lines": 101}), "/lines"),
        (json!({"path": ["/docs/a"], "lines": 1}), "/path"),
        (json!({}), "/path"),
    ] {
        let refused = client.call("get_issue", arguments).await;
        assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "argument_not_allowed" });
        let data = &refused.error()["data"];
        assert_eq!((&data["grant"], &data["pointer"]), (&json!("some"), &json!(pointer)), "{}", refused.body);
        let record = setting.tollgate.usage_of(refused.call_id()).await;
        assert_eq!((record.decision.as_str(), record.forwarded), ("argument_not_allowed", false));
    }
    assert_eq!(setting.server.calls().len(), 1, "no refused call reached the server");
}

#[tokio::test]
async fn a_grant_counts_from_its_networks_alone() {
    let setting = Setting::new().await;
    let elsewhere = json!({"scopes": ["files:get_issue"], "networks": ["192.0.2.0/24"]});
    let client = setting.agent(elsewhere).await.at_server("files").await;
    assert_eq!(client.tool_names().await, Vec::<String>::new());
    let refused = client.call("get_issue", json!({})).await;
    assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "network_not_allowed" });
    assert_eq!(refused.error()["data"]["grant"], "some", "{}", refused.body);

    setting.grant(json!({"scopes": ["files:get_issue"], "networks": ["192.0.2.0/24", "127.0.0.0/8"]})).await;
    assert_eq!(client.tool_names().await, ["get_issue"]);
    assert_eq!(client.call("get_issue", json!({})).await.text(), "issue");
}

#[tokio::test]
async fn what_is_read_without_arguments_is_not_granted_under_a_condition_on_them() {
    let setting = Setting::new().await;
    let conditions = json!([{"pointer": "/path", "prefix": "/docs/"}]);
    let client = setting.agent(json!({"scopes": ["files:*"], "conditions": conditions})).await.at_server("files").await;
    assert_eq!(listed(&client, "prompts/list", "prompts", "name").await, ["review", "plan"]);
    for (method, member) in [("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")] {
        assert_eq!(listed(&client, method, member, "name").await, Vec::<Value>::new());
    }
    let refused = client.request("resources/read", json!({"uri": "file:///docs/a"})).await;
    assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "argument_not_allowed" });
    assert_eq!(setting.seen("resources/read"), 0);
    assert_eq!(client.call("get_issue", json!({"path": "/docs/a"})).await.text(), "issue");
}

#[tokio::test]
async fn a_network_is_the_same_however_it_is_written() {
    let setting = Setting::new().await;
    let client = setting.agent(json!({"scopes": ["files:get_*"]})).await.at_server("files").await;
    assert_eq!(client.call("get_issue", json!({})).await.text(), "issue");
    let denied = json!({
        "to": {"agent": "ci"}, "scopes": ["files:get_issue"], "deny": true, "networks": ["::ffff:127.0.0.0/104"],
    });
    setting.tollgate.put("grants/never", json!({"spec": denied})).await;
    setting.tollgate.policy_in_force().await;
    assert_lacks(&client.call("get_issue", json!({})).await, "files:get_issue");
    assert_eq!(client.tool_names().await, ["get_user"]);
}

#[tokio::test]
async fn an_agent_that_is_held_to_exact_tools_gets_no_wide_grant_but_its_own() {
    let setting = Setting::new().await;
    let agent = setting.tollgate.agent("ci").create().await;
    let team = json!({"to": {"team": "stories"}, "scopes": ["files:*", "files:get_user"]});
    setting.tollgate.put("grants/team", json!({"spec": team})).await;
    setting.tollgate.policy_in_force().await;
    let client = agent.at_server("files").await;
    assert_eq!(client.call("get_issue", json!({})).await.text(), "issue");
    let held = json!({"team": "stories", "type": "autonomous", "exact_tools": true});
    setting.tollgate.put("agents/ci", json!({"spec": held})).await;
    setting.tollgate.policy_in_force().await;

    assert_eq!(client.tool_names().await, ["get_user"]);
    assert_eq!(client.call("get_user", json!({})).await.text(), "user");
    let refused = client.call("get_issue", json!({})).await;
    assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "held_to_exact_tools" });
    let data = &refused.error()["data"];
    assert_eq!((&data["grant"], &data["required_scope"]), (&json!("team"), &json!("files:get_issue")));
    let asked = setting.tollgate.command(&["can-i", "ci", "call", "files/get_issue"]).await;
    assert_eq!(asked.code, 4);
    assert!(asked.stdout.contains("held to exact tools"), "{}", asked.stdout);

    setting.grant(json!({"scopes": ["files:get_*"]})).await;
    assert_eq!(client.tool_names().await, ["get_issue", "get_user"]);
    assert_eq!(client.call("get_issue", json!({})).await.text(), "issue");
    let asked = setting.tollgate.command(&["can-i", "ci", "call", "files/get_issue"]).await.success();
    assert!(asked.stdout.contains("files:get_*"), "{}", asked.stdout);
}

#[tokio::test]
async fn however_a_uri_is_encoded_the_same_grants_and_denials_speak_of_it() {
    let setting = Setting::new().await;
    let client = setting.agent(json!({"scopes": ["files:@resource/file:///*"]})).await.at_server("files").await;
    let denied = json!({"to": {"agent": "ci"}, "scopes": ["files:@resource/file:///etc/*"], "deny": true});
    setting.tollgate.put("grants/never", json!({"spec": denied})).await;
    setting.tollgate.policy_in_force().await;
    assert_eq!(
        listed(&client, "resources/templates/list", "resourceTemplates", "uriTemplate").await,
        ["file:///docs/{n}"]
    );
    for uri in ["file:///etc/a", "file:///%65tc/a", "file:///%65%74%63/a"] {
        assert_refusal(&client.request("resources/read", json!({"uri": uri})).await, NOT_GRANTED);
    }
    assert_eq!(setting.seen("resources/read"), 0);
    assert!(client.request("resources/read", json!({"uri": "file:///d%6Fcs/a"})).await.result().is_object());
}
