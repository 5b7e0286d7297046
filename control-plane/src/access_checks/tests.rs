use std::sync::Arc;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::edition;
use crate::{
    caller::Role,
    policy,
    testing::{Bench, run, text},
};

/// An agent with grants of every kind.
async fn world(bench: &Bench) {
    bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/bot", json!({ "spec": { "team": "core", "type": "autonomous" } })).await.expect(201);
    bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
    let user = json!({ "email": "ada@acme.test", "spec": { "role": "viewer" } });
    bench.post("users", user).await.expect(201);
    for (name, spec) in [
        ("getters", json!({ "to": { "agent": "bot" }, "scopes": ["demo:get_*"] })),
        ("no-secrets", json!({ "to": { "team": "core" }, "scopes": ["demo:get_secret"], "deny": true })),
        ("viewers", json!({ "to": { "role": "viewer" }, "scopes": ["demo:look"] })),
        (
            "small",
            json!({
                "to": { "agent": "bot" }, "scopes": ["demo:pay"],
                "conditions": [{ "pointer": "/amount", "range": { "max": 10 } }],
            }),
        ),
        ("office", json!({ "to": { "agent": "bot" }, "scopes": ["demo:open"], "networks": ["10.0.0.0/8"] })),
        ("once", json!({ "to": { "agent": "bot" }, "scopes": ["demo:once"], "expires_at": "2999-01-01T00:00:00Z" })),
    ] {
        bench.put(&format!("grants/{name}"), json!({ "spec": spec })).await.expect(201);
    }
}

async fn ask(bench: &Bench, asked: Value) -> Value {
    let mut body = json!({ "agent": "bot", "server": "demo" });
    body.as_object_mut().expect("an object").extend(asked.as_object().expect("an object").clone());
    bench.post("access-checks", body).await.expect(200).json
}

/// `allowed grant scope` or `reason grant scope`.
fn summary(answer: &Value) -> String {
    let verdict = if answer["decision"] == "allowed" { "allowed" } else { text(&answer["reason"]) };
    format!("{verdict} {} {}", answer["grant"].as_str().unwrap_or("-"), text(&answer["scope"]))
}

#[tokio::test]
async fn an_answer_names_grant_scope_and_reason() {
    run(async |bench| {
        world(bench).await;
        for (asked, expected) in [
            (json!({ "tool": "get_issue" }), "allowed getters demo:get_*"),
            (json!({ "tool": "get_secret" }), "tool_not_granted no-secrets demo:get_secret"),
            (json!({ "tool": "drop" }), "tool_not_granted - demo:drop"),
            (json!({ "prompt": "get_issue" }), "tool_not_granted - demo:@prompt/get_issue"),
            (json!({ "resource": "file:///a" }), "tool_not_granted - demo:@resource/file:///a"),
            (json!({ "tool": "get_issue", "server": "other" }), "server_unknown - other:get_issue"),
            (json!({ "tool": "look" }), "tool_not_granted - demo:look"),
            (json!({ "tool": "look", "user": "Ada@acme.test" }), "allowed viewers demo:look"),
            (json!({ "tool": "pay" }), "allowed small demo:pay"),
            (json!({ "tool": "pay", "arguments": { "amount": 10 } }), "allowed small demo:pay"),
            (json!({ "tool": "pay", "arguments": { "amount": 11 } }), "argument_not_allowed small demo:pay"),
            (json!({ "tool": "pay", "arguments": {} }), "argument_not_allowed small demo:pay"),
            (json!({ "tool": "open" }), "allowed office demo:open"),
            (json!({ "tool": "open", "from": "10.1.2.3" }), "allowed office demo:open"),
            (json!({ "tool": "open", "from": "192.0.2.1" }), "network_not_allowed office demo:open"),
            (json!({ "tool": "once" }), "allowed once demo:once"),
            (json!({ "tool": "once", "at": "2999-01-01T00:00:00Z" }), "tool_not_granted once demo:once"),
            (json!({ "tool": "get_issue", "scopes": ["demo:get_*"] }), "allowed getters demo:get_*"),
            (json!({ "tool": "get_issue", "scopes": ["demo:pay"] }), "scope_insufficient getters demo:get_*"),
        ] {
            let answer = ask(bench, asked.clone()).await;
            assert_eq!(summary(&answer), expected, "{asked}: {answer:#}");
            assert_eq!(answer["revision"], bench.policy_revision().await);
        }
    })
    .await;
}

