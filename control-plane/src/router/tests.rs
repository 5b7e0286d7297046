use std::{fs, path::Path, sync::Arc};

use http::{Method, Request};
use serde_json::{Value, json};
use tollgate_proto::AlertId;

use super::{build, panicked, rest};
use crate::{
    app::{App, Urls},
    caller::Role,
    testing::{self, Bench, run, text},
};

/// Every operation of the OpenAPI document, with its path's parameters filled in.
fn operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(rest().into_openapi()).expect("a document");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{tenant}", "acme").replace("{email}", "a@b.test").replace("{period}", "2026-10");
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { part.replace(['{', '}'], "") } else { part.to_owned() });
        let path = path.collect::<Vec<_>>().join("/");
        for method in item.as_object().expect("operations").keys() {
            operations.push((method.to_uppercase().parse().expect("a method"), path.clone()));
        }
    }
    assert!(operations.len() > 30, "{operations:?}");
    operations
}

/// A body that the operation would take.
fn body(method: &Method, path: &str) -> Value {
    let to = json!({ "agent": "ci-bot" });
    let mut parts = path.split('/').skip(5);
    let spec = match parts.next().unwrap_or_default() {
        "servers" => json!({ "instances": [{ "url": "http://a/" }] }),
        "toolsets" => json!({ "tools": [{ "server": "demo", "tool": "echo" }] }),
        "agents" => json!({ "team": "platform", "type": "autonomous" }),
        "grants" => json!({ "to": to, "scopes": ["demo:*"] }),
        "identity-providers" => json!({ "issuer": "https://a.test", "client_id": "c" }),
        "price-books" => json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [] }),
        "budgets" => json!({ "to": to, "period": "month", "amount": "10" }),
        "webhooks" => json!({ "url": "https://a.test/" }),
        "limits" => json!({ "to": to, "requests": { "count": 1, "per": "1m" } }),
        _ => json!({}),
    };
    match *method {
        Method::PUT => json!({ "spec": spec }),
        Method::POST if path.ends_with("/statements") => json!({ "period": "2026-10" }),
        Method::POST if path.ends_with("/usage:rebuild") => json!({ "from": "2026-10-01", "to": "2026-10-02" }),
        Method::POST if path.ends_with("/usage:rerate") => {
            json!({ "from": "2026-10-01", "to": "2026-10-02", "reason": "the price was wrong" })
        }
        Method::POST if asks(path) => json!({ "agent": "ci-bot", "server": "demo", "tool": "echo" }),
        Method::POST if path.ends_with(":redeliver") => json!({ "alert": AlertId::new() }),
        Method::POST if path.ends_with("-tokens") || path.contains(':') => json!({}),
        Method::POST if path.ends_with("/users") => json!({ "email": "a@b.test", "spec": { "role": "viewer" } }),
        Method::POST if parts.next().is_none() => json!({ "name": "x", "spec": spec }),
        _ => json!({}),
    }
}

/// Whether a `POST` there only asks.
fn asks(path: &str) -> bool {
    path.ends_with("/access-checks")
}

/// Whether that is for who looks after the money.
fn is_finance(path: &str) -> bool {
    let ends = ["/statements", "/usage:rerate"];
    ["/price-books", "/budgets"].iter().any(|part| path.contains(part)) || ends.iter().any(|end| path.ends_with(end))
}

#[test]
fn the_committed_openapi_document_is_the_routes_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/control-plane.json");
    let document = rest().into_openapi().to_pretty_json().expect("a document") + "\n";
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed != document {
        fs::write(&path, document).expect("the document is written");
        panic!("openapi/control-plane.json was stale and is rewritten: look at it and commit it");
    }
}

