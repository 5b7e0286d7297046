//! The endpoint that joins all servers: their lists page by page, their prompts and resources by names that lead back,
//! and what it says of itself. Two data planes serve, and each story goes through both.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, McpAnswer, McpClient, Reply, Script, ScriptedServer};

use crate::scene::{Refused, assert_refusal};

mod failing;
mod kept;
mod named;
mod skills;

const STALE: Refused = Refused { status: 200, code: -32602, reason: "cursor_unknown" };

async fn deployment() -> Deployment {
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate
}

/// The endpoint at both data planes.
async fn both(tollgate: &Deployment, agent: &Agent) -> [McpClient; 2] {
    let client = agent.at_all_servers().await;
    [client.clone(), client.through(tollgate.data_plane_url(1))]
}

/// A list in pages of `size`; `hints` go into each of them.
fn pages(member: &str, items: &[Value], size: usize, hints: &Value) -> Reply {
    let chunks: Vec<_> = items.chunks(size).collect();
    let page = |(number, chunk): (usize, &&[Value])| {
        let mut page = hints.clone();
        page[member] = json!(chunk);
        if number + 1 < chunks.len() {
            page["nextCursor"] = json!((number + 1).to_string());
        }
        ((number > 0).then(|| number.to_string()), page)
    };
    Reply::Pages(chunks.iter().enumerate().map(page).collect::<BTreeMap<_, _>>())
}

fn tools(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!({"name": format!("tool_{number:04}"), "inputSchema": {"type": "object"}})).collect()
}

async fn with_many_tools(script: Script, count: usize) -> ScriptedServer {
    let server = script.start().await;
    server.set_method("tools/list", pages("tools", &tools(count), 70, &json!({})));
    server
}

fn names(answer: &McpAnswer) -> Vec<String> {
    let listed = answer.result()["tools"].as_array().expect("a list of tools");
    listed.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// Every page, from both data planes in turn.
async fn walk(clients: &[McpClient; 2]) -> Vec<Vec<String>> {
    let (mut walked, mut params) = (Vec::new(), json!({}));
    for client in clients.iter().cycle() {
        let answer = client.request("tools/list", params).await;
        walked.push(names(&answer));
        let Some(next) = answer.result().get("nextCursor") else { return walked };
        params = json!({"cursor": next});
        assert!(walked.len() < 100, "a list without end");
    }
    walked
}

#[tokio::test]
async fn three_thousand_tools_come_in_pages_to_agents_of_both_eras() {
    let tollgate = deployment().await;
    let large = with_many_tools(ScriptedServer::modern(), 3_000).await;
    let old = with_many_tools(ScriptedServer::legacy(), 150).await;
    let small = ScriptedServer::modern().tool("last", Reply::text("x")).start().await;
    for (name, server) in [("large", &large), ("old", &old), ("small", &small)] {
        tollgate.register(name, server).await;
    }
    let agent = tollgate.agent("ci").grant("large:*").grant("old:*").grant("small:*").create().await;
    let mut expected: Vec<_> = (0..3_000).map(|number| format!("large__tool_{number:04}")).collect();
    expected.extend((0..150).map(|number| format!("old__tool_{number:04}")));
    expected.push("small__last".to_owned());
    let modern = both(&tollgate, &agent).await;
    let walked = walk(&modern).await;
    assert!(walked.iter().all(|page| page.len() <= 500), "pages are bounded");
    assert_eq!(walked.concat(), expected, "every tool once, in order");
    let session = modern[0].initialize("2025-11-25").await;
    let legacy = [session.clone(), session.through(tollgate.data_plane_url(1))];
    assert_eq!(walk(&legacy).await.concat(), expected, "the same to an agent of the other era");
}

#[tokio::test]
async fn a_cursor_is_good_for_its_agent_its_list_and_these_servers_only() {
    let tollgate = deployment().await;
    let large = with_many_tools(ScriptedServer::modern(), 600).await;
    tollgate.register("large", &large).await;
    let agent = tollgate.agent("ci").grant("large:*").create().await;
    let thief = tollgate.agent("thief").grant("large:*").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    let first = here.request("tools/list", json!({})).await;
    let cursor = first.result()["nextCursor"].as_str().expect("a second page").to_owned();
    assert_eq!(names(&there.request("tools/list", json!({"cursor": cursor})).await).len(), 100);
    let stolen = thief.at_all_servers().await.request("tools/list", json!({"cursor": cursor})).await;
    assert_refusal(&stolen, STALE);
    assert_refusal(&here.request("prompts/list", json!({"cursor": cursor})).await, STALE);
    for invented in ["", "1", "AAAA", &cursor[..cursor.len() - 2]] {
        assert_refusal(&here.request("tools/list", json!({"cursor": invented})).await, STALE);
    }
    tollgate.register("another", &large).await;
    assert_eq!(here.request("tools/list", json!({"cursor": cursor})).await.status, 200, "not this agent's server");
    let granted = json!({"to": {"agent": "ci"}, "scopes": ["large:*", "another:*"]});
    tollgate.put("grants/ci", json!({"spec": granted})).await;
    tollgate.policy_in_force().await;
    let [wider, _] = both(&tollgate, &agent).await;
    assert_refusal(&wider.request("tools/list", json!({"cursor": cursor})).await, STALE);
}

#[tokio::test]
async fn the_endpoint_says_what_the_servers_behind_it_can_do() {
    let tollgate = deployment().await;
    let old = ScriptedServer::legacy().tool("read", Reply::text("x")).start().await;
    let new = ScriptedServer::modern().tool("read", Reply::text("x")).start().await;
    let discovered = json!({
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}},
        "instructions": "Read before you write.", "ttlMs": 60_000, "cacheScope": "public",
    });
    new.set_method("server/discover", Reply::Result(discovered));
    tollgate.register("old", &old).await;
    tollgate.register("new", &new).await;
    let agent = tollgate.agent("ci").grant("old:*").grant("new:*").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    let answer = here.request("server/discover", json!({})).await;
    let changing = json!({"listChanged": true});
    let resources = json!({"listChanged": true, "subscribe": true});
    let capabilities = json!({"tools": changing, "prompts": changing, "resources": resources});
    assert_eq!(answer.result()["capabilities"], capabilities, "{}", answer.body);
    let instructions = answer.result()["instructions"].as_str().expect("instructions");
    assert!(instructions.ends_with("## new\n\nRead before you write."), "{instructions}");
    assert_eq!(answer.result()["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "tollgate");
    let narrow = tollgate.agent("narrow").grant("new:read").create().await;
    let answer = narrow.at_all_servers().await.request("server/discover", json!({})).await;
    assert_eq!(
        answer.result()["capabilities"],
        json!({"tools": changing}),
        "prompts are granted with the whole server"
    );
    let answer = there.try_initialize("2025-11-25").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.result()["capabilities"]["tools"], changing);
}
