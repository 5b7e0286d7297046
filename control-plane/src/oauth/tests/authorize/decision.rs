//! What the answer comes to, and which answers do not count.

use http::{Request, header};

use super::{
    App, CHALLENGE, ENDPOINT, Kind, PRE_REGISTERED, Person, SELF_REGISTERED, event, families, field, ticked, value,
    values,
};
use crate::{
    oauth::testing::{Bed, run},
    secret::Digest,
};

async fn editor(bed: &Bed, kind: Kind) -> App {
    bed.server("demo").await;
    App::new(bed, "editor", kind, &["demo:echo", "demo:add"]).await
}

#[tokio::test]
async fn who_allows_comes_back_with_a_code_the_state_and_the_issuer() {
    run(async |bed| {
        let app = editor(bed, SELF_REGISTERED).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let arrived = person.allow(&app.ask()).await;
        assert!(arrived.as_str().starts_with("https://app.example/cb?code=tgc_"), "{arrived}");
        assert_eq!(
            (value(&arrived, "state").as_str(), value(&arrived, "iss").as_str()),
            ("a state", "https://h/t/acme")
        );
        assert_eq!(arrived.query_pairs().count(), 3);
        let code = value(&arrived, "code");
        let (digest, challenge, address, life_s): (Vec<u8>, String, String, f64) = sqlx::query_as(
            "SELECT digest, code_challenge, redirect_uri, extract(epoch FROM expires_at - created_at)::float8
             FROM authorization_codes",
        )
        .fetch_one(&mut *bed.tx().await)
        .await
        .expect("one code");
        assert!(Digest::of(&code).matches(&digest), "only the digest is kept");
        assert_eq!((challenge.as_str(), address.as_str(), life_s as u32), (CHALLENGE, "https://app.example/cb", 60));
        let detail = event(bed, "consent.allow").await.to_string();
        assert!(!detail.contains("tgc_"), "{detail}");
        let confirmed: bool = sqlx::query_scalar("SELECT confirmed_at IS NOT NULL FROM agents WHERE name = 'editor'")
            .fetch_one(&mut *bed.tx().await)
            .await
            .expect("the agent");
        assert!(confirmed);
    })
    .await;
}

#[tokio::test]
async fn who_denies_is_taken_back_only_to_a_client_that_an_operator_vouches_for() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        let told = person.arrive(&person.decide(&page, "deny", &["demo:echo"]).await).await;
        let error = (value(&told, "error"), value(&told, "state"), value(&told, "iss"));
        assert_eq!(error, ("access_denied".to_owned(), "a state".to_owned(), "https://h/t/acme".to_owned()));
        assert!(values(&told, "code").is_empty());
        assert_eq!(families(bed).await, 0);
        assert!(event(bed, "consent.deny").await["shown"].is_array());

        let stranger = App::new(bed, "stranger", SELF_REGISTERED, &["demo:echo"]).await;
        let page = person.open(&stranger.ask()).await;
        let denied = person.decide(&page, "deny", &[]).await;
        let page = person.get(denied.header("location")).await;
        assert_eq!((page.status.as_u16(), page.header("refresh")), (200, ""), "the user goes by hand or not at all");
        assert!(
            page.text().contains("id=\"return\" href=\"https://app.example/cb?error=access_denied&#38;"),
            "{}",
            page.text()
        );
        assert!(page.text().contains("<strong id=\"redirect-host\">app.example</strong>"));
    })
    .await;
}

#[tokio::test]
async fn an_app_of_the_device_is_opened_by_a_link() {
    run(async |bed| {
        let app = editor(bed, Kind { redirect_uris: &["com.example.app:/cb"], ..PRE_REGISTERED }).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask_to("com.example.app:/cb")).await;
        let allowed = person.decide(&page, "allow", &["demo:echo"]).await;
        let page = person.get(allowed.header("location")).await;
        assert_eq!(page.header("refresh"), "");
        assert!(page.text().contains("id=\"return\" href=\"com.example.app:/cb?code=tgc_"), "{}", page.text());
    })
    .await;
}

