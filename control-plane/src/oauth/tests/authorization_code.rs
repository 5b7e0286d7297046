//! Codes: what they give, to whom, once.

use axum::http::{StatusCode, header};
use serde_json::Value;

use super::token::verified;
use crate::{
    oauth::{
        authorizations::BeginError,
        testing::{
            Answer, Bed, Client,
            approval::{FEDERATED, Person, REDIRECT_URI, VERIFIER},
            run,
        },
    },
    secret::{self, Purpose},
};

const DEMO: &str = "https://gw/t/acme/mcp/demo";

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

/// An app that may use `demo:*`, and a user.
async fn scene(bed: &Bed) -> (Client, Person) {
    (bed.app("app", &["demo:*", "other:x"]).await, bed.person("ada@example.com").await)
}

async fn claims(bed: &Bed, answer: &Answer, audience: &str) -> Value {
    verified(bed, &answer.access_token(), audience).await
}

/// Whether the tokens of an answer still give something.
async fn is_alive(bed: &Bed, client: &Client, answer: &Answer) -> bool {
    bed.refresh(client, &answer.refresh_token(), "").await.status == StatusCode::OK
}

#[tokio::test]
async fn a_code_gives_tokens_that_say_for_whom_the_agent_acts() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:echo", "demo:add"]).await;
        let answer = bed.redeem(&app, &code, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        let body = answer.json();
        let members: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
        assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &900.into()));
        assert!(secret::well_formed(Purpose::RefreshToken, &answer.refresh_token()));

        let claims = claims(bed, &answer, FEDERATED).await;
        let members: Vec<&str> = claims.as_object().expect("an object").keys().map(String::as_str).collect();
        let expected = ["aud", "auth_time", "client_id", "exp", "gid", "iat", "iss", "jti", "scope", "sub"];
        assert_eq!(members, expected);
        assert_eq!(claims["sub"], ada.user.to_string());
        assert_eq!(claims["client_id"], app.id);
        assert_eq!(claims["scope"], "demo:add demo:echo");
        assert!(claims["gid"].as_str().expect("a text").starts_with("aut_"));
        let (authenticated_at, issued_at) = (claims["auth_time"].as_i64(), claims["iat"].as_i64());
        assert!(authenticated_at <= issued_at, "{claims}");
    })
    .await;
}

#[tokio::test]
async fn a_request_without_code_or_verifier_is_invalid_and_spends_nothing() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let short = "a".repeat(42);
        let long = "a".repeat(129);
        for form in [
            "".to_owned(),
            format!("&code={code}"),
            format!("&code={code}&code_verifier="),
            format!("&code_verifier={VERIFIER}"),
            format!("&code={code}&code_verifier={short}"),
            format!("&code={code}&code_verifier={long}"),
            format!("&code={code}&code_verifier={short}%2B"),
            format!("&code={code}&code_verifier={VERIFIER}&code_verifier={VERIFIER}"),
        ] {
            let answer = bed.ask(&app, &format!("grant_type=authorization_code{form}")).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{form}");
            assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        }
        assert_eq!(bed.redeem(&app, &code, "").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn another_verifier_is_refused_and_the_challenge_itself_is_none() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let new = bed.approval(app.agent, ada, &[FEDERATED], &["demo:*"]);
        let challenge = new.code_challenge.clone();
        let code = bed.begin(new).await.expect("a code");
        for verifier in [challenge, "b".repeat(43), VERIFIER.to_uppercase()] {
            let form = format!("grant_type=authorization_code&code={code}&code_verifier={verifier}");
            assert_eq!(bed.ask(&app, &form).await.error(), invalid_grant(), "{verifier}");
        }
        assert_eq!(bed.redeem(&app, &code, "").await.status, StatusCode::OK, "the right one still does");
    })
    .await;
}

