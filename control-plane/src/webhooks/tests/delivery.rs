//! What receivers get, and what becomes of their answers.

use super::{
    receiver::{Answer, Receiver},
    *,
};
use crate::webhooks::dispatch::deliver;

/// Makes one attempt for a webhook of `acme`; whether there was one to make.
pub(super) async fn attempt(bench: &Bench, webhook: &Value) -> bool {
    let id = text(&webhook["id"]).parse().expect("an id");
    deliver(&bench.app, bench.acme, id, None).await.expect("Postgres")
}

/// As if the pauses were over.
async fn wait(bench: &Bench) {
    execute(bench, "UPDATE alert_deliveries SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL").await;
}

/// In how many seconds the next attempt follows the last one.
fn pause_s(delivery: &Value) -> i64 {
    let moment = |name: &str| text(&delivery[name]).parse::<DateTime<Utc>>().expect("a moment");
    (moment("next_attempt_at") - moment("last_attempt_at")).num_seconds()
}

#[tokio::test]
async fn an_alert_is_told_to_those_who_want_it_signed() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[]).await;
        let all = make(bench, "all", json!({ "url": receiver.url })).await;
        make(bench, "some", json!({ "url": receiver.url, "types": ["limit.saturated", "budget.forecast"] })).await;
        make(bench, "others", json!({ "url": receiver.url, "types": ["budget.threshold"] })).await;
        make(bench, "off", json!({ "url": receiver.url, "enabled": false })).await;
        raise(bench, "calm").await;
        let told = async |webhook: &str| deliveries(bench, webhook).await.len();
        assert_eq!((told("all").await, told("some").await, told("others").await, told("off").await), (1, 1, 0, 0));

        assert!(attempt(bench, &all).await);
        assert!(!attempt(bench, &all).await, "there is nothing else to tell");
        let got = receiver.next().await;
        let alert = bench.get("alerts").await.expect(200).json["items"][0].clone();
        assert_eq!(got.header("webhook-id"), text(&alert["id"]));
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.signatures_by(text(&all["secret"])), 1);
        let body = got.json();
        assert_eq!((text(&body["type"]), &body["data"]), ("limit.saturated", &json!({ "limit": "calm" })));
        let raised_at = |value: &Value| text(value).parse::<DateTime<Utc>>().expect("a moment").timestamp_millis();
        assert_eq!(raised_at(&body["timestamp"]), raised_at(&alert["at"]));
        let delivered = &deliveries(bench, "all").await[0];
        assert_eq!((&delivered["state"], &delivered["last_status"]), (&json!("delivered"), &json!(204)));
        assert_eq!((&alert["deliveries"], &alert["delivered"], &alert["given_up"]), (&json!(2), &json!(1), &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id_until_it_arrives() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[Answer::Status(500), Answer::Busy(429, "1000")]).await;
        let webhook = make(bench, "ops", json!({ "url": receiver.url })).await;
        raise(bench, "calm").await;

        assert!(attempt(bench, &webhook).await);
        let failed = deliveries(bench, "ops").await.remove(0);
        assert_eq!((&failed["state"], &failed["attempts"]), (&json!("waiting"), &json!(1)));
        assert_eq!(failed["last_error"], "the receiver answered 500 Internal Server Error");
        assert!((5..=6).contains(&pause_s(&failed)), "{failed}");
        assert!(!attempt(bench, &webhook).await, "not before its time");

        wait(bench).await;
        assert!(attempt(bench, &webhook).await);
        let busy = deliveries(bench, "ops").await.remove(0);
        assert_eq!((&busy["last_status"], &busy["attempts"]), (&json!(429), &json!(2)));
        assert!((1_000..=1_100).contains(&pause_s(&busy)), "{busy}");

        wait(bench).await;
        assert!(attempt(bench, &webhook).await);
        let delivered = deliveries(bench, "ops").await.remove(0);
        assert_eq!((&delivered["state"], &delivered["attempts"]), (&json!("delivered"), &json!(3)));
        assert_eq!((&delivered["next_attempt_at"], &delivered["last_error"]), (&Value::Null, &Value::Null));
        let (first, second, third) = (receiver.next().await, receiver.next().await, receiver.next().await);
        assert_eq!(first.header("webhook-id"), third.header("webhook-id"));
        assert_eq!(first.json(), second.json());
        for got in [first, second, third] {
            assert_eq!(got.signatures_by(text(&webhook["secret"])), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn what_fails_for_three_days_is_given_up_and_can_be_sent_again() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[Answer::Redirect; 10]).await;
        let webhook = make(bench, "ops", json!({ "url": receiver.url })).await;
        raise(bench, "calm").await;
        for number in 1..=10 {
            assert!(attempt(bench, &webhook).await, "attempt {number}");
            wait(bench).await;
        }
        assert!(!attempt(bench, &webhook).await);
        let given_up = deliveries(bench, "ops").await.remove(0);
        assert_eq!((&given_up["state"], &given_up["attempts"]), (&json!("given_up"), &json!(10)));
        assert_eq!(given_up["last_error"], "the receiver answered 307 Temporary Redirect");

        let again = bench.post("webhooks/ops:redeliver", json!({ "alert": given_up["alert"] })).await.expect(200);
        assert_eq!((&again.json["state"], &again.json["attempts"]), (&json!("waiting"), &json!(0)));
        assert!(attempt(bench, &webhook).await);
        assert_eq!(deliveries(bench, "ops").await[0]["state"], "delivered");
        let got = std::iter::from_fn(|| receiver.came()).count();
        assert_eq!(got, 11, "no redirect was followed");
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_the_webhook_is_written_anew() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[Answer::Status(410)]).await;
        let webhook = make(bench, "ops", json!({ "url": receiver.url })).await;
        raise(bench, "1").await;
        raise(bench, "2").await;
        assert!(attempt(bench, &webhook).await);
        assert!(!attempt(bench, &webhook).await);
        assert_eq!(bench.get("webhooks/ops").await.expect(200).json["status"]["state"], "gone");
        for delivery in deliveries(bench, "ops").await {
            assert_eq!(
                (text(&delivery["state"]), text(&delivery["last_error"])),
                ("given_up", "the receiver answered 410 Gone")
            );
        }
        assert_eq!(deliveries(bench, "ops").await[1]["last_status"], 410);
        assert_eq!(bench.audit().await, ["webhook.create ops", "webhook.gone ops"]);
        raise(bench, "3").await;
        assert_eq!(deliveries(bench, "ops").await.len(), 2, "nothing is left for it any more");
        assert_eq!(bench.post("webhooks/ops:test", json!({})).await.expect(409).problem().0, "webhook_inactive");

        patch(bench, "ops", json!({})).await.expect(200);
        assert_eq!(bench.get("webhooks/ops").await.expect(200).json["status"]["state"], "active");
        raise(bench, "4").await;
        assert!(attempt(bench, &webhook).await);
        receiver.next().await;
        assert_eq!(receiver.next().await.json()["data"]["limit"], "4");
    })
    .await;
}

