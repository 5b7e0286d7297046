//! Signing in through an identity provider.

use futures_util::future::join;
use http::Method;
use serde_json::{Value, json};
use tollgate_proto::AgentId;

use super::{
    Browser,
    provider_logout::{family, is_revoked},
};
use crate::{
    caller::Role,
    identity_providers::scripted::{Mischief, ScriptedProvider},
    testing::{Answer, Bench, run, text},
};

const LEAVE: &str = "/sign-in/with/corp?tenant=acme&next=%2Fcalls";

fn viewers() -> Value {
    json!({ "default_role": "viewer" })
}

/// A provider that makes everybody a viewer.
async fn provider(bench: &Bench) -> ScriptedProvider {
    let provider = ScriptedProvider::start().await;
    provider.register(bench, viewers()).await;
    provider
}

/// Goes to the provider, signs in there, and comes back.
async fn sign_in(browser: &mut Browser<'_>, provider: &ScriptedProvider) -> Answer {
    let away = browser.get(LEAVE).await.expect(303);
    let back = provider.approve(away.header("location"));
    browser.get(&back).await
}

async fn user(bench: &Bench, email: &str) -> Value {
    bench.get(&format!("users/{email}")).await.expect(200).json
}

/// The reasons of refused sign-ins.
async fn refusals(bench: &Bench) -> Vec<String> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT detail ->> 'reason' FROM audit_events WHERE action = 'user.sign-in.refuse' ORDER BY at")
        .fetch_all(&mut *tx)
        .await
        .expect("events")
}

fn has_session(browser: &Browser<'_>) -> bool {
    browser.cookie().contains("tollgate_s=")
}