#[tokio::test]
async fn a_code_is_good_for_its_client_alone_and_for_a_minute() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let other = bed.app("other", &["demo:*"]).await;
        let confidential = bed.confidential_app("server", &["demo:*"]).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        for stranger in [&other, &confidential] {
            assert_eq!(bed.redeem(stranger, &code, "").await.error(), invalid_grant());
        }
        let unknown = secret::generate(Purpose::AuthorizationCode).text.to_string();
        let refresh = secret::generate(Purpose::RefreshToken).text.to_string();
        let typo = format!("{code}0");
        for text in [unknown.as_str(), refresh.as_str(), typo.as_str(), "tgc_", "x", "%00", "%C3%A4"] {
            assert_eq!(bed.redeem(&app, text, "").await.error(), invalid_grant(), "{text}");
        }
        assert_eq!(bed.redeem(&app, &code, "").await.status, StatusCode::OK);

        let late = bed.code(&app, ada, &["demo:*"]).await;
        let left = "authorization_codes WHERE consumed_at IS NULL AND expires_at <= now() + interval '60 seconds'";
        assert_eq!(bed.count(left).await, 1, "it lives for a minute at most");
        bed.change("UPDATE authorization_codes SET expires_at = expires_at - interval '61 seconds'").await;
        assert_eq!(bed.redeem(&app, &late, "").await.error(), invalid_grant());
    })
    .await;
}

#[tokio::test]
async fn a_redirect_uri_that_is_sent_must_be_the_one_of_the_request() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        for uri in ["https://app.example/callback/", "https://APP.example/callback", "https://evil.example"] {
            assert_eq!(
                bed.redeem(&app, &code, &format!("&redirect_uri={uri}")).await.error(),
                invalid_grant(),
                "{uri}"
            );
        }
        let sent = bed.redeem(&app, &code, &format!("&redirect_uri={REDIRECT_URI}")).await;
        assert_eq!(sent.status, StatusCode::OK);
        let code = bed.code(&app, ada, &["demo:*"]).await;
        assert_eq!(bed.redeem(&app, &code, "&redirect_uri=").await.status, StatusCode::OK, "OAuth 2.1 dropped it");
    })
    .await;
}

#[tokio::test]
async fn a_code_that_is_redeemed_again_ends_what_came_of_it() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let first = bed.redeem(&app, &code, "").await;
        bed.change("UPDATE authorization_codes SET consumed_at = consumed_at - interval '3 seconds'").await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), invalid_grant());
        assert!(!is_alive(bed, &app, &first).await);
        let gid = claims(bed, &first, FEDERATED).await["gid"].as_str().expect("a family").to_owned();
        let mut tx = bed.tx().await;
        let told: i64 =
            sqlx::query_scalar("SELECT count(*) FROM revocations WHERE kind = 'grant_family' AND subject = $1")
                .bind(gid)
                .fetch_one(&mut *tx)
                .await
                .expect("a count");
        assert_eq!(told, 1, "data planes hear of it");
        assert_eq!(bed.count("audit_events WHERE action = 'authorization.revoke'").await, 1);
        assert_eq!(bed.redeem(&app, &code, "").await.error(), invalid_grant());
        assert_eq!(bed.count("audit_events WHERE action = 'authorization.revoke'").await, 1, "it ends once");
    })
    .await;
}

#[tokio::test]
async fn a_repetition_within_two_seconds_ends_nothing() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let first = bed.redeem(&app, &code, "").await;
        // However slow this machine is: the first redemption was in this very second.
        bed.change("UPDATE authorization_codes SET consumed_at = now() + interval '1 hour'").await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), invalid_grant());
        assert!(is_alive(bed, &app, &first).await);
    })
    .await;
}

#[tokio::test]
async fn whoever_could_not_have_redeemed_a_code_ends_nothing_with_it() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let other = bed.app("other", &["demo:*"]).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let first = bed.redeem(&app, &code, "").await;
        bed.change("UPDATE authorization_codes SET consumed_at = consumed_at - interval '1 hour'").await;
        assert_eq!(bed.redeem(&other, &code, "").await.error(), invalid_grant());
        let wrong = format!("grant_type=authorization_code&code={code}&code_verifier={}", "b".repeat(43));
        assert_eq!(bed.ask(&app, &wrong).await.error(), invalid_grant());
        let elsewhere = bed.redeem(&app, &code, "&redirect_uri=https://evil.example").await;
        assert_eq!(elsewhere.error(), invalid_grant());
        assert!(is_alive(bed, &app, &first).await);
    })
    .await;
}

