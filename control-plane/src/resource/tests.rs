use http::Method;
use serde_json::{Value, json};

use crate::{
    caller::Role,
    resource::{self, Draft, Precondition},
    teams::{Team, TeamSpec},
    testing::{Bench, run, text},
};

async fn team(bench: &Bench, name: &str) {
    bench.put(&format!("teams/{name}"), json!({ "spec": {} })).await.expect(201);
}

#[tokio::test]
async fn a_change_says_which_version_it_changes() {
    run(async |bench| {
        team(bench, "platform").await;
        let body =
            |method: &Method| if *method == Method::DELETE { String::new() } else { r#"{"spec":{}}"#.to_owned() };
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let call = || bench.call(method.clone(), "teams/platform").header("content-type", "application/json");
            let missing = call().body(body(&method)).await.expect(428);
            assert_eq!(missing.problem().0, "precondition_required");
            for stale in ["\"7\"", "W/\"1\"", "1", "\"2\", \"3\""] {
                let refused = call().header("if-match", stale).body(body(&method)).await.expect(412);
                assert_eq!(refused.problem().0, "precondition_failed");
            }
        }
        let put = || bench.call(Method::PUT, "teams/platform");
        put().header("if-none-match", "*").json(json!({ "spec": {} })).await.expect(412);
        put().header("if-match", "\"9\", \"1\"").json(json!({ "spec": {} })).await.expect(200);
        put().header("if-match", "*").json(json!({ "spec": {} })).await.expect(200);
        assert_eq!(bench.get("teams/platform").await.json["revision"], 3);
    })
    .await;
}

#[tokio::test]
async fn put_creates_by_name_only() {
    run(async |bench| {
        let put = |name: &str| bench.call(Method::PUT, &format!("teams/{name}"));
        put("new").header("if-match", "\"1\"").json(json!({ "spec": {} })).await.expect(412);
        let created = put("new").header("if-none-match", "*").json(json!({ "spec": {} })).await.expect(201);
        assert_eq!(created.header("location"), "/api/v1/tenants/acme/teams/new");
        put("tea_00000000000000000000000000").json(json!({ "spec": {} })).await.expect(404);
        for bad in ["No", "a_b", "-a", "%00", "%20", "srv_00000000000000000000000000"] {
            assert_eq!(put(bad).json(json!({ "spec": {} })).await.expect(422).problem().1, ["/name name"], "{bad}");
            bench.get(&format!("teams/{bad}")).await.expect(404);
        }
        let again = bench.post("teams", json!({ "name": "new", "spec": {} })).await.expect(409);
        assert_eq!(again.problem().0, "name_taken");
    })
    .await;
}

#[tokio::test]
async fn two_that_create_one_name_at_once_make_one_object() {
    run(async |bench| {
        let create = || bench.post("teams", json!({ "name": "new", "spec": {} }));
        let answers = tokio::join!(create(), create(), create());
        let mut statuses = [answers.0, answers.1, answers.2].map(|answer| answer.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409]);
        assert_eq!(bench.audit().await, ["team.create new"]);
    })
    .await;
}

