//! Refresh tokens: rotation, the grace that clients need, and theft.

use axum::http::StatusCode;

use serde_json::json;

use super::token::verified;
use crate::{
    agents::SigningAlg,
    oauth::testing::{
        Bed, Client, Signer,
        approval::{FEDERATED, Person, VERIFIER},
        run,
    },
    secret::{self, Purpose},
};

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

async fn scene(bed: &Bed) -> (Client, Person) {
    (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await)
}

/// Whether the one family was ended.
async fn has_ended(bed: &Bed) -> bool {
    bed.count("authorizations WHERE revoked_at IS NOT NULL").await == 1
}

/// Refreshes, successfully, and answers the next token.
async fn next(bed: &Bed, client: &Client, token: &str) -> String {
    let answer = bed.refresh(client, token, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    answer.refresh_token()
}

#[tokio::test]
async fn every_use_gives_another_token_of_the_same_family() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let answer = bed.refresh(&app, &first, "").await;
        let second = answer.refresh_token();
        assert_ne!(first, second);
        let claims = verified(bed, &answer.access_token(), FEDERATED).await;
        assert_eq!(claims["sub"], ada.user.to_string());
        let third = next(bed, &app, &second).await;
        assert_eq!(bed.count("authorizations").await, 1);
        assert_eq!(bed.count("refresh_tokens").await, 3);
        assert!(![first, second].contains(&third));
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_the_clients_gives_nothing_and_ends_nothing() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let other = bed.app("other", &["demo:*"]).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let second = next(bed, &app, &first).await;
        next(bed, &app, &second).await;
        for token in [&first, &second] {
            assert_eq!(bed.refresh(&other, token, "").await.error(), invalid_grant(), "stolen by another client");
        }
        let unknown = secret::generate(Purpose::RefreshToken).text.to_string();
        let code = secret::generate(Purpose::AuthorizationCode).text.to_string();
        for text in [unknown.as_str(), code.as_str(), "tgr_", "x", "%00"] {
            assert_eq!(bed.refresh(&app, text, "").await.error(), invalid_grant(), "{text}");
        }
        let missing = bed.ask(&app, "grant_type=refresh_token").await;
        assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
        assert!(!has_ended(bed).await);
    })
    .await;
}

#[tokio::test]
async fn a_narrower_scope_narrows_the_access_token_alone() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*", "other:x"]).await;
        let ada = bed.person("ada@example.com").await;
        let token = bed.refresh_token(&app, ada, &["demo:echo", "demo:add"]).await;
        for scope in ["other:x", "demo:*", "demo:echo+other:x", "demo:rm", "openid"] {
            let answer = bed.refresh(&app, &token, &format!("&scope={scope}")).await;
            assert_eq!(answer.error(), (400, "invalid_scope".to_owned()), "{scope}");
        }
        let narrow = bed.refresh(&app, &token, "&scope=demo:echo").await;
        assert_eq!(narrow.json()["scope"], "demo:echo");
        assert_eq!(verified(bed, &narrow.access_token(), FEDERATED).await["scope"], "demo:echo");
        let whole = bed.refresh(&app, &narrow.refresh_token(), "").await;
        assert_eq!(whole.json()["scope"], "demo:add demo:echo");
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_was_not_consented_to_is_an_invalid_target_and_spends_nothing() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        bed.server("demo").await;
        let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let answer = bed.refresh(&app, &token, "&resource=https://gw/t/acme/mcp/demo").await;
        assert_eq!(answer.error(), (400, "invalid_target".to_owned()));
        assert_eq!(bed.count("refresh_tokens WHERE consumed_at IS NULL").await, 1);
        let granted = bed.refresh(&app, &token, &format!("&resource={FEDERATED}/")).await;
        assert_eq!(granted.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn reuse_while_no_successor_was_used_gives_a_sibling_that_is_as_good() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let winner = bed.refresh(&app, &first, "").await;
        let sibling = bed.refresh(&app, &first, "").await;
        assert_eq!(sibling.status, StatusCode::OK);
        assert_ne!(winner.refresh_token(), sibling.refresh_token());
        let gid = |claims: &serde_json::Value| claims["gid"].as_str().expect("a family").to_owned();
        let (one, other) = (
            verified(bed, &winner.access_token(), FEDERATED).await,
            verified(bed, &sibling.access_token(), FEDERATED).await,
        );
        assert_eq!(gid(&one), gid(&other));
        assert_eq!(bed.count("revocations").await, 0, "the winner's access token is as good as before");
        for token in [winner.refresh_token(), sibling.refresh_token()] {
            next(bed, &app, &token).await;
        }
        assert!(!has_ended(bed).await);
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_is_forgiven_for_a_day() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        next(bed, &app, &first).await;
        bed.change("UPDATE refresh_tokens SET consumed_at = consumed_at - interval '23 hours'").await;
        next(bed, &app, &first).await;
        bed.change("UPDATE refresh_tokens SET consumed_at = consumed_at - interval '1 hour'").await;
        assert_eq!(bed.refresh(&app, &first, "").await.error(), invalid_grant());
        assert!(has_ended(bed).await);
    })
    .await;
}

