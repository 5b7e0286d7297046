//! Back-channel logout: which logout tokens are believed, and what ends with them.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tollgate_proto::{AgentId, AuthorizationId};
use uuid::Uuid;

use super::Browser;
use crate::{
    identity_providers::scripted::{Mischief, ScriptedProvider},
    testing::{Answer, Bench, run, text},
};

const LEAVE: &str = "/sign-in/with/corp?tenant=acme&next=%2Fcalls";
const ENDPOINT: &str = "/t/acme/sign-in/corp/backchannel-logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

async fn provider(bench: &Bench) -> ScriptedProvider {
    let provider = ScriptedProvider::start().await;
    provider.register(bench, json!({ "default_role": "viewer" })).await;
    provider
}

/// Somebody who signed in through the provider, in its session `sid`.
async fn person<'a>(bench: &'a Bench, provider: &ScriptedProvider, sub: &str, sid: Option<&str>) -> Browser<'a> {
    {
        let mut script = provider.script();
        script.sid = sid.map(str::to_owned);
        script.claims["sub"] = sub.into();
        script.claims["email"] = format!("{sub}@corp.test").into();
    }
    let mut browser = Browser::new(bench);
    let away = browser.get(LEAVE).await.expect(303);
    browser.get(&provider.approve(away.header("location"))).await.expect(303);
    browser.get("/account").await.expect(200);
    browser
}

async fn send(bench: &Bench, token: &str) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    post(bench, form).await
}

async fn post(bench: &Bench, form: String) -> Answer {
    let call = bench.call(Method::POST, ENDPOINT).anonymous();
    let answer = call.header("content-type", "application/x-www-form-urlencoded").body(form).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

/// What an agent was allowed in the newest session of the user with this address.
pub(super) async fn family(bench: &Bench, email: &str) -> AuthorizationId {
    let (family, agent) = (AuthorizationId::new(), AgentId::new());
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query(
        "WITH team AS (INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, $3, 'test') RETURNING id),
              agent AS (INSERT INTO agents (tenant_id, id, name, team_id, type, auth_method, grant_types, created_by)
                        SELECT $1, $2, $3, team.id, 'interactive', 'none', '{authorization_code}', 'test' FROM team
                        RETURNING id)
         INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources, scopes,
                                     authenticated_at, expires_at)
         SELECT $1, $4, agent.id, u.id, $4, s.digest, '{https://gw/t/acme/mcp}', '{a:b}', now(), now() + interval '1 day'
         FROM agent, users u JOIN console_sessions s ON s.user_id = u.id
         WHERE u.email = $5 ORDER BY s.created_at DESC LIMIT 1",
    )
    .bind(bench.acme.uuid())
    .bind(agent.uuid())
    .bind(format!("a{}", Uuid::now_v7().simple()))
    .bind(family.uuid())
    .bind(email)
    .execute(&mut *tx)
    .await
    .expect("a family");
    tx.commit().await.expect("committed");
    family
}

pub(super) async fn is_revoked(bench: &Bench, family: AuthorizationId) -> bool {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT revoked_at IS NOT NULL FROM authorizations WHERE id = $1")
        .bind(family.uuid())
        .fetch_one(&mut *tx)
        .await
        .expect("a family")
}

/// Every revocation of the tenant as `kind subject`.
async fn revocations(bench: &Bench) -> Vec<String> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT kind || ' ' || subject FROM revocations ORDER BY revision")
        .fetch_all(&mut *tx)
        .await
        .expect("revocations")
}

/// The details of the audited sign-outs.
async fn sign_outs(bench: &Bench) -> Vec<Value> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT detail FROM audit_events WHERE action = 'user.sign-out' ORDER BY at, id")
        .fetch_all(&mut *tx)
        .await
        .expect("events")
}

async fn is_signed_in(browser: &mut Browser<'_>) -> bool {
    browser.get("/account").await.status == 200
}