#[test]
fn every_schema_that_the_openapi_document_refers_to_is_in_it() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(rest().into_openapi()).expect("a document");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn operations_have_ids_tags_and_typed_answers() {
    let document = serde_json::to_value(rest().into_openapi()).expect("a document");
    assert!(text(&document["openapi"]).starts_with("3.1"));
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let at = format!("{method} {path}");
            assert!(text(&operation["operationId"]).contains('.'), "{at}");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{at}");
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.contains_key("401") && responses.contains_key("503"), "{at}");
            for (status, response) in responses.iter().filter(|(status, _)| *status != "204") {
                assert!(response["content"].is_object(), "{at} answers {status} without a type");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_is_refused_without_a_key() {
    run(async |bench| {
        let unknown = crate::secret::generate(crate::secret::Purpose::ApiKey).text;
        for (method, path) in operations() {
            let call = || bench.call(method.clone(), &path);
            for answer in [
                call().anonymous().json(body(&method, &path)).await,
                call().anonymous().header("authorization", "Basic YTpi").send().await,
                call().with_key("tgk_nonsense").send().await,
                call().with_key(&unknown).send().await,
            ] {
                assert_eq!(answer.status, 401, "{method} {path}");
                assert_eq!(answer.problem().0, "unauthenticated");
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"tollgate\"");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_change_is_refused_to_those_who_only_read() {
    run(async |bench| {
        for (method, path) in operations() {
            let readers = if is_finance(&path) { &[Role::Viewer][..] } else { &[Role::Viewer, Role::Finance] };
            for role in readers.iter().copied() {
                let answer = bench.call(method.clone(), &path).by(role).json(body(&method, &path)).await;
                match method {
                    // No data plane is there to be asked for sessions.
                    Method::GET if path.ends_with("/sessions") => assert_eq!(answer.status, 503),
                    Method::GET => assert!([200, 404].contains(&answer.status.as_u16()), "{method} {path}"),
                    Method::POST if asks(&path) => assert_eq!(answer.problem().0, "not_found", "{path}"),
                    _ => assert_eq!(answer.status, 403, "{role}: {method} {path}: {:#}", answer.json),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_change_is_open_to_owners() {
    run(async |bench| {
        for (method, path) in operations() {
            let answer = bench.call(method.clone(), &path).json(body(&method, &path)).await;
            let status = answer.status.as_u16();
            assert!(![401, 403, 405, 500].contains(&status), "{status}: {method} {path}: {:#}", answer.json);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_route_is_a_problem_too() {
    run(async |bench| {
        for path in ["/api/", "/api/v2/x", "/api/v1/tenants/acme/planets"] {
            assert_eq!(bench.get(path).await.expect(404).problem().0, "not_found", "{path}");
        }
        let answer = bench.call(Method::DELETE, "teams").send().await.expect(405);
        assert_eq!(answer.problem().0, "method_not_allowed");
        assert!(answer.header("allow").contains("POST"));
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_as_what_it_is() {
    run(async |bench| {
        let post = |media: &str| bench.call(Method::POST, "teams").header("content-type", media);
        let body = r#"{"name":"a","spec":{}}"#;
        for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(post(media).body(body.to_owned()).await.expect(415).problem().0, "media_type_unsupported");
        }
        let json = || post("application/json; charset=utf-8");
        let nested = "[".repeat(1000);
        for body in ["", "{", "{}{}", "\u{feff}{}", &nested, r#"{"name":"a\u0000","spec":{}}"#] {
            assert_eq!(json().body(body.to_owned()).await.expect(400).problem().0, "body_malformed", "{body}");
        }
        let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(1024 * 1024));
        assert_eq!(json().body(large).await.expect(413).problem().0, "body_too_large");
        let extra = json().body(r#"{"name":"a","spec":{},"color":"red"}"#.to_owned()).await.expect(422);
        assert_eq!(extra.problem().1, ["/color shape"]);
        let missing = json().body("{}".to_owned()).await.expect(422);
        assert!(text(&missing.json["detail"]).contains("missing field `name`"));
        json().body(body.to_owned()).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn every_answer_names_its_request() {
    run(async |bench| {
        let given = bench.call(Method::GET, "teams/nobody").header("x-request-id", "abc-1").send().await.expect(404);
        assert_eq!(given.header("x-request-id"), "abc-1");
        assert_eq!(given.json["instance"], "urn:tollgate:request:abc-1");
        for unusable in ["", "a b", "<script>", &"a".repeat(129)] {
            let made = bench.call(Method::GET, "teams").header("x-request-id", unusable).send().await.expect(200);
            assert_eq!(made.header("x-request-id").len(), 36, "{unusable}");
        }
    })
    .await;
}

#[tokio::test]
async fn health_and_readiness_tell_the_process_from_the_database() {
    run(async |bench| {
        let get = async |path: &str| bench.call(Method::GET, path).anonymous().send().await;
        get("/healthz").await.expect(200);
        get("/readyz").await.expect(200);
        assert_eq!(get("/api/openapi.json").await.expect(200).json["info"]["title"], "Tollgate");
        bench.app.db.pool().close().await;
        get("/healthz").await.expect(200);
        get("/readyz").await.expect(503);
        let away = bench.get("teams").await.expect(503);
        assert_eq!(away.problem().0, "unavailable");
        assert_eq!(away.json["retryable"], true);
        assert_eq!(away.header("retry-after"), "2");
    })
    .await;
}

#[test]
fn a_panic_is_answered_without_what_it_said() {
    let response = panicked(Box::new("the password is hunter2"));
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn an_internal_error_tells_nothing() {
    run(async |bench: &Bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        sqlx::query(r#"UPDATE teams SET spec = '{"secret": 1}'"#).execute(&mut *tx).await.expect("damaged");
        tx.commit().await.expect("committed");
        let answer = bench.get("teams/platform").await.expect(500);
        assert_eq!(answer.problem().0, "internal");
        assert!(!answer.json.to_string().contains("secret"), "{:#}", answer.json);
    })
    .await;
}

#[tokio::test]
async fn browsers_are_told_to_insist_on_https_where_the_control_plane_is_reached_by_it() {
    run(async |bench| {
        for (control, said) in [("https://control.test", "max-age=31536000"), ("http://control.test", "")] {
            let urls = Urls { control: control.to_owned(), data: "https://data.test".to_owned() };
            let app = App { urls, ..testing::app(bench.app.db.clone(), bench.app.master_key.clone()) };
            let router = build(Arc::new(app));
            for path in
                ["/healthz", "/sign-in", "/api/openapi.json", "/api/v1/nothing", "/t/acme/oauth/jwks", "/nowhere"]
            {
                let answer = testing::send(&router, Request::get(path), None, String::new()).await;
                assert_eq!(answer.header("strict-transport-security"), said, "{path}");
            }
        }
    })
    .await;
}
