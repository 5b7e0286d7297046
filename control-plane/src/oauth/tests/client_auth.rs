//! How a client proves who it is at the token endpoint.

use axum::http::{StatusCode, header};

use crate::oauth::testing::{Bed, Client, basic, run};

const GRANT: &str = "grant_type=client_credentials";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const PEER: &str = "192.0.2.1";

fn post(client: &Client) -> String {
    format!("{GRANT}&client_id={}&client_secret={}", client.id, client.secret)
}

async fn refused(bed: &Bed, authorization: Option<&str>, body: &str) -> (u16, String) {
    bed.token_from(PEER, authorization, body).await.error()
}

#[tokio::test]
async fn the_secret_is_taken_from_the_header_and_from_the_body() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        assert_eq!(bed.token(&client, "").await.status, StatusCode::OK);
        assert_eq!(bed.token_from(PEER, None, &post(&client)).await.status, StatusCode::OK);
        bed.run("UPDATE agents SET auth_method = 'client_secret_post' WHERE id = $1", client.agent.uuid()).await;
        assert_eq!(bed.token(&client, "").await.status, StatusCode::OK, "whichever method was registered");
    })
    .await;
}

#[tokio::test]
async fn an_unknown_client_a_wrong_secret_and_a_wrong_tenant_look_alike() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let other = bed.agent("other", &["demo:*"]).await;
        bed.tenant("elsewhere").await;
        let wrong = bed.token_from(PEER, Some(&basic(&client.id, "tgs_wrong")), GRANT).await;
        assert_eq!(wrong.error(), (401, "invalid_client".to_owned()));
        for (id, secret) in [
            (tollgate_proto::AgentId::new().to_string(), client.secret.clone()),
            ("bot".to_owned(), client.secret.clone()),
            ("\u{0}".to_owned(), "\u{0}".to_owned()),
            (client.id.clone(), other.secret.clone()),
            (client.id.clone(), String::new()),
            (String::new(), client.secret.clone()),
        ] {
            let answer = bed.token_from(PEER, Some(&basic(&id, &secret)), GRANT).await;
            assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body), "{id}");
        }
        let request = axum::http::Request::post("/t/elsewhere/oauth/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, client.basic());
        let answer = bed.send(request.body(GRANT.into()).expect("a request")).await;
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body), "an agent of another tenant");
    })
    .await;
}

#[tokio::test]
async fn a_challenge_comes_only_where_the_header_was_tried() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let challenge = r#"Basic realm="https://h/t/acme", charset="UTF-8""#;
        for authorization in
            [basic(&client.id, "no"), "Basic ???".to_owned(), "Basic".to_owned(), "Bearer x".to_owned()]
        {
            let answer = bed.token_from(PEER, Some(&authorization), GRANT).await;
            assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{authorization}");
            assert_eq!(answer.header(header::WWW_AUTHENTICATE), challenge, "{authorization}");
        }
        let answer = bed.token_from(PEER, None, &format!("{GRANT}&client_id={}&client_secret=no", client.id)).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "");
    })
    .await;
}

#[tokio::test]
async fn id_and_secret_of_the_header_are_form_decoded() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let encoded: String = client.secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = bed.token_from(PEER, Some(&basic(&client.id.replace('_', "%5f"), &encoded)), GRANT).await;
        assert_eq!(answer.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn two_methods_at_once_are_refused() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let refusal = (400, "invalid_request".to_owned());
        assert_eq!(refused(bed, Some(&client.basic()), &post(&client)).await, refusal);
        let assertion = format!("{GRANT}&client_assertion=x");
        assert_eq!(refused(bed, Some(&client.basic()), &assertion).await, refusal);
        assert_eq!(refused(bed, None, &format!("{}&client_assertion=x", post(&client))).await, refusal);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_names_another_client_is_refused() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let other = bed.agent("other", &["demo:*"]).await;
        assert_eq!(bed.token(&client, &format!("&client_id={}", client.id)).await.status, StatusCode::OK);
        let answer = bed.token(&client, &format!("&client_id={}", other.id)).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_proves_nothing_is_refused() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let refusal = (401, "invalid_client".to_owned());
        for body in [
            GRANT.to_owned(),
            format!("{GRANT}&client_id={}", client.id),
            format!("{GRANT}&client_id={}&client_secret=", client.id),
            format!("{GRANT}&client_secret={}", client.secret),
            format!("{GRANT}&client_assertion=x&client_assertion_type={JWT_BEARER}"),
        ] {
            assert_eq!(refused(bed, None, &body).await, refusal, "{body}");
        }
    })
    .await;
}