#[tokio::test]
async fn a_provider_signs_in_and_leads_to_where_one_wanted_to_go() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = Browser::new(bench);
        let page = browser.get("/sign-in?tenant=acme&next=%2Fcalls").await.expect(200);
        assert!(page.text.contains("Sign in with corp"));
        assert!(page.text.contains("/sign-in/with/corp?tenant=acme&#38;next=%2Fcalls"), "{}", page.text);
        let answer = sign_in(&mut browser, &provider).await.expect(303);
        assert_eq!(answer.header("location"), "/calls");
        browser.get("/calls").await.expect(200);
        assert!(!browser.cookie().contains("tollgate_l_"), "the attempt's cookie is gone");
        let ada = user(bench, "ada@corp.test").await;
        assert_eq!(ada["spec"], json!({ "role": "viewer", "display_name": "Ada", "state": "active" }));
        assert_eq!(ada["status"]["identities"][0]["subject"], "ada");
        let audit = bench.audit().await;
        for event in ["user.create ada@corp.test", "user.sign-in ada@corp.test"] {
            assert!(audit.contains(&event.to_owned()), "{event}: {audit:?}");
        }
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(bench.get("users").await.json["items"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn what_only_the_userinfo_endpoint_says_counts_too() {
    run(async |bench| {
        let provider = provider(bench).await;
        provider.script().reticent = true;
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(user(bench, "ada@corp.test").await["spec"]["display_name"], "Ada");
    })
    .await;
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked_and_for_ten_minutes() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = Browser::new(bench);
        let away = browser.get(LEAVE).await.expect(303);
        let cookie = away.header("set-cookie");
        assert!(cookie.starts_with("tollgate_l_"), "{cookie}");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600"), "{cookie}");
        let back = provider.approve(away.header("location"));

        let mut other = Browser::new(bench);
        let stolen = other.get(&back).await.expect(400);
        assert!(stolen.text.contains("This sign-in has ended"));
        assert!(!has_session(&other));

        let before = browser.cookies.clone();
        browser.get(&back).await.expect(303);
        browser.get(&back).await.expect(400);

        // Even with the cookie of before: the provider takes its code once.
        let mut replaying = Browser::new(bench);
        replaying.cookies = before;
        replaying.get(&back).await.expect(502);
        assert!(!has_session(&replaying));
        for odd in ["/sign-in/callback", "/sign-in/callback?state=%00%2F&code=a", "/sign-in/callback?state=short"] {
            browser.get(odd).await.expect(400);
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_ends_after_ten_minutes() {
    run(async |bench| {
        use chrono::{TimeDelta, Utc};

        use crate::identity_providers::{self, Wish, attempt::Attempt};
        let _provider = provider(bench).await;
        let corp = identity_providers::find(&bench.app, "acme", "corp").await.expect("found").expect("a provider");
        let wish = Wish { next: "/calls", anew: false };
        let away = identity_providers::begin(&bench.app, &corp, wish).await.expect("a departure");
        let open = |state: &str, after| Attempt::open(&bench.app, state, &away.sealed, Utc::now() + after);
        assert!(open(&away.state, TimeDelta::seconds(590)).is_some_and(|attempt| attempt.next == "/calls"));
        assert!(open(&away.state, TimeDelta::seconds(600)).is_none());
        assert!(open("another state", TimeDelta::zero()).is_none());
    })
    .await;
}

#[tokio::test]
async fn sign_ins_in_several_tabs_do_not_disturb_each_other() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = Browser::new(bench);
        let first = browser.get(LEAVE).await.expect(303);
        let second = browser.get(LEAVE).await.expect(303);
        browser.get(&provider.approve(second.header("location"))).await.expect(303);
        browser.get(&provider.approve(first.header("location"))).await.expect(303);
        for _ in 0..9 {
            browser.get(LEAVE).await.expect(303);
        }
        assert!(browser.cookie().matches("tollgate_l_").count() <= 4, "{}", browser.cookie());
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_to_be_believed_signs_nobody_in() {
    run(async |bench| {
        let provider = provider(bench).await;
        for (mischief, reason) in [
            (Mischief::BadSignature, "Signature verification failed"),
            (Mischief::AlgNone, "Signature verification failed"),
            (Mischief::Hs256, "Signature verification failed"),
            (Mischief::UnknownKey, "Signature verification failed"),
            (Mischief::WrongAudience, "Invalid audiences"),
            (Mischief::TwoAudiences, "Invalid audiences"),
            (Mischief::ForeignParty, "azp"),
            (Mischief::WrongNonce, "Invalid nonce"),
            (Mischief::NoNonce, "Invalid nonce"),
            (Mischief::WrongIssuer, "Invalid issuer"),
            (Mischief::Expired, "Expired"),
            (Mischief::NoSubject, "sub"),
            (Mischief::NoIdToken, "no ID token"),
            (Mischief::ForeignAccessToken, "at_hash"),
            (Mischief::MixedUp, "another issuer"),
            (Mischief::Nameless, "does not name its issuer"),
            (Mischief::MovedToken, "empty error response"),
        ] {
            provider.script().mischief = Some(mischief);
            // Other sign-ins of the minute do not count here.
            let mut browser = Browser::new(bench);
            forgive(bench);
            let answer = sign_in(&mut browser, &provider).await.expect(502);
            assert!(answer.text.contains("does not prove who you are"), "{mischief:?}");
            assert!(!has_session(&browser), "{mischief:?}");
            let reasons = refusals(bench).await;
            let last = reasons.last().expect("an event");
            assert!(last.contains(reason), "{mischief:?}: {last}");
        }
        bench.get("users/ada@corp.test").await.expect(404);
        provider.script().mischief = None;
        forgive(bench);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
    })
    .await;
}

#[tokio::test]
async fn a_userinfo_response_about_somebody_else_signs_nobody_in() {
    run(async |bench| {
        let provider = provider(bench).await;
        provider.script().reticent = true;
        provider.script().mischief = Some(Mischief::ForeignInfo);
        sign_in(&mut Browser::new(bench), &provider).await.expect(502);
        assert!(refusals(bench).await[0].contains("userinfo"));
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_leaves_the_other_ways_open() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut admin = Browser::of(bench, Role::Admin).await;
        // The last is given up after five seconds.
        for mischief in [Mischief::OtherMetadata, Mischief::Flood, Mischief::MovedMetadata, Mischief::Silence] {
            provider.script().mischief = Some(mischief);
            let answer = Browser::new(bench).get(LEAVE).await.expect(502);
            assert!(answer.text.contains("does not answer"), "{mischief:?}");
            assert!(answer.text.contains("/sign-in?tenant=acme&#38;next=%2Fcalls"), "{}", answer.text);
        }
        admin.get("/account").await.expect(200);
        Browser::of(bench, Role::Owner).await.get("/account").await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn keys_that_change_in_the_middle_are_read_again_once() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = Browser::new(bench);
        let away = browser.get(LEAVE).await.expect(303);
        assert_eq!(provider.script().key_reads, 1);
        let back = provider.approve(away.header("location"));
        provider.rotate("k2");
        browser.get(&back).await.expect(303);
        assert_eq!(provider.script().key_reads, 2);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(provider.script().key_reads, 2, "the new keys are remembered");
        provider.script().mischief = Some(Mischief::UnknownKey);
        sign_in(&mut Browser::new(bench), &provider).await.expect(502);
        assert_eq!(provider.script().key_reads, 3, "once for one answer");
    })
    .await;
}

#[tokio::test]
async fn who_says_no_at_the_provider_is_told_so() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut browser = Browser::new(bench);
        let away = browser.get(LEAVE).await.expect(303);
        let answer = browser.get(&provider.deny(away.header("location"))).await.expect(403);
        assert!(answer.text.contains("Your identity provider said no"));
        assert!(!has_session(&browser));
        assert_eq!(refusals(bench).await, ["the identity provider refused: access_denied"]);
    })
    .await;
}

#[tokio::test]
async fn the_application_of_who_says_no_gets_its_refusal() {
    run(async |bench| {
        let provider = provider(bench).await;
        let agent = AgentId::new();
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        sqlx::query(
            "WITH team AS (INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, 'core', 'test')
                           RETURNING id)
             INSERT INTO agents (tenant_id, id, name, team_id, type, auth_method, grant_types, redirect_uris, created_by)
             SELECT $1, $2, 'editor', team.id, 'interactive', 'none', '{authorization_code}',
                    '{https://app.test/cb}', 'test' FROM team",
        )
        .bind(bench.acme.uuid())
        .bind(agent.uuid())
        .execute(&mut *tx)
        .await
        .expect("an agent");
        tx.commit().await.expect("committed");
        let request = format!(
            "/t/acme/oauth/authorize?response_type=code&client_id={agent}&redirect_uri=https%3A%2F%2Fapp.test%2Fcb&\
             state=s&code_challenge={}&code_challenge_method=S256",
            "a".repeat(43)
        );
        let mut browser = Browser::new(bench);
        let sent = browser.get(&request).await.expect(303);
        let page = browser.get(sent.header("location")).await.expect(200);
        let start = page.text.find("/sign-in/with/corp").expect("a button");
        let leave = page.text[start..].split('"').next().expect("an end").replace("&#38;", "&");
        let away = browser.get(&leave).await.expect(303);
        let refused = browser.get(&provider.deny(away.header("location"))).await.expect(403);
        let start = refused.text.find("/t/acme/oauth/authorize/declined?").expect("a way back to the application");
        let decline = refused.text[start..].split('"').next().expect("an end").replace("&#38;", "&");
        let answer = browser.get(&decline).await;
        let location = answer.header("location");
        assert!(location.starts_with("https://app.test/cb?error=access_denied&"), "{} {location}", answer.status);
        assert!(location.contains("&state=s&iss=http%3A%2F%2Fcontrol.test%2Ft%2Facme"), "{location}");
    })
    .await;
}

