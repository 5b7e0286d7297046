//! What the user is shown of toolsets, and what becomes of the answer.

use super::{App, PRE_REGISTERED, Person, event, ticked, value};
use crate::oauth::testing::{Bed, run};

const RESOURCE: &str = "https://gw/t/acme/toolsets/triage";

/// Servers `github` and `mail`, toolset `triage` of both, and a client that was granted these scopes.
async fn editor(bed: &Bed, scopes: &[&str]) -> App {
    for server in ["github", "mail"] {
        bed.server(server).await;
    }
    bed.toolset("triage", &["github:list", "github:open", "mail:send"]).await;
    bed.change("UPDATE toolsets SET display_name = 'Support & <Triage>'").await;
    App::new(bed, "editor", PRE_REGISTERED, scopes).await
}

/// The scopes of the newest family.
async fn allowed(bed: &Bed) -> Vec<String> {
    sqlx::query_scalar("SELECT scopes FROM authorizations ORDER BY created_at DESC, id DESC LIMIT 1")
        .fetch_one(&mut *bed.tx().await)
        .await
        .expect("a family")
}

#[tokio::test]
async fn a_toolset_is_shown_as_its_tools_and_allowed_as_a_whole() {
    run(async |bed| {
        let app = editor(bed, &["toolset/triage"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask().and("resource", RESOURCE)).await;
        let html = page.text();
        for fact in ["<h3>Support &#38; &#60;Triage&#62;</h3>", "<code>send</code> of mail", RESOURCE] {
            assert!(html.contains(fact), "{fact}: {html}");
        }
        assert_eq!(ticked(&html), ["github:list", "github:open", "mail:send"]);
        person.arrive(&person.decide(&page, "allow", &["github:list", "github:open", "mail:send"]).await).await;
        assert_eq!(allowed(bed).await, ["toolset/triage"]);
        let said = event(bed, "consent.allow").await["shown"].to_string();
        assert!(said.contains("asked: Support & <Triage>: mail: send"), "{said}");
        assert_eq!(person.open(&app.ask().and("resource", RESOURCE)).await.status, 303, "it is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_toolset_of_which_something_was_unticked_is_allowed_tool_by_tool() {
    run(async |bed| {
        let app = editor(bed, &["toolset/triage"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let ask = app.ask().and("resource", RESOURCE).and("scope", "toolset/triage");
        let page = person.open(&ask).await;
        person.arrive(&person.decide(&page, "allow", &["github:list", "toolset/triage", "files:*"]).await).await;
        assert_eq!(allowed(bed).await, ["github:list"], "nothing that had no box");

        let again = person.open(&ask).await;
        assert_eq!(ticked(&again.text()), ["github:open", "mail:send"], "only what is new");
        assert!(again.text().contains("<li>github: list</li>"), "{}", again.text());
        person.arrive(&person.decide(&again, "allow", &["github:open", "mail:send"]).await).await;
        assert_eq!(allowed(bed).await, ["toolset/triage"], "now all of it is allowed");

        let anew = person.open(&ask.clone().and("prompt", "consent")).await;
        person.decide(&anew, "allow", &["github:open"]).await;
        let left = person.open(&ask).await;
        assert_eq!(ticked(&left.text()), ["github:list", "mail:send"], "what was unticked is forgotten");
    })
    .await;
}

#[tokio::test]
async fn a_toolset_that_grows_while_the_page_is_open_is_not_allowed_as_a_whole() {
    run(async |bed| {
        let app = editor(bed, &["toolset/triage"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask().and("resource", RESOURCE)).await;
        bed.change("UPDATE toolset_tools SET tool = 'delete', name = 'delete' WHERE tool = 'list'").await;
        let boxes = ["github:list", "github:open", "mail:send"];
        person.arrive(&person.decide(&page, "allow", &boxes).await).await;
        assert_eq!(allowed(bed).await, ["github:open", "mail:send"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_granted_of_a_toolset_in_part_is_asked_in_part() {
    run(async |bed| {
        let app = editor(bed, &["github:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask().and("resource", RESOURCE).and("scope", "toolset/triage")).await;
        assert_eq!(ticked(&page.text()), ["github:list", "github:open"]);
        person.arrive(&person.decide(&page, "allow", &["github:list", "github:open"]).await).await;
        assert_eq!(allowed(bed).await, ["github:list", "github:open"]);
    })
    .await;
}

#[tokio::test]
async fn a_toolset_that_is_not_there_is_no_resource_and_no_scope() {
    run(async |bed| {
        let app = editor(bed, &["toolset/triage", "github:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let gone = "https://gw/t/acme/toolsets/gone";
        for (ask, error) in [
            (app.ask().and("resource", gone), "invalid_target"),
            (app.ask().and("scope", "toolset/gone"), "invalid_scope"),
            (app.ask().and("resource", RESOURCE).and("scope", "github:close"), "invalid_scope"),
        ] {
            let told = person.arrive(&person.open(&ask).await).await;
            assert_eq!(value(&told, "error"), error);
        }
    })
    .await;
}