#[tokio::test]
async fn a_logout_of_a_user_ends_everything_of_theirs_and_nothing_of_others() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut laptop = person(bench, &provider, "ada", Some("s1")).await;
        let mut phone = person(bench, &provider, "ada", None).await;
        let hers = family(bench, "ada@corp.test").await;
        let mut bob = person(bench, &provider, "bob", Some("s2")).await;
        let his = family(bench, "bob@corp.test").await;
        let answer = send(bench, &provider.logout_token(json!({}), json!({ "sub": "ada" }))).await.expect(200);
        assert!(answer.text.is_empty());
        assert!(!is_signed_in(&mut laptop).await && !is_signed_in(&mut phone).await);
        assert!(is_signed_in(&mut bob).await);
        assert!(is_revoked(bench, hers).await && !is_revoked(bench, his).await);
        let user = bench.get("users/ada@corp.test").await.json["id"].clone();
        assert_eq!(revocations(bench).await, [format!("user {}", text(&user))]);
        let said = sign_outs(bench).await;
        assert_eq!((&said[0]["by"], &said[0]["sessions"]), (&json!("identity-provider"), &json!(2)), "{said:?}");
        assert!(said[0]["revocation"].is_i64(), "{said:?}");
        // She may come again at once.
        person(bench, &provider, "ada", Some("s3")).await;
    })
    .await;
}

#[tokio::test]
async fn a_logout_of_a_session_ends_what_began_in_it_alone() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut laptop = person(bench, &provider, "ada", Some("s1")).await;
        let there = family(bench, "ada@corp.test").await;
        let mut phone = person(bench, &provider, "ada", Some("s2")).await;
        let here = family(bench, "ada@corp.test").await;
        send(bench, &provider.logout_token(json!({}), json!({ "sid": "s1" }))).await.expect(200);
        assert!(!is_signed_in(&mut laptop).await && is_signed_in(&mut phone).await);
        assert!(is_revoked(bench, there).await && !is_revoked(bench, here).await);
        assert_eq!(revocations(bench).await, [format!("grant_family {there}")]);
        assert_eq!(sign_outs(bench).await[0]["authorizations"], 1);

        // The same with the user beside it; of another user it is nobody's session, and all of that user's end.
        send(bench, &provider.logout_token(json!({}), json!({ "sid": "s2", "sub": "bob" }))).await.expect(200);
        assert!(is_signed_in(&mut phone).await, "bob is nobody");
        send(bench, &provider.logout_token(json!({}), json!({ "sid": "s2", "sub": "ada" }))).await.expect(200);
        assert!(!is_signed_in(&mut phone).await && is_revoked(bench, here).await);
    })
    .await;
}

#[tokio::test]
async fn what_was_allowed_in_a_session_ends_though_the_session_ended_before() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = person(bench, &provider, "ada", Some("s1")).await;
        let family = family(bench, "ada@corp.test").await;
        browser.post("/sign-out", &[]).await.expect(303);
        assert!(!is_revoked(bench, family).await, "signing out here takes nothing back");
        crate::users::provider_logout::purge(&bench.app, bench.acme).await.expect("purged");
        send(bench, &provider.logout_token(json!({}), json!({ "sid": "s1" }))).await.expect(200);
        assert!(is_revoked(bench, family).await);
    })
    .await;
}

