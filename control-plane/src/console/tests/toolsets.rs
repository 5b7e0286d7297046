//! Toolsets: the list, the page and the form with a row for each tool.

use serde_json::json;

use super::{Browser, SERVER, hidden};
use crate::{
    caller::Role,
    testing::{Bench, run},
};

const TRIAGE: [(&str, &str); 9] = [
    ("name", "triage"),
    ("display_name", "Support & triage"),
    ("description", "Look first.\r\nThen answer."),
    ("tools-0-server", "files"),
    ("tools-0-tool", "read"),
    ("tools-2-server", "files"),
    ("tools-2-tool", "list"),
    ("tools-2-name", "look"),
    ("tools-2-description", "Says what is there."),
];

/// An operator with a server `files`.
async fn operator(bench: &Bench) -> Browser<'_> {
    let mut browser = Browser::of(bench, Role::Operator).await;
    browser.post("/new/server", &SERVER).await.expect(303);
    browser
}

#[tokio::test]
async fn a_form_with_rows_makes_a_toolset_and_its_page_shows_it() {
    run(async |bench| {
        let mut browser = operator(bench).await;
        assert!(browser.get("/toolsets").await.expect(200).text.contains("No toolsets yet"));
        let form = browser.get("/new/toolset").await.expect(200).text;
        assert!(form.contains("<option value=\"files\">files</option>"), "{form}");
        let created = browser.post("/new/toolset", &TRIAGE).await.expect(303);
        assert_eq!(created.header("location"), "/toolsets/triage?done=created");
        let spec = json!({
            "display_name": "Support & triage",
            "description": "Look first.\nThen answer.",
            "tools": [
                { "server": "files", "tool": "read" },
                { "server": "files", "tool": "list", "name": "look", "description": "Says what is there." },
            ],
        });
        assert_eq!(bench.get("toolsets/triage").await.expect(200).json["spec"], spec);

        let page = browser.get("/toolsets/triage").await.expect(200).text;
        for part in [
            "<code id=\"mcp-url\">http://data.test/t/acme/toolsets/triage</code>",
            "Support &#38; triage",
            "files__read",
            "look",
            "Says what is there.",
            "/new/grant?scopes=toolset%2Ftriage",
            "kind: Toolset",
            "tls_",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let list = browser.get("/toolsets").await.expect(200).text;
        assert!(list.contains("<a href=\"/toolsets/triage\">triage</a>"), "{list}");
        let found = browser.get("/search?q=tria").await.expect(200).text;
        assert!(found.contains("href=\"/toolsets/triage\""), "{found}");
    })
    .await;
}

#[tokio::test]
async fn an_edit_shows_the_rows_and_takes_out_those_that_are_emptied() {
    run(async |bench| {
        let mut browser = operator(bench).await;
        browser.post("/new/toolset", &TRIAGE).await.expect(303);
        let form = browser.get("/toolsets/triage/edit").await.expect(200).text;
        for part in ["name=\"tools-1-name\" value=\"look\"", "Says what is there.</textarea>", "name=\"tools-5-tool\""]
        {
            assert!(form.contains(part), "{part}: {form}");
        }
        let etag = hidden(&form, "etag").expect("a version");
        let changed = [("etag", etag.as_str()), ("tools-1-server", "files"), ("tools-1-tool", "list")];
        browser.post("/toolsets/triage/edit", &changed).await.expect(303);
        let spec = json!({ "tools": [{ "server": "files", "tool": "list" }] });
        assert_eq!(bench.get("toolsets/triage").await.json["spec"], spec);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_row_is_said_and_the_rows_stay() {
    run(async |bench| {
        let mut browser = operator(bench).await;
        let none = browser.post("/new/toolset", &[("name", "empty")]).await.expect(422).text;
        assert!(none.contains("<a href=\"#tools\">Name at least one tool.</a>"), "{none}");
        let mut wrong = TRIAGE;
        wrong[7] = ("tools-2-name", "no good name");
        let page = browser.post("/new/toolset", &wrong).await.expect(422).text;
        for part in ["id=\"tools-wrong\"", "`files:list`", "value=\"no good name\"", "value=\"read\""] {
            assert!(page.contains(part), "{part}: {page}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_toolsets_page_names_every_grant_that_decides_about_it() {
    run(async |bench| {
        let mut browser = operator(bench).await;
        browser.post("/new/toolset", &TRIAGE).await.expect(303);
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        for (name, scope) in [
            ("by-name", "toolset/triage"),
            ("by-tool", "files:list"),
            ("by-server", "files:*"),
            ("of-another-tool", "files:write"),
        ] {
            browser.post("/new/grant", &[("name", name), ("team", "core"), ("scopes", scope)]).await.expect(303);
        }
        let page = browser.get("/toolsets/triage").await.expect(200).text;
        for (grant, shown) in [("by-name", true), ("by-tool", true), ("by-server", true), ("of-another-tool", false)] {
            assert_eq!(page.contains(&format!("id=\"grant-{grant}\"")), shown, "{grant}");
        }
        let server = browser.get("/servers/files").await.expect(200).text;
        assert!(server.contains("id=\"grant-by-name\""), "a toolset's grant reaches the servers of its tools");
    })
    .await;
}

#[tokio::test]
async fn a_toolset_is_deleted_under_its_name_and_a_server_that_it_needs_is_not() {
    run(async |bench| {
        let mut browser = operator(bench).await;
        browser.post("/new/toolset", &TRIAGE).await.expect(303);
        let form = browser.get("/servers/files/delete").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        let kept = browser.post("/servers/files/delete", &[("confirm", "files"), ("etag", &etag)]).await.expect(409);
        assert!(kept.text.contains("is still used by toolset triage"), "{}", kept.text);
        let form = browser.get("/toolsets/triage/delete").await.expect(200);
        let etag = hidden(&form.text, "etag").expect("a version");
        browser.post("/toolsets/triage/delete", &[("confirm", "triage"), ("etag", &etag)]).await.expect(303);
        browser.get("/toolsets/triage").await.expect(404);
    })
    .await;
}