#[tokio::test]
async fn a_page_is_answered_once_in_its_own_session_with_its_own_token() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let other = Person::new(bed, "bob@acme.test").await;
        let page = person.open(&app.ask()).await;
        let (csrf, transaction) = (field(&page.text(), "csrf"), field(&page.text(), "transaction"));
        let other_csrf = field(&other.open(&app.ask()).await.text(), "csrf");
        let decision = format!("{ENDPOINT}/decision");
        let form = |csrf: &str, transaction: &str| {
            [("csrf", csrf), ("transaction", transaction), ("decision", "allow"), ("scope", "demo:echo")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let send = async |person: &Person<'_>, form: [(String, String); 4]| {
            let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            person.post(&decision, &pairs).await.status.as_u16()
        };
        let mut changed = transaction.clone();
        changed.replace_range(10..11, if &changed[10..11] == "A" { "B" } else { "A" });
        for (who, csrf, transaction) in [
            (&person, "", transaction.as_str()),
            (&person, "wrong", &transaction),
            (&person, &other_csrf, &transaction),
            (&other, &other_csrf, &transaction),
            (&other, &csrf, &transaction),
            (&person, &csrf, &changed),
            (&person, &csrf, ""),
        ] {
            assert_eq!(send(who, form(csrf, transaction)).await, 403, "{csrf} {transaction}");
        }
        let foreign = Request::post(&decision)
            .header(header::COOKIE, &person.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "cross-site");
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form(&csrf, &transaction)).finish();
        let answer = bed.send(foreign.body(body.into()).expect("a request")).await;
        assert_eq!(answer.status, 403, "another site sent it");
        assert_eq!(families(bed).await, 0);

        assert_eq!(send(&person, form(&csrf, &transaction)).await, 303);
        assert_eq!(send(&person, form(&csrf, &transaction)).await, 403, "answered already");
        assert_eq!(families(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_answers_at_once_one_counts() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        let answers = (0..16).map(|_| person.decide(&page, "allow", &["demo:echo"]));
        let answers = futures_util::future::join_all(answers).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!((statuses[0], statuses[1]), (303, 403), "{statuses:?}");
        assert_eq!(families(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_an_operator_takes_back_meanwhile_is_not_given() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let person = Person::new(bed, "ada@acme.test").await;
        let page = person.open(&app.ask()).await;
        bed.grant(Some(app.agent), &["demo:add"], true).await;
        person.arrive(&person.decide(&page, "allow", &["demo:echo", "demo:add"]).await).await;
        assert_eq!(event(bed, "consent.allow").await["scopes"], serde_json::json!(["demo:echo"]));
        let page = person.open(&app.ask().and("prompt", "consent")).await;
        assert_eq!(ticked(&page.text()), ["demo:echo"]);
        bed.grant(Some(app.agent), &["demo:*"], true).await;
        let told = person.arrive(&person.decide(&page, "allow", &["demo:echo"]).await).await;
        assert_eq!(value(&told, "error"), "access_denied");
        assert_eq!(families(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_way_back_is_for_whom_it_was_made() {
    run(async |bed| {
        let app = editor(bed, PRE_REGISTERED).await;
        let (person, other) = (Person::new(bed, "ada@acme.test").await, Person::new(bed, "bob@acme.test").await);
        let page = person.open(&app.ask()).await;
        let answer = person.decide(&page, "allow", &["demo:echo"]).await;
        let way = answer.header("location").to_owned();
        assert_eq!(other.get(&way).await.status, 403);
        assert_eq!(bed.get(&way).await.status, 403);
        let leave = way.replace("/continue?", "/continue/leave?");
        assert_eq!(other.get(&leave).await.status, 403);
        for forged in [format!("{ENDPOINT}/continue"), format!("{ENDPOINT}/continue/leave?way=https://evil.example/")] {
            assert_eq!(person.get(&forged).await.status, 403);
        }
        let transaction = field(&page.text(), "transaction");
        assert_eq!(person.get(&format!("{ENDPOINT}/continue/leave?way={transaction}")).await.status, 403);
    })
    .await;
}