#[tokio::test]
async fn an_address_alone_links_nobody() {
    run(async |bench| {
        let provider = provider(bench).await;
        let owner = json!({ "email": "Ada@corp.test", "spec": { "role": "owner" } });
        bench.post("users", owner).await.expect(201);
        let mut browser = Browser::new(bench);
        let answer = sign_in(&mut browser, &provider).await.expect(403);
        assert!(answer.text.contains("Somebody here has your e-mail address already"));
        assert!(!has_session(&browser));
        assert_eq!(user(bench, "ada@corp.test").await["status"]["identities"], json!([]));

        // Nor does the address of somebody who came through the same provider.
        provider.script().claims["email"] = json!("bob@corp.test");
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        provider.script().claims["sub"] = json!("another-bob");
        sign_in(&mut Browser::new(bench), &provider).await.expect(403);
        // The subject alone does, whatever the address says now.
        provider.script().claims["sub"] = json!("ada");
        provider.script().claims["email"] = json!("ada@elsewhere.test");
        let mut browser = Browser::new(bench);
        sign_in(&mut browser, &provider).await.expect(303);
        assert!(browser.get("/account").await.text.contains("bob@corp.test"));
    })
    .await;
}

#[tokio::test]
async fn who_has_no_verified_address_does_not_become_a_user() {
    run(async |bench| {
        let provider = provider(bench).await;
        provider.script().claims["email_verified"] = json!(false);
        let answer = sign_in(&mut Browser::new(bench), &provider).await.expect(403);
        assert!(answer.text.contains("which verified e-mail address is yours"));
        provider.script().claims = json!({ "sub": "ada" });
        sign_in(&mut Browser::new(bench), &provider).await.expect(403);
    })
    .await;
}

