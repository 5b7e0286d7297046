//! Who may use a toolset, and what those are told who may not.

use http::Method;
use tollgate_tests::Http;

use super::*;

/// Server and tool as they are, and the name in the toolset.
const TOOLS: [(&str, &str, Option<&str>); 5] = [
    ("tracker", "list", Some("find_tickets")),
    ("tracker", "create", Some("list")),
    ("tracker", "delete", None),
    ("chat", "post", Some("chat__post")),
    ("chat", "read", None),
];

/// An agent's clients at every endpoint.
struct Clients {
    all: McpClient,
    tracker: McpClient,
    chat: McpClient,
    triage: McpClient,
}

impl Clients {
    async fn of(agent: &Agent) -> Self {
        Self {
            all: agent.at_all_servers().await,
            tracker: agent.at_server("tracker").await,
            chat: agent.at_server("chat").await,
            triage: agent.at_toolset("triage").await,
        }
    }

    /// Which of the tools may be called at the endpoint of all servers, at their own server's, and in the toolset.
    async fn allowed(&self) -> Vec<[bool; 3]> {
        let has_run = |answer: McpAnswer| answer.messages.last().is_some_and(|said| said.get("result").is_some());
        let mut allowed = Vec::new();
        for (server, tool, name) in TOOLS {
            let own = if server == "chat" { &self.chat } else { &self.tracker };
            let federated = has_run(self.all.call(&format!("{server}__{tool}"), json!({})).await);
            let single = has_run(own.call(tool, json!({})).await);
            let selected = match name {
                Some(name) => has_run(self.triage.call(name, json!({})).await),
                None => false,
            };
            allowed.push([federated, single, selected]);
        }
        allowed
    }
}

#[tokio::test]
async fn its_scope_is_enough_for_its_tools_at_every_endpoint_and_for_nothing_else() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let (yes, no) = ([true; 3], [false; 3]);
    assert_eq!(Clients::of(&agent).await.allowed().await, [yes, yes, no, yes, no]);
    assert_eq!(agent.at_all_servers().await.tool_names().await, ["chat__post", "tracker__create", "tracker__list"]);
    assert_eq!(agent.at_server("tracker").await.tool_names().await, ["create", "list"]);
    let whole = agent.at_server("tracker").await.request("prompts/get", json!({"name": "x"})).await;
    assert_refusal(&whole, NOT_GRANTED);
    assert!(setting.tracker.calls().iter().all(|call| call.message["params"]["name"] != "delete"));
}

#[tokio::test]
async fn a_denied_toolset_denies_its_tools_wherever_they_are_called() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:*", "chat:*"]).await;
    let clients = Clients::of(&agent).await;
    let denied = json!({"to": {"agent": "ci"}, "scopes": ["toolset/triage"], "deny": true});
    setting.tollgate.put("grants/not-those", json!({"spec": denied})).await;
    setting.tollgate.policy_in_force().await;
    let (no, elsewhere) = ([false; 3], [true, true, false]);
    assert_eq!(clients.allowed().await, [no, no, elsewhere, no, elsewhere]);
    assert_eq!(clients.triage.tool_names().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_token_for_the_toolset_alone_opens_no_more_than_that() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["tracker:*", "chat:*"]).await;
    let resource = setting.tollgate.federated_url();
    let answer = agent.ask_for_token(&[("resource", &resource), ("scope", "toolset/triage")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    let client = McpClient::new(&resource).with_token(&token);
    assert_eq!(client.call("tracker__list", json!({})).await.text(), "tickets");
    let refused = client.call("tracker__delete", json!({})).await;
    assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "scope_insufficient" });
    let elsewhere = McpClient::new(&setting.tollgate.toolset_url("triage")).with_token(&token);
    let refused = elsewhere.call("find_tickets", json!({})).await;
    assert_refusal(&refused, Refused { status: 401, code: 40100, reason: "audience_mismatch" });
}

#[tokio::test]
async fn it_is_a_protected_resource_of_its_own_and_says_what_to_ask_for() {
    let setting = Setting::new().await;
    let url = setting.tollgate.toolset_url("triage");
    let metadata = url.replace("/t/", "/.well-known/oauth-protected-resource/t/");
    let document = Http::default().get(&metadata).await;
    assert_eq!(document.status, 200, "{}", document.text());
    let document = document.json();
    assert_eq!(document["resource"], json!(url));
    assert_eq!(document["authorization_servers"], json!([setting.tollgate.issuer()]));
    assert_eq!(document["scopes_supported"], json!(["toolset/triage"]));
    assert!(!document.to_string().contains("tracker"), "its servers are not for strangers to know: {document}");

    let bare = McpClient::new(&url).call("find_tickets", json!({})).await;
    assert_eq!(bare.status, 401, "{}", bare.body);
    let challenge = bare.header("www-authenticate").expect("a challenge");
    assert_eq!(challenge, format!("Bearer scope=\"toolset/triage\", resource_metadata=\"{metadata}\""));

    let agent = setting.agent("ci", &["tracker:list", "tracker:create"]).await;
    let narrow = agent.ask_for_token(&[("resource", &url), ("scope", "tracker:list")]).await.json();
    let narrow = McpClient::new(&url).with_token(narrow["access_token"].as_str().expect("a token"));
    assert_eq!(narrow.call("find_tickets", json!({})).await.text(), "tickets");
    let refused = narrow.call("list", json!({})).await;
    assert_refusal(&refused, Refused { status: 403, code: 40300, reason: "scope_insufficient" });
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("scope=\"tracker:create\""), "{challenge}");
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
}

#[tokio::test]
async fn a_toolset_that_does_not_exist_is_said_to_be_unknown() {
    let setting = Setting::new().await;
    let agent = setting.agent("ci", &["toolset/triage"]).await;
    let token = agent.token(&setting.tollgate.toolset_url("triage")).await;
    let url = setting.tollgate.toolset_url("nothing");
    let nothing = McpClient::new(&url).with_token(&token);
    let unknown = Refused { status: 404, code: 40400, reason: "toolset_unknown" };
    assert_refusal(&nothing.request("tools/list", json!({})).await, unknown);
    assert_refusal(&nothing.try_initialize(LEGACY).await, unknown);
    let answer = nothing.request("server/discover", json!({})).await;
    assert_refusal(&answer, Refused { status: 503, ..unknown });
    let metadata = url.replace("/t/", "/.well-known/oauth-protected-resource/t/");
    assert_eq!(Http::default().send(Method::GET, &metadata, &[], "").await.expect("an answer").status, 404);
}