#[tokio::test]
async fn an_explanation_says_what_would_change_the_answer() {
    run(async |bench| {
        world(bench).await;
        for (asked, part) in [
            (json!({ "tool": "pay" }), "by `demo:pay`, for some arguments"),
            (json!({ "tool": "open" }), "by `demo:open`, from some networks"),
            (json!({ "tool": "open", "from": "192.0.2.1" }), "from 10.0.0.0/8 only"),
            (json!({ "tool": "pay", "arguments": {} }), "that at `/amount` does not meet its condition"),
            (json!({ "tool": "once", "at": "2999-01-01T00:00:00Z" }), "ended at 2999-01-01 00:00:00 UTC"),
            (json!({ "tool": "get_secret" }), "grant `no-secrets` forbids `demo:get_secret`"),
            (json!({ "tool": "drop" }), "no grant to the agent or to its team speaks of `demo:drop`"),
            (json!({ "tool": "drop", "user": "ada@acme.test" }), "to its team or to the user's role"),
        ] {
            let answer = ask(bench, asked.clone()).await;
            assert!(text(&answer["explanation"]).contains(part), "{asked}: {answer:#}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_not_act_is_told_so_whatever_the_grants_say() {
    run(async |bench| {
        world(bench).await;
        bench.post("agents/bot:suspend", json!({})).await.expect(200);
        let answer = ask(bench, json!({ "tool": "get_issue" })).await;
        assert_eq!(summary(&answer), "token_revoked - demo:get_issue");
        bench.post("agents/bot:activate", json!({})).await.expect(200);
        let disable = bench.call(Method::PATCH, "users/ada@acme.test").header("if-match", "*");
        disable.json(json!({ "spec": { "state": "disabled" } })).await.expect(200);
        let answer = ask(bench, json!({ "tool": "get_issue", "user": "ada@acme.test" })).await;
        assert_eq!(summary(&answer), "token_revoked - demo:get_issue");
    })
    .await;
}

#[tokio::test]
async fn who_is_held_to_exact_tools_is_told_which_grant_to_write() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "team": "core" }, "scopes": ["demo:*", "demo:get_one"] });
        bench.put("grants/team", json!({ "spec": spec })).await.expect(201);
        assert_eq!(summary(&ask(bench, json!({ "tool": "drop" })).await), "allowed team demo:*");
        let hold = bench.call(Method::PATCH, "agents/bot").header("if-match", "*");
        hold.json(json!({ "spec": { "exact_tools": true } })).await.expect(200);
        let held = ask(bench, json!({ "tool": "drop" })).await;
        assert_eq!(summary(&held), "held_to_exact_tools team demo:*");
        assert!(text(&held["explanation"]).contains("write a grant of `demo:drop` to the agent itself"), "{held:#}");
        assert_eq!(summary(&ask(bench, json!({ "tool": "get_one" })).await), "allowed getters demo:get_*");
        let spec = json!({ "to": { "agent": "bot" }, "scopes": ["demo:drop"] });
        bench.put("grants/own", json!({ "spec": spec })).await.expect(201);
        assert_eq!(summary(&ask(bench, json!({ "tool": "drop" })).await), "allowed own demo:drop");
    })
    .await;
}

#[tokio::test]
async fn what_is_read_without_arguments_is_answered_as_it_is_decided() {
    run(async |bench| {
        world(bench).await;
        let conditions = json!([{ "pointer": "/a", "equals": 1 }]);
        let spec = json!({ "to": { "agent": "bot" }, "scopes": ["demo:*"], "conditions": conditions });
        bench.put("grants/all", json!({ "spec": spec })).await.expect(201);
        for asked in [json!({ "resource": "a:b" }), json!({ "resource": "a:b", "arguments": { "a": 1 } })] {
            assert_eq!(summary(&ask(bench, asked).await), "argument_not_allowed all demo:*");
        }
        let prompt = ask(bench, json!({ "prompt": "p" })).await;
        assert_eq!(summary(&prompt), "allowed all demo:*");
        assert!(text(&prompt["explanation"]).ends_with("for some arguments"), "{prompt:#}");
    })
    .await;
}

