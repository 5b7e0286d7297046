//! Any client before any server: official clients of both eras try out official servers of both eras, through two data
//! planes. What comes of it is printed, and is `docs/compatibility.md`.
//!
//! `UPDATE_COMPATIBILITY=1` rewrites the document.

use std::fmt::Write as _;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tollgate_tests::{Agent, Balancer, Deployment, RealServer, ReferenceServer, Speaks, TrialClient, repository_root};

/// What is tried, in the order of the columns' words.
const FEATURES: [&str; 6] = ["tools", "resources", "prompts", "progress", "elicitation", "subscriptions"];
const AT_ONCE: usize = 3;
const MODERN: &str = "2026-07-28";

/// A client, and how it is told to speak.
#[derive(Debug, Clone, Copy)]
struct Client {
    sdk: TrialClient,
    name: &'static str,
    era: &'static str,
}

/// A server as it is registered.
#[derive(Debug, Clone)]
struct Server {
    slug: &'static str,
    name: &'static str,
    era: &'static str,
    url: String,
}

/// What came of one client before one server: the features that did not work, each with what was told of it.
type Cell = Vec<(&'static str, String)>;

#[tokio::test]
async fn any_client_works_before_any_server() {
    let everything = RealServer::everything().await;
    let (python, typescript) = (RealServer::python().await, RealServer::typescript().await);
    let rust = ReferenceServer::start(Speaks::Both).await;
    let servers = [
        Server::at("everything", "server-everything", "legacy", everything.url()),
        Server::at("python-legacy", "Python", "legacy", python.url()),
        Server::at("python-modern", "Python", "modern", python.url()),
        Server::at("typescript-legacy", "TypeScript", "legacy", typescript.url()),
        Server::at("typescript-modern", "TypeScript", "modern", typescript.url()),
        Server::at("rmcp-legacy", "rmcp", "legacy", rust.url().to_owned()),
        Server::at("rmcp-modern", "rmcp", "modern", rust.url().to_owned()),
    ];
    let balancer = Balancer::start().await;
    let tollgate = Deployment::separate(2).balanced_by(&balancer).start().await;
    tollgate.allow_loopback_servers().await;
    for server in &servers {
        let spec = json!({"instances": [{"url": server.url}], "era": server.era});
        tollgate.put(&format!("servers/{}", server.slug), json!({"spec": spec})).await;
    }
    let mut agents = Vec::new();
    for client in clients() {
        agents.push(agent_of(&tollgate, client, &servers).await);
    }
    let cells: Vec<Cell> = stream::iter(pairs(&servers))
        .enumerate()
        .map(|(place, (server, client))| try_out(&tollgate, &agents[place % agents.len()], server, client))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let document = document(&servers, &cells);
    println!("{document}");
    for ((server, client), cell) in pairs(&servers).into_iter().zip(&cells) {
        for (feature, told) in cell {
            println!("{} {} at {} {}: {feature}: {told}", client.name, client.era, server.name, server.era);
        }
    }
    assert_is_committed(&document);
}

impl Server {
    fn at(slug: &'static str, name: &'static str, era: &'static str, url: String) -> Self {
        Self { slug, name, era, url }
    }
}

fn clients() -> Vec<Client> {
    let sdks = [(TrialClient::Python, "Python"), (TrialClient::TypeScript, "TypeScript"), (TrialClient::Rust, "rmcp")];
    let eras = ["legacy", "modern", "auto"];
    sdks.into_iter().flat_map(|(sdk, name)| eras.map(|era| Client { sdk, name, era })).collect()
}

fn pairs(servers: &[Server]) -> Vec<(&Server, Client)> {
    servers.iter().flat_map(|server| clients().into_iter().map(move |client| (server, client))).collect()
}

/// An agent of its own for each client: what they do at a server must not meet in one session there.
async fn agent_of(tollgate: &Deployment, client: Client, servers: &[Server]) -> Agent {
    let draft = tollgate.agent(&format!("{}-{}", client.name.to_lowercase(), client.era));
    servers.iter().fold(draft, |draft, server| draft.grant(&format!("{}:*", server.slug))).create().await
}

/// Lets one client try one server out, in a word of its own for each feature that did not work.
async fn try_out(tollgate: &Deployment, agent: &Agent, server: &Server, client: Client) -> Cell {
    let url = tollgate.server_url(server.slug);
    let mut request = errand(server);
    request["era"] = client.era.into();
    request["token"] = agent.token(&url).await.into();
    request["url"] = url.into();
    let facts = client.sdk.run(&request).await;
    let spoken = facts["protocol_version"].as_str().unwrap_or(MODERN);
    assert_eq!(spoken >= MODERN, client.era != "legacy", "{} {}: {facts}", client.name, client.era);
    let failed = |feature: &'static str| {
        let fact = if facts["error"].is_null() { &facts[feature] } else { &facts };
        (!worked(feature, fact, &request)).then(|| (feature, fact.to_string()))
    };
    FEATURES.into_iter().filter_map(failed).collect()
}

