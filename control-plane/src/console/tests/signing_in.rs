//! Signing in and out, sessions, forged forms.

use futures_util::future::join_all;
use http::Method;
use tollgate_proto::{AgentId, AuthorizationId};
use uuid::Uuid;

use super::{
    Browser, PASSWORD, link,
    provider_logout::{family, is_revoked},
    set_cookies,
};
use crate::{
    caller::Role,
    secret::{self, Purpose},
    testing::{Bench, run},
};

const OWNER: &str = "owner@acme.test";

/// An owner of `acme` who has a password.
async fn with_password(bench: &Bench) -> Browser<'_> {
    let mut browser = Browser::of(bench, Role::Owner).await;
    browser.post("/account/password", &[("new", PASSWORD)]).await.expect(303);
    browser
}

async fn sign_in(browser: &mut Browser<'_>, email: &str, password: &str) -> crate::testing::Answer {
    browser.get("/sign-in?tenant=acme").await.expect(200);
    browser.post("/sign-in", &[("email", email), ("password", password), ("tenant", "acme"), ("next", "/calls")]).await
}

#[tokio::test]
async fn a_link_signs_in_once() {
    run(async |bench| {
        let link = link(bench, bench.acme, "acme", Role::Owner).await;
        bench.call(Method::HEAD, &link).anonymous().send().await.expect(200);
        let mut first = Browser::new(bench);
        let answer = first.get(&link).await.expect(303);
        assert_eq!(answer.header("location"), "/");
        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with("tollgate_s=tgw_"), "{cookie}");
        assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        first.get("/").await.expect(200);
        let again = Browser::new(bench).get(&link).await.expect(410);
        assert!(again.text.contains("tollgate sign-in-link"));
        assert!(set_cookies(&again.headers).is_empty());
    })
    .await;
}

#[tokio::test]
async fn of_sixteen_who_open_a_link_at_once_one_is_signed_in() {
    run(async |bench| {
        let link = link(bench, bench.acme, "acme", Role::Owner).await;
        let answers = join_all((0..16).map(|_| bench.call(Method::GET, &link).anonymous().send())).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 410).count(), 15, "{statuses:?}");
    })
    .await;
}

#[tokio::test]
async fn an_expired_link_signs_nobody_in() {
    run(async |bench| {
        let link = link(bench, bench.acme, "acme", Role::Owner).await;
        sqlx::query("UPDATE sign_in_links SET expires_at = now()").execute(bench.app.db.pool()).await.expect("aged");
        Browser::new(bench).get(&link).await.expect(410);
    })
    .await;
}

#[tokio::test]
async fn a_password_signs_in_and_leads_to_where_one_wanted_to_go() {
    run(async |bench| {
        with_password(bench).await;
        let mut browser = Browser::new(bench);
        let sent = browser.get("/servers?limit=5").await.expect(303);
        assert_eq!(sent.header("location"), "/sign-in?next=%2Fservers%3Flimit%3D5");
        let answer = sign_in(&mut browser, "OWNER@acme.test", PASSWORD).await.expect(303);
        assert_eq!(answer.header("location"), "/calls");
        browser.get("/calls").await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    run(async |bench| {
        with_password(bench).await;
        for (email, password) in [(OWNER, "wrong"), ("nobody@acme.test", PASSWORD), (OWNER, "")] {
            let answer = sign_in(&mut Browser::new(bench), email, password).await.expect(422);
            assert!(answer.text.contains("The e-mail address or the password is wrong."), "{email}");
            assert!(!answer.text.contains("tgw_"));
        }
    })
    .await;
}

#[tokio::test]
async fn after_ten_failures_even_the_right_password_waits() {
    run(async |bench| {
        with_password(bench).await;
        for _ in 0..10 {
            sign_in(&mut Browser::new(bench), OWNER, "wrong").await.expect(422);
        }
        let answer = sign_in(&mut Browser::new(bench), OWNER, PASSWORD).await.expect(429);
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=900).contains(&seconds), "{seconds}");
    })
    .await;
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    run(async |bench| {
        let mut browser = with_password(bench).await;
        let mut other = Browser::new(bench);
        sign_in(&mut other, OWNER, PASSWORD).await.expect(303);
        other.get("/account").await.expect(200);
        let weak = other.post("/account/password", &[("old", PASSWORD), ("new", "short")]).await.expect(422);
        assert!(weak.text.contains("Use at least 12 characters."));
        other.post("/account/password", &[("old", "wrong"), ("new", "another long one")]).await.expect(422);
        let before = other.cookie();
        other.post("/account/password", &[("old", PASSWORD), ("new", "another long one")]).await.expect(303);
        assert_ne!(other.cookie(), before, "the session has a new secret");
        other.get("/account").await.expect(200);
        browser.get("/account").await.expect(303);
    })
    .await;
}

