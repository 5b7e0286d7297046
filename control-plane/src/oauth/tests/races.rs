//! Many requests for what can be had once, at two control planes over one database.

use axum::http::StatusCode;
use futures_util::{StreamExt as _, future::join_all, stream};

use crate::oauth::testing::{Answer, Bed, Client, run};

/// How many codes, and how many refresh tokens, are fought for.
const ROUNDS: usize = 100;
/// How many requests fight for each.
const RIVALS: usize = 50;
/// How many fights there are at a time: enough that all connections are in use.
const AT_A_TIME: usize = 4;

/// The answers to `rivals` requests that are sent at once, every second one to the other control plane.
async fn rivals(beds: [&Bed; 2], rivals: usize, send: impl AsyncFn(&Bed) -> Answer) -> Vec<Answer> {
    join_all((0..rivals).map(|rival| send(beds[rival % 2]))).await
}

fn successes(answers: &[Answer]) -> usize {
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!(answer.error(), (400, "invalid_grant".to_owned()));
    }
    answers.iter().filter(|answer| answer.status == StatusCode::OK).count()
}

async fn revoked_families(bed: &Bed) -> i64 {
    bed.count("authorizations WHERE revoked_at IS NOT NULL").await
}

#[tokio::test]
async fn of_sixty_four_redemptions_of_a_code_one_succeeds() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let beside = bed.beside_on_its_own_connections().await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let answers = rivals([bed, &beside], 64, async |bed| bed.redeem(&app, &code, "").await).await;
        assert_eq!(successes(&answers), 1);
        let winner = answers.iter().find(|answer| answer.status == StatusCode::OK).expect("one");
        if revoked_families(bed).await == 0 {
            assert_eq!(bed.refresh(&app, &winner.refresh_token(), "").await.status, StatusCode::OK);
        }
    })
    .await;
}

#[tokio::test]
async fn five_thousand_redemptions_of_codes_give_each_once() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let beside = bed.beside_on_its_own_connections().await;
        let fights = stream::iter(0..ROUNDS).map(async |_| {
            let code = bed.code(&app, ada, &["demo:*"]).await;
            successes(&rivals([bed, &beside], RIVALS, async |bed| bed.redeem(&app, &code, "").await).await)
        });
        let won: Vec<usize> = fights.buffer_unordered(AT_A_TIME).collect().await;
        assert_eq!(won, vec![1; ROUNDS]);
        assert_eq!(bed.count("refresh_tokens").await, i64::try_from(ROUNDS).expect("few"));
    })
    .await;
}

#[tokio::test]
async fn five_thousand_refreshes_give_as_many_tokens_as_the_grace_allows() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let beside = bed.beside_on_its_own_connections().await;
        let fights = stream::iter(0..ROUNDS).map(async |_| {
            let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
            successes(&rivals([bed, &beside], RIVALS, async |bed| bed.refresh(&app, &token, "").await).await)
        });
        let won: Vec<usize> = fights.buffer_unordered(AT_A_TIME).collect().await;
        assert_eq!(won, vec![33; ROUNDS], "the first use and the 32 that are forgiven");
    })
    .await;
}

#[tokio::test]
async fn without_the_grace_a_refresh_token_is_good_once() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let beside = bed.beside_on_its_own_connections().await;
        for _ in 0..10 {
            let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
            bed.change("UPDATE refresh_tokens SET reuses = 32 WHERE consumed_at IS NULL").await;
            let answers = rivals([bed, &beside], RIVALS, async |bed| bed.refresh(&app, &token, "").await).await;
            assert_eq!(successes(&answers), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn twenty_processes_that_share_a_token_all_get_on() {
    run(async |bed| {
        let (app, ada) = (bed.app("app", &["demo:*"]).await, bed.person("ada@example.com").await);
        let beside = bed.beside_on_its_own_connections().await;
        let token = bed.refresh_token(&app, ada, &["demo:*"]).await;
        let answers = rivals([bed, &beside], 20, async |bed| bed.refresh(&app, &token, "").await).await;
        assert_eq!(successes(&answers), 20);
        assert_eq!(bed.count("refresh_tokens WHERE parent_digest IS NOT NULL").await, 20);
        let each = join_all(answers.iter().map(async |answer| next(bed, &app, answer).await)).await;
        assert_eq!(successes(&each), 20, "every one of them refreshes again");
        assert_eq!(revoked_families(bed).await, 0);
    })
    .await;
}

async fn next(bed: &Bed, client: &Client, answer: &Answer) -> Answer {
    bed.refresh(client, &answer.refresh_token(), "").await
}
