//! What operators see: spans, metrics, health.

use http::Method;
use serde_json::json;
use tollgate_tests::{Deployment, Era, Http, SpanReceiver, eventually};

use crate::scene::Scene;

#[tokio::test]
async fn a_call_is_a_server_span_with_a_client_span_in_it() {
    let receiver = SpanReceiver::start().await;
    let plan = Deployment::dev().argument("--no-demo").spans_to(&receiver);
    let scene = Scene::set(plan, &Era::Modern).await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let meta = json!({"traceparent": format!("00-{trace_id}-00f067aa0ba902b7-01")});
    scene.client.request("tools/call", json!({"name": "read", "arguments": {}, "_meta": meta})).await;

    let server = receiver.span("SPAN_KIND_SERVER", "tools/call read").await;
    assert_eq!((server.trace_id.as_str(), server.parent_span_id.as_str()), (trace_id, "00f067aa0ba902b7"));
    let expected = [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "read"),
        ("gen_ai.operation.name", "execute_tool"),
        ("mcp.protocol.version", "2026-07-28"),
        ("tollgate.mcp.server.name", "files"),
        ("network.transport", "tcp"),
    ];
    for (name, value) in expected {
        assert_eq!(server.attributes.get(name).map(String::as_str), Some(value), "{name} in {:?}", server.attributes);
    }
    for name in ["jsonrpc.request.id", "tollgate.tenant.id", "tollgate.agent.id"] {
        assert!(server.attributes.contains_key(name), "{name} in {:?}", server.attributes);
    }
    assert!(!server.attributes.contains_key("mcp.session.id"), "the modern era has no session");

    let client = receiver.span("SPAN_KIND_CLIENT", "tools/call read").await;
    assert_eq!((client.trace_id.as_str(), &client.parent_span_id), (trace_id, &server.span_id));
    assert!(client.attributes.contains_key("server.address") && client.attributes.contains_key("server.port"));
    let seen = scene.server.calls()[0].message["params"]["_meta"]["traceparent"].as_str().map(str::to_owned);
    assert_eq!(seen, Some(format!("00-{trace_id}-{}-01", client.span_id)), "the server's parent is the client span");
}

#[tokio::test]
async fn a_refusal_is_a_span_with_its_reason() {
    let receiver = SpanReceiver::start().await;
    let plan = Deployment::dev().argument("--no-demo").spans_to(&receiver);
    let scene = Scene::set(plan, &Era::Modern).await;
    scene.client.call("write", json!({})).await;
    let span = receiver.span("SPAN_KIND_SERVER", "tools/call write").await;
    assert!(span.attributes.contains_key("error.type"), "{:?}", span.attributes);
    assert!(!receiver.spans().iter().any(|span| span.kind == "SPAN_KIND_CLIENT" && span.name == "tools/call write"));
}

#[tokio::test]
async fn durations_are_counted_by_method_tool_and_decision() {
    let scene = Scene::modern().await;
    scene.client.call("read", json!({})).await;
    scene.client.call("write", json!({})).await;
    scene.client.post_as_call("invented", crate::scene::modern_call("invented").to_string()).await;
    let url = format!("{}/metrics", scene.tollgate.ops_url(0));
    let page = eventually("the metrics of three calls", || async {
        let page = Http::default().get(&url).await;
        assert_eq!(page.status, 200);
        Some(page.text()).filter(|text| text.contains(r#"gen_ai_tool_name="read""#))
    })
    .await;
    let counts: Vec<&str> =
        page.lines().filter(|line| line.starts_with("mcp_server_operation_duration_seconds_count")).collect();
    let count = |wanted: &[&str]| counts.iter().any(|line| wanted.iter().all(|part| line.contains(part)));
    assert!(
        count(&[r#"mcp_method_name="tools/call""#, r#"gen_ai_tool_name="read""#, r#"decision="allowed""#]),
        "{counts:#?}"
    );
    assert!(!page.contains("invented"), "a name that an agent invented is no label");
}

#[tokio::test]
async fn health_is_told_on_both_ports() {
    let tollgate = Deployment::separate(1).start().await;
    let http = Http::default();
    for base in [tollgate.control_url(), tollgate.ops_url(0)] {
        for page in ["healthz", "readyz"] {
            assert_eq!(http.get(&format!("{base}/{page}")).await.status, 200, "{base}/{page}");
        }
    }
}

#[tokio::test]
async fn one_page_of_metrics_shows_both_planes_of_dev() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    let token_url = format!("{}/t/default/oauth/token", tollgate.control_url());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = "grant_type=client_credentials&client_id=agt_x&client_secret=wrong";
    let answer = Http::default().send(Method::POST, &token_url, &form, wrong).await.expect("an answer");
    assert_eq!(answer.status, 401);
    let page = Http::default().get(&format!("{}/metrics", tollgate.ops_url(0))).await.text();
    let counted = r#"tollgate_oauth_requests_total{endpoint="token",outcome="invalid_client"} 1"#;
    assert!(page.contains(counted) && page.contains("tollgate_calls_in_flight 0"), "{page}");
    assert_eq!(page.matches("# EOF").count(), 1);
    assert!(page.ends_with("# EOF\n"), "{page}");
}
