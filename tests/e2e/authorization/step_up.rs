//! A token was narrowed on the consent page. The call that needs more leads a real client through consent again, which
//! asks only for what is new, and then it succeeds.

use serde_json::{Value, json};
use tollgate_tests::{OauthClient, free_port};

use super::Desk;

#[tokio::test]
async fn the_python_sdk_steps_up() {
    steps_up(OauthClient::Python, json!({})).await;
}

#[tokio::test]
async fn the_typescript_sdk_steps_up() {
    steps_up(OauthClient::TypeScript, json!({"sdk": "client"})).await;
}

async fn steps_up(client: OauthClient, mut request: Value) {
    let mut desk = Desk::set().await;
    let port = free_port();
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let draft = desk.tollgate.interactive_agent("stepper").grant("demo:echo").grant("demo:countdown");
    let agent = draft.redirect_uri(&redirect_uri).create().await;
    request["url"] = json!(desk.tollgate.server_url("demo"));
    request["client"] = json!({"client_id": agent.client_id, "method": "none"});
    request["redirect_port"] = json!(port);
    request["steps"] = json!([
        {"call": "echo", "arguments": {"text": "hello"}},
        {"call": "countdown", "arguments": {"from": 1, "interval_ms": 10}},
        {"call": "echo", "arguments": {"text": "still here"}},
        {"call": "slow", "arguments": {"seconds": 0}},
    ]);
    let mut pages = Vec::new();
    let outcome = client
        .run(&request, async |url| {
            let without: &[&str] = if pages.is_empty() { &["demo:countdown"] } else { &[] };
            let journey = desk.allow(&url, &redirect_uri, without).await;
            pages.extend(journey.consents);
            journey.url
        })
        .await;
    let steps = &outcome["steps"];
    assert_eq!(steps[0]["text"], "hello", "{outcome}");
    assert_eq!(steps[1]["text"], "Counted down from 1.", "{outcome}");
    assert_eq!(steps[2]["text"], "still here", "what was allowed first is kept: {outcome}");
    assert!(steps[3]["error"].is_object(), "what no operator granted cannot be consented to: {outcome}");
    let [(_, first), (second_text, second)] = pages.as_slice() else { panic!("two consent pages: {pages:?}") };
    assert!(first.contains(&("demo:countdown".to_owned(), false)), "it was unticked: {first:?}");
    assert_eq!(second, &[("demo:countdown".to_owned(), true)], "only what is new is asked");
    assert!(second_text.contains("You allowed already"), "{second_text}");
    let granted: Vec<_> = outcome["scope"].as_str().unwrap_or_default().split(' ').collect();
    assert!(granted.contains(&"demo:echo") && granted.contains(&"demo:countdown"), "{outcome}");
}
