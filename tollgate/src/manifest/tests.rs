use serde_json::json;

use super::*;

const FILE: &str = "\
apiVersion: tollgate/v1
kind: Limit
metadata: {name: bot-requests}
spec: {to: {agent: bot}, requests: {count: 60, per: 1m}}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {name: bot-tools, labels: {owner: ada}}
spec:
  to: {agent: bot}
  scopes: [\"demo:add\", \"demo:*\"]
---
apiVersion: tollgate/v1
kind: Agent
metadata: {name: bot}
spec: {team: platform, type: autonomous}
---
apiVersion: tollgate/v1
kind: Toolset
metadata: {name: sums}
spec: {tools: [{server: demo, tool: add, name: sum}]}
---
apiVersion: tollgate/v1
kind: Server
metadata: {name: demo, tenant: other}
spec: {instances: [{url: http://127.0.0.1:3001/mcp}]}
---
apiVersion: tollgate/v1
kind: Team
metadata: {name: platform}
";

fn mistakes(text: &str) -> String {
    read(text, "t.yaml").expect_err("mistakes").to_string()
}

#[test]
fn objects_come_in_the_order_of_application() {
    let objects = read(FILE, "t.yaml").expect("reads");
    let titles: Vec<_> = objects.iter().map(Object::title).collect();
    assert_eq!(
        titles,
        ["team/platform", "server/demo", "toolset/sums", "agent/bot", "grant/bot-tools", "limit/bot-requests"]
    );
    assert_eq!(objects[0].spec, json!({}));
    assert_eq!(objects[1].tenant.as_ref().map(Name::as_str), Some("other"));
    assert_eq!(objects[4].labels["owner"], "ada");
    assert_eq!(objects[5].spec["requests"], json!({ "count": 60, "per": "1m" }));
}

#[test]
fn a_mistake_names_its_line() {
    let text = FILE.replace("instances:", "instance:");
    assert!(mistakes(&text).contains("t.yaml:26: server/demo: unknown field `instance`"), "{}", mistakes(&text));
    let text = FILE.replace("kind: Agent", "kind: Agents");
    assert!(mistakes(&text).contains("t.yaml:14: `Agents` is no kind"), "{}", mistakes(&text));
    let text = FILE.replace("name: sum}", "rename: sum}");
    assert!(mistakes(&text).contains("t.yaml:21: toolset/sums: unknown field `rename`"), "{}", mistakes(&text));
    let conditions = "[\"demo:add\"]\n  conditions: [{pointer: /a, like: 3}]";
    let text = FILE.replace("[\"demo:add\", \"demo:*\"]", conditions);
    assert!(mistakes(&text).contains("grant/bot-tools: unknown field `like`"), "{}", mistakes(&text));
    let text = FILE.replace("name: bot}", "name: Bot}");
    assert!(mistakes(&text).contains("`Bot` is no name"), "{}", mistakes(&text));
    let text = FILE.replace("kind: Limit", "kind: [");
    assert!(mistakes(&text).contains("t.yaml:"), "{}", mistakes(&text));
}

#[test]
fn every_mistake_of_a_file_is_told() {
    let text = FILE.replace("demo:*", "demo").replace("tollgate/v1\nkind: Team", "tollgate/v2\nkind: Team");
    let mistakes = mistakes(&text);
    assert!(mistakes.contains("`demo` is no scope"), "{mistakes}");
    assert!(mistakes.contains("apiVersion must be `tollgate/v1`, not `tollgate/v2`"), "{mistakes}");
}

#[test]
fn an_object_cannot_be_there_twice() {
    let text = format!("{FILE}---\napiVersion: tollgate/v1\nkind: Team\nmetadata: {{name: platform}}\n");
    assert!(mistakes(&text).contains("team/platform is there twice"), "{}", mistakes(&text));
}

#[test]
fn kinds_are_known_in_singular_and_plural_and_any_case() {
    for text in ["server", "servers", "Server", "SERVERS"] {
        assert_eq!(text.parse(), Ok(Kind::Server));
    }
    assert!("serverses".parse::<Kind>().is_err());
}

#[test]
fn what_is_written_reads_back_the_same() {
    let spec = json!({
        "to": { "role": "viewer" }, "scopes": ["demo:*", "demo:a:b", "demo:get_*", "demo:@read"],
        "expires_at": "2026-12-01T00:00:00Z", "networks": ["10.0.0.0/8", "::/0"],
        "conditions": [
            { "pointer": "/a", "equals": null },
            { "pointer": "/b", "in": ["no", 1, "1"] },
            { "pointer": "/c", "range": { "min": -1, "max": 0.5 } },
            { "pointer": "/d", "matches": "^[a-z]+: \"$" },
        ],
        "deny_as": "tool_error",
    });
    let envelope = json!({ "name": "bot-tools", "labels": { "owner": "yes" }, "spec": spec });
    let text = write(Kind::Grant, &envelope).expect("writes");
    let objects = read(&text, "t.yaml").expect("reads");
    assert_eq!(objects[0].spec, spec, "{text}");
    assert_eq!(objects[0].labels["owner"], "yes", "{text}");
}

#[test]
fn an_amount_without_quotes_is_refused_before_it_is_sent() {
    let book = "\
apiVersion: tollgate/v1
kind: PriceBook
metadata: {name: standard}
spec: {effective_from: 2027-01-01, currency: EUR, prices: [{match: \"*\", per_call: \"0.10\"}], outcome_factors: {ok: \"1\"}}
";
    let objects = read(book, "t.yaml").expect("reads");
    assert_eq!(objects[0].spec["prices"][0]["per_call"], "0.10");
    assert_eq!(objects[0].spec["effective_from"], "2027-01-01");
    let text = book.replace("\"0.10\"", "0.10");
    let expected = "t.yaml:4: price-book/standard: the amount 0.1 is not exact: write it in quotes";
    assert!(mistakes(&text).contains(expected), "{}", mistakes(&text));
}

#[test]
fn a_kind_is_found_however_it_is_written() {
    for text in ["PriceBook", "pricebooks", "price-book", "Price-Books"] {
        assert_eq!(text.parse(), Ok(Kind::PriceBook), "{text}");
    }
}