#[tokio::test]
async fn a_logout_that_concerns_nobody_is_no_error() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut ada = person(bench, &provider, "ada", Some("s1")).await;
        for claims in [json!({ "sub": "stranger" }), json!({ "sid": "s9" }), json!({ "sid": "s9", "sub": "stranger" })]
        {
            send(bench, &provider.logout_token(json!({}), claims)).await.expect(200);
        }
        assert!(is_signed_in(&mut ada).await);
        assert!(revocations(bench).await.is_empty() && sign_outs(bench).await.is_empty());
        // A session that nobody here knows, of a user whom we know: everything of theirs.
        send(bench, &provider.logout_token(json!({}), json!({ "sid": "s9", "sub": "ada" }))).await.expect(200);
        assert!(!is_signed_in(&mut ada).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_breaks_a_rule_ends_nothing() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut ada = person(bench, &provider, "ada", Some("s1")).await;
        let now = chrono::Utc::now().timestamp();
        let none = || json!({});
        let rules: Vec<(Value, Value, &str)> = vec![
            (json!({ "typ": "at+jwt" }), none(), "(typ)"),
            (json!({ "typ": "id_token+jwt" }), none(), "(typ)"),
            (json!({ "alg": "none" }), none(), "(alg)"),
            (json!({ "alg": "HS256" }), none(), "(alg)"),
            (json!({ "alg": "XX" }), none(), "(alg)"),
            (json!({ "alg": "RS256" }), none(), "signed it"),
            (json!({ "kid": "nobody-knows" }), none(), "signed it"),
            (json!({ "crit": ["exp"] }), none(), "critical"),
            (none(), json!({ "iss": "https://other.test" }), "(iss)"),
            (none(), json!({ "iss": null }), "(iss)"),
            (none(), json!({ "aud": "somebody-else" }), "(aud)"),
            (none(), json!({ "aud": ["tollgate", "somebody-else"] }), "(aud)"),
            (none(), json!({ "aud": [] }), "(aud)"),
            (none(), json!({ "aud": null }), "(aud)"),
            (none(), json!({ "iat": null }), "(iat)"),
            (none(), json!({ "iat": now + 300 }), "(iat)"),
            (none(), json!({ "exp": null }), "(exp)"),
            (none(), json!({ "exp": now - 30 }), "(exp)"),
            (none(), json!({ "exp": now + 200_000 }), "(exp)"),
            (none(), json!({ "jti": null }), "(jti)"),
            (none(), json!({ "jti": "" }), "(jti)"),
            (none(), json!({ "events": null }), "(events)"),
            (none(), json!({ "events": { "http://schemas.openid.net/event/other": {} } }), "(events)"),
            (none(), json!({ "events": { EVENT: "yes" } }), "(events)"),
            (none(), json!({ "events": [EVENT] }), "(events)"),
            (none(), json!({ "nonce": "n" }), "nonce"),
            (none(), json!({ "sub": null }), "(sub, sid)"),
            (none(), json!({ "sub": "" }), "(sub, sid)"),
            (none(), json!({ "sid": 7 }), "(sub, sid)"),
        ];
        for (header, claims, reason) in rules {
            let mut whole = json!({ "sub": "ada" });
            whole.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
            let answer = send(bench, &provider.logout_token(header.clone(), whole)).await.expect(400);
            assert_eq!(answer.json["error"], "invalid_request", "{header} {claims}");
            let said = text(&answer.json["error_description"]);
            assert!(said.contains(reason), "{header} {claims}: {said}");
        }
        assert!(is_signed_in(&mut ada).await);
        assert!(revocations(bench).await.is_empty());
        for (header, claims) in [
            (json!({ "typ": null }), json!({ "sub": "ada", "aud": ["tollgate"] })),
            (json!({ "typ": "JWT" }), json!({ "sub": "nobody", "exp": now + 60 })),
            (json!({ "typ": "application/LOGOUT+JWT" }), json!({ "sub": "nobody" })),
        ] {
            send(bench, &provider.logout_token(header, claims)).await.expect(200);
        }
        assert!(!is_signed_in(&mut ada).await);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_logout_token_of_the_provider_ends_nothing() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut ada = person(bench, &provider, "ada", Some("s1")).await;
        let good = provider.logout_token(json!({}), json!({ "sub": "ada" }));
        let (signed, signature) = good.rsplit_once('.').expect("parts");
        let other = ScriptedProvider::start().await;
        let foreign = other.logout_token(json!({}), json!({ "sub": "ada", "iss": provider.issuer }));
        let long = format!("{signed}.{}", "A".repeat(17_000));
        for odd in
            ["", "a", "a.b", "a.b.c", signed, &format!("{signed}."), &format!("{signature}.{good}"), &foreign, &long]
        {
            send(bench, odd).await.expect(400);
        }
        for form in ["", "token=a", &format!("logout_token={good}&logout_token={good}")] {
            post(bench, form.to_owned()).await.expect(400);
        }
        let call = bench.call(Method::POST, ENDPOINT).anonymous().header("content-type", "application/json");
        call.body(json!({ "logout_token": good }).to_string()).await.expect(400);
        let get = bench.call(Method::GET, ENDPOINT).anonymous().send().await.expect(405);
        assert_eq!(get.header("allow"), "POST");
        for path in ["/t/acme/sign-in/other/backchannel-logout", "/t/nobody/sign-in/corp/backchannel-logout"] {
            let call = bench.call(Method::POST, path).anonymous();
            let form = format!("logout_token={good}");
            call.header("content-type", "application/x-www-form-urlencoded").body(form).await.expect(404);
        }
        assert!(is_signed_in(&mut ada).await);
        send(bench, &good).await.expect(200);
        assert!(!is_signed_in(&mut ada).await);
    })
    .await;
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    run(async |bench| {
        let provider = provider(bench).await;
        person(bench, &provider, "ada", Some("s1")).await;
        let token = provider.logout_token(json!({}), json!({ "sub": "ada" }));
        let answers = join_all((0..8).map(|_| send(bench, &token))).await;
        let counted = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(counted, 1);
        let refused = answers.iter().find(|answer| answer.status == 400).expect("the others");
        assert!(text(&refused.json["error_description"]).contains("used before (jti)"), "{}", refused.json);
        let mut again = person(bench, &provider, "ada", Some("s1")).await;
        send(bench, &token).await.expect(400);
        assert!(is_signed_in(&mut again).await, "a replay signs nobody out");
        // It is forgotten only after nobody would believe it any more.
        crate::users::provider_logout::purge(&bench.app, bench.acme).await.expect("purged");
        send(bench, &token).await.expect(400);
    })
    .await;
}

