use http::Method;
use serde_json::{Value, json};
use tollgate_proto::policy::v1::{DenyAs, JsonValues, NumberRange, condition::Test, grant::To};

use crate::{
    policy::compile,
    testing::{Bench, run},
};

async fn world(bench: &Bench) {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
    bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
}

async fn faults(bench: &Bench, spec: Value) -> Vec<String> {
    bench.put("grants/g", json!({ "spec": spec })).await.expect(422).problem().1
}

#[tokio::test]
async fn a_grant_shows_what_was_sent() {
    run(async |bench| {
        world(bench).await;
        for to in [json!({ "agent": "ci-bot" }), json!({ "team": "platform" }), json!({ "role": "none" })] {
            let spec = json!({
                "to": to, "deny": false, "expires_at": "2999-01-01T00:00:00+01:00",
                "scopes": ["demo:echo", "demo:*", "demo:get_*", "demo:@read", "demo:@prompt/re*"],
                "conditions": [
                    { "pointer": "/amount", "range": { "min": 0, "max": 99.5 } },
                    { "pointer": "/who", "equals": null },
                ],
                "networks": ["10.0.0.0/8", "fd00::/8"],
                "deny_as": "tool_error",
            });
            let created = bench.call(Method::PUT, "grants/g").header("if-match", "*").json(json!({ "spec": spec }));
            assert_eq!(created.await.expect(412).problem().0, "precondition_failed");
            let created = bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
            assert_eq!(created.json["spec"], spec);
            let effective = json!({ "deny": false, "deny_as": "tool_error" });
            assert_eq!(created.json["status"], json!({ "expired": false, "effective": effective }));
            bench.call(Method::DELETE, "grants/g").header("if-match", "\"1\"").send().await.expect(204);
        }
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_grant_is_named_where_it_is() {
    run(async |bench| {
        world(bench).await;
        let to = json!({ "agent": "ci-bot" });
        let scopes = json!(["demo:echo", "nowhere:echo", "demo", "demo:@write", "nowhere:@prompt/x"]);
        let expected = [
            "/spec/scopes/2 scope",
            "/spec/scopes/3 scope",
            "/spec/scopes/1 server_unknown",
            "/spec/scopes/4 server_unknown",
            "/spec/expires_at time_past",
        ];
        let past = "2020-01-01T00:00:00Z";
        assert_eq!(faults(bench, json!({ "to": to, "scopes": scopes, "expires_at": past })).await, expected);
        for (spec, expected) in [
            (json!({ "to": to, "scopes": [] }), "/spec/scopes required"),
            (json!({ "to": to, "scopes": vec!["demo:*"; 201] }), "/spec/scopes too_many"),
            (json!({ "to": to, "scopes": ["demo:*"], "expires_at": "tomorrow" }), "/spec/expires_at time"),
            (json!({ "to": {}, "scopes": ["demo:*"] }), "/spec/to exactly_one"),
            (json!({ "to": { "agent": "ci-bot", "team": "platform" }, "scopes": ["demo:*"] }), "/spec/to exactly_one"),
            (json!({ "to": { "agent": "ci-bot", "role": "owner" }, "scopes": ["demo:*"] }), "/spec/to exactly_one"),
            (json!({ "to": to, "scopes": ["demo:*"], "deny_as": "silence" }), "/spec/deny_as shape"),
            (json!({ "to": to, "scopes": ["demo:*"], "deny": true, "deny_as": "http" }), "/spec/deny_as with_deny"),
            (json!({ "to": { "role": "boss" }, "scopes": ["demo:*"] }), "/spec/to/role shape"),
            // What gives an agent everything of a server is written in one way.
            (json!({ "to": to, "scopes": ["demo:**"] }), "/spec/scopes/0 scope"),
            (json!({ "to": { "agent": "nobody" }, "scopes": ["demo:*"] }), "/spec/to/agent agent_unknown"),
            (json!({ "to": { "team": "nobody" }, "scopes": ["demo:*"] }), "/spec/to/team team_unknown"),
            (json!({ "to": { "agent": "No Name" }, "scopes": ["demo:*"] }), "/spec/to/agent shape"),
        ] {
            assert_eq!(faults(bench, spec).await, [expected]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_grant_that_has_ended_can_be_edited_but_not_made() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "agent": "ci-bot" }, "scopes": ["demo:*"], "expires_at": "2999-01-01T00:00:00Z" });
        bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let past = r#"UPDATE grants SET spec = jsonb_set(spec, '{expires_at}', '"2020-01-01T00:00:00Z"')"#;
        sqlx::query(past).execute(&mut *tx).await.expect("time passes");
        tx.commit().await.expect("committed");

        let ended = bench.get("grants/g").await.expect(200);
        assert_eq!(ended.json["status"]["expired"], true);
        let patch = async |tag: &str, change: Value| {
            bench.call(Method::PATCH, "grants/g").header("if-match", tag).json(json!({ "spec": change })).await
        };
        patch("\"1\"", json!({ "deny": true })).await.expect(200);
        let refused = patch("\"2\"", json!({ "expires_at": "2021-01-01T00:00:00Z" })).await.expect(422);
        assert_eq!(refused.problem().0, "time_past");
    })
    .await;
}

/// A condition on a number that JSON can hold and a test cannot.
fn large(test: &str, value: &str) -> Value {
    serde_json::from_str(&format!(r#"{{"pointer":"/a","{test}":{value}}}"#)).expect("JSON")
}

#[tokio::test]
async fn every_fault_of_a_condition_or_network_is_named_where_it_is() {
    run(async |bench| {
        world(bench).await;
        let with = async |field: &str, value: Value| {
            let mut spec = json!({ "to": { "agent": "ci-bot" }, "scopes": ["demo:*"] });
            spec[field] = value;
            faults(bench, spec).await
        };
        for (condition, expected) in [
            (json!({ "pointer": "path", "prefix": "/srv" }), "/spec/conditions/0/pointer json_pointer"),
            (json!({ "pointer": "", "equals": {} }), "/spec/conditions/0/pointer json_pointer"),
            (json!({ "pointer": "/a~2", "equals": 1 }), "/spec/conditions/0/pointer json_pointer"),
            (json!({ "pointer": "/a~", "equals": 1 }), "/spec/conditions/0/pointer json_pointer"),
            (json!({ "pointer": "/a" }), "/spec/conditions/0 exactly_one"),
            (json!({ "pointer": "/a", "equals": null, "prefix": "x" }), "/spec/conditions/0 exactly_one"),
            (json!({ "pointer": "/a", "in": [] }), "/spec/conditions/0/in required"),
            (json!({ "pointer": "/a", "in": vec![1; 101] }), "/spec/conditions/0/in too_many"),
            (json!({ "pointer": "/a", "prefix": "" }), "/spec/conditions/0/prefix required"),
            (json!({ "pointer": "/a", "prefix": "x".repeat(1025) }), "/spec/conditions/0/prefix too_long"),
            (json!({ "pointer": "/a", "matches": "(" }), "/spec/conditions/0/matches regex"),
            (json!({ "pointer": "/a", "matches": "(?:x{1000}){1000}" }), "/spec/conditions/0/matches regex"),
            (json!({ "pointer": "/a", "range": {} }), "/spec/conditions/0/range required"),
            (json!({ "pointer": "/a", "range": { "min": 2, "max": 1 } }), "/spec/conditions/0/range range_empty"),
            (large("equals", "18446744073709551616"), "/spec/conditions/0/equals number_inexact"),
            (large("equals", r#"{"b":[-9223372036854775809]}"#), "/spec/conditions/0/equals number_inexact"),
            (large("in", "[18446744073709551615,1e300]"), "/spec/conditions/0/in/1 number_inexact"),
            (large("range", r#"{"max":9007199254740993}"#), "/spec/conditions/0/range/max number_inexact"),
            (large("range", r#"{"min":-18446744073709551617}"#), "/spec/conditions/0/range/min number_inexact"),
        ] {
            assert_eq!(with("conditions", json!([condition])).await, [expected], "{condition}");
        }
        let many = vec![json!({ "pointer": "/a", "equals": 1 }); 21];
        assert_eq!(with("conditions", json!(many)).await, ["/spec/conditions too_many"]);
        let networks = json!(["10.0.0.0/8", "10.0.0.1/8", "10.0.0.1", "fd00::/8", "::ffff:10.0.0.1/104"]);
        let host_bits = ["/spec/networks/1 network_host_bits", "/spec/networks/4 network_host_bits"];
        let expected = [host_bits[0], "/spec/networks/2 network", host_bits[1]];
        assert_eq!(with("networks", networks).await, expected);
        assert_eq!(with("networks", json!(vec!["10.0.0.0/8"; 101])).await, ["/spec/networks too_many"]);
    })
    .await;
}

#[tokio::test]
async fn what_has_no_arguments_cannot_be_granted_under_conditions() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({
            "to": { "agent": "ci-bot" }, "scopes": ["demo:echo", "demo:@resource/file:///*"],
            "conditions": [{ "pointer": "/a", "equals": 1 }],
        });
        assert_eq!(faults(bench, spec).await, ["/spec/scopes/1 no_arguments"]);
    })
    .await;
}

#[tokio::test]
async fn data_planes_are_told_what_must_hold_for_a_grant() {
    run(async |bench| {
        world(bench).await;
        let conditions = json!([
            { "pointer": "/a", "equals": "x" },
            { "pointer": "/b", "in": [1, "y", null] },
            { "pointer": "/c/0", "prefix": "/srv/" },
            { "pointer": "/d", "matches": "^a+$" },
            { "pointer": "/e", "range": { "max": 3 } },
        ]);
        let spec = json!({
            "to": { "role": "viewer" }, "scopes": ["demo:echo"], "conditions": conditions,
            "networks": ["10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.0/120"],
        });
        bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
        let policy = compile(&bench.app, bench.acme).await.expect("a policy").expect("a tenant");
        let [grant] = policy.grants.as_slice() else { panic!("{:?}", policy.grants) };
        assert_eq!(grant.to, Some(To::Role("viewer".to_owned())));
        assert_eq!(grant.networks, ["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"]);
        let told: Vec<_> = grant.conditions.iter().map(|it| (it.pointer.as_str(), it.test.clone())).collect();
        let values = ["1", "\"y\"", "null"].map(str::to_owned).to_vec();
        let expected = [
            ("/a", Test::Equals("\"x\"".to_owned())),
            ("/b", Test::OneOf(JsonValues { values })),
            ("/c/0", Test::Prefix("/srv/".to_owned())),
            ("/d", Test::Matches("^a+$".to_owned())),
            ("/e", Test::Range(NumberRange { min: None, max: Some(3.0) })),
        ];
        assert_eq!(told, expected.map(|(pointer, test)| (pointer, Some(test))));
    })
    .await;
}

#[tokio::test]
async fn how_a_refusal_is_told_reaches_data_planes_as_it_changes() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "agent": "ci-bot" }, "scopes": ["demo:echo"] });
        bench.put("grants/g", json!({ "spec": spec })).await.expect(201);
        for (deny_as, expected) in [
            (Value::Null, DenyAs::Unspecified),
            (json!("tool_error"), DenyAs::ToolError),
            (json!("http"), DenyAs::Unspecified),
        ] {
            let changed = bench.call(Method::PATCH, "grants/g").header("if-match", "*");
            changed.json(json!({ "spec": { "deny_as": deny_as } })).await.expect(200);
            let policy = compile(&bench.app, bench.acme).await.expect("a policy").expect("a tenant");
            assert_eq!(policy.grants[0].deny_as(), expected, "{deny_as}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_users_role_reaches_data_planes_as_it_changes() {
    run(async |bench| {
        let new = json!({ "email": "ada@acme.test", "spec": { "role": "viewer" } });
        bench.post("users", new).await.expect(201);
        let role = async || {
            let policy = compile(&bench.app, bench.acme).await.expect("a policy").expect("a tenant");
            policy.users.iter().find(|user| user.email == "ada@acme.test").map(|user| user.role.clone())
        };
        assert_eq!(role().await.as_deref(), Some("viewer"));
        let before = bench.policy_revision().await;
        let promoted = bench.call(Method::PATCH, "users/ada@acme.test").header("if-match", "*");
        promoted.json(json!({ "spec": { "role": "finance" } })).await.expect(200);
        assert_eq!(role().await.as_deref(), Some("finance"));
        assert!(bench.policy_revision().await > before);
    })
    .await;
}
