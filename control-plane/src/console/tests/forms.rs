//! Forms that create, edit and delete.

use serde_json::json;
use tollgate_proto::policy::v1::server::Credential;

use super::{Browser, SERVER, hidden};
use crate::{caller::Role, testing::run};

#[tokio::test]
async fn a_form_creates_a_server_and_its_page_shows_it() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        assert!(browser.get("/servers").await.text.contains("No servers yet"));
        let created = browser.post("/new/server", &[SERVER[0], SERVER[1], ("labels", "env=prod")]).await.expect(303);
        assert_eq!(created.header("location"), "/servers/files?done=created");
        let page = browser.get("/servers/files?done=created").await.expect(200);
        for part in
            ["Created.", "http://data.test/t/acme/mcp/files", "https://files.example.com/mcp", "env=prod", "srv_"]
        {
            assert!(page.text.contains(part), "{part}");
        }
        assert!(page.text.contains("by user:operator@acme.test"));
        let answer = bench.get("servers/files").await.expect(200);
        assert_eq!(answer.json["spec"]["instances"][0]["url"], "https://files.example.com/mcp");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_said_beside_its_field_and_what_was_entered_stays() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        let entered = [("name", "Files!"), ("instances", "ftp://files.example.com"), ("era", "modern")];
        let page = browser.post("/new/server", &entered).await.expect(422);
        assert!(page.text.contains("id=\"error-summary\""));
        assert!(page.text.contains("value=\"Files!\""), "{}", page.text);
        assert!(page.text.contains("ftp://files.example.com</textarea>"));
        assert!(page.text.contains("<option value=\"modern\" selected>"));
        let page = browser.post("/new/server", &[("name", "files")]).await.expect(422);
        assert!(page.text.contains("<a href=\"#instances\">“Instances” is required.</a>"), "{}", page.text);
        assert!(page.text.contains("aria-describedby=\"instances-hint instances-wrong\""));
        browser.post("/new/server", &SERVER).await.expect(303);
        let taken = browser.post("/new/server", &SERVER).await.expect(422);
        assert!(taken.text.contains("id=\"name-wrong\""));
        assert!(browser.get("/new/limit?on=agent&requests=5").await.text.contains("value=\"5\""));
    })
    .await;
}

#[tokio::test]
async fn a_limit_can_be_put_on_something_else() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        bench.put("agents/ci-bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
        let rate = [("requests", "5"), ("requests_per", "1m")];
        let entered = [("name", "calm"), ("on", "agent"), ("name_of", "ci-bot"), rate[0], rate[1]];
        browser.post("/new/limit", &entered).await.expect(303);
        let form = browser.get("/limits/calm/edit").await.expect(200).text;
        let etag = hidden(&form, "etag").expect("a version");
        let entered = [("on", "team"), ("name_of", "platform"), rate[0], rate[1], ("mode", "leased"), ("etag", &etag)];
        browser.post("/limits/calm/edit", &entered).await.expect(303);
        assert_eq!(bench.get("limits/calm").await.json["spec"]["to"], json!({ "team": "platform" }));
        assert!(browser.get("/access").await.text.contains("taken in advance"));
    })
    .await;
}

#[tokio::test]
async fn a_servers_transport_is_chosen_and_shown() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/server", &[SERVER[0], SERVER[1], ("transport", "sse")]).await.expect(303);
        assert_eq!(bench.get("servers/files").await.json["spec"]["transport"], "sse");
        assert!(browser.get("/servers/files").await.text.contains("HTTP with a separate event stream"));
        let form = browser.get("/servers/files/edit").await.expect(200).text;
        assert!(form.contains("<option value=\"sse\" selected>"), "{form}");
        let etag = hidden(&form, "etag").expect("a version");
        browser.post("/servers/files/edit", &[SERVER[1], ("etag", &etag)]).await.expect(303);
        assert!(bench.get("servers/files").await.json["spec"].get("transport").is_none());
    })
    .await;
}