#[tokio::test]
async fn a_patch_reaches_labels_and_spec_only() {
    run(async |bench| {
        team(bench, "platform").await;
        let patch = |body: Value| {
            let call = bench.call(Method::PATCH, "teams/platform").header("if-match", "\"1\"");
            call.header("content-type", "application/merge-patch+json").body(body.to_string())
        };
        for (body, expected) in [
            (json!({ "name": "other" }), "/name shape"),
            (json!({ "spec": { "color": "red" } }), "/spec/color shape"),
            (json!({ "spec": { "cost_center": 7 } }), "/spec/cost_center shape"),
            (json!({ "spec": null }), " shape"),
            (json!([]), " shape"),
            (json!("text"), " shape"),
        ] {
            assert_eq!(patch(body.clone()).await.expect(422).problem().1, [expected], "{body}");
        }
        patch(json!({})).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn labels_have_bounds() {
    run(async |bench| {
        let refused = async |labels: Value| {
            bench.put("teams/platform", json!({ "labels": labels, "spec": {} })).await.expect(422).problem().1
        };
        let many: serde_json::Map<_, _> = (0..33).map(|index| (format!("k{index}"), json!(""))).collect();
        assert_eq!(refused(Value::Object(many)).await, ["/labels too_many"]);
        assert_eq!(refused(json!({ "": "" })).await, ["/labels/ label_key"]);
        assert_eq!(refused(json!({ "a/b~c": "v".repeat(121) })).await, ["/labels/a~1b~0c label_value"]);
        assert_eq!(refused(json!({ "k".repeat(64): "" })).await.len(), 1);
        assert_eq!(refused(json!({ "k": 1 })).await, ["/labels/k shape"]);
    })
    .await;
}

#[tokio::test]
async fn another_tenants_objects_do_not_exist() {
    run(async |bench| {
        let other = bench.tenant("other").await;
        team(bench, "platform").await;
        let id = text(&bench.get("teams/platform").await.json["id"]).to_owned();
        let key = bench.key(other, Role::Owner).await;
        let call = |method, path: &str| bench.call(method, path).with_key(&key);
        call(Method::GET, "/api/v1/tenants/other/teams").send().await.expect(200);
        for path in ["/api/v1/tenants/acme/teams", "/api/v1/tenants/nowhere/teams", "/api/v1/tenants/%00/teams"] {
            assert_eq!(call(Method::GET, path).send().await.expect(404).problem().0, "not_found", "{path}");
        }
        for key in ["platform", &id] {
            let path = format!("/api/v1/tenants/other/teams/{key}");
            call(Method::GET, &path).send().await.expect(404);
            call(Method::DELETE, &path).header("if-match", "*").send().await.expect(404);
        }
        let agent = json!({ "spec": { "team": "platform", "type": "autonomous" } });
        let refused = call(Method::PUT, "/api/v1/tenants/other/agents/x").json(agent).await.expect(422);
        assert_eq!(refused.problem().0, "team_unknown");
    })
    .await;
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    run(async |bench| {
        for name in ["e", "c", "a", "d", "b"] {
            team(bench, name).await;
        }
        let mut names = Vec::new();
        let mut path = "teams?limit=2".to_owned();
        loop {
            let page = bench.get(&path).await.expect(200).json;
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= 2);
            names.extend(items.iter().map(|item| text(&item["name"]).to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("teams?limit=2&cursor={cursor}");
        }
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        assert_eq!(bench.get("teams?limit=5").await.json["next_cursor"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn a_cursor_opens_for_its_own_list_only() {
    run(async |bench| {
        for name in ["a", "b"] {
            team(bench, name).await;
        }
        let page = bench.get("teams?limit=1").await.expect(200).json;
        let cursor = text(&page["next_cursor"]).to_owned();
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        let path = format!("/api/v1/tenants/other/teams?cursor={cursor}");
        let refused = bench.call(Method::GET, &path).with_key(&key).send().await.expect(400);
        assert_eq!(refused.problem().0, "cursor_invalid");
        let mut tampered = cursor.clone().into_bytes();
        let middle = tampered.len() / 2;
        tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).expect("text");
        for path in [
            format!("servers?cursor={cursor}"),
            format!("teams?cursor={tampered}"),
            format!("teams?cursor={}", &cursor[1..]),
            "teams?cursor=".to_owned(),
            "teams?cursor=%00".to_owned(),
        ] {
            assert_eq!(bench.get(&path).await.expect(400).problem().0, "cursor_invalid", "{path}");
        }
        for query in ["limit=0", "limit=501", "limit=-1", "limit=x", "limt=1"] {
            assert_eq!(bench.get(&format!("teams?{query}")).await.expect(400).problem().0, "query_invalid", "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_leaves_no_trace() {
    run(async |bench| {
        team(bench, "platform").await;
        let revision = bench.policy_revision().await;
        bench.put("agents/a", json!({ "spec": { "team": "nobody", "type": "autonomous" } })).await.expect(422);
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(428);
        bench.call(Method::PUT, "teams/x").by(Role::Viewer).json(json!({ "spec": {} })).await.expect(403);
        assert_eq!(bench.policy_revision().await, revision);
        assert_eq!(bench.audit().await, ["team.create platform"]);
    })
    .await;
}

#[tokio::test]
async fn operations_work_without_http_too() {
    run(async |bench| {
        let (app, owner) = (&bench.app, bench.owner());
        let draft = Draft { name: "platform".to_owned(), labels: [].into(), spec: TeamSpec::default() };
        let team = resource::create(app, &owner, draft).await.expect("created").object;
        let expected = Precondition::matching(&team.etag);
        resource::remove::<TeamSpec>(app, &owner, "platform", &expected).await.expect("removed");
        assert!(resource::get::<TeamSpec>(app, &owner, "platform").await.is_err());
        let left: Vec<Team> =
            resource::list(app, &owner, &crate::page::PageQuery::default()).await.expect("a page").items;
        assert!(left.is_empty());
    })
    .await;
}