#[tokio::test]
async fn a_test_is_sent_at_once_whatever_the_webhook_wants() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[Answer::Status(200), Answer::Status(404)]).await;
        make(bench, "ops", json!({ "url": receiver.url, "types": ["budget.forecast"] })).await;
        make(bench, "other", json!({ "url": receiver.url })).await;
        let tested = bench.post("webhooks/ops:test", json!({})).await.expect(200).json;
        assert_eq!((&tested["state"], &tested["type"]), (&json!("delivered"), &json!("webhook.test")));
        assert_eq!(receiver.next().await.json()["data"]["webhook"], "ops");
        let failed = bench.post("webhooks/ops:test", json!({})).await.expect(200).json;
        assert_eq!((&failed["state"], &failed["last_status"]), (&json!("waiting"), &json!(404)));
        assert_eq!(deliveries(bench, "other").await, Vec::<Value>::new());

        patch(bench, "ops", json!({ "enabled": false })).await.expect(200);
        assert_eq!(deliveries(bench, "ops").await[0]["state"], "given_up", "nothing is sent to it any more");
        bench.post("webhooks/ops:test", json!({})).await.expect(409);
    })
    .await;
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_until_the_overlap_ends() {
    with_bench(async |bench| {
        allow_loopback(bench).await;
        let mut receiver = Receiver::answering(&[]).await;
        let former = text(&make(bench, "ops", json!({ "url": receiver.url })).await["secret"]).to_owned();
        let rotated = bench.post("webhooks/ops:rotate-secret", json!({ "overlap": "1h" })).await.expect(200).json;
        let present = text(&rotated["secret"]);
        bench.post("webhooks/ops:test", json!({})).await.expect(200);
        let got = receiver.next().await;
        assert_eq!((got.signatures_by(present), got.signatures_by(&former)), (1, 1));

        execute(bench, "UPDATE webhooks SET former_secret_until = now()").await;
        bench.post("webhooks/ops:test", json!({})).await.expect(200);
        let got = receiver.next().await;
        assert_eq!((got.signatures_by(present), got.signatures_by(&former)), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn where_the_tenant_does_not_allow_it_nothing_is_sent() {
    with_bench(async |bench| {
        let mut receiver = Receiver::answering(&[]).await;
        let url = receiver.url.replace("127.0.0.1", "localhost");
        make(bench, "ops", json!({ "url": url })).await;
        let refused = bench.post("webhooks/ops:test", json!({})).await.expect(200).json;
        assert_eq!(refused["state"], "waiting");
        assert!(text(&refused["last_error"]).contains("egress_allow"), "{refused}");
        assert!(receiver.came().is_none());
    })
    .await;
}
