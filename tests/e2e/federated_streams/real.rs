//! Servers and clients that no one here wrote, at the joined endpoint.

use super::*;
use tollgate_tests::{Balancer, RealServer, ReferenceServer, Speaks, TrialClient};

const NOTE: &str = "test%3A%2F%2Fstatic-text";

/// Every kind of server, as it is registered.
async fn register_all(tollgate: &Deployment, servers: &[(&str, &str, String)]) {
    tollgate.allow_loopback_servers().await;
    for (name, era, url) in servers {
        let spec = json!({"instances": [{"url": url}], "era": era});
        tollgate.put(&format!("servers/{name}"), json!({"spec": spec})).await;
    }
}

async fn agent_of(tollgate: &Deployment, name: &str, servers: &[(&str, &str, String)]) -> Agent {
    let draft = tollgate.agent(name);
    servers.iter().fold(draft, |draft, (server, ..)| draft.grant(&format!("{server}:*"))).create().await
}

#[tokio::test]
async fn updates_of_every_server_reach_agents_of_both_eras_through_either_data_plane() {
    let everything = RealServer::everything().await;
    let (python, typescript) = (RealServer::python().await, RealServer::typescript().await);
    let rust = ReferenceServer::start(Speaks::Both).await;
    let servers = [
        ("everything", "legacy", everything.url()),
        ("python-legacy", "legacy", python.url()),
        ("python-modern", "modern", python.url()),
        ("rmcp-legacy", "legacy", rust.url().to_owned()),
        ("rmcp-modern", "modern", rust.url().to_owned()),
        ("typescript-legacy", "legacy", typescript.url()),
        ("typescript-modern", "modern", typescript.url()),
    ];
    let tollgate = Deployment::separate(2).start().await;
    register_all(&tollgate, &servers).await;
    let of_server = |name: &str| match name {
        "everything" => ("demo%3A%2F%2Fresource%2Fdynamic%2Ftext%2F1", "toggle-subscriber-updates"),
        _ => (NOTE, "test_touch_resource"),
    };
    let uris: Vec<String> =
        servers.iter().map(|(name, ..)| format!("tollgate://{name}/{}", of_server(name).0)).collect();
    let modern = agent_of(&tollgate, "modern", &servers).await;
    let [here, there] = both(&tollgate, &modern).await;
    let wanted = json!({"notifications": {"resourceSubscriptions": uris}});
    let mut stream = there.open("subscriptions/listen", wanted).await;
    let first = next(&mut stream).await;
    assert_eq!(first["params"]["notifications"], json!({"resourceSubscriptions": uris}), "{first}");
    touch_all(&here, &mut stream, &servers, of_server).await;
    let legacy = agent_of(&tollgate, "legacy", &servers).await;
    let [here, there] = session(&tollgate, &legacy).await;
    let mut stream = there.stream(None).await;
    for uri in &uris {
        let subscribed = here.request("resources/subscribe", json!({"uri": uri})).await;
        assert!(subscribed.messages[0].get("result").is_some(), "{uri}: {}", subscribed.body);
    }
    touch_all(&here, &mut stream, &servers, of_server).await;
}

/// Touches the resource at each server until the stream brings that, under the name that it has at the endpoint.
async fn touch_all(
    client: &McpClient,
    stream: &mut McpStream,
    servers: &[(&str, &str, String)],
    of_server: impl Fn(&str) -> (&'static str, &'static str),
) {
    for (name, ..) in servers {
        let (uri, touch) = of_server(name);
        let uri = format!("tollgate://{name}/{uri}");
        let tool = format!("{name}__{touch}");
        let called = client.call(&tool, json!({})).await;
        assert_eq!(called.status, 200, "{tool}: {}", called.body);
        while next_of(stream, "notifications/resources/updated").await["uri"] != uri.as_str() {}
    }
}

#[tokio::test]
async fn a_listener_that_comes_when_another_one_of_its_agent_leaves_hears_what_is_said() {
    let everything = RealServer::everything().await;
    let (python, typescript) = (RealServer::python().await, RealServer::typescript().await);
    let rust = ReferenceServer::start(Speaks::Both).await;
    let servers = [
        ("everything", "legacy", everything.url()),
        ("python", "legacy", python.url()),
        ("rmcp", "legacy", rust.url().to_owned()),
        ("typescript", "legacy", typescript.url()),
    ];
    let tollgate = Deployment::separate(2).start().await;
    register_all(&tollgate, &servers).await;
    let agent = agent_of(&tollgate, "ci", &servers).await;
    for (name, ..) in &servers {
        let (uri, touch) = match *name {
            "everything" => ("demo://resource/dynamic/text/1", "toggle-subscriber-updates"),
            _ => ("test://static-text", "test_touch_resource"),
        };
        let client = agent.at_server(name).await;
        let wanted = json!({"notifications": {"resourceSubscriptions": [uri]}});
        let mut before: Option<McpStream> = None;
        for round in 0..4 {
            let here = client.clone().through(tollgate.data_plane_url(round % 2));
            drop(before.take());
            let mut stream = here.open("subscriptions/listen", wanted.clone()).await;
            let acknowledged = next_of(&mut stream, "notifications/subscriptions/acknowledged").await;
            assert_eq!(acknowledged["notifications"], wanted["notifications"], "{name}, round {round}");
            // At this server the call switches updates on, and off again.
            if *name != "everything" || round == 0 {
                assert_eq!(here.call(touch, json!({})).await.status, 200);
            }
            next_of(&mut stream, "notifications/resources/updated").await;
            before = Some(stream);
        }
    }
}

#[tokio::test]
async fn official_clients_of_both_eras_hear_of_resources_of_either_era() {
    let rust = ReferenceServer::start(Speaks::Both).await;
    let servers = [("old", "legacy", rust.url().to_owned()), ("new", "modern", rust.url().to_owned())];
    let balancer = Balancer::start().await;
    let tollgate = Deployment::separate(2).balanced_by(&balancer).start().await;
    register_all(&tollgate, &servers).await;
    for (sdk, name) in
        [(TrialClient::Python, "python"), (TrialClient::TypeScript, "typescript"), (TrialClient::Rust, "rmcp")]
    {
        for era in ["legacy", "modern"] {
            let agent = agent_of(&tollgate, &format!("{name}-{era}"), &servers).await;
            let url = tollgate.federated_url();
            for server in ["old", "new"] {
                let tool = |own: &str| json!({"name": format!("{server}__{own}"), "arguments": {}});
                let uri = format!("tollgate://{server}/{NOTE}");
                let request = json!({
                    "url": url, "era": era, "token": agent.token(&url).await,
                    "content": {"username": "Ann", "email": "ann@example.com"},
                    "tool": tool("test_simple_text"), "resource": uri,
                    "prompt": format!("{server}__test_simple_prompt"),
                    "progress": tool("test_tool_with_progress"), "elicitation": tool("test_simple_text"),
                    "subscription": {"uri": uri, "touch": tool("test_touch_resource")},
                });
                let facts = sdk.run(&request).await;
                assert_eq!(facts["subscriptions"]["uri"], uri.as_str(), "{name} {era} at {server}: {facts}");
            }
        }
    }
}
