//! The token endpoint: requests that are well and badly formed, and what tokens say.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::Value;

use crate::oauth::testing::{Answer, Bed, basic, run};

const GRANT: &str = "grant_type=client_credentials";
const PEER: &str = "192.0.2.1";
const FEDERATED: &str = "https://gw/t/acme/mcp";

/// The claims of a token that verifies against the served keys, for this audience.
pub(super) async fn verified(bed: &Bed, token: &str, audience: &str) -> Value {
    let set: JwkSet = serde_json::from_slice(&bed.get("/t/acme/oauth/jwks").await.body).expect("a key set");
    let header = decode_header(token).expect("a header");
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::ES256));
    let jwk = set.find(header.kid.as_deref().expect("a kid")).expect("a served key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://h/t/acme"]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    let key = DecodingKey::from_jwk(jwk).expect("a key");
    decode::<Value>(token, &key, &validation).expect("it verifies").claims
}

async fn claims(bed: &Bed, answer: &Answer, audience: &str) -> Value {
    verified(bed, answer.json()["access_token"].as_str().expect("a token"), audience).await
}

fn never_stored(answer: &Answer) {
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(answer.header(header::PRAGMA), "no-cache");
}

#[tokio::test]
async fn a_token_says_who_where_and_what_and_verifies_against_the_served_keys() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo", "demo:add"]).await;
        let before = chrono::Utc::now().timestamp();
        let answer = bed.token(&client, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        never_stored(&answer);
        let body = answer.json();
        let members: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &900.into()));
        assert_eq!(body["scope"], "demo:add demo:echo");
        let claims = claims(bed, &answer, FEDERATED).await;
        let members: Vec<&str> = claims.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"]);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&client.id.as_str().into(), &client.id.as_str().into()));
        assert_eq!(claims["scope"], body["scope"]);
        let issued_at = claims["iat"].as_i64().expect("seconds");
        assert!((before..=before + 5).contains(&issued_at));
        assert_eq!(claims["exp"], issued_at + 900);
    })
    .await;
}

#[tokio::test]
async fn every_token_has_another_jti() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let first = claims(bed, &bed.token(&client, "").await, FEDERATED).await;
        let second = claims(bed, &bed.token(&client, "").await, FEDERATED).await;
        assert_ne!(first["jti"], second["jti"]);
    })
    .await;
}

#[tokio::test]
async fn the_tenant_decides_how_long_tokens_live() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.run("UPDATE tenants SET access_token_ttl_s = 60 WHERE id = $1", bed.tenant.uuid()).await;
        let answer = bed.token(&client, "").await;
        let claims = claims(bed, &answer, FEDERATED).await;
        assert_eq!(answer.json()["expires_in"], 60);
        assert_eq!(claims["exp"].as_i64().expect("seconds") - claims["iat"].as_i64().expect("seconds"), 60);
    })
    .await;
}

#[tokio::test]
async fn the_grant_type_is_required_and_must_be_known() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        for (body, code) in [
            ("", "invalid_request"),
            ("grant_type=", "invalid_request"),
            ("grant_type=password", "unsupported_grant_type"),
            ("grant_type=implicit", "unsupported_grant_type"),
            ("grant_type=authorization_code", "unauthorized_client"),
            ("grant_type=refresh_token", "unauthorized_client"),
            ("grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"),
        ] {
            let answer = bed.token_from(PEER, Some(&client.basic()), body).await;
            assert_eq!(answer.error(), (400, code.to_owned()), "{body}");
            never_stored(&answer);
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_parameter_is_refused_an_empty_one_absent_and_an_unknown_one_ignored() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        for more in
            ["&grant_type=client_credentials", "&scope=demo:a&scope=demo:a", "&x=1&x=2", "&client_id=a&client_id=a"]
        {
            assert_eq!(bed.token(&client, more).await.error(), (400, "invalid_request".to_owned()), "{more}");
        }
        for more in ["&scope=", "&resource=&resource=", "&scope=&scope=demo:a", "&flavour=vanilla", "&client_secret="] {
            assert_eq!(bed.token(&client, more).await.status, StatusCode::OK, "{more}");
        }
    })
    .await;
}