#[tokio::test]
async fn reuse_after_a_successor_was_used_ends_the_family() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let second = next(bed, &app, &first).await;
        let third = next(bed, &app, &second).await;
        assert_eq!(bed.refresh(&app, &first, "").await.error(), invalid_grant(), "two generations old");
        assert!(has_ended(bed).await);
        for token in [second, third] {
            assert_eq!(bed.refresh(&app, &token, "").await.error(), invalid_grant());
        }
        assert_eq!(bed.count("revocations WHERE kind = 'grant_family'").await, 1, "data planes hear of it once");
        assert_eq!(bed.count("audit_events WHERE action = 'authorization.revoke'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn too_many_reuses_are_refused_and_late_ones_end_the_family() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let first = bed.refresh_token(&app, ada, &["demo:*"]).await;
        for _ in 0..=32 {
            next(bed, &app, &first).await;
        }
        // However slow this machine is: all of it happened a moment ago.
        bed.change("UPDATE refresh_tokens SET consumed_at = now() + interval '1 hour' WHERE consumed_at IS NOT NULL")
            .await;
        assert_eq!(bed.refresh(&app, &first, "").await.error(), invalid_grant());
        assert!(!has_ended(bed).await, "a client that retries in a loop");
        bed.change(
            "UPDATE refresh_tokens SET consumed_at = now() - interval '121 seconds' WHERE consumed_at IS NOT NULL",
        )
        .await;
        assert_eq!(bed.refresh(&app, &first, "").await.error(), invalid_grant());
        assert!(has_ended(bed).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_when_it_is_idle_and_the_family_whatever_happens() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let idle = bed.refresh_token(&app, ada, &["demo:*"]).await;
        bed.change("UPDATE refresh_tokens SET expires_at = expires_at - interval '29 days 23 hours'").await;
        let busy = next(bed, &app, &idle).await;
        bed.change("UPDATE refresh_tokens SET expires_at = expires_at - interval '30 days'").await;
        assert_eq!(bed.refresh(&app, &busy, "").await.error(), invalid_grant());
        bed.change("UPDATE refresh_tokens SET expires_at = now() + interval '1 day'").await;
        bed.change("UPDATE authorizations SET expires_at = expires_at - interval '89 days 23 hours'").await;
        let last = next(bed, &app, &busy).await;
        bed.change("UPDATE authorizations SET expires_at = expires_at - interval '1 hour'").await;
        assert_eq!(bed.refresh(&app, &last, "").await.error(), invalid_grant());
    })
    .await;
}

#[tokio::test]
async fn a_token_dies_with_its_user_and_its_consent_but_not_with_the_sign_in() {
    run(async |bed| {
        let (app, ada) = scene(bed).await;
        let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
        bed.change("DELETE FROM console_sessions").await;
        let token = next(bed, &app, &token).await;
        for (undo, redo) in [
            ("UPDATE users SET state = 'disabled'", "UPDATE users SET state = 'active'"),
            ("UPDATE authorizations SET revoked_at = now()", "UPDATE authorizations SET revoked_at = NULL"),
        ] {
            bed.change(undo).await;
            assert_eq!(bed.refresh(&app, &token, "").await.error(), invalid_grant(), "{undo}");
            bed.change(redo).await;
        }
        assert_eq!(bed.count("refresh_tokens WHERE consumed_at IS NULL").await, 1, "nothing was spent");
        bed.change("UPDATE agents SET state = 'suspended'").await;
        assert_eq!(bed.refresh(&app, &token, "").await.error(), (401, "invalid_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_signs_keeps_the_token_that_it_has() {
    run(async |bed| {
        let app = bed.confidential_app("signs", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let signer = Signer::new(SigningAlg::Es256, "k");
        let mut tx = bed.tx().await;
        sqlx::query("UPDATE agents SET auth_method = 'private_key_jwt', jwks = $1 WHERE id = $2")
            .bind(signer.jwks())
            .bind(app.agent.uuid())
            .execute(&mut *tx)
            .await
            .expect("a key");
        tx.commit().await.expect("committed");
        let signed = async |form: &str| bed.post_from("192.0.2.1", "token", None, &assert(&signer, &app, form)).await;

        let code = bed.code(&app, ada, &["demo:*"]).await;
        let redeemed = signed(&format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}")).await;
        let token = redeemed.refresh_token();
        bed.change("UPDATE refresh_tokens SET expires_at = now() + interval '1 day'").await;
        for _ in 0..3 {
            let refreshed = signed(&format!("grant_type=refresh_token&refresh_token={token}")).await;
            assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.json());
            assert!(refreshed.json().get("refresh_token").is_none());
        }
        let moved = "refresh_tokens WHERE consumed_at IS NULL AND expires_at > now() + interval '29 days'";
        assert_eq!(bed.count(moved).await, 1, "its idle end moves");
        assert_eq!(bed.count("refresh_tokens").await, 1);

        bed.change("UPDATE tenants SET always_rotate_refresh_tokens = true").await;
        let rotated = signed(&format!("grant_type=refresh_token&refresh_token={token}")).await.refresh_token();
        let again = signed(&format!("grant_type=refresh_token&refresh_token={rotated}")).await.refresh_token();
        assert!(rotated != token && again != rotated);
        let stolen = signed(&format!("grant_type=refresh_token&refresh_token={token}")).await;
        assert_eq!(stolen.error(), (400, "invalid_grant".to_owned()), "its successor was used");
    })
    .await;
}

/// `form` with an assertion that is good once.
fn assert(signer: &Signer, client: &Client, form: &str) -> String {
    let now = chrono::Utc::now().timestamp();
    let jti = uuid::Uuid::now_v7();
    let claims = json!({
        "iss": client.id, "sub": client.id, "aud": "https://h/t/acme", "iat": now, "exp": now + 60, "jti": jti,
    });
    let assertion = signer.jwt(&claims);
    format!(
        "{form}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}"
    )
}

#[tokio::test]
async fn a_client_with_a_secret_rotates_too() {
    run(async |bed| {
        let server = bed.confidential_app("server", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let first = bed.refresh_token(&server, ada, &["demo:*"]).await;
        assert_ne!(next(bed, &server, &first).await, first);
        let without = Client { secret: String::new(), ..server.clone() };
        assert_eq!(bed.refresh(&without, &first, "").await.error(), (401, "invalid_client".to_owned()));
    })
    .await;
}
