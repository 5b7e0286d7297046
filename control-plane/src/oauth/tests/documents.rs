//! What anyone may read: metadata, keys, and the places where there is nothing.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use jsonwebtoken::jwk::JwkSet;
use serde_json::json;

use crate::oauth::testing::run;

const INSERTED: &str = "/.well-known/oauth-authorization-server/t/acme";
const APPENDED: &str = "/t/acme/.well-known/oauth-authorization-server";
const JWKS: &str = "/t/acme/oauth/jwks";

#[tokio::test]
async fn metadata_is_the_same_at_both_path_forms() {
    run(async |bed| {
        let (inserted, appended) = (&bed.get(INSERTED).await, bed.get(APPENDED).await);
        assert_eq!(inserted.status, StatusCode::OK);
        assert_eq!(inserted.header(header::CONTENT_TYPE), "application/json");
        assert_eq!(inserted.body, appended.body);
        assert_eq!(inserted.header(header::ETAG), appended.header(header::ETAG));
    })
    .await;
}

#[tokio::test]
async fn metadata_does_not_depend_on_the_host_header() {
    run(async |bed| {
        let request = Request::get(INSERTED)
            .header(header::HOST, "evil.example")
            .header("X-Forwarded-Host", "evil.example")
            .header("X-Forwarded-Proto", "gopher");
        let asked = bed.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(asked.body, bed.get(INSERTED).await.body);
    })
    .await;
}

#[tokio::test]
async fn documents_are_cacheable_and_revalidate() {
    run(async |bed| {
        for (path, cache) in [(INSERTED, "public, max-age=300"), (JWKS, "public, max-age=300")] {
            let first = bed.get(path).await;
            assert_eq!(first.header(header::CACHE_CONTROL), cache);
            let etag = first.header(header::ETAG).to_owned();
            for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
                let request = Request::get(path).header(header::IF_NONE_MATCH, known);
                let again = bed.send(request.body(Body::empty()).expect("a request")).await;
                assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
                assert_eq!(again.header(header::ETAG), etag);
            }
            let request = Request::get(path).header(header::IF_NONE_MATCH, "\"x\"");
            let other = bed.send(request.body(Body::empty()).expect("a request")).await;
            assert_eq!(other.status, StatusCode::OK);
        }
    })
    .await;
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    run(async |bed| {
        for path in [INSERTED, APPENDED, JWKS] {
            let head = bed.send(Request::head(path).body(Body::empty()).expect("a request")).await;
            let get = bed.get(path).await;
            assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "{path}");
            assert_eq!(head.header(header::ETAG), get.header(header::ETAG));
        }
    })
    .await;
}

#[tokio::test]
async fn there_is_no_bare_metadata_and_no_openid_document() {
    run(async |bed| {
        for path in [
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/t/acme",
            "/t/acme/.well-known/openid-configuration",
        ] {
            let answer = bed.get(path).await;
            assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
            assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
            assert_eq!(answer.header(header::CACHE_CONTROL), "public, max-age=300");
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_tenant_has_no_endpoints() {
    run(async |bed| {
        for tenant in ["nobody", "ACME", "acme%00", "%ff", "a_b"] {
            for path in [
                format!("/.well-known/oauth-authorization-server/t/{tenant}"),
                format!("/t/{tenant}/.well-known/oauth-authorization-server"),
                format!("/t/{tenant}/oauth/jwks"),
            ] {
                let answer = bed.get(&path).await;
                assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
                assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "it may be made in a moment");
            }
            let page = bed.get(&format!("/t/{tenant}/oauth/authorize")).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "a person reads it, so that it is a page");
            let path = format!("/t/{tenant}/oauth/token");
            let answer = bed.send(Request::post(&path).body(Body::empty()).expect("a request")).await;
            assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_key_set_holds_public_members_of_distinct_keys_only() {
    run(async |bed| {
        let answer = bed.get(JWKS).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        let set = answer.json();
        let keys = set["keys"].as_array().expect("an array");
        assert!(!keys.is_empty());
        for key in keys {
            let members: BTreeSet<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
            assert_eq!((&key["alg"], &key["use"]), (&json!("ES256"), &json!("sig")));
        }
        let kids: BTreeSet<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
        assert_eq!(kids.len(), keys.len());
    })
    .await;
}

#[tokio::test]
async fn tenants_have_different_keys() {
    run(async |bed| {
        bed.tenant("other").await;
        let read = |body: &[u8]| serde_json::from_slice::<JwkSet>(body).expect("a key set");
        let (ours, others) = (&bed.get(JWKS).await, bed.get("/t/other/oauth/jwks").await);
        assert_ne!(read(&ours.body), read(&others.body));
        assert_eq!(read(&others.body).keys.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn documents_refuse_other_methods_in_json() {
    run(async |bed| {
        for path in [INSERTED, APPENDED, JWKS] {
            let answer = bed.send(Request::post(path).body(Body::empty()).expect("a request")).await;
            assert_eq!(answer.error(), (405, "invalid_request".to_owned()));
            assert_eq!(answer.header(header::ALLOW), "GET, HEAD, OPTIONS");
        }
    })
    .await;
}

#[tokio::test]
async fn any_page_may_read_documents_and_ask_for_tokens() {
    run(async |bed| {
        for path in [INSERTED, APPENDED, JWKS, "/t/acme/oauth/token", "/t/acme/oauth/revoke", "/t/acme/oauth/register"]
        {
            for method in [Method::OPTIONS, Method::GET] {
                let request =
                    Request::builder().method(&method).uri(path).header(header::ORIGIN, "https://page.example");
                let answer = bed.send(request.body(Body::empty()).expect("a request")).await;
                assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*", "{method} {path}");
                assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "", "{method} {path}");
                assert!(answer.header(header::ACCESS_CONTROL_EXPOSE_HEADERS).contains("WWW-Authenticate"));
                if method == Method::OPTIONS {
                    assert_eq!(answer.status, StatusCode::NO_CONTENT);
                    assert!(answer.header(header::ACCESS_CONTROL_ALLOW_METHODS).contains("POST"));
                    assert!(answer.header(header::ACCESS_CONTROL_ALLOW_HEADERS).contains("Authorization"));
                }
            }
        }
        let request = Request::options("/t/acme/oauth/introspect").header(header::ORIGIN, "https://page.example");
        let answer = bed.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "", "no page asks about tokens");
    })
    .await;
}

#[tokio::test]
async fn every_refusal_names_its_request_and_nothing_of_ours() {
    run(async |bed| {
        for endpoint in ["token", "introspect", "revoke", "register", "authorize", "authorize/decision"] {
            let request = Request::post(format!("/t/acme/oauth/{endpoint}")).header("x-request-id", "abc-1");
            let answer = bed.send(request.body(Body::from("a=%ff")).expect("a request")).await;
            assert!(answer.status.is_client_error(), "{endpoint}: {}", answer.status);
            assert_eq!(answer.header("x-request-id"), "abc-1", "{endpoint}");
            let text = String::from_utf8_lossy(&answer.body).to_lowercase();
            assert!(!text.contains("sqlx") && !text.contains("select ") && !text.contains("panicked"), "{text}");
        }
    })
    .await;
}