#[tokio::test]
async fn credentials_in_the_query_string_are_not_read() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let request = axum::http::Request::post(format!("/t/acme/oauth/token?{}", post(&client)))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = bed.send(request.body(GRANT.into()).expect("a request")).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn an_expired_secret_and_a_suspended_agent_are_refused() {
    run(async |bed| {
        let refusal = (401, "invalid_client".to_owned());
        let expired = bed.agent("expired", &["demo:*"]).await;
        bed.run("UPDATE agent_credentials SET expires_at = now() WHERE agent_id = $1", expired.agent.uuid()).await;
        assert_eq!(bed.token(&expired, "").await.error(), refusal);
        let suspended = bed.agent("suspended", &["demo:*"]).await;
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", suspended.agent.uuid()).await;
        assert_eq!(bed.token(&suspended, "").await.error(), refusal);
        bed.run("UPDATE agents SET state = 'active' WHERE id = $1", suspended.agent.uuid()).await;
        assert_eq!(bed.token(&suspended, "").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn both_secrets_of_a_rotation_are_good() {
    run(async |bed| {
        let old = bed.agent("bot", &["demo:*"]).await;
        let new = bed.credential(old.agent).await;
        for client in [&old, &new] {
            assert_eq!(bed.token(client, "").await.status, StatusCode::OK);
        }
    })
    .await;
}

#[tokio::test]
async fn guessing_is_stopped_for_the_client_and_address_that_guess() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let other = bed.agent("other", &["demo:*"]).await;
        for _ in 0..20 {
            assert_eq!(bed.token(&client, "").await.status, StatusCode::OK, "successes do not count");
        }
        for _ in 0..10 {
            assert_eq!(bed.token_from(PEER, Some(&basic(&client.id, "no")), GRANT).await.error().0, 401);
        }
        let stopped = bed.token(&client, "").await;
        assert_eq!(stopped.error(), (429, "too_many_requests".to_owned()), "even with the right secret");
        let retry_after: u64 = stopped.header(header::RETRY_AFTER).parse().expect("seconds");
        assert!((1..=60).contains(&retry_after), "{retry_after}");
        assert_eq!(bed.token(&other, "").await.status, StatusCode::OK, "another client");
        let elsewhere = bed.token_from("192.0.2.2", Some(&client.basic()), GRANT).await;
        assert_eq!(elsewhere.status, StatusCode::OK, "another address");
    })
    .await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_those_who_guess_stop_themselves_alone() {
    run(async |bed| {
        let (bed, proxy) = (bed.behind("10.0.0.0/8"), "10.1.2.3");
        let client = bed.agent("bot", &["demo:*"]).await;
        let wrong = basic(&client.id, "no");
        for guess in 0..10 {
            let pretended = format!("203.0.113.{guess}, 192.0.2.7");
            assert_eq!(bed.token_through(proxy, &pretended, &wrong).await.error().0, 401);
        }
        let right = client.basic();
        assert_eq!(bed.token_through(proxy, "203.0.113.99, 192.0.2.7", &right).await.error().0, 429);
        assert_eq!(bed.token_through(proxy, "192.0.2.8", &right).await.status, StatusCode::OK, "another address");
        assert_eq!(bed.token_through(proxy, "", &right).await.status, StatusCode::OK, "the proxy itself");
    })
    .await;
}

#[tokio::test]
async fn where_no_proxy_is_trusted_nobody_gets_more_tries_by_another_header() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let wrong = basic(&client.id, "no");
        for guess in 0..10 {
            let pretended = format!("203.0.113.{guess}");
            assert_eq!(bed.token_through(PEER, &pretended, &wrong).await.error().0, 401);
        }
        assert_eq!(bed.token_through(PEER, "203.0.113.99", &wrong).await.error().0, 429);
    })
    .await;
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute_and_never_for_a_refused_request() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo"]).await;
        let noted = async || {
            let mut tx = bed.tx().await;
            let sql = "SELECT last_used_at FROM agent_credentials WHERE agent_id = $1";
            sqlx::query_scalar::<_, Option<chrono::DateTime<chrono::Utc>>>(sql)
                .bind(client.agent.uuid())
                .fetch_one(&mut *tx)
                .await
                .expect("a credential")
        };
        bed.token(&client, "&scope=other:x").await;
        bed.token_from(PEER, Some(&basic(&client.id, "no")), GRANT).await;
        assert_eq!(noted().await, None);
        bed.token(&client, "").await;
        let first = noted().await.expect("noted");
        bed.token(&client, "").await;
        assert_eq!(noted().await, Some(first));
        let sql = "UPDATE agent_credentials SET last_used_at = now() - interval '61 seconds' WHERE agent_id = $1";
        bed.run(sql, client.agent.uuid()).await;
        bed.token(&client, "").await;
        assert!(noted().await.expect("noted") >= first);
    })
    .await;
}

