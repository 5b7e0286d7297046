//! The client commands, as a person or a script uses them.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpClient};

use crate::scene::Scene;

const TEAM: &str = "
apiVersion: tollgate/v1
kind: Team
metadata: {name: platform}
spec: {display_name: Platform, cost_center: '4711'}
";

#[tokio::test]
async fn call_makes_a_governed_call_and_shows_result_and_decision() {
    let tollgate = Deployment::dev().start().await;
    let output = tollgate.command(&["call", "demo/add", "--arg", "a=2", "--arg", "b=40"]).await.success();
    assert!(output.stdout.contains("42"), "{output:?}");
    assert!(format!("{}{}", output.stdout, output.stderr).contains("allowed"), "the decision is shown: {output:?}");
}

#[tokio::test]
async fn call_of_a_denied_tool_fails_and_says_why() {
    let tollgate = Deployment::dev().start().await;
    tollgate.agent("ci").grant("demo:echo").create().await;
    let output = tollgate.command(&["call", "demo/add", "--agent", "ci", "--arg", "a=1", "--arg", "b=1"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(
        said.contains("demo:add") && (said.contains("tool_not_granted") || said.contains("scope_insufficient")),
        "{said}"
    );
}

#[tokio::test]
async fn usage_counts_forwarded_and_refused_calls_apart() {
    let scene = Scene::modern().await;
    scene.client.call("read", json!({})).await;
    scene.client.call("read", json!({})).await;
    scene.client.call("write", json!({})).await;
    let rows = tollgate_tests::eventually("three calls in the report", || async {
        let rows = scene.tollgate.command(&["usage", "--by", "agent", "-o", "json"]).await.success().json();
        let row = rows.as_array()?.iter().find(|row| row["agent"] == "ci")?.clone();
        (row["calls"] == 2 && row["refused"] == 1).then_some(row)
    })
    .await;
    assert_eq!(
        rows["tokens"].as_u64(),
        Some(rows["input_tokens"].as_u64().unwrap_or(0) + rows["output_tokens"].as_u64().unwrap_or(0))
    );
    assert!(rows["cost"].is_string(), "{rows}");
    let csv = scene.tollgate.command(&["usage", "--by", "tool", "-o", "csv"]).await.success();
    let header = csv.stdout.lines().next().unwrap_or_default();
    assert_eq!(header, "tool,calls,refused,input_tokens,output_tokens,tokens,cost,currency");

    let latest = scene.tollgate.get("usage-records?limit=1").await;
    let day = &latest["items"][0]["at"].as_str().expect("a time")[..10];
    let rebuilt = scene.tollgate.command(&["usage", "rebuild", "--from", day, "--to", day]).await.success().json();
    assert_eq!(rebuilt, json!({"days": 1, "mended": 0}), "what is right stays as it is");
    let again = scene.tollgate.command(&["usage", "--by", "agent", "--from", day, "-o", "json"]).await.success().json();
    let row = again.as_array().and_then(|rows| rows.iter().find(|row| row["agent"] == "ci")).cloned();
    assert_eq!(row, Some(rows));
}

#[tokio::test]
async fn apply_changes_nothing_the_second_time() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    let first = tollgate.apply(TEAM).await;
    let team = tollgate.get("teams/platform").await;
    assert_eq!(team["spec"], json!({"display_name": "Platform", "cost_center": "4711"}), "{first:?}");
    let second = tollgate.apply(TEAM).await;
    assert!(format!("{}{}", second.stdout, second.stderr).contains("unchanged"), "{second:?}");
    assert_eq!(tollgate.get("teams/platform").await["revision"], team["revision"]);
}

#[tokio::test]
async fn a_toolset_that_was_applied_is_exported_and_applied_again_unchanged() {
    let tollgate = Deployment::dev().start().await;
    let toolset = "
apiVersion: tollgate/v1
kind: Grant
metadata: {name: sums}
spec: {to: {agent: demo-agent}, scopes: [toolset/sums]}
---
apiVersion: tollgate/v1
kind: Toolset
metadata: {name: sums, labels: {owner: ada}}
spec:
  display_name: Sums
  tools:
    - {server: demo, tool: add, name: sum, description: 'Adds two numbers: a and b.'}
    - {server: demo, tool: echo}
";
    tollgate.apply(toolset).await;
    let stored = tollgate.get("toolsets/sums").await;
    assert_eq!(stored["status"]["effective"]["names"], json!(["sum", "demo__echo"]));
    let exported = tollgate.command(&["get", "toolsets", "-o", "yaml"]).await.success().stdout;
    assert!(exported.contains("kind: Toolset"), "{exported}");
    let again = tollgate.apply(&exported).await;
    assert!(format!("{}{}", again.stdout, again.stderr).contains("unchanged"), "{again:?}");
    assert_eq!(tollgate.get("toolsets/sums").await, stored);
    let table = tollgate.command(&["get", "toolset", "sums"]).await.success().stdout;
    assert!(table.contains("sum, demo__echo") && table.contains("/toolsets/sums"), "{table}");
    let wrong = toolset.replace("tool: echo", "tool: add");
    let refused = tollgate.command_with_input(&["apply", "-f", "-"], &wrong).await;
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("entries 0 and 1 are the same tool"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_plan_says_what_apply_would_do_and_what_was_exported_changes_nothing() {
    let tollgate = Deployment::dev().start().await;
    let exported = tollgate.command(&["export"]).await.success().stdout;
    for kind in ["Team", "Server", "Agent", "Grant"] {
        assert!(exported.contains(&format!("kind: {kind}\n")), "{exported}");
    }
    let plan = ["plan", "-f", "-"];
    let same = tollgate.command_with_input(&plan, &exported).await;
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.stdout.lines().all(|line| line.starts_with("unchanged ")), "{}", same.stdout);
    let other = exported.replace("demo:add", "demo:reset_counter") + "---\n" + TEAM.replace("platform", "new").trim();
    let changes = tollgate.command_with_input(&plan, &other).await;
    assert_eq!(changes.code, 2, "{changes:?}");
    assert!(changes.stdout.contains("create team/new\n"), "{}", changes.stdout);
    assert!(changes.stdout.contains(r#"spec.scopes[0]: "demo:add" -> "demo:reset_counter""#), "{}", changes.stdout);
    assert_eq!(tollgate.command(&["export"]).await.success().stdout, exported, "a plan writes nothing");
    assert_eq!(tollgate.command_with_input(&plan, "kind: [").await.code, 1);
}

#[tokio::test]
async fn users_and_the_tenant_are_changed_by_command() {
    let tollgate = Deployment::dev().start().await;
    let ada = "ada@example.com";
    tollgate.command(&["users", "create", ada, "--role", "operator", "--team", "platform"]).await.success();
    let spec = async || tollgate.get(&format!("users/{ada}")).await["spec"].clone();
    assert_eq!(spec().await, json!({"role": "operator", "team": "platform", "state": "active"}));
    tollgate.command(&["users", "update", ada, "--team", "", "--state", "disabled"]).await.success();
    assert_eq!(spec().await, json!({"role": "operator", "state": "disabled"}));
    assert_eq!(tollgate.command(&["users", "update", ada]).await.code, 3);
    assert_eq!(tollgate.command(&["users", "update", ada, "--role", "king"]).await.code, 1);
    tollgate.command(&["users", "delete", ada]).await.success();
    assert_eq!(tollgate.command(&["users", "delete", ada]).await.code, 5);

    let set = ["tenant", "set", "access_token_ttl=30m", "client_registration.registration=approval"];
    tollgate.command(&set).await.success();
    let shown = async || tollgate.command(&["tenant", "show", "-o", "json"]).await.success().json()["spec"].clone();
    let changed = shown().await;
    assert_eq!(changed["access_token_ttl"], "30m");
    assert_eq!(changed["client_registration"], json!({"registration": "approval"}));
    assert!(changed["egress_allow"].is_array(), "the rest stays: {changed}");
    tollgate.command(&["tenant", "set", "access_token_ttl="]).await.success();
    assert_eq!(shown().await.get("access_token_ttl"), None);
    let wrong = tollgate.command(&["tenant", "set", "colour=red"]).await;
    assert!(wrong.code == 1 && wrong.stderr.contains("colour"), "{wrong:?}");
    assert_eq!(tollgate.command(&["tenant", "set", "colour"]).await.code, 3);
}

#[tokio::test]
async fn apply_refuses_what_it_does_not_understand() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    let before = tollgate.get("teams").await;
    let wrong = [
        ("kind: [unclosed", "line 1"),
        ("apiVersion: tollgate/v1\nkind: Gadget\nmetadata: {name: x}\nspec: {}\n", "Gadget"),
        ("apiVersion: tollgate/v1\nkind: Team\nmetadata: {name: x}\nspec: {colour: red}\n", "colour"),
        ("apiVersion: tollgate/v1\nkind: Team\nmetadata: {name: Not A Name}\nspec: {}\n", "name"),
        (
            "apiVersion: tollgate/v1\nkind: Grant\nmetadata: {name: x}\nspec: {to: {role: boss}, scopes: ['a:b']}\n",
            "role",
        ),
    ];
    for (yaml, names) in wrong {
        let output = tollgate.command_with_input(&["apply", "-f", "-"], yaml).await;
        assert_ne!(output.code, 0, "{yaml}");
        assert!(output.stderr.contains(names), "{names} is not named: {}", output.stderr);
    }
    assert_eq!(tollgate.get("teams").await, before, "nothing was half applied");
}

#[tokio::test]
async fn a_new_secret_is_printed_once_and_works() {
    let scene = Scene::modern().await;
    let credential = scene.tollgate.command(&["agents", "secret", "ci"]).await.success().json();
    let mut agent = scene.agent.clone();
    agent.client_secret = credential["client_secret"].as_str().expect("a secret").to_owned();
    scene.tollgate.remember_secret(&agent.client_secret);
    assert_eq!(credential["client_id"], agent.client_id);
    let token = agent.token(scene.client.url()).await;
    assert_eq!(McpClient::new(scene.client.url()).with_token(&token).call("read", json!({})).await.status, 200);
    let listed = scene.tollgate.get("agents/ci/credentials").await;
    assert!(!listed.to_string().contains(&agent.client_secret), "it never comes back");
    let third = scene.tollgate.command(&["agents", "secret", "ci"]).await;
    assert_eq!(third.code, 6, "a third secret is one too many: {third:?}");
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    assert_eq!(tollgate.command(&["usage", "--by", "colour"]).await.code, 3, "usage");
    assert_eq!(tollgate.command(&["agents", "secret", "nobody"]).await.code, 5, "not found");
    assert_eq!(tollgate.command(&["usage", "--by", "tool", "--token", "tgk_wrong"]).await.code, 4, "not authorised");
    let nowhere = format!("http://127.0.0.1:{}", tollgate_tests::free_port());
    assert_eq!(tollgate.command(&["usage", "--by", "tool", "--url", &nowhere]).await.code, 7, "unavailable");
}

#[tokio::test]
async fn get_takes_kinds_in_any_form() {
    let scene = Scene::modern().await;
    for kind in ["server", "servers", "Server"] {
        let server: Value = scene.tollgate.command(&["get", kind, "files", "-o", "json"]).await.success().json();
        assert_eq!(server["name"], "files", "{server}");
    }
}

#[tokio::test]
async fn doctor_finds_a_healthy_deployment_healthy() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    let output = tollgate.command(&["doctor"]).await.success();
    assert!(!output.stdout.contains('✗'), "{}", output.stdout);
}