#[tokio::test]
async fn groups_give_role_and_team_at_every_sign_in() {
    run(async |bench| {
        for team in ["core", "sales"] {
            bench.put(&format!("teams/{team}"), json!({ "spec": {} })).await.expect(201);
        }
        let provider = ScriptedProvider::start().await;
        let mapping = json!({
            "role_mapping": [{ "group": "boss", "role": "admin" }, { "group": "eng", "role": "operator" }],
            "team_mapping": [{ "group": "eng", "team": "core" }, { "group": "boss", "team": "sales" }],
        });
        provider.register(bench, mapping).await;
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        let spec = async || user(bench, "ada@corp.test").await["spec"].clone();
        assert_eq!((text(&spec().await["role"]), text(&spec().await["team"])), ("operator", "core"));
        let before = bench.policy_revision().await;
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(bench.policy_revision().await, before, "nothing changed");

        provider.script().claims["groups"] = json!(["boss"]);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!((text(&spec().await["role"]), text(&spec().await["team"])), ("admin", "sales"));
        assert!(bench.policy_revision().await > before, "data planes charge another team");
        assert!(bench.audit().await.contains(&"user.update ada@corp.test".to_owned()));

        let mut inside = Browser::new(bench);
        sign_in(&mut inside, &provider).await.expect(303);
        let allowed = family(bench, "ada@corp.test").await;
        provider.script().claims["groups"] = json!(["nobody"]);
        let answer = sign_in(&mut Browser::new(bench), &provider).await.expect(403);
        assert!(answer.text.contains("none of your groups gives you a role here"));
        assert_eq!(text(&spec().await["role"]), "none", "whatever they sign in with next");
        assert!(is_revoked(bench, allowed).await, "agents no longer act for them");
        inside.get("/account").await.expect(303);
        assert_eq!(refusals(bench).await, ["none of the user's groups gives a role here"]);
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_makes_no_users_lets_in_only_whom_it_made_before() {
    run(async |bench| {
        let provider = provider(bench).await;
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        let spec = json!({ "spec": { "create_users": false } });
        let call = bench.call(Method::PATCH, "identity-providers/corp").header("if-match", "*");
        call.json(spec).await.expect(200);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        provider.script().claims = json!({ "sub": "new", "email": "new@corp.test" });
        let answer = sign_in(&mut Browser::new(bench), &provider).await.expect(403);
        assert!(answer.text.contains("it makes no new users here"));
    })
    .await;
}

#[tokio::test]
async fn two_first_sign_ins_at_the_same_time_make_one_user() {
    run(async |bench| {
        let provider = provider(bench).await;
        let (mut one, mut two) = (Browser::new(bench), Browser::new(bench));
        let (first, second) = join(sign_in(&mut one, &provider), sign_in(&mut two, &provider)).await;
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (303, 303));
        assert_eq!(bench.get("users").await.json["items"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn the_last_owner_stays_one_whatever_the_groups_say() {
    run(async |bench| {
        let provider = ScriptedProvider::start().await;
        let mapping = json!({
            "role_mapping": [{ "group": "boss", "role": "owner" }], "default_role": "viewer",
        });
        provider.register(bench, mapping).await;
        provider.script().claims["groups"] = json!(["boss"]);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        provider.script().claims["groups"] = json!([]);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(user(bench, "ada@corp.test").await["spec"]["role"], "owner");
        bench.post("users", json!({ "email": "o@acme.test", "spec": { "role": "owner" } })).await.expect(201);
        sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        assert_eq!(user(bench, "ada@corp.test").await["spec"]["role"], "viewer");
    })
    .await;
}

#[tokio::test]
async fn who_is_disabled_is_signed_out_and_stays_out() {
    run(async |bench| {
        let provider = provider(bench).await;
        let mut inside = Browser::new(bench);
        sign_in(&mut inside, &provider).await.expect(303);
        let set = async |state: &str| {
            let call = bench.call(Method::PATCH, "users/ada@corp.test").header("if-match", "*");
            call.json(json!({ "spec": { "state": state } })).await.expect(200);
        };
        set("disabled").await;
        inside.get("/account").await.expect(303);
        let answer = sign_in(&mut Browser::new(bench), &provider).await.expect(403);
        assert!(answer.text.contains("has disabled you"));
        set("active").await;
        let mut again = Browser::new(bench);
        sign_in(&mut again, &provider).await.expect(303);
        again.get("/account").await.expect(200);
        let revoked: i64 = {
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            sqlx::query_scalar("SELECT count(*) FROM revocations WHERE kind = 'user'").fetch_one(&mut *tx).await
        }
        .expect("a count");
        assert_eq!(revoked, 1);
    })
    .await;
}

#[tokio::test]
async fn without_passwords_the_page_offers_the_providers_and_links_still_work() {
    run(async |bench| {
        let _provider = provider(bench).await;
        let mut owner = Browser::of(bench, Role::Owner).await;
        owner.post("/account/password", &[("new", super::PASSWORD)]).await.expect(303);
        let mut late = Browser::new(bench);
        late.get("/sign-in?tenant=acme").await.expect(200);
        let off = json!({ "spec": { "local_sign_in": false } });
        let call = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "*");
        call.json(off).await.expect(200);
        let page = Browser::new(bench).get("/sign-in?tenant=acme").await.expect(200);
        assert!(page.text.contains("Sign in with corp") && !page.text.contains("name=\"password\""));
        let form =
            [("email", "owner@acme.test"), ("password", super::PASSWORD), ("tenant", "acme"), ("next", "/calls")];
        let answer = late.post("/sign-in", &form).await.expect(422);
        assert!(answer.text.contains("Passwords are switched off here."));
        owner.get("/account").await.expect(200);
        owner.post("/account/password", &[("old", super::PASSWORD), ("new", "another long one")]).await.expect(422);
        Browser::of(bench, Role::Viewer).await.get("/account").await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_signs_in_too_often_waits() {
    run(async |bench| {
        let provider = provider(bench).await;
        for _ in 0..15 {
            sign_in(&mut Browser::new(bench), &provider).await.expect(303);
        }
        let answer = Browser::new(bench).get(LEAVE).await.expect(429);
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=61).contains(&seconds), "{seconds}");
    })
    .await;
}

#[tokio::test]
async fn no_provider_is_invented() {
    run(async |bench| {
        provider(bench).await;
        for path in ["/sign-in/with/none?tenant=acme", "/sign-in/with/corp?tenant=none", "/sign-in/with/corp"] {
            Browser::new(bench).get(path).await.expect(404);
        }
        let page = Browser::new(bench).get("/sign-in?tenant=none").await.expect(200);
        assert!(page.text.contains("name=\"password\""), "an unknown tenant looks like one without providers");
    })
    .await;
}

/// Forgets how often this machine has signed in.
fn forgive(bench: &Bench) {
    bench.app.sign_ins.forgive_peer(std::net::Ipv6Addr::UNSPECIFIED.into());
}
