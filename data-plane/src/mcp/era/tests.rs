use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::*;
use crate::mcp::{
    header::{METHOD, NAME, PROTOCOL_VERSION},
    json::Bounds,
    message::{Incoming, read},
};

const MODERN_META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn post(headers: &[(HeaderName, &str)], body: &str) -> Result<Classified, EraError> {
    match read(&Bytes::copy_from_slice(body.as_bytes()), &Bounds::AGENT).unwrap() {
        Incoming::Single(message) => classify(&map(headers), &message),
        Incoming::Batch(_) => panic!("one message is classified at a time"),
    }
}

fn map(headers: &[(HeaderName, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

fn modern_call() -> String {
    request("tools/call", &format!(r#""name":"t",{MODERN_META}"#))
}

fn told(error: &EraError) -> (u16, i64) {
    (error.http_status().as_u16(), error.code())
}

#[test]
fn a_whole_modern_call_is_modern() {
    let headers = [(PROTOCOL_VERSION, "2026-07-28"), (METHOD, "tools/call"), (NAME, "=?base64?dA==?=")];
    let expected = Classified::Modern { version: ProtocolVersion::V2026_07_28, method: Method::ToolsCall };
    assert_eq!(post(&headers, &modern_call()), Ok(expected));
}

/// The values of the three headers of a modern call of `t`, which a test then breaks.
struct Sent<'a> {
    version: &'a [&'a str],
    method: &'a [&'a str],
    name: &'a [&'a str],
}

const SENT: Sent<'static> = Sent { version: &["2026-07-28"], method: &["tools/call"], name: &["t"] };

fn refusal(sent: &Sent<'_>, body: &str) -> EraError {
    let rows = [(PROTOCOL_VERSION, sent.version), (METHOD, sent.method), (NAME, sent.name)];
    let headers: Vec<_> =
        rows.iter().flat_map(|(name, values)| values.iter().map(|value| (name.clone(), *value))).collect();
    post(&headers, body).expect_err("it is to be refused")
}

#[test]
fn a_modern_call_whose_headers_disagree_with_its_body_is_refused() {
    for (row, sent) in [
        ("no version", Sent { version: &[], ..SENT }),
        ("another version", Sent { version: &["2025-11-25"], ..SENT }),
        ("two versions", Sent { version: &["2026-07-28"; 2], ..SENT }),
        ("no method", Sent { method: &[], ..SENT }),
        ("another method", Sent { method: &["tools/list"], ..SENT }),
        ("method in another case", Sent { method: &["Tools/call"], ..SENT }),
        ("two methods", Sent { method: &["tools/call"; 2], ..SENT }),
        ("no name", Sent { name: &[], ..SENT }),
        ("another name", Sent { name: &["T"], ..SENT }),
        ("two names", Sent { name: &["t", "secret"], ..SENT }),
        ("name in base64 that is not canonical", Sent { name: &["=?base64?dA?="], ..SENT }),
    ] {
        let error = refusal(&sent, &modern_call());
        assert_eq!((told(&error), error.reason()), ((400, -32020), "header_mismatch"), "{row}");
    }
}

#[test]
fn a_modern_call_is_refused_for_its_version_before_its_metadata_and_its_method() {
    let future =
        modern_call().replace("2026-07-28", "2027-03-01").replace("clientCap", "x").replace("tools/call", "ping");
    let sent = Sent { version: &["2027-03-01"], method: &["ping"], ..SENT };
    assert_eq!(told(&refusal(&sent, &future)), (400, -32022));
    let legacy = modern_call().replace("2026-07-28", "2025-11-25");
    assert_eq!(told(&refusal(&Sent { version: &["2025-11-25"], ..SENT }, &legacy)), (400, -32022));
}

#[test]
fn a_modern_call_that_lacks_metadata_or_params_is_refused() {
    for (row, body) in [
        ("no claim", request("tools/call", r#""name":"t""#)),
        ("a claim that is no string", modern_call().replace("\"2026-07-28\"", "20260728")),
        ("no capabilities", modern_call().replace("clientCap", "x")),
        ("capabilities that are no object", modern_call().replace("{}", "[]")),
        (
            "a log level that there is not",
            modern_call().replace("{}", r#"{},"io.modelcontextprotocol/logLevel":"loud""#),
        ),
        ("no name", request("tools/call", MODERN_META)),
    ] {
        assert_eq!(told(&refusal(&SENT, &body)), (400, -32602), "{row}");
    }
}

#[test]
fn a_method_that_the_modern_era_does_not_know_is_not_found() {
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tools/Call", "tasks/list"] {
        let error = refusal(&Sent { method: &[method], name: &[], ..SENT }, &request(method, MODERN_META));
        assert_eq!(told(&error), (404, -32601), "{method}");
    }
}

#[test]
fn the_handshake_is_legacy_and_settles_on_a_legacy_revision() {
    let asking = |version: &str| request("initialize", &format!(r#""protocolVersion":"{version}""#));
    for (asked, version) in [
        ("2025-06-18", ProtocolVersion::V2025_06_18),
        ("2026-07-28", ProtocolVersion::V2025_11_25),
        ("2024-11-05", ProtocolVersion::V2025_11_25),
    ] {
        assert_eq!(post(&[], &asking(asked)), Ok(Classified::Initialize { requested: asked.into(), version }));
    }
    let modern_header = post(&[(PROTOCOL_VERSION, "2026-07-28")], &asking("2025-11-25")).unwrap_err();
    assert_eq!(told(&modern_header), (400, -32020));
    assert_eq!(told(&post(&[], &request("initialize", "")).unwrap_err()), (200, -32602));
}

#[test]
fn a_request_without_claim_is_legacy_and_its_name_headers_mean_nothing() {
    let body = request("tools/call", r#""name":"t""#);
    let legacy = |header_version| Ok(Classified::Legacy { method: Method::ToolsCall, header_version });
    assert_eq!(post(&[], &body), legacy(None));
    let headers = [(PROTOCOL_VERSION, "2025-11-25"), (NAME, "other"), (NAME, "another"), (METHOD, "x")];
    assert_eq!(post(&headers, &body), legacy(Some(ProtocolVersion::V2025_11_25)));
    for unknown in ["2024-10-07", "latest", "", "2026-07-27"] {
        let error = post(&[(PROTOCOL_VERSION, unknown)], &body).unwrap_err();
        assert_eq!(told(&error), (400, -32022), "{unknown}");
    }
    for modern in ["2026-07-28", "2030-01-01"] {
        assert_eq!(told(&post(&[(PROTOCOL_VERSION, modern)], &body).unwrap_err()), (400, -32602), "{modern}");
    }
}

#[test]
fn no_legacy_refusal_of_a_method_ends_a_session() {
    for (method, params) in [("server/discover", ""), ("tools/run", ""), ("notifications/initialized", "")] {
        let error = post(&[(PROTOCOL_VERSION, "2025-11-25")], &request(method, params)).unwrap_err();
        assert_eq!(told(&error), (200, -32601), "{method}");
    }
    assert_eq!(told(&post(&[], &request("tools/call", "")).unwrap_err()), (200, -32602));
    assert_eq!(told(&post(&[], &request("completion/complete", "")).unwrap_err()), (200, -32602));
    assert_eq!(told(&post(&[], &request("resources/read", r#""name":"x""#)).unwrap_err()), (200, -32602));
}

#[test]
fn a_notification_is_never_a_call() {
    let notification = |method: &str| format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
    for header in [vec![], vec![(PROTOCOL_VERSION, "2026-07-28")]] {
        assert_eq!(post(&header, &notification("tools/call")), Err(EraError::RequestWithoutId));
    }
    assert_eq!(
        post(&[], &notification("notifications/initialized")),
        Ok(Classified::LegacyNotification { notice: Some(Notice::Initialized), header_version: None })
    );
    assert_eq!(
        post(&[], &notification("notifications/else")),
        Ok(Classified::LegacyNotification { notice: None, header_version: None })
    );
    let modern = [(PROTOCOL_VERSION, "2026-07-28")];
    assert_eq!(post(&modern, &notification("notifications/cancelled")), Ok(Classified::ModernNotification));
    let claiming = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{{MODERN_META}}}}}"#);
    assert_eq!(post(&modern, &claiming), Ok(Classified::ModernNotification));
    assert_eq!(told(&post(&[], &claiming).unwrap_err()), (400, -32020));
}

#[test]
fn responses_and_streams_are_legacy() {
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(post(&[], response), Ok(Classified::LegacyResponse { header_version: None }));
    assert_eq!(post(&[(PROTOCOL_VERSION, "2026-07-28")], response), Err(EraError::UnexpectedResponse));
    let legacy = map(&[(PROTOCOL_VERSION, "2025-06-18")]);
    let header_version = Some(ProtocolVersion::V2025_06_18);
    assert_eq!(classify_bodyless(&http::Method::GET, &legacy), Ok(Classified::LegacyStream { header_version }));
    assert_eq!(classify_bodyless(&http::Method::DELETE, &legacy), Ok(Classified::LegacyEnd { header_version }));
    let modern = map(&[(PROTOCOL_VERSION, "2026-07-28")]);
    for (verb, headers) in [(http::Method::PUT, &legacy), (http::Method::GET, &modern), (http::Method::DELETE, &modern)]
    {
        let error = classify_bodyless(&verb, headers).unwrap_err();
        assert_eq!(error.http_status(), StatusCode::METHOD_NOT_ALLOWED, "{verb}");
    }
}

#[test]
fn a_batch_may_be_one_of_the_revision_that_has_them() {
    let check = |headers: &[(HeaderName, &str)], body: &str| {
        let Ok(Incoming::Batch(messages)) = read(&Bytes::copy_from_slice(body.as_bytes()), &Bounds::AGENT) else {
            panic!("no batch: {body}");
        };
        check_batch(&map(headers), &messages)
    };
    let pings = format!("[{}]", request("ping", ""));
    assert_eq!(check(&[], &pings), Ok(()));
    assert_eq!(check(&[(PROTOCOL_VERSION, "2025-03-26")], &pings), Ok(()));
    for other in ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28", "latest"] {
        assert_eq!(check(&[(PROTOCOL_VERSION, other)], &pings), Err(EraError::Batch), "{other}");
    }
    for never in [request("initialize", r#""protocolVersion":"2025-03-26""#), modern_call()] {
        let error = check(&[], &format!("[{never}]")).unwrap_err();
        assert_eq!(told(&error), (400, -32600), "{never}");
    }
}

#[test]
fn an_unsupported_version_is_told_what_is_supported() {
    let error = EraError::UnsupportedVersion { requested: "1999-01-01".into() };
    let data: serde_json::Value = serde_json::from_slice(error.data().unwrap().as_bytes()).unwrap();
    assert_eq!(
        data,
        json!({"supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"], "requested": "1999-01-01"})
    );
    assert_eq!(EraError::Batch.data(), None);
}
