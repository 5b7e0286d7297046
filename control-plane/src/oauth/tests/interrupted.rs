//! Sessions at Postgres that end half-way: nothing is half issued, and the same request succeeds when it comes again.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::json;

use super::{
    assertion,
    revoke::interrupted::{DIE, as_owner, assert_try_again},
};
use crate::{
    agents::SigningAlg,
    oauth::testing::{Answer, Bed, Signer, run},
    secret::{Purpose, generate},
};

/// Sends the request while each trigger of `moments` ends its session, and once more when nothing does: answers that
/// last answer. `untouched` looks whether everything is as before.
async fn interrupted(
    bed: &Bed,
    moments: &[&'static str],
    send: impl AsyncFn() -> Answer,
    untouched: impl AsyncFn(&str),
) -> Answer {
    as_owner(bed, DIE).await;
    for moment in moments {
        as_owner(bed, moment).await;
        assert_try_again(&send().await, moment);
        let table = moment.split(" ON ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a trigger has a table");
        as_owner(bed, &format!("DROP TRIGGER IF EXISTS dying ON {table}")).await;
        untouched(moment).await;
    }
    send().await
}

#[tokio::test]
async fn a_code_whose_redemption_is_interrupted_is_good_once_more() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let moments = [
            "CREATE TRIGGER dying AFTER UPDATE ON authorization_codes FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE TRIGGER dying AFTER INSERT ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON refresh_tokens DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
        ];
        let untouched = async |when: &str| {
            assert_eq!(bed.count("authorization_codes WHERE consumed_at IS NULL").await, 1, "{when}");
            assert_eq!(bed.count("refresh_tokens").await, 0, "{when}");
            assert_eq!(bed.count("authorizations WHERE last_used_at IS NULL").await, 1, "{when}");
        };
        let redeemed = interrupted(bed, &moments, async || bed.redeem(&app, &code, "").await, untouched).await;
        assert_eq!(bed.refresh(&app, &redeemed.refresh_token(), "").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_that_is_interrupted_leaves_the_token_unused() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let moments = [
            "CREATE TRIGGER dying AFTER UPDATE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE TRIGGER dying AFTER INSERT ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON refresh_tokens DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
        ];
        let untouched = async |when: &str| {
            assert_eq!(bed.count("refresh_tokens WHERE consumed_at IS NULL AND reuses = 0").await, 1, "{when}");
            assert_eq!(bed.count("refresh_tokens").await, 1, "{when}");
        };
        let refreshed = interrupted(bed, &moments, async || bed.refresh(&app, &token, "").await, untouched).await;
        assert_eq!(bed.refresh(&app, &refreshed.refresh_token(), "").await.status, StatusCode::OK);
        assert_eq!(bed.count("refresh_tokens WHERE reuses > 0").await, 0, "the first use was the first");
    })
    .await;
}

#[tokio::test]
async fn an_assertion_whose_use_is_interrupted_was_not_used() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = assertion::signing(bed, "bot", &signer).await;
        let form = assertion::form(&signer.jwt(&assertion::claims(&client, "one")));
        let send = async || bed.token_from("192.0.2.1", None, &form).await;
        let moments = [
            "CREATE TRIGGER dying AFTER INSERT ON used_assertions FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON used_assertions DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
        ];
        let untouched = async |when: &str| assert_eq!(bed.count("used_assertions").await, 0, "{when}");
        assert_eq!(interrupted(bed, &moments, send, untouched).await.status, StatusCode::OK);
        assert_eq!(send().await.error(), (401, "invalid_client".to_owned()), "now it was");
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_is_interrupted_makes_nothing_and_spends_nothing() {
    run(async |bed| {
        bed.change("UPDATE tenants SET client_registration = '{\"registration\": \"initial_access_token\"}'").await;
        let token = generate(Purpose::InitialAccessToken);
        let mut tx = bed.tx().await;
        let insert = "INSERT INTO initial_access_tokens (tenant_id, id, digest, created_by, expires_at, uses_left)
                      VALUES ($1, gen_random_uuid(), $2, 'test', now() + interval '1 hour', 1)";
        let insert = sqlx::query(insert).bind(bed.tenant.uuid()).bind(token.digest.as_bytes());
        insert.execute(&mut *tx).await.expect("a token");
        tx.commit().await.expect("committed");
        let send = async || {
            let metadata = json!({ "client_name": "Web App", "redirect_uris": ["https://app.example/callback"] });
            let request = Request::post("/t/acme/oauth/register")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, format!("Bearer {}", token.text.as_str()));
            bed.send(request.body(Body::from(metadata.to_string())).expect("a request")).await
        };
        let moments = [
            "CREATE TRIGGER dying AFTER UPDATE ON initial_access_tokens FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE TRIGGER dying AFTER INSERT ON agents FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE TRIGGER dying AFTER INSERT ON agent_credentials FOR EACH ROW EXECUTE FUNCTION die()",
            "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
        ];
        let untouched = async |when: &str| {
            assert_eq!(bed.count("initial_access_tokens WHERE uses_left = 1").await, 1, "{when}");
            assert_eq!(bed.count("agents").await + bed.count("agent_credentials").await, 0, "{when}");
            assert_eq!(bed.count("audit_events WHERE action = 'agent.register'").await, 0, "{when}");
        };
        assert_eq!(interrupted(bed, &moments, send, untouched).await.status, StatusCode::CREATED);
        assert_eq!(send().await.status, StatusCode::UNAUTHORIZED, "its one use is spent");
    })
    .await;
}