/// A refresh token of the family, and the form that uses it.
async fn refresh_form(bench: &Bench, family: AuthorizationId) -> String {
    let made = secret::generate(Purpose::RefreshToken);
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let may = "UPDATE agents SET grant_types = '{authorization_code,refresh_token}'";
    sqlx::query(may).execute(&mut *tx).await.expect("it may refresh");
    let agent: Uuid = sqlx::query_scalar(
        "WITH made AS (INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, expires_at)
                       VALUES ($1, $2, $3, now() + interval '1 day'))
         SELECT agent_id FROM authorizations WHERE id = $3",
    )
    .bind(bench.acme.uuid())
    .bind(made.digest.as_bytes())
    .bind(family.uuid())
    .fetch_one(&mut *tx)
    .await
    .expect("a refresh token");
    tx.commit().await.expect("committed");
    format!("grant_type=refresh_token&client_id={}&refresh_token={}", AgentId::from(agent), made.text.as_str())
}

#[tokio::test]
async fn a_new_password_ends_what_agents_were_allowed_under_the_old_one() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Owner).await;
        let early = family(bench, OWNER).await;
        browser.post("/account/password", &[("new", PASSWORD)]).await.expect(303);
        assert!(!is_revoked(bench, early).await, "a first password replaces none");
        let form = refresh_form(bench, early).await;
        browser.get("/account").await.expect(200);
        browser.post("/account/password", &[("old", PASSWORD), ("new", "another long one")]).await.expect(303);
        assert!(is_revoked(bench, early).await);
        let call = bench.call(Method::POST, "/t/acme/oauth/token").anonymous();
        let answer = call.header("content-type", "application/x-www-form-urlencoded").body(form).await.expect(400);
        assert_eq!(answer.json["error"], "invalid_grant");
        browser.get("/account").await.expect(200);
        let late = family(bench, OWNER).await;
        assert!(!is_revoked(bench, late).await);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let revoked: Vec<String> =
            sqlx::query_scalar("SELECT kind FROM revocations").fetch_all(&mut *tx).await.expect("rows");
        assert_eq!(revoked, ["user"]);
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_by_signing_out_by_idling_and_by_age() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Owner).await;
        let cookie = browser.cookie();
        browser.post("/sign-out", &[]).await.expect(303);
        let call = bench.call(Method::GET, "/").anonymous().header("cookie", &cookie);
        call.send().await.expect(303);
        for aged in [
            "UPDATE console_sessions SET last_seen_at = now() - interval '31 minutes'",
            "UPDATE console_sessions SET expires_at = now()",
        ] {
            let mut browser = Browser::of(bench, Role::Owner).await;
            sqlx::query(aged).execute(bench.app.db.pool()).await.expect("aged");
            browser.get("/").await.expect(303);
        }
    })
    .await;
}

