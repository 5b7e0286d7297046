//! Proxies in front of both planes: whose word on where a request is from counts.

use http::Method;
use serde_json::json;
use tollgate_tests::{Deployment, Http, SpanReceiver};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The status of a token request with a wrong secret, which says that it came for `client`.
async fn guess(tollgate: &Deployment, client: &str) -> u16 {
    let headers = [FORM, ("x-forwarded-for", client)];
    let form = "grant_type=client_credentials&client_id=agt_x&client_secret=wrong";
    Http::default().send(Method::POST, &tollgate.token_url(), &headers, form).await.expect("an answer").status
}

#[tokio::test]
async fn a_trusted_proxy_tells_both_planes_who_it_speaks_for() {
    let receiver = SpanReceiver::start().await;
    let plan = Deployment::separate(1).env("TOLLGATE_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8").spans_to(&receiver);
    let tollgate = plan.start().await;
    for tries in 0..10 {
        let pretended = format!("203.0.113.{tries}, 192.0.2.7, 10.1.2.3");
        assert_eq!(guess(&tollgate, &pretended).await, 401);
    }
    assert_eq!(guess(&tollgate, "203.0.113.99, 192.0.2.7").await, 429, "what its sender wrote changes nothing");
    assert_eq!(guess(&tollgate, "192.0.2.8").await, 401, "others may still try");

    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("forwarded", "for=203.0.113.9, for=\"[2001:db8::7]:4711\";proto=https"),
    ];
    let answer =
        Http::default().send(Method::POST, &tollgate.federated_url(), &headers, list).await.expect("an answer");
    assert_eq!(answer.status, 401);
    let span = receiver.span("SPAN_KIND_SERVER", "tools/list").await;
    assert_eq!(span.attributes.get("client.address").map(String::as_str), Some("2001:db8::7"));
}

#[tokio::test]
async fn without_a_trusted_proxy_a_header_gives_nobody_more_tries() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    for tries in 0..10 {
        assert_eq!(guess(&tollgate, &format!("203.0.113.{tries}")).await, 401);
    }
    assert_eq!(guess(&tollgate, "203.0.113.99").await, 429);
}