#[tokio::test]
async fn an_edit_changes_what_the_form_shows_and_nothing_else() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        let spec = json!({ "instances": [{ "url": "https://a.example.com/mcp" }], "catalog": { "approval": "trust" } });
        let body = json!({ "name": "files", "labels": { "old": "1", "kept": "2" }, "spec": spec });
        bench.post("servers", body).await.expect(201);
        let form = browser.get("/servers/files/edit").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        let entered =
            [("instances", "https://b.example.com/mcp"), ("labels", "kept=2\nnew=3"), ("etag", etag.as_str())];
        browser.post("/servers/files/edit", &entered).await.expect(303);
        let json = bench.get("servers/files").await.expect(200).json;
        assert_eq!(json["spec"]["instances"][0]["url"], "https://b.example.com/mcp");
        assert_eq!(json["spec"]["catalog"]["approval"], "trust", "a field that the form does not show stays");
        assert_eq!(json["labels"], json!({ "kept": "2", "new": "3" }));

        let stale = browser.post("/servers/files/edit", &entered).await.expect(409);
        assert!(stale.text.contains("Somebody else changed this server"));
        assert_eq!(bench.get("servers/files").await.json["revision"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_is_deleted_only_under_its_name() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/server", &SERVER).await.expect(303);
        let form = browser.get("/servers/files/delete").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        browser.post("/servers/files/delete", &[("confirm", "file"), ("etag", &etag)]).await.expect(422);
        browser.get("/servers/files").await.expect(200);
        browser.post("/servers/files/delete", &[("confirm", "files"), ("etag", &etag)]).await.expect(303);
        browser.get("/servers/files").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn grants_limits_and_teams_have_forms() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/team", &[("name", "core"), ("cost_center", "CC-1")]).await.expect(303);
        browser.post("/new/server", &SERVER).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        let grant = [("name", "all"), ("agent", "bot"), ("scopes", "files:read\nfiles:list"), ("deny", "yes")];
        browser.post("/new/grant", &grant).await.expect(303);
        let limit =
            [("name", "minute"), ("on", "agent"), ("name_of", "bot"), ("requests", "60"), ("requests_per", "1m")];
        browser.post("/new/limit", &limit).await.expect(303);
        let page = browser.get("/access").await.expect(200).text;
        for part in ["What is not granted is refused.", "files:read", "forbids", "60 requests per 1m", "CC-1"] {
            assert!(page.contains(part), "{part}");
        }
        let wrong = [("name", "no"), ("on", "agent"), ("name_of", "bot"), ("requests", "many"), ("requests_per", "1m")];
        let page = browser.post("/new/limit", &wrong).await.expect(422);
        assert!(page.text.contains("id=\"requests-wrong\""), "{}", page.text);
        let wide = [
            ("name", "of-tool"),
            ("on", "tool"),
            ("name_of", "files:read"),
            ("tokens", "5000"),
            ("tokens_per", "1h"),
            ("concurrency", "3"),
        ];
        browser.post("/new/limit", &wide).await.expect(303);
        let expected = json!({
            "to": { "tool": "files:read" }, "tokens": { "count": 5_000, "per": "1h" }, "concurrency": 3
        });
        assert_eq!(bench.get("limits/of-tool").await.json["spec"], expected);
        let form = browser.get("/limits/of-tool/edit").await.expect(200).text;
        for part in ["value=\"files:read\"", "value=\"5000\"", "value=\"1h\"", "value=\"3\""] {
            assert!(form.contains(part), "{part}: {form}");
        }
        let wrong = [("name", "no"), ("agent", "bot"), ("scopes", "nowhere:*")];
        let page = browser.post("/new/grant", &wrong).await.expect(422);
        assert!(page.text.contains("id=\"scopes-wrong\""), "{}", page.text);

        let form = browser.get("/grants/all/edit").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        let changed = [("team", "core"), ("scopes", "files:*"), ("etag", etag.as_str())];
        browser.post("/grants/all/edit", &changed).await.expect(303);
        let spec = bench.get("grants/all").await.json["spec"].clone();
        assert_eq!(spec, json!({ "to": { "team": "core" }, "scopes": ["files:*"] }));
        let form = browser.get("/teams/core/delete").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        let owned = browser.post("/teams/core/delete", &[("etag", &etag)]).await.expect(409);
        assert!(owned.text.contains("is still used by"), "{}", owned.text);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        for _ in 0..2 {
            let made = browser.post("/agents/bot/credentials", &[]).await.expect(200);
            assert!(made.text.contains("tgs_"));
        }
        let page = browser.get("/agents/bot").await.expect(200);
        assert!(!page.text.contains("tgs_"));
        let full = browser.post("/agents/bot/credentials", &[]).await.expect(409);
        assert!(full.text.contains("The agent has two secrets already"));
        let start = page.text.find("/agents/bot/credentials/crd_").expect("a secret to revoke");
        let action = page.text[start..].split('"').next().expect("an address").to_owned();
        browser.post(&action, &[]).await.expect(303);
        assert_eq!(bench.get("agents/bot").await.json["status"]["credentials"], 1);
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_suspended_and_activated() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        browser.post("/agents/bot/suspend", &[]).await.expect(303);
        assert_eq!(bench.get("agents/bot").await.json["status"]["state"], "suspended");
        browser.post("/agents/bot/activate", &[]).await.expect(303);
        assert_eq!(bench.get("agents/bot").await.json["status"]["state"], "active");
    })
    .await;
}

