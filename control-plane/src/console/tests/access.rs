//! Who sees and does what, and text that others wrote.

use serde_json::json;
use uuid::Uuid;

use super::{Browser, SERVER};
use crate::{
    caller::Role,
    testing::{Bench, run},
};

/// Stores the record of a call of `tool`.
async fn call(bench: &Bench, tool: &str) -> Uuid {
    let call_id = Uuid::now_v7();
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query(
        "INSERT INTO usage_records (tenant_id, event_day, call_id, at, agent, server, tool, method, outcome, decision,
             forwarded, http_status, input_bytes, output_bytes, input_tokens, output_tokens, duration_us, upstream_us,
             policy_revision, data_plane_id)
         VALUES ($1, current_date, $2, now(), 'bot', 'files', $3, 'tools/call', 'ok', 'allowed', true, 200, 10, 20, 3,
             6, 4200, 3000, 1, $2)",
    )
    .bind(bench.acme.uuid())
    .bind(call_id)
    .bind(tool)
    .execute(&mut *tx)
    .await
    .expect("a record");
    tx.commit().await.expect("committed");
    call_id
}

#[tokio::test]
async fn another_tenants_objects_do_not_exist() {
    run(async |bench| {
        let mut ours = Browser::of(bench, Role::Owner).await;
        ours.post("/new/server", &SERVER).await.expect(303);
        let id = bench.get("servers/files").await.json["id"].as_str().expect("an id").to_owned();
        let call = call(bench, "read").await;
        let other = bench.tenant("other").await;
        let mut theirs = Browser::in_tenant(bench, other, "other", Role::Owner).await;
        for page in ["/servers/files", &format!("/servers/{id}"), &format!("/calls/{call}"), "/servers/files/edit"] {
            theirs.get(page).await.expect(404);
        }
        theirs.post(&format!("/servers/{id}/delete"), &[("confirm", "files")]).await.expect(404);
        for list in ["/", "/servers", "/calls", "/search?q=files", &format!("/search?q={}", &call.to_string()[..13])] {
            let page = theirs.get(list).await.expect(200);
            assert!(!page.text.contains("href=\"/servers/files"), "{list}");
            assert!(!page.text.contains(&format!("/calls/{call}")), "{list}");
        }
        ours.get(&format!("/servers/{id}")).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        operator.post("/new/team", &[("name", "core")]).await.expect(303);
        operator.post("/new/server", &SERVER).await.expect(303);
        operator.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        for role in [Role::Viewer, Role::Finance] {
            let mut browser = Browser::of(bench, role).await;
            for page in ["/", "/servers", "/servers/files", "/agents/bot", "/access", "/calls", "/audit"] {
                let html = browser.get(page).await.expect(200).text;
                let main = &html[html.find("<main").expect("a page")..];
                assert!(!main.contains("method=\"post\""), "{page} offers {role} a form");
                assert!(!main.contains("/edit\""), "{page} offers {role} an edit");
            }
            for form in ["/new/server", "/servers/files/edit", "/servers/files/delete", "/new/grant"] {
                let refused = browser.get(form).await.expect(403);
                assert!(refused.text.contains(&format!("This needs the role operator; yours is {role}.")), "{form}");
            }
            let posts: [(&str, &[(&str, &str)]); 6] = [
                ("/new/server", &[("name", "more"), ("instances", "https://m.example.com/mcp")]),
                ("/servers/files/edit", &[("instances", "https://m.example.com/mcp"), ("etag", "\"1\"")]),
                ("/servers/files/delete", &[("confirm", "files"), ("etag", "\"1\"")]),
                ("/agents/bot/credentials", &[]),
                ("/agents/bot/suspend", &[]),
                ("/new/team", &[("name", "more")]),
            ];
            for (path, form) in posts {
                browser.post(path, form).await.expect(403);
            }
        }
        assert_eq!(bench.get("servers/files").await.expect(200).json["revision"], 1);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_shown_or_done_without_a_session() {
    run(async |bench| {
        let mut browser = Browser::new(bench);
        for page in
            ["/", "/servers", "/agents/x", "/access", "/calls", "/audit", "/search?q=a", "/account", "/new/server"]
        {
            let answer = browser.get(page).await.expect(303);
            assert!(answer.header("location").starts_with("/sign-in"), "{page}");
        }
        for path in ["/new/server", "/sign-out", "/account/password", "/agents/x/credentials", "/teams/x/delete"] {
            let answer = browser.post(path, &[("name", "x")]).await.expect(303);
            assert_eq!(answer.header("location"), "/sign-in", "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_name_of_a_tool_cannot_deceive() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Viewer).await;
        let call = call(bench, "<script>alert(1)</script>\u{202E}\u{200B}").await;
        for page in ["/", "/calls", &format!("/calls/{call}")] {
            let html = browser.get(page).await.expect(200).text;
            assert!(!html.contains("<script>alert"), "{page}");
            assert!(html.contains("‹U+202E›‹U+200B›"), "{page}");
            assert!(!html.contains('\u{202E}'), "{page}");
        }
    })
    .await;
}

#[tokio::test]
async fn calls_are_filtered_and_paged() {
    run(async |bench| {
        for number in 0..60 {
            call(bench, if number % 2 == 0 { "read" } else { "write" }).await;
        }
        let mut browser = Browser::of(bench, Role::Viewer).await;
        let rows = |html: &str| html.matches("href=\"/calls/").count();
        let first = browser.get("/calls").await.expect(200).text;
        assert_eq!(rows(&first), 50);
        let start = first.find("href=\"/calls?cursor=").expect("a next page") + "href=\"".len();
        let next = first[start..].split('"').next().expect("an address").to_owned();
        assert_eq!(rows(&browser.get(&next).await.expect(200).text), 10);
        assert_eq!(rows(&browser.get("/calls?tool=read").await.expect(200).text), 30);
        let none = browser.get("/calls?tool=none&decision=allowed").await.expect(200).text;
        assert!(none.contains("No call fits these filters"));
        let other_list = next.replace("/calls?", "/calls?tool=read&");
        browser.get(&other_list).await.expect(400);
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_filtered_and_paged_and_shows_nothing_as_markup() {
    run(async |bench| {
        for number in 0..60 {
            let spec = json!({ "display_name": "<b>bold</b>" });
            bench.post("teams", json!({ "name": format!("team-{number}"), "spec": spec })).await.expect(201);
        }
        let mut browser = Browser::of(bench, Role::Viewer).await;
        let rows = |html: &str| html.matches("<code>team.create</code>").count();
        let first = browser.get("/audit").await.expect(200).text;
        assert!(first.contains("<a href=\"/audit\" aria-current=\"page\">") && !first.contains("<b>"), "{first}");
        let start = first.find("href=\"/audit?cursor=").expect("a next page") + "href=\"".len();
        let next = first[start..].split('"').next().expect("an address").to_owned();
        let second = browser.get(&next).await.expect(200).text;
        assert_eq!(rows(&first) + rows(&second), 60);
        assert_eq!(rows(&browser.get("/audit?object=team-7&action=team.*").await.expect(200).text), 1);
        let none = browser.get("/audit?actor=user:nobody@acme.test").await.expect(200).text;
        assert!(none.contains("No event fits these filters"));
        browser.get("/audit?from=yesterday").await.expect(400);
        browser.get(&next.replace("/audit?", "/audit?action=x&")).await.expect(400);
    })
    .await;
}

#[tokio::test]
async fn search_finds_objects_by_name_and_id_and_calls_by_id() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/server", &SERVER).await.expect(303);
        let id = bench.get("servers/files").await.json["id"].as_str().expect("an id").to_owned();
        let call = call(bench, "read").await.to_string();
        for (query, hit) in [
            ("ile", "/servers/files"),
            ("FILES", "/servers/files"),
            (id.as_str(), "/servers/files"),
            (&id[..20], "/servers/files"),
            (call.as_str(), &*format!("/calls/{call}")),
            (&call[..18], &*format!("/calls/{call}")),
        ] {
            let page = browser.get(&format!("/search?q={query}")).await.expect(200);
            assert!(page.text.contains(&format!("href=\"{hit}\"")), "{query}");
        }
        assert!(browser.get("/search?q=%3Cb%3E").await.expect(200).text.contains("Nothing found"));
    })
    .await;
}

#[tokio::test]
async fn whoever_may_look_may_ask_what_an_agent_could_do() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        operator.post("/new/team", &[("name", "core")]).await.expect(303);
        operator.post("/new/server", &SERVER).await.expect(303);
        operator.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        let grants: [&[(&str, &str)]; 2] = [
            &[("name", "some"), ("agent", "bot"), ("scopes", "files:read\nfiles:drop\nfiles:get_*")],
            &[("name", "never"), ("team", "core"), ("scopes", "files:drop"), ("deny", "yes")],
        ];
        for grant in grants {
            operator.post("/new/grant", grant).await.expect(303);
        }
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let form = viewer.get("/access").await.expect(200).text;
        assert!(form.contains("<form class=\"filters\" action=\"/access/check\">"), "{form}");
        let mut ask = async |rest: &str| viewer.get(&format!("/access/check?agent=bot&server=files{rest}")).await;
        let begun = ask("").await.expect(200).text;
        assert!(begun.contains("<option value=\"bot\" selected>") && !begun.contains("id=\"answer\""), "{begun}");
        let allowed = ask("&kind=tool&name=get_it&user=&arguments=&from=").await.expect(200).text;
        for part in [">allowed<", "href=\"/access?grant=some#grant-some\"", "files:get_*", "policy"] {
            assert!(allowed.to_lowercase().contains(part), "{part}: {allowed}");
        }
        let refused = ask("&name=drop").await.expect(200).text;
        for part in [">refused<", "tool_not_granted", "href=\"/access?grant=never#grant-never\""] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        for (rest, field) in
            [("&name=a&from=here", "from"), ("&name=a&arguments=b", "arguments"), ("&name=a&user=nobody", "user")]
        {
            let wrong = viewer.get(&format!("/access/check?agent=bot&server=files{rest}")).await.expect(422).text;
            assert!(wrong.contains(&format!("<a href=\"#{field}\">")), "{rest}: {wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_agents_page_says_of_each_known_tool_whether_and_why_it_may_be_used() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        browser.post("/new/server", &SERVER).await.expect(303);
        browser.post("/new/server", &[("name", "other"), SERVER[1]]).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        let page = browser.get("/agents/bot").await.expect(200).text;
        assert!(page.contains("no grant in force lets it use anything"), "{page}");
        let grants: [&[(&str, &str)]; 2] = [
            &[("name", "some"), ("agent", "bot"), ("scopes", "files:read\nfiles:drop")],
            &[("name", "never"), ("team", "core"), ("scopes", "files:drop"), ("deny", "yes")],
        ];
        for grant in grants {
            browser.post("/new/grant", grant).await.expect(303);
        }
        let page = browser.get("/agents/bot").await.expect(200).text;
        for part in [
            "grant `some` allows it by `files:read`",
            "grant `never` forbids `files:drop`",
            "/access/check?agent=bot&#38;server=files&#38;name=read",
            "Of 1 other server it may use nothing.",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    })
    .await;
}

#[tokio::test]
async fn grants_come_in_pages_and_a_link_leads_to_any_of_them() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        browser.post("/new/server", &SERVER).await.expect(303);
        browser.post("/new/server", &[("name", "other"), SERVER[1]]).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        for number in 0..205 {
            let spec = json!({ "to": { "role": "viewer" }, "scopes": ["files:read"] });
            bench.put(&format!("grants/g-{number:03}"), json!({ "spec": spec })).await.expect(201);
        }
        for (name, to) in [("own", json!({ "agent": "bot" })), ("shared", json!({ "team": "core" }))] {
            let spec = json!({ "to": to, "scopes": ["other:*"] });
            bench.put(&format!("grants/{name}"), json!({ "spec": spec })).await.expect(201);
        }
        let mut shown = async |page: &str| {
            let html = browser.get(page).await.expect(200).text;
            (html.matches("<tr id=\"grant-").count(), html)
        };
        let (count, first) = shown("/access").await;
        assert!(count == 50 && first.contains("href=\"/access?grant=g-050#grants-title\">Next page"), "{first}");
        let (count, last) = shown("/access?grant=g-180").await;
        assert!(count == 27 && last.contains("id=\"grant-g-180\"") && last.contains("First page"), "{last}");
        assert!(!last.contains("g-179") && !last.contains("Next page"), "{last}");
        assert_eq!(shown("/access?grant=gone").await.0, 2, "from where it would be");
        let (count, server) = shown("/servers/files").await;
        assert!(count == 200 && server.contains("There are more: these are the first 200 by name"), "{server}");
        for page in ["/servers/other", "/agents/bot"] {
            let (count, html) = shown(page).await;
            assert!(count == 2 && html.contains("id=\"grant-own\"") && html.contains("id=\"grant-shared\""), "{html}");
        }
        browser.get("/access?grant=No%20name").await.expect(400);
    })
    .await;
}