#[tokio::test]
async fn keys_that_changed_are_read_again_but_not_for_everybody_who_asks() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut ada = person(bench, &provider, "ada", Some("s1")).await;
        provider.rotate("k2");
        let before = provider.script().key_reads;
        send(bench, &provider.logout_token(json!({}), json!({ "sub": "ada" }))).await.expect(200);
        assert!(!is_signed_in(&mut ada).await);
        assert_eq!(provider.script().key_reads, before + 1);
        for _ in 0..5 {
            let unknown = provider.logout_token(json!({ "kid": "nobody-knows" }), json!({ "sub": "ada" }));
            send(bench, &unknown).await.expect(400);
        }
        assert_eq!(provider.script().key_reads, before + 1, "whoever sends tokens cannot make us read all the time");
    })
    .await;
}

#[tokio::test]
async fn a_logout_that_cannot_be_looked_at_now_may_be_sent_again() {
    run(async |bench| {
        let provider = provider(bench).await;
        provider.script().mischief = Some(Mischief::MovedMetadata);
        let token = provider.logout_token(json!({}), json!({ "sub": "ada" }));
        let answer = send(bench, &token).await.expect(503);
        assert_eq!((&answer.json["error"], answer.header("retry-after")), (&json!("temporarily_unavailable"), "5"));
        provider.script().mischief = None;
        send(bench, &token).await.expect(200);
        let late = provider.logout_token(json!({}), json!({ "sub": "ada" }));
        bench.app.db.pool().close().await;
        let answer = send(bench, &late).await.expect(503);
        assert_eq!(answer.json["error"], "temporarily_unavailable");
    })
    .await;
}

#[tokio::test]
async fn the_address_to_register_is_told() {
    run(async |bench| {
        provider(bench).await;
        let shown = bench.get("identity-providers/corp").await.expect(200);
        let uri = "http://control.test/t/acme/sign-in/corp/backchannel-logout";
        assert_eq!(shown.json["status"]["backchannel_logout_uri"], uri);
        let mut owner = Browser::of(bench, crate::caller::Role::Owner).await;
        assert!(owner.get("/users").await.expect(200).text.contains(uri));
    })
    .await;
}
