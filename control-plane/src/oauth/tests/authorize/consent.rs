//! What the user is shown, and what is remembered.

use serde_json::json;
use tollgate_proto::Scope;

use super::{
    App, Ask, Kind, LOOPBACK, PRE_REGISTERED, Person, SELF_REGISTERED, WEB, assert_not_framed, event, location, sql,
    ticked, value,
};
use crate::oauth::testing::{Bed, run};

const CONFIDENTIAL: Kind = Kind { origin: "registration", auth_method: "client_secret_basic", ..SELF_REGISTERED };
const DOCUMENTED: Kind = Kind { origin: "client_document", ..SELF_REGISTERED };

/// Servers `demo` and `files`.
async fn servers(bed: &Bed) {
    bed.server("demo").await;
    bed.server("files").await;
    sqlx::query("UPDATE servers SET display_name = 'Files & <Folders>' WHERE name = 'files'")
        .execute(&mut *sql(bed).await)
        .await
        .expect("a title");
}

async fn call_it(bed: &Bed, app: &App, name: &str) {
    sqlx::query("UPDATE agents SET display_name = $2 WHERE id = $1")
        .bind(app.agent.uuid())
        .bind(name)
        .execute(&mut *sql(bed).await)
        .await
        .expect("a name");
}

#[tokio::test]
async fn the_page_says_who_asks_where_the_answer_goes_and_for_what() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", DOCUMENTED, &["demo:echo", "files:*"]).await;
        call_it(bed, &app, &format!("Good\u{202e}<b>App</b>{}", "x".repeat(80))).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        let html = page.text();
        let shown = format!("Good&#60;b&#62;App&#60;/b&#62;{}", "x".repeat(50));
        for fact in [
            format!("<strong id=\"client-name\">{shown}</strong>"),
            "id=\"unverified\"".to_owned(),
            "<dd id=\"client-host\">editor.example</dd>".to_owned(),
            "<strong id=\"redirect-host\">app.example</strong>".to_owned(),
            "<code>https://gw/t/acme/mcp</code>".to_owned(),
            "ada@acme.test".to_owned(),
            "<code>echo</code>".to_owned(),
            "Everything that Files &#38; &#60;Folders&#62; offers".to_owned(),
        ] {
            assert!(html.contains(&fact), "{fact}: {html}");
        }
        assert!(!html.contains('\u{202e}') && !html.contains("id=\"redirect-warning\""));
        assert_eq!(ticked(&html), ["demo:echo", "files:*"]);
        let deny = html.find("value=\"deny\" autofocus").expect("deny has the focus");
        assert!(deny < html.find("value=\"allow\"").expect("allow"), "and comes first");
        for (name, value) in
            [("x-frame-options", "DENY"), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(page.header(name), value);
        }
        assert!(
            page.header("content-security-policy")
                .contains("form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        );
        person.decide(&page, "allow", &["demo:echo"]).await;
        let said = event(bed, "consent.allow").await["shown"].to_string();
        for fact in ["answered at: app.example", "verified host: editor.example", "asked: demo: echo", "unverified"] {
            assert!(said.contains(fact), "{fact}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_on_the_users_device_is_warned_of_unless_it_has_another_home() {
    run(async |bed| {
        servers(bed).await;
        let person = Person::new(bed, "ada@acme.test").await;
        const NATIVE: Kind = Kind { redirect_uris: &[LOOPBACK, "http://localhost/cb"], ..PRE_REGISTERED };
        const BOTH: Kind = Kind { redirect_uris: &[LOOPBACK, WEB], ..PRE_REGISTERED };
        const SCHEME: Kind = Kind { redirect_uris: &["com.example.app:/cb"], ..PRE_REGISTERED };
        for (name, kind, address, warned, host) in [
            ("native", NATIVE, "http://127.0.0.1:5000/cb", true, "127.0.0.1"),
            ("both", BOTH, "http://127.0.0.1:5000/cb", false, "127.0.0.1"),
            ("web", PRE_REGISTERED, WEB, false, "app.example"),
            ("scheme", SCHEME, "com.example.app:/cb", true, "com.example.app:"),
        ] {
            let app = App::new(bed, name, kind, &["demo:*"]).await;
            let html = person.open(&app.ask_to(address)).await.text();
            assert_eq!(html.contains("id=\"redirect-warning\""), warned, "{name}");
            assert!(html.contains(&format!("<strong id=\"redirect-host\">{host}</strong>")), "{name}: {html}");
            assert!(!html.contains("id=\"unverified\""), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_user_gives_less_than_was_asked() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:echo", "demo:add", "files:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask().and("scope", "demo:* offline_access")).await;
        assert_eq!(ticked(&page.text()), ["demo:add", "demo:echo"], "what is granted of the server, tool by tool");
        let arrived = person.arrive(&person.decide(&page, "allow", &["demo:echo", "files:*", "demo:*"]).await).await;
        assert_eq!(value(&arrived, "state"), "a state");
        let scopes: Vec<String> = sqlx::query_scalar("SELECT scopes FROM authorizations")
            .fetch_one(&mut *bed.tx().await)
            .await
            .expect("one family");
        assert_eq!(scopes, ["demo:echo"], "nothing that was not on the page");
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_and_not_granted_is_named_and_left_out() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let html = person.open(&app.ask().and("scope", "demo:echo files:read")).await.text();
        assert_eq!(ticked(&html), ["demo:echo"]);
        assert!(html.contains("id=\"withheld\"") && html.contains("Files &#38; &#60;Folders&#62;: read"), "{html}");
    })
    .await;
}

#[tokio::test]
async fn without_any_tick_nothing_is_allowed() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        let again = person.decide(&page, "allow", &[]).await;
        assert_eq!(again.status, 422);
        assert!(again.text().contains("Tick at least one thing"));
        assert!(ticked(&again.text()).is_empty());
        person.arrive(&person.decide(&again, "allow", &["demo:*"]).await).await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_granted_cannot_be_allowed_and_the_page_says_whom_to_ask() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &[]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        assert_eq!(page.status, 403);
        assert_not_framed(&page);
        assert!(page.text().contains("<pre id=\"agent-name\">editor</pre>"), "{}", page.text());
        assert!(!page.text().contains("value=\"allow\""));
        let told = person.arrive(&person.decide(&page, "deny", &[]).await).await;
        assert_eq!(
            (value(&told, "error").as_str(), value(&told, "iss").as_str()),
            ("access_denied", "https://h/t/acme")
        );
        let told = location(&person.open(&app.ask().and("prompt", "none")).await);
        assert_eq!(value(&told, "error"), "access_denied");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_may_not_act_gets_nothing() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", SELF_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        for (statement, words) in [
            ("UPDATE agents SET state = 'waiting' WHERE id = $1", "Not approved yet"),
            ("UPDATE agents SET state = 'suspended' WHERE id = $1", "This application is suspended"),
        ] {
            bed.run(statement, app.agent.uuid()).await;
            let page = person.open(&app.ask()).await;
            assert_eq!(page.status, 403);
            assert_not_framed(&page);
            assert!(page.text().contains(words));
        }
    })
    .await;
}

