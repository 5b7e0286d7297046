//! What `tollgate can-i` says is what a call gets.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpClient, Person, Reply, ScriptedServer};

const GRANTS: &str = "
apiVersion: tollgate/v1
kind: Grant
metadata: {name: getters}
spec: {to: {agent: bot}, scopes: ['files:get_*']}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: no-secrets}
spec: {to: {team: stories}, scopes: ['files:get_secret'], deny: true}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: small-sums}
spec:
  to: {agent: bot}
  scopes: ['files:pay']
  conditions: [{pointer: /amount, range: {min: 0, max: 10}}, {pointer: /to, matches: '^[a-z]+$'}]
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: from-here}
spec: {to: {agent: bot}, scopes: ['files:open'], networks: [127.0.0.0/8]}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: from-elsewhere}
spec: {to: {agent: bot}, scopes: ['files:shut'], networks: [192.0.2.0/24]}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: for-a-while}
spec: {to: {agent: bot}, scopes: ['files:once'], expires_at: 2999-01-01T00:00:00Z}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: owners}
spec: {to: {role: owner}, scopes: ['files:look']}
";

/// A deployment with these grants, and a server whose tools they speak of.
async fn set() -> (Deployment, ScriptedServer) {
    let tools = ["get_issue", "get_secret", "pay", "open", "shut", "once", "look", "drop"];
    let server = tools.iter().fold(ScriptedServer::modern(), |server, tool| server.tool(tool, Reply::text("done")));
    let server = server.start().await;
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register("files", &server).await;
    (tollgate, server)
}

/// Asks first and then calls, and asserts that the two agree; answers the decision and the grant that made it.
async fn agreed(tollgate: &Deployment, who: &[&str], client: &McpClient, tool: &str, arguments: &Value) -> String {
    let target = format!("files/{tool}");
    let given = arguments.as_object().expect("an object").iter().map(|(name, value)| format!("{name}={value}"));
    let given: Vec<String> = given.collect();
    let mut line = vec!["can-i", who[0], "call", &target, "--from", "127.0.0.1", "-o", "json"];
    line.extend(&who[1..]);
    line.extend(given.iter().flat_map(|argument| ["--arg", argument]));
    let asked = tollgate.command(&line).await;
    let said = asked.json();
    let got = client.call(tool, arguments.clone()).await;
    if got.status == 200 {
        assert_eq!((asked.code, &said["decision"]), (0, &json!("allowed")), "{tool} {arguments}: {said:#}");
    } else {
        assert_eq!(asked.code, 4, "{tool} {arguments}: {said:#}\n{}", got.body);
        assert_eq!(said["reason"], got.reason(), "{tool} {arguments}: {said:#}\n{}", got.body);
    }
    format!("{} {}", said["decision"].as_str().unwrap_or("-"), said["grant"].as_str().unwrap_or("-"))
}

#[tokio::test]
async fn what_is_answered_is_what_a_call_gets() {
    let (tollgate, _server) = set().await;
    let bot = tollgate.agent("bot").create().await;
    tollgate.apply(GRANTS).await;
    let client = bot.at_server("files").await;
    let nothing = json!({});
    for (tool, arguments, expected) in [
        ("get_issue", &nothing, "allowed getters"),
        ("get_secret", &nothing, "refused no-secrets"),
        ("drop", &nothing, "refused -"),
        ("look", &nothing, "refused -"),
        ("pay", &json!({"amount": 10, "to": "ada"}), "allowed small-sums"),
        ("pay", &json!({"amount": 10.5, "to": "ada"}), "refused small-sums"),
        ("pay", &json!({"amount": 1, "to": "Ada"}), "refused small-sums"),
        ("pay", &json!({"amount": "1", "to": "ada"}), "refused small-sums"),
        ("pay", &nothing, "refused small-sums"),
        ("open", &nothing, "allowed from-here"),
        ("shut", &nothing, "refused from-elsewhere"),
        ("once", &nothing, "allowed for-a-while"),
    ] {
        assert_eq!(agreed(&tollgate, &["bot"], &client, tool, arguments).await, expected, "{tool} {arguments}");
    }
}

#[tokio::test]
async fn a_grant_that_has_ended_is_answered_as_a_call_is() {
    let (tollgate, _server) = set().await;
    let bot = tollgate.agent("bot").create().await;
    tollgate.apply(GRANTS).await;
    let client = bot.at_server("files").await;
    assert_eq!(agreed(&tollgate, &["bot"], &client, "once", &json!({})).await, "allowed for-a-while");
    tollgate.sql("UPDATE grants SET expires_at = now() - interval '1 minute' WHERE name = 'for-a-while'").await;
    tollgate.sql("UPDATE tenants SET policy_revision = policy_revision + 1").await;
    tollgate.policy_in_force().await;
    assert_eq!(agreed(&tollgate, &["bot"], &client, "once", &json!({})).await, "refused for-a-while");
}

#[tokio::test]
async fn a_role_lets_in_whoever_acts_for_a_user_who_has_it() {
    let (tollgate, _server) = set().await;
    tollgate.agent("bot").create().await;
    tollgate.apply(GRANTS).await;
    let app = tollgate.interactive_agent("app").confidential("client_secret_post").create().await;
    let mut owner = Person::owner(&tollgate).await;
    let url = tollgate.server_url("files");
    let tokens = app.tokens(&mut owner, &url).await;
    assert_eq!(tokens.scope, "files:look");
    let client = tokens.at(&url);
    let who = ["app", "--user", owner.email.as_str()];
    assert_eq!(agreed(&tollgate, &who, &client, "look", &json!({})).await, "allowed owners");
    assert_eq!(agreed(&tollgate, &who, &client, "drop", &json!({})).await, "refused -");
    let bare = tollgate.command(&["can-i", "app", "call", "files/look"]).await;
    assert_eq!(bare.code, 4, "for itself it may not: {}", bare.stdout);
}

#[tokio::test]
async fn an_answer_can_be_read_and_a_stranger_is_not_found() {
    let (tollgate, _server) = set().await;
    tollgate.agent("bot").grant("files:get_*").create().await;
    let allowed = tollgate.command(&["can-i", "bot", "call", "files/get_issue"]).await.success();
    assert!(allowed.stdout.starts_with("allowed: grant `"), "{}", allowed.stdout);
    let refused = tollgate.command(&["can-i", "bot", "read", "files/file:///a"]).await;
    assert_eq!(refused.code, 4);
    assert!(refused.stdout.contains("scope files:@resource/file:///a"), "{}", refused.stdout);
    let stranger = tollgate.command(&["can-i", "nobody", "call", "files/get_issue"]).await;
    assert_eq!(stranger.code, 5, "{}", stranger.stderr);
}
