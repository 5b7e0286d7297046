//! Which requests are refused, and who is told.

use http::{Request, header};

use super::{
    super::observed::{Refusal, refusals},
    App, Ask, CHALLENGE, ENDPOINT, Kind, LOOPBACK, PRE_REGISTERED, Person, SELF_REGISTERED, WEB, assert_not_framed,
    location, value, values,
};
use crate::oauth::testing::{Answer, Bed, run};

/// A page that leads nowhere.
#[track_caller]
pub(super) fn assert_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((answer.header("location"), answer.header("refresh")), ("", ""));
    assert!(!answer.text().contains("href=\"http"), "{}", answer.text());
    assert_not_framed(answer);
}

#[tokio::test]
async fn a_client_that_nobody_knows_is_never_answered() {
    run(async |bed| {
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        bed.tenant("other").await;
        let person = Person::new(bed, "ada@acme.test").await;
        for id in
            ["", "nobody", "agt_01k5z7v9k3f0q8r2m4n6p8s0t2", "https://nowhere.invalid/../x", "'; DROP TABLE agents"]
        {
            let ask = app.ask().with("client_id", id);
            assert_page(&person.open(&ask).await, 400);
            assert_page(&bed.get(&ask.path()).await, 400);
        }
        let elsewhere = app.ask().path().replace("/t/acme/", "/t/other/");
        assert_page(&bed.get(&elsewhere).await, 400);
        assert_page(&bed.get(&app.ask().path().replace("/t/acme/", "/t/nobody/")).await, 404);
        assert_page(&bed.get(&app.ask().and("client_id", &app.id).path()).await, 400);
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_not_the_clients_is_never_answered() {
    run(async |bed| {
        const TWO: Kind = Kind { redirect_uris: &[WEB, "https://app.example/other?x=1"], ..PRE_REGISTERED };
        let app = App::new(bed, "editor", TWO, &["demo:*"]).await;
        for address in [
            "https://app.example/CB",
            "https://APP.example/cb",
            "https://app.example/cb/",
            "https://app.example/cb?x=1",
            "https://app.example/cb#x",
            "https://user@app.example/cb",
            "https://app.example/%63b",
            "https://app.example/a/%2e%2e/cb",
            "https://app.example/cb/evil",
            "https://evil.app.example/cb",
            "https://app.example.evil/cb",
            "https://app.example:444/cb",
            "https://аpp.example/cb",
            "http://app.example/cb",
            "https://app.example/other",
            "https://app.example/other?x=2",
            "//app.example/cb",
            "javascript:alert(1)",
        ] {
            assert_page(&bed.get(&app.ask_to(address).path()).await, 400);
        }
        assert_page(&bed.get(&app.ask().without("redirect_uri").path()).await, 400);
        assert_page(&bed.get(&app.ask().and("redirect_uri", WEB).path()).await, 400);
        let kept =
            location(&bed.get(&app.ask_to("https://app.example/other?x=1").without("response_type").path()).await);
        assert_eq!((value(&kept, "x"), value(&kept, "error")), ("1".to_owned(), "invalid_request".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_loopback_address_is_the_same_at_every_port() {
    run(async |bed| {
        const NATIVE: Kind =
            Kind { redirect_uris: &[LOOPBACK, "http://[::1]/cb", "http://localhost/cb"], ..PRE_REGISTERED };
        let app = App::new(bed, "cli", NATIVE, &["demo:*"]).await;
        for address in ["http://127.0.0.1:49152/cb", "http://[::1]:5/cb", "http://localhost:8080/cb", LOOPBACK] {
            let answer = bed.get(&app.ask_to(address).without("response_type").path()).await;
            assert!(answer.header("location").starts_with(&format!("{address}?error=")), "{}", answer.text());
        }
        for address in [
            "http://127.0.0.1:49152/cb/x",
            "http://127.0.0.1:1/cb?x",
            "http://localhost.evil:1/cb",
            "http://127.0.0.1.nip.io/cb",
            "http://127.1/cb",
            "https://127.0.0.1/cb",
            "http://127.0.0.1:99999/cb",
        ] {
            assert_page(&bed.get(&app.ask_to(address).path()).await, 400);
        }
    })
    .await;
}

/// What is wrong with requests, and how the client is told.
fn faulty(ask: &Ask) -> Vec<(&'static str, Ask)> {
    let long = "x".repeat(8 * 1024 + 1);
    vec![
        ("invalid_request", ask.clone().without("response_type")),
        ("unsupported_response_type", ask.clone().with("response_type", "token")),
        ("unsupported_response_type", ask.clone().with("response_type", "id_token")),
        ("unsupported_response_type", ask.clone().with("response_type", "code token")),
        ("invalid_request", ask.clone().and("response_type", "code")),
        ("invalid_request", ask.clone().and("scope", "demo:echo").and("scope", "demo:add")),
        ("invalid_request", ask.clone().and("unknown", "1").and("unknown", "2")),
        ("invalid_request", ask.clone().with("response_mode", "fragment")),
        ("invalid_request", ask.clone().without("code_challenge")),
        ("invalid_request", ask.clone().without("code_challenge_method")),
        ("invalid_request", ask.clone().with("code_challenge_method", "plain")),
        ("invalid_request", ask.clone().with("code_challenge_method", "S512")),
        ("invalid_request", ask.clone().with("code_challenge", &CHALLENGE[1..])),
        ("invalid_request", ask.clone().with("code_challenge", &format!("{CHALLENGE}A"))),
        ("invalid_request", ask.clone().with("code_challenge", &CHALLENGE.replace('-', "+"))),
        ("invalid_scope", ask.clone().with("scope", "openid")),
        ("invalid_scope", ask.clone().with("scope", "demo:echo \"quoted\"")),
        ("invalid_scope", ask.clone().with("scope", "demo:@write")),
        ("invalid_target", ask.clone().with("resource", "mcp")),
        ("invalid_target", ask.clone().with("resource", "https://gw/t/acme/mcp#x")),
        ("invalid_target", ask.clone().with("resource", "https://elsewhere.example/mcp")),
        ("invalid_target", ask.clone().with("resource", "https://gw/t/other/mcp")),
        ("request_not_supported", ask.clone().with("request", "eyJ")),
        ("request_uri_not_supported", ask.clone().with("request_uri", "https://app.example/request")),
        ("registration_not_supported", ask.clone().with("registration", "{}")),
        ("invalid_request", ask.clone().with("prompt", "none login")),
        ("invalid_request", ask.clone().with("state", &long)),
    ]
}

#[tokio::test]
async fn a_vouched_for_client_is_told_what_is_wrong_with_its_request() {
    run(async |bed| {
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        for (error, ask) in faulty(&app.ask()) {
            let answer = bed.get(&ask.path()).await;
            let told = location(&answer);
            let expected_state = if ask.query().len() > 8_192 { vec![] } else { vec!["a state".to_owned()] };
            assert_eq!((value(&told, "error").as_str(), values(&told, "state")), (error, expected_state), "{told}");
            assert_eq!(value(&told, "iss"), "https://h/t/acme");
            assert!(values(&told, "code").is_empty() && !value(&told, "error_description").is_empty());
            assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "no-referrer"));
        }
    })
    .await;
}

#[tokio::test]
async fn what_needs_the_database_to_be_wrong_is_told_after_the_sign_in() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        for (error, ask) in [
            ("invalid_scope", app.ask().and("scope", "nowhere:echo")),
            ("invalid_target", app.ask().and("resource", "https://gw/t/acme/mcp/nowhere")),
            ("invalid_scope", app.ask().and("resource", "https://gw/t/acme/mcp/demo").and("scope", "other:x")),
        ] {
            let told = person.arrive(&person.open(&ask).await).await;
            assert_eq!((value(&told, "error").as_str(), value(&told, "state").as_str()), (error, "a state"));
            assert_eq!(value(&told, "iss"), "https://h/t/acme");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_borrows_our_address_to_lead_strangers_to_a_client_that_registered_itself() {
    run(async |bed| {
        bed.server("demo").await;
        const DOCUMENTED: Kind = Kind { origin: "client_document", ..SELF_REGISTERED };
        for (name, kind) in [("dyn", SELF_REGISTERED), ("doc", DOCUMENTED)] {
            let app = App::new(bed, name, kind, &["demo:*"]).await;
            let person = Person::new(bed, &format!("{name}@acme.test")).await;
            for (error, ask) in faulty(&app.ask()) {
                let answer = bed.get(&ask.path()).await;
                assert_eq!(answer.status, 303, "{error}");
                assert!(answer.header("location").starts_with("/sign-in?tenant=acme&next="), "{error}");
                let told = person.arrive(&person.open(&ask).await).await;
                assert_eq!(value(&told, "error"), error);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_acts_for_nobody_may_not_send_users() {
    run(async |bed| {
        let app = App::new(bed, "robot", PRE_REGISTERED, &["demo:*"]).await;
        bed.run("UPDATE agents SET grant_types = '{client_credentials}' WHERE id = $1", app.agent.uuid()).await;
        let told = location(&bed.get(&app.ask().path()).await);
        assert_eq!(value(&told, "error"), "unauthorized_client");
    })
    .await;
}

#[tokio::test]
async fn what_is_empty_or_unknown_is_as_if_it_were_not_there() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let ask =
            app.ask().with("state", "").and("scope", "").and("resource", "").and("nonce", "x").and("max_age", "9");
        let arrived = person.allow(&ask.and("display", "popup")).await;
        assert!(values(&arrived, "state").is_empty(), "{arrived}");
        assert_eq!(values(&arrived, "code").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_form_asks_the_same_as_a_query() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let post = async |bed: &Bed, body: String, cookie: &str| {
            let request = Request::post(ENDPOINT)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::COOKIE, cookie);
            bed.send(request.body(body.into()).expect("a request")).await
        };
        let sent = post(bed, app.ask().query(), "").await;
        assert_eq!(
            (sent.status.as_u16(), sent.header("location")),
            (303, bed.get(&app.ask().path()).await.header("location"))
        );
        let person = Person::new(bed, "ada@acme.test").await;
        let page = post(bed, app.ask().query(), &person.cookie).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("id=\"consent\""));
        assert_page(&post(bed, "x".repeat(70_000), "").await, 400);
        assert_page(&post(bed, "client_id=%ff".to_owned(), "").await, 400);
    })
    .await;
}

#[tokio::test]
async fn a_long_state_comes_back_word_for_word() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let state: String = "aZ9 +&=%/?#\"'\\<>\n\u{e4}".chars().cycle().take(7_700).collect();
        let arrived = person.allow(&app.ask().with("state", &state)).await;
        assert_eq!(value(&arrived, "state"), state);
    })
    .await;
}

#[tokio::test]
async fn no_web_page_may_read_the_endpoint_and_no_redirect_keeps_the_method() {
    run(async |bed| {
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let request = Request::options(app.ask().path())
            .header(header::ORIGIN, "https://evil.example")
            .header("access-control-request-method", "GET");
        let answer = bed.send(request.body(axum::body::Body::empty()).expect("a request")).await;
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{:?}", answer.headers);
        let person = Person::new(bed, "ada@acme.test").await;
        for answer in [
            bed.get(&app.ask().path()).await,
            bed.get(&app.ask().without("response_type").path()).await,
            person.post(ENDPOINT, &[("client_id", &app.id), ("redirect_uri", WEB)]).await,
        ] {
            assert!(matches!(answer.status.as_u16(), 302 | 303), "{}", answer.status);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_in_the_audit_log_whoever_is_told() {
    run(async |bed| {
        let app = App::new(bed, "editor", PRE_REGISTERED, &["demo:*"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        bed.get(&app.ask().with("client_id", "nobody").path()).await;
        bed.get(&app.ask_to("https://evil.example/cb").path()).await;
        person.open(&app.ask().with("response_type", "token")).await;
        person.open(&app.ask().with("scope", "no scope")).await;
        let page = person.open(&app.ask()).await;
        person.decide(&page, "deny", &[]).await;
        person.post(&format!("{ENDPOINT}/decision"), &[("csrf", "forged"), ("decision", "allow")]).await;

        let events = refusals(bed).await;
        let brief: Vec<String> = events.iter().map(Refusal::brief).collect();
        let expected = [
            "authorize invalid_client",
            "authorize invalid_request",
            "authorize unsupported_response_type",
            "authorize invalid_scope",
            "authorize/decision access_denied",
            "authorize/decision invalid_request",
        ];
        assert_eq!(brief, expected, "{events:?}");
        assert!(events[1].detail["reason"].as_str().is_some_and(|why| why.contains("evil.example")), "{events:?}");
        assert!(events[2..5].iter().all(|event| event.actor == format!("client:{}", app.id)), "{events:?}");
    })
    .await;
}