#[tokio::test]
async fn the_token_is_for_one_of_the_endpoints_that_were_consented_to() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        bed.server("demo").await;
        bed.server("other").await;
        let two = async || {
            let new = bed.approval(app.agent, ada, &[FEDERATED, DEMO], &["demo:*", "other:x"]);
            bed.begin(new).await.expect("a code")
        };
        let code = two().await;
        for resource in ["https://gw/t/acme/mcp/other", "https://evil.example/", "x", "https://gw/t/acme/mcp%23x"] {
            let answer = bed.redeem(&app, &code, &format!("&resource={resource}")).await;
            assert_eq!(answer.error(), (400, "invalid_target".to_owned()), "{resource}");
        }
        let several = bed.redeem(&app, &code, &format!("&resource={FEDERATED}&resource={DEMO}")).await;
        assert_eq!(several.error(), (400, "invalid_target".to_owned()));
        let unsaid = bed.redeem(&app, &code, "").await;
        assert_eq!(unsaid.error(), (400, "invalid_target".to_owned()), "either could be meant");
        let named = bed.redeem(&app, &code, &format!("&resource={DEMO}/")).await;
        let claims_of_demo = claims(bed, &named, DEMO).await;
        assert_eq!((&claims_of_demo["aud"], &claims_of_demo["scope"]), (&DEMO.into(), &"demo:*".into()));
        let other = bed.refresh(&app, &named.refresh_token(), &format!("&resource={FEDERATED}")).await;
        assert_eq!(claims(bed, &other, FEDERATED).await["scope"], "other:x demo:*");

        let new = bed.approval(app.agent, ada, &[DEMO], &["demo:*"]);
        let code = bed.begin(new).await.expect("a code");
        assert_eq!(claims(bed, &bed.redeem(&app, &code, "").await, DEMO).await["aud"], DEMO, "the granted one");
    })
    .await;
}

#[tokio::test]
async fn the_scope_is_what_was_consented_to_as_far_as_it_is_granted_now() {
    run(async |bed| {
        let app = bed.app("app", &["demo:echo", "demo:add", "whole:*"]).await;
        let ada = bed.person("ada@example.com").await;
        for (consented, scope) in [
            (vec!["demo:*"], "demo:add demo:echo"),
            (vec!["demo:echo", "theirs:x"], "demo:echo"),
            (vec!["whole:a", "whole:b"], "whole:a whole:b"),
        ] {
            let code = bed.code(&app, ada, &consented).await;
            assert_eq!(bed.redeem(&app, &code, "&scope=ignored:here").await.json()["scope"], scope);
        }
        let code = bed.code(&app, ada, &["theirs:x"]).await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), (400, "invalid_scope".to_owned()));
        let code = bed.code(&app, ada, &["demo:echo"]).await;
        bed.grant(Some(app.agent), &["demo:echo"], true).await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), (400, "invalid_scope".to_owned()), "denied since");
    })
    .await;
}

