//! Who is signed in, who has to be, and what happens when that changes on the way.

use super::{App, Kind, PRE_REGISTERED, Person, SELF_REGISTERED, WEB, families, location, value, values};
use crate::oauth::testing::{Bed, run};

async fn editor(bed: &Bed, kind: Kind) -> App {
    bed.server("demo").await;
    App::new(bed, "editor", kind, &["demo:echo"]).await
}

/// Where somebody has to sign in, and for what.
fn sign_in(answer: &crate::oauth::testing::Answer) -> (String, String) {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let url = url::Url::parse("https://h").and_then(|base| base.join(answer.header("location"))).expect("a path");
    assert_eq!(url.path(), "/sign-in");
    (value(&url, "tenant"), value(&url, "next"))
}

#[tokio::test]
async fn a_stranger_signs_in_first_and_the_page_says_for_whom() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let ask = app.ask().with("state", "a&b=c d%");
        let answer = bed.get(&ask.path()).await;
        let (tenant, next) = sign_in(&answer);
        assert_eq!((tenant.as_str(), next.as_str()), ("acme", ask.path().as_str()));
        let page = bed.get(answer.header("location")).await.text();
        assert!(page.contains("id=\"wanted-by\">editor wants to act for you in acme"), "{page}");
        assert!(page.contains("name=\"tenant\" value=\"acme\""));
        let unknown = bed.get("/sign-in?tenant=acme&next=%2Ft%2Facme%2Foauth%2Fauthorize%3Fclient_id%3Dnobody").await;
        assert!(!unknown.text().contains("wanted-by"));
    })
    .await;
}

#[tokio::test]
async fn a_session_of_another_tenant_is_no_session_here() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let other = bed.tenant("other").await;
        let mut person = Person::new(bed, "ada@acme.test").await;
        bed.run("UPDATE console_sessions SET expires_at = now() WHERE user_id = $1", person.user.uuid()).await;
        let session = crate::secret::generate(crate::secret::Purpose::Session);
        sqlx::query("INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, 'ada@other.test', 'owner')")
            .bind(other.uuid())
            .bind(uuid::Uuid::now_v7())
            .execute(bed.app.db.pool())
            .await
            .expect_err("another tenant's rows are out of reach without its transaction");
        let mut tx = bed.app.db.tenant(other).await.expect("a transaction");
        let user = uuid::Uuid::now_v7();
        sqlx::query("INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, 'ada@other.test', 'owner')")
            .bind(other.uuid())
            .bind(user)
            .execute(&mut *tx)
            .await
            .expect("a user");
        sqlx::query(
            "INSERT INTO console_sessions (digest, tenant_id, user_id, expires_at)
             VALUES ($1, $2, $3, now() + interval '1 hour')",
        )
        .bind(session.digest.as_bytes())
        .bind(other.uuid())
        .bind(user)
        .execute(&mut *tx)
        .await
        .expect("a session");
        tx.commit().await.expect("committed");
        person.cookie = format!("__Host-tollgate_other={}", *session.text);
        assert_eq!(sign_in(&person.open(&app.ask()).await).0, "acme");
    })
    .await;
}

#[tokio::test]
async fn without_a_page_a_client_learns_that_one_is_needed() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let silent = app.ask().and("prompt", "none");
        let told = location(&bed.get(&silent.path()).await);
        let error = (value(&told, "error"), value(&told, "state"), value(&told, "iss"));
        assert_eq!(error, ("login_required".to_owned(), "a state".to_owned(), "https://h/t/acme".to_owned()));
        let person = Person::new(bed, "ada@acme.test").await;
        assert_eq!(value(&location(&person.open(&silent).await), "error"), "consent_required");
        person.allow(&app.ask()).await;
        assert_eq!(values(&location(&person.open(&silent).await), "code").len(), 1);

        let stranger = App::new(bed, "stranger", SELF_REGISTERED, &["demo:echo"]).await;
        let page = bed.get(&stranger.ask().and("prompt", "none").path()).await;
        assert_eq!((page.status.as_u16(), page.header("refresh")), (200, ""), "nobody is led to a stranger's address");
        assert!(page.text().contains("href=\"https://app.example/cb?error=login_required&#38;"), "{}", page.text());
        person.allow(&stranger.ask()).await;
        let told = location(&person.open(&stranger.ask().and("prompt", "none")).await);
        assert_eq!(value(&told, "error"), "consent_required", "a public client that registered itself is never silent");
    })
    .await;
}

#[tokio::test]
async fn a_client_may_want_the_user_to_sign_in_anew() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let mut person = Person::new(bed, "ada@acme.test").await;
        bed.run(
            "UPDATE console_sessions SET created_at = now() - interval '1 minute', proven_at = now() - interval '1 minute'
             WHERE user_id = $1",
            person.user.uuid(),
        )
        .await;
        assert_eq!(person.open(&app.ask()).await.status, 200);
        let sent = person.open(&app.ask().and("prompt", "login")).await;
        assert!(sent.header("location").ends_with("&anew=true"), "an identity provider is asked for the same");
        let (_, next) = sign_in(&sent);
        let again = person.get(&next).await;
        assert_eq!(sign_in(&again).1, next, "the old session does not do");
        assert!(again.header("location").ends_with("&anew=true"), "nor does one that a provider remembers");
        person.sign_in().await;
        assert_eq!(person.get(&next).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn who_is_signed_out_or_disabled_meanwhile_signs_in_again() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        for statement in [
            "UPDATE users SET state = 'disabled' WHERE id = $1",
            "DELETE FROM console_sessions WHERE user_id = $1",
            "UPDATE console_sessions SET expires_at = now() WHERE user_id = $1",
        ] {
            let person = Person::new(bed, &format!("{}@acme.test", uuid::Uuid::now_v7())).await;
            let page = person.open(&app.ask()).await;
            bed.run(statement, person.user.uuid()).await;
            let (_, next) = sign_in(&person.decide(&page, "allow", &["demo:echo"]).await);
            assert_eq!(next, app.ask().path(), "{statement}");
        }
        assert_eq!(families(bed).await, 0);
    })
    .await;
}

#[tokio::test]
async fn who_is_somebody_else_can_say_so() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let mut person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask_to(WEB)).await;
        let html = page.text();
        let (_, rest) = html.split_once("id=\"switch-user\" href=\"").expect("a link");
        let link = rest.split('"').next().expect("an end").replace("&#38;", "&");
        assert!(bed.get(&link).await.text().contains("name=\"password\""), "{link}");
        person.sign_in().await;
        let stale = person.decide(&page, "allow", &["demo:echo"]).await;
        assert_eq!(stale.status, 403, "the page belongs to the session that it was shown in");
        assert_eq!(families(bed).await, 0);
    })
    .await;
}