/// Whether a second request is allowed without a page.
async fn is_remembered(bed: &Bed, name: &str, kind: Kind, address: &str) -> bool {
    let app = App::new(bed, name, kind, &["demo:*"]).await;
    let person = Person::new(bed, &format!("{name}@acme.test")).await;
    person.allow(&app.ask_to(address)).await;
    let again = person.open(&app.ask_to(address)).await;
    let silent = person.open(&app.ask_to(address).and("prompt", "none")).await;
    let error = location(&silent);
    let error = error.query_pairs().find(|(name, _)| name == "error").map(|(_, value)| value.into_owned());
    if again.status == 200 {
        assert_eq!(error.as_deref(), Some("consent_required"), "{name}");
        return false;
    }
    assert_eq!(error, None, "{name}");
    assert_eq!(value(&person.arrive(&again).await, "code").len(), 53, "{name}");
    true
}

#[tokio::test]
async fn consent_is_remembered_for_clients_that_are_surely_the_same() {
    run(async |bed| {
        servers(bed).await;
        const LOCAL: &[&str] = &[LOOPBACK];
        assert!(is_remembered(bed, "pre-registered", PRE_REGISTERED, WEB).await);
        assert!(is_remembered(bed, "confidential", CONFIDENTIAL, WEB).await);
        assert!(is_remembered(bed, "documented", DOCUMENTED, WEB).await);
        let keyed = Kind { auth_method: "private_key_jwt", redirect_uris: LOCAL, ..DOCUMENTED };
        assert!(is_remembered(bed, "keyed", keyed, LOOPBACK).await);
        assert!(!is_remembered(bed, "dynamic", SELF_REGISTERED, WEB).await);
        assert!(!is_remembered(bed, "local", Kind { redirect_uris: LOCAL, ..DOCUMENTED }, LOOPBACK).await);
    })
    .await;
}

/// The scopes of the newest family.
async fn newest_scopes(bed: &Bed) -> Vec<Scope> {
    let scopes: Vec<String> =
        sqlx::query_scalar("SELECT scopes FROM authorizations ORDER BY created_at DESC, id DESC LIMIT 1")
            .fetch_one(&mut *bed.tx().await)
            .await
            .expect("a family");
    scopes.iter().map(|scope| scope.parse().expect("a scope")).collect()
}