#[tokio::test]
async fn another_content_type_is_an_invalid_request() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        for (content_type, status) in [
            ("application/json", 400),
            ("text/plain", 400),
            ("", 400),
            ("multipart/form-data; boundary=x", 400),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", 200),
        ] {
            let request = Request::post("/t/acme/oauth/token")
                .header(header::CONTENT_TYPE, content_type)
                .header(header::AUTHORIZATION, client.basic());
            let answer = bed.send(request.body(Body::from(GRANT)).expect("a request")).await;
            assert_eq!(answer.status.as_u16(), status, "{content_type}");
            never_stored(&answer);
            if status == 400 {
                assert_eq!(answer.error().1, "invalid_request");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_over_64_kib_is_too_large() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let fitting = "x".repeat(64 * 1024 - GRANT.len() - 3);
        assert_eq!(bed.token(&client, &format!("&x={fitting}")).await.status, StatusCode::OK);
        let answer = bed.token(&client, &format!("&x={fitting}x")).await;
        assert_eq!(answer.error(), (413, "invalid_request".to_owned()));
        never_stored(&answer);
    })
    .await;
}

#[tokio::test]
async fn the_token_endpoint_answers_post_only() {
    run(async |bed| {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let request = Request::builder().method(method).uri("/t/acme/oauth/token").body(Body::empty());
            let answer = bed.send(request.expect("a request")).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert!(answer.header(header::ALLOW).contains("POST"));
            never_stored(&answer);
        }
    })
    .await;
}

#[tokio::test]
async fn the_resource_becomes_the_audience_in_its_canonical_form() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*", "other:x"]).await;
        bed.server("demo").await;
        for (more, audience, scope) in [
            ("", FEDERATED, "other:x demo:*"),
            ("&resource=https://gw/t/acme/mcp", FEDERATED, "other:x demo:*"),
            ("&resource=HTTPS%3A%2F%2FGW%3A443%2Ft%2Facme%2Fmcp%2F", FEDERATED, "other:x demo:*"),
            ("&resource=https://gw/t/acme/mcp/demo", "https://gw/t/acme/mcp/demo", "demo:*"),
            ("&resource=https://gw/t/acme/mcp/demo/", "https://gw/t/acme/mcp/demo", "demo:*"),
        ] {
            let answer = bed.token(&client, more).await;
            assert_eq!(answer.json()["scope"], scope, "{more}");
            assert_eq!(claims(bed, &answer, audience).await["aud"], audience, "{more}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_resource_of_someone_else_is_an_invalid_target() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.tenant("elsewhere").await;
        bed.server("demo").await;
        for more in [
            "&resource=https://gw/t/acme/mcp%23fragment",
            "&resource=https://gw/t/acme/mcp%23",
            "&resource=https://gw/t/acme/mcp/unknown",
            "&resource=https://gw/t/elsewhere/mcp",
            "&resource=https://evil.example/t/acme/mcp",
            "&resource=/t/acme/mcp",
            "&resource=%00",
            "&resource=https://gw/t/acme/mcp&resource=https://gw/t/acme/mcp/demo",
            "&resource=https://gw/t/acme/mcp&resource=https://gw/t/acme/mcp",
        ] {
            let answer = bed.token(&client, more).await;
            assert_eq!(answer.error(), (400, "invalid_target".to_owned()), "{more}");
            never_stored(&answer);
        }
        let stranger = bed.token_from(PEER, Some(&basic(&client.id, "no")), &format!("{GRANT}&resource=x")).await;
        assert_eq!(stranger.error(), (401, "invalid_client".to_owned()), "a stranger learns nothing about resources");
    })
    .await;
}

#[tokio::test]
async fn a_wildcard_grant_can_be_narrowed() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let answer = bed.token(&client, "&scope=demo:echo+demo:add").await;
        assert_eq!(answer.json()["scope"], "demo:add demo:echo");
        assert_eq!(claims(bed, &answer, FEDERATED).await["scope"], "demo:add demo:echo");
    })
    .await;
}

#[tokio::test]
async fn a_whole_server_is_narrowed_to_the_part_that_is_granted() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo", "demo:add", "other:x"]).await;
        let answer = bed.token(&client, "&scope=demo:*").await;
        assert_eq!(answer.json()["scope"], "demo:add demo:echo");
        assert_eq!(claims(bed, &answer, FEDERATED).await["scope"], "demo:add demo:echo");
    })
    .await;
}

