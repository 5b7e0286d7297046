//! What a tenant sets about codes and tokens.

use axum::http::StatusCode;

use crate::oauth::testing::run;

#[tokio::test]
async fn a_token_that_acts_for_a_user_lives_an_hour_at_most() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let robot = bed.agent("robot", &["demo:*"]).await;
        for (set_to, for_a_user, for_itself) in [(86_400, 3_600, 86_400), (3_601, 3_600, 3_601), (60, 60, 60)] {
            let mut tx = bed.tx().await;
            sqlx::query("UPDATE tenants SET access_token_ttl_s = $1")
                .bind(set_to)
                .execute(&mut *tx)
                .await
                .expect("set");
            tx.commit().await.expect("committed");
            let code = bed.code(&app, ada, &["demo:*"]).await;
            let first = bed.redeem(&app, &code, "").await;
            assert_eq!(first.json()["expires_in"], for_a_user, "{set_to}");
            let next = bed.refresh(&app, &first.refresh_token(), "").await;
            assert_eq!(next.json()["expires_in"], for_a_user, "{set_to}");
            assert_eq!(bed.token(&robot, "").await.json()["expires_in"], for_itself, "{set_to}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_tenant_may_want_every_second_redemption_to_end_the_authorization() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let twice = async || {
            let code = bed.code(&app, ada, &["demo:*"]).await;
            let first = bed.redeem(&app, &code, "").await;
            // However slow this machine is: the second one comes at once.
            bed.change("UPDATE authorization_codes SET consumed_at = now() + interval '1 hour'").await;
            assert_eq!(bed.redeem(&app, &code, "").await.error(), (400, "invalid_grant".to_owned()));
            bed.refresh(&app, &first.refresh_token(), "").await.status
        };
        assert_eq!(twice().await, StatusCode::OK);
        bed.change("UPDATE tenants SET strict_code_reuse = true").await;
        assert_eq!(twice().await, StatusCode::BAD_REQUEST);
        assert_eq!(bed.count("revocations WHERE kind = 'grant_family'").await, 1);
    })
    .await;
}
