//! Who delivers, and that nothing is lost, held up, or kept for ever.

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    delivery::attempt,
    receiver::{Answer, Receiver},
    *,
};
use crate::{testing, webhooks::follow};

#[tokio::test]
async fn two_control_planes_tell_a_receiver_once() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[]).await;
        make(bench, "ops", json!({ "url": receiver.url })).await;
        for key in 0..20 {
            raise(bench, &key.to_string()).await;
        }
        let stopping = CancellationToken::new();
        let other = Arc::new(testing::app(bench.app.db.clone(), bench.app.master_key.clone()));
        let both = [Arc::clone(&bench.app), other].map(|app| tokio::spawn(follow(app, stopping.clone())));
        let mut told = BTreeSet::new();
        while told.len() < 20 {
            assert!(told.insert(receiver.next().await.header("webhook-id").to_owned()), "told twice");
        }
        stopping.cancel();
        for follower in both {
            follower.await.expect("it stops");
        }
        assert!(receiver.came().is_none(), "told twice");
        assert!(deliveries(bench, "ops").await.iter().all(|delivery| delivery["attempts"] == 1));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut hanging = Receiver::answering(&[Answer::Silence]).await;
        let mut prompt = Receiver::answering(&[]).await;
        make(bench, "hanging", json!({ "url": hanging.url })).await;
        make(bench, "prompt", json!({ "url": prompt.url })).await;
        let stopping = CancellationToken::new();
        let follower = tokio::spawn(follow(Arc::clone(&bench.app), stopping.clone()));
        raise(bench, "1").await;
        hanging.next().await;
        prompt.next().await;
        raise(bench, "2").await;
        assert_eq!(prompt.next().await.json()["data"]["limit"], "2");
        assert!(hanging.came().is_none(), "one at a time");
        follower.abort();
    })
    .await;
}

#[tokio::test]
async fn what_a_control_plane_left_when_it_died_is_sent_by_another() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[Answer::Silence]).await;
        let webhook = make(bench, "ops", json!({ "url": receiver.url })).await;
        raise(bench, "calm").await;
        {
            let dying = attempt(bench, &webhook);
            tokio::pin!(dying);
            tokio::select! {
                _ = &mut dying => panic!("the receiver is silent"),
                _ = receiver.next() => {}
            }
        }
        assert!(!attempt(bench, &webhook).await, "until its claim lapses it may be alive");
        execute(bench, "UPDATE webhooks SET held_until = now(); UPDATE alert_deliveries SET next_attempt_at = now()")
            .await;
        assert!(attempt(bench, &webhook).await);
        let delivered = deliveries(bench, "ops").await.remove(0);
        assert_eq!((&delivered["state"], &delivered["attempts"]), (&json!("delivered"), &json!(2)));
        receiver.next().await;
    })
    .await;
}

#[tokio::test]
async fn deliveries_that_ended_long_ago_are_removed() {
    with_bench(async |bench| {
        make(bench, "ops", json!({ "url": "https://a.test/" })).await;
        for key in ["old", "new", "waiting"] {
            raise(bench, key).await;
        }
        let end = |key: &str, days: u8| {
            format!(
                "UPDATE alert_deliveries SET next_attempt_at = NULL, delivered_at = now() - interval '{days} days'
                 WHERE alert_id = (SELECT id FROM alerts WHERE key = '{key}');"
            )
        };
        execute(bench, &(end("old", 31) + &end("new", 29))).await;
        alerts::purge(&bench.app, bench.acme).await.expect("purged");
        let left: Vec<_> = deliveries(bench, "ops").await.iter().map(|it| text(&it["state"]).to_owned()).collect();
        assert_eq!(left, ["waiting", "delivered"]);
    })
    .await;
}

#[tokio::test]
async fn how_long_alerts_wait_is_measured() {
    with_bench(async |bench| {
        make(bench, "ops", json!({ "url": "https://a.test/" })).await;
        raise(bench, "calm").await;
        execute(bench, "UPDATE alert_deliveries SET next_attempt_at = now() - interval '90 s'").await;
        execute(bench, "UPDATE webhooks SET held_until = now() + interval '1 min'").await;
        let mut tx = bench.app.db.platform().await.expect("Postgres");
        assert!(sql::overdue_s(&mut tx).await.expect("a number").abs() < f64::EPSILON, "somebody is at it");
        assert!(sql::due(&mut tx, 10).await.expect("what is due").is_empty());
        drop(tx);
        execute(bench, "UPDATE webhooks SET held_until = now()").await;
        let mut tx = bench.app.db.platform().await.expect("Postgres");
        assert!(sql::overdue_s(&mut tx).await.expect("a number") >= 90.0);
        assert_eq!(sql::due(&mut tx, 10).await.expect("what is due").len(), 1);
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM alert_deliveries").fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(seen, 0, "what is due is known without seeing what it is");
    })
    .await;
}