#[tokio::test]
async fn who_uses_no_console_may_leave_a_session_unused_for_eight_hours() {
    run(async |bench| {
        let pool = bench.app.db.pool();
        for (role, idle, status) in [
            (Role::Viewer, "29 minutes", 200),
            (Role::Viewer, "31 minutes", 303),
            (Role::None, "31 minutes", 200),
            (Role::None, "479 minutes", 200),
            (Role::None, "481 minutes", 303),
        ] {
            let mut browser = Browser::of(bench, role).await;
            let aged = "UPDATE console_sessions SET last_seen_at = now() - $1::text::interval";
            sqlx::query(aged).bind(idle).execute(pool).await.expect("aged");
            assert_eq!(browser.get("/account").await.status.as_u16(), status, "{role} after {idle}");
        }
        // Being used keeps it alive, but not beyond its end.
        sqlx::query("DELETE FROM console_sessions").execute(pool).await.expect("forgotten");
        let mut browser = Browser::of(bench, Role::None).await;
        let aged = "UPDATE console_sessions SET last_seen_at = now() - interval '7 hours'";
        sqlx::query(aged).execute(pool).await.expect("aged");
        browser.get("/account").await.expect(200);
        let seen = "SELECT bool_and(last_seen_at > now() - interval '1 minute') FROM console_sessions";
        assert!(sqlx::query_scalar::<_, bool>(seen).fetch_one(pool).await.expect("an answer"));
        let life = "SELECT max(expires_at - created_at) <= interval '12 hours' FROM console_sessions";
        assert!(sqlx::query_scalar::<_, bool>(life).fetch_one(pool).await.expect("an answer"));
    })
    .await;
}

#[tokio::test]
async fn who_has_no_role_sees_their_own_pages_alone() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::None).await;
        assert_eq!(browser.get("/").await.expect(303).header("location"), "/account/apps");
        let apps = browser.get("/account/apps").await.expect(200);
        assert!(!apps.text.contains("href=\"/servers\"") && !apps.text.contains("action=\"/search\""));
        browser.get("/account").await.expect(200);
        for page in [
            "/servers",
            "/agents",
            "/waiting",
            "/access",
            "/access/keys",
            "/calls",
            "/users",
            "/settings",
            "/fleet",
            "/search?q=a",
            "/new/team",
            "/new/user",
            "/new/identity-provider",
            "/tenants/acme/edit",
        ] {
            browser.get(page).await.expect(403);
        }
    })
    .await;
}

#[tokio::test]
async fn a_form_that_another_site_sent_does_nothing() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Owner).await;
        let token = browser.token.clone();
        let foreign = Browser::of(bench, Role::Admin).await.token;
        let refused: [(&[(&str, &str)], &str); 6] = [
            (&[("sec-fetch-site", "cross-site")], &token),
            (&[("sec-fetch-site", "same-site")], &token),
            (&[("origin", "https://evil.example")], &token),
            (&[("sec-fetch-site", "same-origin")], ""),
            (&[("sec-fetch-site", "same-origin")], "AAAA"),
            (&[("origin", "http://control.test")], &foreign),
        ];
        for (headers, token) in refused {
            let answer = browser.post_as("/new/team", &[("name", "forged")], headers, token).await.expect(403);
            assert!(answer.text.contains("This form is out of date"), "{headers:?}");
        }
        assert!(!browser.get("/access").await.text.contains("forged"));
        let ours = [("origin", "http://control.test")];
        browser.post_as("/new/team", &[("name", "ours")], &ours, &token).await.expect(303);
    })
    .await;
}

#[tokio::test]
async fn the_sign_in_form_is_bound_to_its_browser() {
    run(async |bench| {
        with_password(bench).await;
        let mut attacker = Browser::new(bench);
        attacker.get("/sign-in").await.expect(200);
        let form = [("email", OWNER), ("password", PASSWORD), ("tenant", "acme"), ("next", "")];
        let site = [("sec-fetch-site", "same-origin")];
        let mut victim = Browser::new(bench);
        victim.post_as("/sign-in", &form, &site, &attacker.token).await.expect(403);
        victim.get("/sign-in").await.expect(200);
        victim.post_as("/sign-in", &form, &site, &attacker.token).await.expect(403);
        victim.post("/sign-in", &form).await.expect(303);
    })
    .await;
}