#[tokio::test]
async fn a_change_of_grants_changes_the_next_answer() {
    run(async |bench| {
        world(bench).await;
        assert_eq!(summary(&ask(bench, json!({ "tool": "drop" })).await), "tool_not_granted - demo:drop");
        let spec = json!({ "to": { "agent": "bot" }, "scopes": ["demo:*"] });
        bench.put("grants/all", json!({ "spec": spec })).await.expect(201);
        assert_eq!(summary(&ask(bench, json!({ "tool": "drop" })).await), "allowed all demo:*");
    })
    .await;
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_where_it_is_wrong() {
    run(async |bench| {
        world(bench).await;
        let refused = async |body: Value| bench.post("access-checks", body).await;
        for (body, expected) in [
            (json!({ "agent": "bot", "server": "demo" }), " exactly_one"),
            (json!({ "agent": "bot", "server": "demo", "tool": "a", "prompt": "b" }), " exactly_one"),
            (json!({ "agent": "bot", "server": "demo", "tool": "a", "scopes": ["x"] }), "/scopes/0 scope"),
            (json!({ "agent": "bot", "server": "demo", "tool": "a", "from": "here" }), "/from shape"),
            (json!({ "agent": "bot", "server": "demo", "tool": "a", "at": "noon" }), "/at shape"),
            (json!({ "agent": "bot", "server": "demo", "tool": "a", "arguments": [] }), "/arguments shape"),
        ] {
            assert_eq!(refused(body).await.expect(422).problem().1, [expected]);
        }
        for body in [
            json!({ "agent": "nobody", "server": "demo", "tool": "a" }),
            json!({ "agent": "bot", "user": "nobody@acme.test", "server": "demo", "tool": "a" }),
        ] {
            refused(body).await.expect(404);
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_may_look_may_ask_and_another_tenants_agent_is_not_there() {
    run(async |bench| {
        world(bench).await;
        let body = json!({ "agent": "bot", "server": "demo", "tool": "get_issue" });
        for role in [Role::Viewer, Role::Finance] {
            bench.call(Method::POST, "access-checks").by(role).json(body.clone()).await.expect(200);
        }
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        let theirs = bench.call(Method::POST, "/api/v1/tenants/other/access-checks").with_key(&key);
        theirs.json(body).await.expect(404);
    })
    .await;
}

/// Asks so often at once; answers the revision, which everybody read at one go.
async fn ask_together(bench: &Bench) -> u64 {
    let owner = bench.owner();
    let editions = join_all((0..32).map(|_| edition(&bench.app, &owner))).await;
    let editions: Vec<_> = editions.into_iter().map(|edition| edition.expect("a policy")).collect();
    assert!(editions.iter().all(|edition| Arc::ptr_eq(edition, &editions[0])), "it was read more than once");
    editions[0].policy.revision
}

#[tokio::test]
async fn however_many_ask_at_once_a_policy_is_read_once() {
    run(async |bench| {
        world(bench).await;
        assert_eq!(ask_together(bench).await, bench.policy_revision().await.unsigned_abs(), "nothing is published yet");
        let stopping = CancellationToken::new();
        let following = tokio::spawn(policy::follow_changes(Arc::clone(&bench.app), stopping.clone()));
        for name in ["first", "second"] {
            let spec = json!({ "to": { "agent": "bot" }, "scopes": ["demo:more"] });
            bench.put(&format!("grants/{name}"), json!({ "spec": spec })).await.expect(201);
            let revision = bench.policy_revision().await.unsigned_abs();
            let mut known = bench.app.policy_changes.subscribe();
            let is_published =
                |known: &policy::Known| known.policy(bench.acme).is_some_and(|policy| policy.revision == revision);
            known.wait_for(is_published).await.expect("it is followed");
            assert_eq!(ask_together(bench).await, revision);
        }
        stopping.cancel();
        following.await.expect("it ends");
    })
    .await;
}