#[tokio::test]
async fn a_public_client_names_itself_and_no_other_client_may() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let sql = "UPDATE agents SET type = 'interactive', auth_method = 'none', grant_types = '{authorization_code}'
                   WHERE id = $1";
        bed.run(sql, client.agent.uuid()).await;
        let by_id = format!("{GRANT}&client_id={}", client.id);
        assert_eq!(
            refused(bed, None, &by_id).await,
            (400, "unauthorized_client".to_owned()),
            "known, but not for this"
        );
        let refusal = (401, "invalid_client".to_owned());
        assert_eq!(refused(bed, None, &post(&client)).await, refusal, "a secret proves nothing of a public client");
        assert_eq!(refused(bed, Some(&client.basic()), GRANT).await, refusal);
        bed.run("UPDATE agents SET state = 'waiting' WHERE id = $1", client.agent.uuid()).await;
        assert_eq!(refused(bed, None, &by_id).await, refusal);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_nothing_to_a_client_that_signs() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.run("UPDATE agents SET auth_method = 'private_key_jwt' WHERE id = $1", client.agent.uuid()).await;
        let refusal = (401, "invalid_client".to_owned());
        assert_eq!(refused(bed, Some(&client.basic()), GRANT).await, refusal);
        assert_eq!(refused(bed, None, &post(&client)).await, refusal);
        assert_eq!(refused(bed, None, &format!("{GRANT}&client_id={}", client.id)).await, refusal);
    })
    .await;
}

#[tokio::test]
async fn a_parameter_that_is_there_twice_is_refused_and_an_empty_or_unknown_one_is_none() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let twice = format!("{}&client_id={}", post(&client), client.id);
        assert_eq!(refused(bed, None, &twice).await, (400, "invalid_request".to_owned()));
        let more = "&client_assertion=&client_assertion_type=&scope=&unknown=1&unknown2=2";
        assert_eq!(bed.token_from(PEER, None, &format!("{}{more}", post(&client))).await.status, StatusCode::OK);
        let json = axum::http::Request::post("/t/acme/oauth/token").header(header::CONTENT_TYPE, "application/json");
        let answer = bed.send(json.body("{}".into()).expect("a request")).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    })
    .await;
}