#[tokio::test]
async fn a_code_dies_with_its_user_its_sign_in_and_its_consent() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        for (undo, redo) in [
            ("UPDATE users SET state = 'disabled'", "UPDATE users SET state = 'active'"),
            ("UPDATE authorizations SET revoked_at = now()", "UPDATE authorizations SET revoked_at = NULL"),
            ("UPDATE authorizations SET expires_at = now()", "UPDATE authorizations SET expires_at = now() + '1 day'"),
        ] {
            let code = bed.code(&app, ada, &["demo:*"]).await;
            bed.change(undo).await;
            assert_eq!(bed.redeem(&app, &code, "").await.error(), invalid_grant(), "{undo}");
            bed.change(redo).await;
            assert_eq!(bed.redeem(&app, &code, "").await.status, StatusCode::OK, "{redo}");
        }
        let code = bed.code(&app, ada, &["demo:*"]).await;
        bed.change("DELETE FROM console_sessions").await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), invalid_grant(), "signed out");
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", app.agent.uuid()).await;
        assert_eq!(bed.redeem(&app, &code, "").await.error(), (401, "invalid_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_client_gets_refresh_tokens_if_it_is_registered_for_them() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let sql = "UPDATE agents SET grant_types = '{authorization_code}' WHERE id = $1";
        bed.run(sql, app.agent.uuid()).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let answer = bed.redeem(&app, &code, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.json().get("refresh_token").is_none());
        assert_eq!(bed.count("refresh_tokens").await, 0);
        let refused = bed.refresh(&app, &secret::generate(Purpose::RefreshToken).text, "").await;
        assert_eq!(refused.error(), (400, "unauthorized_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_grant_type_that_the_client_is_not_registered_for_is_unauthorized() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let robot = bed.agent("robot", &["demo:*"]).await;
        assert_eq!(bed.redeem(&robot, &code, "").await.error(), (400, "unauthorized_client".to_owned()));
        for client in [&app, &bed.confidential_app("server", &["demo:*"]).await] {
            let answer = bed.ask(client, "grant_type=client_credentials").await;
            assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
        }
        // A public client that is registered for it all the same has no credentials.
        bed.change("UPDATE agents SET grant_types = '{client_credentials}'").await;
        let answer = bed.ask(&app, "grant_type=client_credentials").await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn one_answer_makes_one_family_and_only_who_may_act_gets_any() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let transaction = uuid::Uuid::now_v7();
        let new = || {
            let mut new = bed.approval(app.agent, ada, &[FEDERATED], &["demo:*"]);
            new.transaction = transaction;
            new
        };
        bed.begin(new()).await.expect("a code");
        assert!(matches!(bed.begin(new()).await, Err(BeginError::Replayed)));
        assert_eq!(bed.count("authorizations").await, 1);
        assert_eq!(bed.count("authorization_codes").await, 1);

        for (undo, redo) in [
            ("UPDATE users SET state = 'disabled'", "UPDATE users SET state = 'active'"),
            ("UPDATE agents SET state = 'waiting'", "UPDATE agents SET state = 'active'"),
            ("DELETE FROM console_sessions", "UPDATE agents SET state = 'active'"),
        ] {
            bed.change(undo).await;
            let barred = bed.begin(bed.approval(app.agent, ada, &[FEDERATED], &["demo:*"])).await;
            assert!(matches!(barred, Err(BeginError::Barred)), "{undo}");
            bed.change(redo).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_opaque_token_says_nothing_and_is_kept_as_a_digest() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        bed.change("UPDATE tenants SET access_token_format = 'opaque'").await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let token = bed.redeem(&app, &code, "").await.access_token();
        assert!(secret::well_formed(Purpose::AccessToken, &token), "{token}");
        let mut tx = bed.tx().await;
        let row: (Vec<u8>, uuid::Uuid, uuid::Uuid, String, String, f64) = sqlx::query_as(
            "SELECT digest, agent_id, user_id, resource, scope,
                    extract(epoch FROM expires_at - issued_at)::float8 FROM access_tokens",
        )
        .fetch_one(&mut *tx)
        .await
        .expect("one row");
        let digest = secret::Digest::of(&token).as_bytes().to_vec();
        let expected = (digest, app.agent.uuid(), ada.user.uuid(), FEDERATED.to_owned(), "demo:*".to_owned(), 900.0);
        assert_eq!(row, expected);
    })
    .await;
}

#[tokio::test]
async fn no_token_is_older_than_what_a_revocation_has_voided() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let soon = chrono::Utc::now().timestamp() + 100;
        for table in ["tenants", "agents", "users"] {
            let set = |to: i64| sqlx::AssertSqlSafe(format!("UPDATE {table} SET tokens_valid_from = {to}"));
            let mut tx = bed.tx().await;
            sqlx::query(set(soon)).execute(&mut *tx).await.expect("set");
            tx.commit().await.expect("committed");
            let code = bed.code(&app, ada, &["demo:*"]).await;
            let claims = claims(bed, &bed.redeem(&app, &code, "").await, FEDERATED).await;
            assert_eq!(claims["iat"], soon, "{table}");
            assert_eq!(claims["exp"], soon + 900, "{table}");
            let mut tx = bed.tx().await;
            sqlx::query(set(0)).execute(&mut *tx).await.expect("set back");
            tx.commit().await.expect("committed");
        }
    })
    .await;
}