fn worked(feature: &str, fact: &Value, request: &Value) -> bool {
    let some_text = || fact["text"].as_str().is_some_and(|text| !text.is_empty());
    match feature {
        "tools" => {
            let called = &request["tool"]["name"];
            some_text() && fact["listed"].as_array().is_some_and(|listed| listed.contains(called))
        }
        "resources" => some_text(),
        "prompts" => fact["messages"].as_u64() >= Some(1),
        "progress" => fact["reports"].as_u64() >= Some(2),
        // The user's answer comes back in the tool's result.
        "elicitation" => {
            fact["asked"].as_u64() == Some(1) && fact["text"].as_str().is_some_and(|text| text.contains(ANSWER))
        }
        _ => fact["uri"] == request["subscription"]["uri"],
    }
}

/// What the user fills into whatever form.
const ANSWER: &str = "Ann Example";

/// The same few things exist everywhere, under other names at the server that no one here wrote.
fn errand(server: &Server) -> Value {
    if server.slug == "everything" {
        let uri = "demo://resource/dynamic/text/1";
        return json!({
            "content": {"name": ANSWER, "check": true},
            "tool": {"name": "echo", "arguments": {"message": "hello"}},
            "resource": uri,
            "prompt": "simple-prompt",
            "progress": {"name": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 3}},
            "elicitation": {"name": "trigger-elicitation-request", "arguments": {}},
            "subscription": {"uri": uri, "touch": {"name": "toggle-subscriber-updates", "arguments": {}}},
        });
    }
    json!({
        "content": {"username": ANSWER, "email": "ann@example.org"},
        "tool": {"name": "test_simple_text", "arguments": {}},
        "resource": "test://static-text",
        "prompt": "test_simple_prompt",
        "progress": {"name": "test_tool_with_progress", "arguments": {}},
        "elicitation": {"name": "test_elicitation", "arguments": {}},
        "subscription": {"uri": "test://static-text", "touch": {"name": "test_touch_resource", "arguments": {}}},
    })
}

fn document(servers: &[Server], cells: &[Cell]) -> String {
    let clients = clients();
    let mut text = String::from(INTRODUCTION);
    let heads = clients.iter().map(|client| format!(" {} {} |", client.name, client.era));
    let _infallible = writeln!(text, "| server |{}", heads.collect::<String>());
    let _infallible = writeln!(text, "| --- |{}", " --- |".repeat(clients.len()));
    for (server, row) in servers.iter().zip(cells.chunks(clients.len())) {
        let row: String = row.iter().map(|cell| format!(" {} |", summary(cell))).collect();
        let _infallible = writeln!(text, "| {} {} |{row}", server.name, server.era);
    }
    text
}

fn summary(cell: &Cell) -> String {
    match cell.len() {
        0 => "all".to_owned(),
        n if n == FEATURES.len() => "nothing".to_owned(),
        _ => format!("all but {}", cell.iter().map(|(feature, _)| *feature).collect::<Vec<_>>().join(", ")),
    }
}

const INTRODUCTION: &str = "\
# Compatibility

Official clients before official servers, through Tollgate on two data planes with requests spread at random. *Legacy* is
MCP up to 2025-11-25 (`initialize`, sessions), *modern* is 2026-07-28 (every request stands alone). A client speaks its
era, a server is asked in its own; where they differ, Tollgate translates. *Auto* is a client that finds out for itself,
as its SDK does it: it ends in the modern era before any server.

In each cell a client lists and calls tools, lists and reads resources, lists and gets prompts, hears a call's progress,
answers a question that a tool asks its user (elicitation), and subscribes to a resource and hears of its change. *All*
says that everything worked.

Clients: Python `mcp` 2.3.0, TypeScript `@modelcontextprotocol/client` 2.4.0, `rmcp` 3.11. Servers:
`@modelcontextprotocol/server-everything` 2026.8.31, Python `mcp` 2.3.0, TypeScript `@modelcontextprotocol/server` 2.4.0,
`rmcp` 3.11.

This page is written by the test that tries it (`tests/e2e/compatibility.rs`, `UPDATE_COMPATIBILITY=1`), which fails where
it says something else than what happens.

";

fn assert_is_committed(document: &str) {
    let path = repository_root().join("docs/compatibility.md");
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        std::fs::write(&path, document).expect("the repository is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "docs/compatibility.md is stale: UPDATE_COMPATIBILITY=1 rewrites it");
}
