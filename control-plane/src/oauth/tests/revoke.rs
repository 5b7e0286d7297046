//! The revocation endpoint (RFC 7009).

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures_util::future::join;
use serde_json::Value;

use super::token::verified;
use crate::{
    oauth::testing::{Answer, Bed, Client, approval::FEDERATED, run},
    secret::{self, Purpose},
};

pub(super) mod interrupted;

async fn revoke(bed: &Bed, client: &Client, token: &str, more: &str) -> Answer {
    bed.post_as("revoke", client, &format!("token={token}{more}")).await
}

/// What data planes are told: kinds and subjects, in order.
async fn told(bed: &Bed) -> Vec<(String, String)> {
    let mut tx = bed.tx().await;
    sqlx::query_as("SELECT kind, subject FROM revocations ORDER BY revision").fetch_all(&mut *tx).await.expect("rows")
}

fn empty_ok(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
}

async fn claims(bed: &Bed, token: &str) -> Value {
    verified(bed, token, FEDERATED).await
}

#[tokio::test]
async fn an_access_token_dies_alone_whatever_it_looks_like() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let issued = bed.redeem(&app, &code, "").await;
        empty_ok(&revoke(bed, &app, &issued.access_token(), "").await);
        let jti = claims(bed, &issued.access_token()).await["jti"].as_str().expect("a text").to_owned();
        assert_eq!(told(bed).await, [("token".to_owned(), jti)]);

        bed.change("UPDATE tenants SET access_token_format = 'opaque'").await;
        let opaque = bed.refresh(&app, &issued.refresh_token(), "").await;
        assert_eq!(opaque.status, StatusCode::OK, "the refresh token is as good as before");
        empty_ok(&revoke(bed, &app, &opaque.access_token(), "").await);
        assert_eq!(told(bed).await.len(), 2);
        assert_eq!(bed.refresh(&app, &opaque.refresh_token(), "").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn the_token_of_an_agent_that_acts_for_itself_can_be_revoked() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let token = bed.token(&bot, "").await.access_token();
        empty_ok(&revoke(bed, &bot, &token, "").await);
        let jti = claims(bed, &token).await["jti"].as_str().expect("a text").to_owned();
        assert_eq!(told(bed).await, [("token".to_owned(), jti)]);
        assert_eq!(bed.count("audit_events WHERE action = 'access_token.revoke' AND actor = 'agent:bot'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn with_a_refresh_token_the_whole_family_dies() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let issued = bed.redeem(&app, &code, "").await;
        let next = bed.refresh(&app, &issued.refresh_token(), "").await.refresh_token();
        // One that was used already will do: the client means the authorization.
        empty_ok(&revoke(bed, &app, &issued.refresh_token(), "").await);
        let gid = claims(bed, &issued.access_token()).await["gid"].as_str().expect("a text").to_owned();
        assert_eq!(told(bed).await, [("grant_family".to_owned(), gid)]);
        assert_eq!(bed.refresh(&app, &next, "").await.error(), (400, "invalid_grant".to_owned()));
        assert_eq!(bed.count("audit_events WHERE action = 'authorization.revoke'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_hint_changes_nothing() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        for (revision, hint) in ["refresh_token", "access_token", "something_else", ""].into_iter().enumerate() {
            let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
            empty_ok(&revoke(bed, &app, &token, &format!("&token_type_hint={hint}")).await);
            assert_eq!(told(bed).await.len(), revision + 1, "{hint}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_nothing_or_someone_elses_is_answered_alike_and_stays() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let other = bed.confidential_app("other", &["demo:*"]).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let issued = bed.redeem(&app, &code, "").await;
        let unknown = [Purpose::RefreshToken, Purpose::AccessToken].map(|purpose| secret::generate(purpose).text);
        let forged = forged(&issued.access_token(), &other.id);
        for token in [
            issued.access_token().as_str(),
            issued.refresh_token().as_str(),
            unknown[0].as_str(),
            unknown[1].as_str(),
            forged.as_str(),
            "x",
            "a.b.c",
            "eyJhbGciOiJub25lIn0.e30.",
            "%00",
        ] {
            empty_ok(&revoke(bed, &other, token, "").await);
        }
        assert_eq!(told(bed).await, []);
        assert_eq!(bed.refresh(&app, &issued.refresh_token(), "").await.status, StatusCode::OK);
    })
    .await;
}

/// The same token with another client in its claims: the signature is none any more.
fn forged(token: &str, client_id: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("claims");
    claims["client_id"] = client_id.into();
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

#[tokio::test]
async fn revoking_again_changes_nothing() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let issued = bed.redeem(&app, &code, "").await;
        for token in [issued.access_token(), issued.refresh_token()] {
            empty_ok(&revoke(bed, &app, &token, "").await);
            empty_ok(&revoke(bed, &app, &token, "").await);
        }
        assert_eq!(told(bed).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_needs_no_revocation() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        bed.change("UPDATE tenants SET access_token_format = 'opaque'").await;
        let token = bed.token(&bot, "").await.access_token();
        bed.change("UPDATE access_tokens SET expires_at = now()").await;
        empty_ok(&revoke(bed, &bot, &token, "").await);
        assert_eq!(told(bed).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_client_has_to_be_one_and_to_say_what_to_revoke() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let missing = bed.post_as("revoke", &bot, "").await;
        assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
        let wrong = Client { secret: "wrong".to_owned(), ..bot.clone() };
        let unproven = Client { secret: String::new(), ..bot.clone() };
        for client in [wrong, unproven] {
            assert_eq!(revoke(bed, &client, "x", "").await.error(), (401, "invalid_client".to_owned()));
        }
        let nobody = bed.post_from("192.0.2.1", "revoke", None, "token=x").await;
        assert_eq!(nobody.error(), (401, "invalid_client".to_owned()));
        let get = bed.send(Request::get("/t/acme/oauth/revoke").body(Body::empty()).expect("a request")).await;
        assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(get.header(header::ALLOW).contains("POST"));
    })
    .await;
}

#[tokio::test]
async fn whichever_is_first_of_a_refresh_and_a_revocation_nothing_good_is_left() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let beside = bed.beside_on_its_own_connections().await;
        for _ in 0..20 {
            let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
            let (refreshed, revoked) = join(bed.refresh(&app, &token, ""), revoke(&beside, &app, &token, "")).await;
            empty_ok(&revoked);
            if refreshed.status == StatusCode::OK {
                let late = bed.refresh(&app, &refreshed.refresh_token(), "").await;
                assert_eq!(late.error(), (400, "invalid_grant".to_owned()));
            } else {
                assert_eq!(refreshed.error(), (400, "invalid_grant".to_owned()));
            }
        }
        assert_eq!(bed.count("authorizations WHERE revoked_at IS NULL").await, 0);
        assert_eq!(told(bed).await.len(), 20, "data planes hear of every family");
    })
    .await;
}
