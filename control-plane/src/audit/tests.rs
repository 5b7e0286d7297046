use http::Method;
use serde_json::{Value, json};

use crate::{
    caller::Role,
    testing::{Bench, run, text},
};

/// `action object` of every event on a page.
fn lines(page: &Value) -> Vec<String> {
    let line = |event: &Value| format!("{} {}", text(&event["action"]), text(&event["object_name"]));
    page["items"].as_array().expect("items").iter().map(line).collect()
}

async fn events(bench: &Bench, query: &str) -> Vec<String> {
    lines(&bench.get(&format!("audit-events?{query}")).await.expect(200).json)
}

/// Three teams are made, and one is changed by an operator.
async fn happen(bench: &Bench) {
    for name in ["red", "green", "blue"] {
        bench.post("teams", json!({ "name": name, "spec": {} })).await.expect(201);
    }
    let change = json!({ "spec": { "display_name": "Green" } });
    let put = bench.call(Method::PATCH, "teams/green").by(Role::Operator).header("if-match", "*");
    put.header("content-type", "application/merge-patch+json").body(change.to_string()).await.expect(200);
}

#[tokio::test]
async fn events_are_listed_the_newest_first_in_pages() {
    run(async |bench| {
        happen(bench).await;
        let all = ["team.update green", "team.create blue", "team.create green", "team.create red"];
        assert_eq!(events(bench, "").await, all);
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = bench.get(&format!("audit-events?limit=3{cursor}")).await.expect(200).json;
            paged.extend(lines(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, all);
        let elsewhere = format!("audit-events?actor=system{cursor}");
        assert_eq!(bench.get(&elsewhere).await.expect(400).problem().0, "cursor_invalid");
    })
    .await;
}

#[tokio::test]
async fn events_are_narrowed_by_who_what_to_what_and_when() {
    run(async |bench| {
        happen(bench).await;
        let newest = bench.get("audit-events?limit=1").await.expect(200).json["items"][0].clone();
        let (actor, id) = (text(&newest["actor"]), text(&newest["object_id"]));
        assert_eq!(events(bench, &format!("actor={actor}")).await, ["team.update green"]);
        assert_eq!(events(bench, "action=team.update").await, ["team.update green"]);
        assert_eq!(events(bench, "action=team.*").await.len(), 4);
        assert_eq!(events(bench, "action=team").await, Vec::<String>::new(), "not a part of a word");
        for object in ["green", id] {
            assert_eq!(events(bench, &format!("object={object}")).await, ["team.update green", "team.create green"]);
        }
        assert_eq!(events(bench, "object=green&action=team.create").await, ["team.create green"]);
        assert_eq!(events(bench, "from=2001-01-01").await.len(), 4);
        assert_eq!(events(bench, "to=2001-01-01").await, Vec::<String>::new());
        let at = text(&newest["at"]);
        assert_eq!(events(bench, &format!("from={at}")).await, ["team.update green"]);
        for wrong in ["from=yesterday", "colour=red", "actor=%00"] {
            assert_eq!(bench.get(&format!("audit-events?{wrong}")).await.expect(400).problem().0, "query_invalid");
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_names_its_request() {
    run(async |bench| {
        let made = json!({ "name": "red", "spec": {} });
        bench.call(Method::POST, "teams").header("x-request-id", "abc-1").json(made).await.expect(201);
        let page = bench.get("audit-events").await.expect(200).json;
        assert_eq!(page["items"][0]["request_id"], "abc-1");
        assert_eq!(page["items"][0]["object_kind"], "team");
    })
    .await;
}

#[tokio::test]
async fn who_may_look_at_the_tenant_may_read_its_log_and_nobody_elses() {
    run(async |bench| {
        happen(bench).await;
        for role in [Role::Viewer, Role::Finance, Role::Operator, Role::Admin] {
            let page = bench.call(Method::GET, "audit-events").by(role).send().await.expect(200).json;
            assert_eq!(lines(&page).len(), 4, "{role}");
        }
        let other = bench.tenant("other").await;
        let stranger = bench.key(other, Role::Owner).await;
        bench.call(Method::GET, "audit-events").with_key(&stranger).send().await.expect(404);
        let own = bench.call(Method::GET, "/api/v1/tenants/other/audit-events").with_key(&stranger).send().await;
        assert_eq!(lines(&own.expect(200).json), Vec::<String>::new());
    })
    .await;
}