#[tokio::test]
async fn a_scope_that_is_not_granted_or_no_scope_is_invalid() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo"]).await;
        let idle = bed.agent("idle", &[]).await;
        bed.server("demo").await;
        bed.server("other").await;
        for more in [
            "&scope=other:*",
            "&scope=demo:*+other:*",
            "&scope=demo:echo+demo:add",
            "&scope=other:x",
            "&scope=openid",
            "&scope=offline_access",
            "&scope=demo:@read",
            "&scope=demo:a%22b",
            "&scope=demo:echo%09demo:echo",
            "&scope=%00",
            "&resource=https://gw/t/acme/mcp/other",
            "&resource=https://gw/t/acme/mcp/other&scope=demo:echo",
        ] {
            let answer = bed.token(&client, more).await;
            assert_eq!(answer.error(), (400, "invalid_scope".to_owned()), "{more}");
            never_stored(&answer);
        }
        assert_eq!(bed.token(&idle, "").await.error(), (400, "invalid_scope".to_owned()), "nothing is granted");
    })
    .await;
}

#[tokio::test]
async fn grants_to_the_team_count_expired_ones_do_not_and_denials_take_away() {
    run(async |bed| {
        let client = bed.agent("bot", &["own:a"]).await;
        let other = bed.agent("other", &["theirs:x"]).await;
        bed.grant(None, &["team:b", "team:c"], false).await;
        let expired = bed.grant(Some(client.agent), &["late:d"], false).await;
        bed.run("UPDATE grants SET expires_at = now() WHERE id = $1", expired.uuid()).await;
        let lifted = bed.grant(None, &["own:*"], true).await;
        bed.run("UPDATE grants SET expires_at = now() WHERE id = $1", lifted.uuid()).await;
        bed.grant(Some(client.agent), &["team:c"], true).await;
        assert_eq!(bed.token(&client, "").await.json()["scope"], "own:a team:b");
        assert_eq!(bed.token(&other, "").await.json()["scope"], "team:b team:c theirs:x");
    })
    .await;
}

#[tokio::test]
async fn a_changed_grant_changes_the_next_token() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        assert_eq!(bed.token(&client, "").await.status, StatusCode::OK);
        bed.grant(Some(client.agent), &["demo:*"], true).await;
        assert_eq!(bed.token(&client, "").await.error(), (400, "invalid_scope".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn without_a_database_the_answer_is_try_again_and_never_invalid_client() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        assert_eq!(bed.token(&client, "").await.status, StatusCode::OK);
        bed.app.db.pool().close().await;
        for authorization in [client.basic(), basic("nobody", "nothing")] {
            let answer = bed.token_from(PEER, Some(&authorization), GRANT).await;
            assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
            assert!(answer.header(header::RETRY_AFTER).parse::<u32>().is_ok());
            never_stored(&answer);
            assert!(!String::from_utf8_lossy(&answer.body).contains("pool"), "internals stay inside");
        }
        for path in ["/t/acme/oauth/jwks", "/t/unseen/.well-known/oauth-authorization-server"] {
            let answer = bed.get(path).await;
            assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()), "{path}");
            never_stored(&answer);
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_is_sent_an_error_keeps_to_the_alphabet() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let text = "\\PC{0,40}|[\"\\\\\r\n\t\u{0}a-z:äß€]{0,40}";
        let strategy = (text, text, text, prop::sample::select(vec!["scope", "resource", "grant_type", "x"]));
        let mut runner = TestRunner::deterministic();
        for _ in 0..64 {
            let (first, second, third, name) = strategy.new_tree(&mut runner).expect("a case").current();
            let mut form = form_urlencoded::Serializer::new(GRANT.to_owned());
            form.append_pair(name, &first)
                .append_pair("scope", &second)
                .append_pair(&third, &third)
                .append_pair(&third, "y");
            let answer = bed.token_from(PEER, Some(&client.basic()), &form.finish()).await;
            if answer.status == StatusCode::OK {
                continue;
            }
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{first:?} {second:?} {third:?}");
            let body = answer.json();
            for member in ["error", "error_description"] {
                let text = body[member].as_str().expect("a text");
                assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{text:?}");
            }
        }
    })
    .await;
}