#[tokio::test]
async fn the_secrets_of_a_servers_credential_are_entered_and_never_filled_in() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        let headers = ("credential_headers", "Authorization: Bearer hunter2\nX-Account: 42");
        let entered = [SERVER[0], SERVER[1], ("credential", "header"), headers, ("passed_headers", "X-Request-Id")];
        browser.post("/new/server", &entered).await.expect(303);
        let page = browser.get("/servers/files").await.expect(200).text;
        for part in ["authorization", "x-account", "X-Request-Id"] {
            assert!(page.contains(part), "{part}");
        }
        let form = browser.get("/servers/files/edit").await.expect(200).text;
        assert!(form.contains("Authorization\nX-Account</textarea>"), "{form}");
        assert!(!form.contains("hunter2") && !page.contains("hunter2"));

        let etag = hidden(&form, "etag").expect("a version");
        let edit = |headers: &'static str| {
            [SERVER[1], ("credential", "header"), ("credential_headers", headers), ("etag", etag.as_str())]
        };
        let wrong = browser.post("/servers/files/edit", &edit("Authorization\nHost: hunter3")).await.expect(422).text;
        assert!(wrong.contains("id=\"credential_headers-wrong\"") && !wrong.contains("hunter3"), "{wrong}");
        browser.post("/servers/files/edit", &edit("Authorization\nX-Account: 43")).await.expect(303);
        let policy = crate::policy::compile(&bench.app, bench.acme).await.expect("it compiles").expect("a policy");
        let told = match &policy.servers[0].credential {
            Some(Credential::StaticHeaders(told)) => told.headers.iter().map(|header| header.value.as_str()).collect(),
            _ => Vec::new(),
        };
        assert_eq!(told, ["Bearer hunter2", "43"]);

        let form = browser.get("/servers/files/edit").await.expect(200).text;
        let etag = hidden(&form, "etag").expect("a version");
        let oauth = [
            SERVER[1],
            ("credential", "oauth_client_credentials"),
            ("oauth_client_id", "tollgate"),
            ("oauth_secret", "hunter4"),
            ("oauth_scopes", "a b"),
            ("etag", etag.as_str()),
        ];
        browser.post("/servers/files/edit", &oauth).await.expect(303);
        let spec = bench.get("servers/files").await.expect(200).json["spec"]["credential"].clone();
        let expected = json!({
            "type": "oauth_client_credentials", "client_id": "tollgate", "scopes": ["a", "b"],
        });
        assert_eq!(spec, expected);
        assert!(browser.get("/servers/files").await.expect(200).text.contains("client secret"));
    })
    .await;
}

#[tokio::test]
async fn a_grant_to_a_role_under_conditions_is_entered_and_comes_back() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Operator).await;
        browser.post("/new/server", &SERVER).await.expect(303);
        let grant = [
            ("name", "viewers"),
            ("to", "to_role"),
            ("agent", "left-over"),
            ("role", "viewer"),
            ("scopes", "files:get_*"),
            ("when", "conditional_grant"),
            ("conditions", "/amount range 0..10\n/who equals ada"),
            ("networks", "10.0.0.0/8"),
            ("deny_as", "tool_error"),
        ];
        browser.post("/new/grant", &grant).await.expect(303);
        let spec = json!({
            "to": { "role": "viewer" }, "scopes": ["files:get_*"], "networks": ["10.0.0.0/8"],
            "conditions": [
                { "pointer": "/amount", "range": { "min": 0, "max": 10 } },
                { "pointer": "/who", "equals": "ada" },
            ],
            "deny_as": "tool_error",
        });
        assert_eq!(bench.get("grants/viewers").await.json["spec"], spec);
        let page = browser.get("/access").await.expect(200).text;
        for part in [
            "role viewer",
            "/amount range 0..10",
            "/who equals &#34;ada&#34;",
            "from 10.0.0.0/8",
            "limits answer as the tool",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let form = browser.get("/grants/viewers/edit").await.expect(200).text;
        for chosen in ["to_role", "conditional_grant", "viewer", "tool_error"] {
            assert!(form.contains(&format!("<option value=\"{chosen}\" selected>")), "{chosen}");
        }
        let wrong = [grant[0], grant[1], grant[3], grant[4], grant[5], ("conditions", "/amount like 3")];
        let page = browser.post("/new/grant", &wrong).await.expect(422);
        assert!(page.text.contains("id=\"conditions-wrong\""), "{}", page.text);

        let forbidding = [("name", "nobody"), grant[1], grant[3], grant[4], ("deny", "yes"), grant[8]];
        let page = browser.post("/new/grant", &forbidding).await.expect(422);
        assert!(page.text.contains("id=\"deny_as-wrong\""), "{}", page.text);

        let etag = hidden(&form, "etag").expect("a version");
        let always = [grant[1], grant[3], grant[4], ("when", ""), grant[6], grant[7], ("etag", etag.as_str())];
        browser.post("/grants/viewers/edit", &always).await.expect(303);
        let spec = json!({ "to": { "role": "viewer" }, "scopes": ["files:get_*"] });
        assert_eq!(bench.get("grants/viewers").await.json["spec"], spec);
    })
    .await;
}
