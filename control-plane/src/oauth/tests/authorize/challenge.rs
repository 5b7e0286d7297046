//! A client that sends one PKCE challenge in several authorizations.

use futures_util::future::join;

use super::{App, Kind, PRE_REGISTERED, Person, SELF_REGISTERED, event, sql, value};
use crate::oauth::{
    authorizations,
    testing::{Bed, run},
};

const ANOTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Users of this one are asked once.
const ASSURED: Kind = Kind { auth_method: "client_secret_basic", ..PRE_REGISTERED };

/// How many repetitions are written down; the metric says the same.
async fn noticed(bed: &Bed) -> i64 {
    let audited = bed.count("audit_events WHERE action = 'code_challenge.repeat'").await;
    let metrics = bed.app.metrics.render(bed.app.db.pool(), bed.app.policy_changes.connected());
    let line = format!("tollgate_oauth_code_challenges_repeated_total {audited}\n");
    assert!(metrics.contains(&line), "{line} in {metrics}");
    audited
}

#[tokio::test]
async fn a_repeated_challenge_is_told_and_goes_on() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", SELF_REGISTERED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        person.allow(&app.ask()).await;
        assert_eq!(noticed(bed).await, 0, "the first is no repetition");
        let arrived = person.allow(&app.ask()).await;
        assert!(value(&arrived, "code").starts_with("tgc_"), "it goes on: {arrived}");
        assert_eq!(noticed(bed).await, 1);
        let detail = event(bed, "code_challenge.repeat").await;
        assert_eq!(detail["client_id"], app.id);
        assert_eq!(detail["redirect_uri"], "https://app.example/cb");

        person.allow(&app.ask().with("code_challenge", ANOTHER)).await;
        let other = App::new(bed, "other", SELF_REGISTERED, &["demo:echo"]).await;
        person.allow(&other.ask()).await;
        assert_eq!(noticed(bed).await, 1, "neither another challenge nor another client's is a repetition");
    })
    .await;
}

#[tokio::test]
async fn a_challenge_is_remembered_for_a_day() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", SELF_REGISTERED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        person.allow(&app.ask()).await;
        let age = async |hours: i32| {
            let statement = "UPDATE authorization_codes SET created_at = now() - make_interval(hours => $1)";
            sqlx::query(statement).bind(hours).execute(&mut *sql(bed).await).await.expect("time passes");
        };
        age(25).await;
        person.allow(&app.ask()).await;
        assert_eq!(noticed(bed).await, 0);
        age(23).await;
        person.allow(&app.ask()).await;
        assert_eq!(noticed(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_not_asked_again_does_not_hide_it() {
    run(async |bed| {
        bed.server("demo").await;
        let app = App::new(bed, "editor", ASSURED, &["demo:echo"]).await;
        let person = Person::new(bed, "ada@acme.test").await;
        person.allow(&app.ask()).await;
        let silent = person.open(&app.ask().and("prompt", "none")).await;
        assert!(silent.header("location").contains("code=tgc_"), "{}", silent.header("location"));
        assert_eq!(noticed(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_two_at_once_the_second_is_noticed() {
    run(async |bed| {
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        for round in 0..8 {
            let begin = async || {
                let mut new = bed.approval(app.agent, ada, &["https://gw/t/acme/mcp"], &["demo:*"]);
                new.code_challenge = format!("challenge {round}");
                let mut tx = bed.tx().await;
                let begun = authorizations::begin(&mut tx, new).await.expect("a code");
                tx.commit().await.expect("committed");
                begun.challenge_repeated
            };
            let (one, other) = join(begin(), begin()).await;
            assert!(one != other, "round {round}: {one} and {other}");
        }
    })
    .await;
}