#[tokio::test]
async fn a_step_up_asks_only_for_what_is_new() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:echo", "demo:add", "files:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        person.allow(&app.ask().and("scope", "demo:echo")).await;
        let page = person.open(&app.ask().and("scope", "demo:echo demo:add files:*")).await;
        assert_eq!(ticked(&page.text()), ["demo:add", "files:*"]);
        assert!(page.text().contains("<li>demo: echo</li>"), "{}", page.text());
        person.arrive(&person.decide(&page, "allow", &["demo:add"]).await).await;
        let both = ["demo:add", "demo:echo"].map(|scope| scope.parse::<Scope>().expect("a scope"));
        assert_eq!(newest_scopes(bed).await, both);
        let all: Ask = app.ask().and("scope", "demo:add demo:echo");
        assert_eq!(person.open(&all).await.status, 303, "both are remembered now");
        let asked = person.open(&all.and("prompt", "consent")).await;
        assert_eq!(ticked(&asked.text()), ["demo:add", "demo:echo"], "unless the client wants the user asked");
        person.decide(&asked, "allow", &["demo:echo"]).await;
        let left = person.open(&app.ask().and("scope", "demo:add demo:echo")).await;
        assert_eq!(ticked(&left.text()), ["demo:add"], "what was unticked is forgotten");
    })
    .await;
}

#[tokio::test]
async fn consent_counts_at_its_resource_and_for_its_user_only() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let at_demo = app.ask().and("resource", "https://gw/t/acme/mcp/demo");
        person.allow(&at_demo).await;
        assert_eq!(person.open(&at_demo).await.status, 303);
        assert_eq!(person.open(&app.ask()).await.status, 200);
        let both = at_demo.clone().and("resource", "https://gw/t/acme/mcp");
        assert_eq!(ticked(&person.open(&both).await.text()), ["demo:echo"], "one of them was not allowed before");
        assert_eq!(Person::new(bed, "bob@acme.test").await.open(&at_demo).await.status, 200);
        person.allow(&both).await;
        let resources: Vec<String> =
            sqlx::query_scalar("SELECT resources FROM authorizations ORDER BY created_at DESC LIMIT 1")
                .fetch_one(&mut *bed.tx().await)
                .await
                .expect("a family");
        assert_eq!(resources, ["https://gw/t/acme/mcp/demo", "https://gw/t/acme/mcp"], "all of them are recorded");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_has_changed_is_asked_about_again() {
    run(async |bed| {
        servers(bed).await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        person.allow(&app.ask()).await;
        assert_eq!(person.open(&app.ask()).await.status, 303);
        let page = person.open(&app.ask().and("prompt", "consent")).await;
        call_it(bed, &app, "Somebody else").await;
        assert_eq!(person.open(&app.ask()).await.status, 200);
        let answer = person.decide(&page, "allow", &["demo:echo"]).await;
        assert_eq!(answer.status, 303, "the page that was open shows another client");
        assert!(answer.header("location").starts_with("/t/acme/oauth/authorize?"), "so it is shown anew");
        assert_eq!(event(bed, "consent.allow").await["remembered"], json!(true), "and nothing was allowed by it");
    })
    .await;
}

#[tokio::test]
async fn every_form_of_a_scope_is_asked_for_in_words_and_a_role_gives_what_it_is_granted() {
    run(async |bed| {
        servers(bed).await;
        let granted = ["demo:get_*", "demo:@read", "demo:@prompt/tour", "files:@resource/file:///*"];
        let app = App::new(bed, "editor", PRE_REGISTERED, &granted).await;
        let person = Person::new(bed, "ada@acme.test").await;
        sqlx::query(
            "INSERT INTO grants (tenant_id, id, name, role, scopes, created_by)
             SELECT tenant_id, gen_random_uuid(), 'role', role, '{demo:look}', 'test' FROM users",
        )
        .execute(&mut *sql(bed).await)
        .await
        .expect("a grant to the user's role");
        let html = person.open(&app.ask()).await.text();
        for words in [
            "<span>tools whose name fits <code>get_*</code></span>",
            "<span>tools approved as read-only</span>",
            "<span>the prompt <code>tour</code></span>",
            "<span>resources whose address fits <code>file:///*</code></span>",
            "<span><code>look</code></span>",
        ] {
            assert!(html.contains(words), "{words}: {html}");
        }
        let mut asked = ticked(&html);
        asked.sort();
        let mut expected: Vec<&str> = granted.into_iter().chain(["demo:look"]).collect();
        expected.sort();
        assert_eq!(asked, expected);
    })
    .await;
}
