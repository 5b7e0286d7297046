//! Alerts: from what happens to the program that is told of it.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_tests::eventually_true;

use crate::scene::Scene;

const WEBHOOK: &str = "
apiVersion: tollgate/v1
kind: Webhook
metadata: {name: ops}
spec: {url: URL, types: [limit.saturated]}
";

/// Verifies as `docs/alerts.md` says, with nothing of Tollgate's.
const VERIFY: &str = r#"
import base64, hashlib, hmac, json, sys
told = json.load(sys.stdin)
key = base64.b64decode(told["secret"].removeprefix("whsec_"))
signed = f'{told["webhook-id"]}.{told["webhook-timestamp"]}.{told["body"]}'.encode()
expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
sys.exit(expected not in told["webhook-signature"].split(" "))
"#;

/// What a program gets, oldest first: headers and body.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<(HeaderMap, String)>>>);

impl Inbox {
    /// Listens; answers 503 to the first request.
    async fn open(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let url = format!("http://{}/alerts", listener.local_addr().expect("a listener has an address"));
        let inbox = self.clone();
        let take = async move |headers: HeaderMap, body: String| {
            let mut all = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((headers, body));
            if all.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::ACCEPTED }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/alerts", post(take))).await });
        url
    }

    fn all(&self) -> Vec<(HeaderMap, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The body of what was told, whose signature a Python program has verified.
fn verified((headers, body): &(HeaderMap, String), secret: &str) -> Value {
    let mut told = json!({ "secret": secret, "body": body });
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        told[name] = json!(headers[name].to_str().expect("text"));
    }
    let mut verifier = Command::new("python3").args(["-c", VERIFY]).stdin(Stdio::piped()).spawn().expect("Python runs");
    let mut input = verifier.stdin.take().expect("a pipe");
    input.write_all(told.to_string().as_bytes()).expect("it reads");
    drop(input);
    assert!(verifier.wait().expect("it ends").success(), "{told}");
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn who_keeps_running_into_a_limit_is_told_of_once_signed() {
    let (scene, inbox) = (Scene::modern().await, Inbox::default());
    let tollgate = &scene.tollgate;
    tollgate.apply(&WEBHOOK.replace("URL", &inbox.open().await)).await;
    let secret = tollgate.command(&["webhooks", "secret", "ops"]).await.success().stdout.trim().to_owned();
    tollgate.remember_secret(&secret);
    let failed = tollgate.command(&["webhooks", "test", "ops"]).await;
    assert!(failed.code != 0 && failed.stderr.contains("503"), "{failed:?}");
    tollgate.command(&["webhooks", "test", "ops"]).await.success();

    tollgate.limit("ci", 1, "1d").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    // However the hour's end cuts them, ten are in one hour and nine at most in the other.
    for _ in 0..19 {
        assert_eq!(scene.client.call("read", json!({})).await.status, 429);
    }
    let told = || inbox.all().into_iter().map(|told| (verified(&told, &secret), told.0)).collect::<Vec<_>>();
    let saturated = || told().into_iter().filter(|(body, _)| body["type"] == "limit.saturated").collect::<Vec<_>>();
    eventually_true("the receiver to be told", || async { !saturated().is_empty() }).await;
    let (body, headers) = saturated().remove(0);
    let data = &body["data"];
    assert_eq!((&data["limit"], &data["on"]), (&json!("ci"), &json!({ "agent": "ci" })), "{body}");
    assert!(data["refused"].as_i64().is_some_and(|refused| (10..=19).contains(&refused)), "{body}");

    eventually_true("every refusal to be stored and the test to have come again", || async {
        let stored = tollgate.get("usage-records?decision=rate_limited_requests").await;
        stored["items"].as_array().map(Vec::len) == Some(19) && told().len() == 4
    })
    .await;
    assert_eq!(saturated().len(), 1);
    let alerts = tollgate.command(&["alerts", "--type", "limit.saturated", "-o", "json"]).await.success().json();
    assert_eq!(alerts[0]["id"], headers["webhook-id"].to_str().expect("text"));
    assert_eq!((alerts.as_array().map(Vec::len), &alerts[0]["deliveries"]), (Some(1), &json!(1)));
    eventually_true("the deliveries to be noted", || async {
        let deliveries = tollgate.command(&["webhooks", "deliveries", "ops", "-o", "json"]).await.success().json();
        let states = deliveries.as_array().into_iter().flatten().filter(|it| it["state"] == "delivered").count();
        states == 3
    })
    .await;
    let shown = tollgate.get("webhooks/ops").await;
    assert!(!shown.to_string().contains("whsec_"), "{shown}");
    let record = &tollgate.get("usage-records?decision=rate_limited_requests&limit=1").await["items"][0];
    assert_eq!(record["limit_id"], data["limit_id"]);
}
