//! Refused requests are counted and written into the audit log, behind the answer.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::oauth::{
    Trail,
    testing::{Bed, basic, run},
};

/// A refusal as the audit log has it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Refusal {
    pub(super) actor: String,
    pub(super) object_name: String,
    pub(super) peer: String,
    pub(super) detail: Value,
}

/// Everything refused so far, the oldest first. It can be asked for once.
pub(super) async fn refusals(bed: &Bed) -> Vec<Refusal> {
    let stopping = CancellationToken::new();
    stopping.cancel();
    Trail::keep(Arc::clone(&bed.app), stopping).await;
    let sql = "SELECT actor, object_name, peer, detail FROM audit_events WHERE action = 'oauth.refuse' ORDER BY id";
    sqlx::query_as(sql).fetch_all(&mut *bed.tx().await).await.expect("events")
}

impl Refusal {
    /// Endpoint and error.
    pub(super) fn brief(&self) -> String {
        format!("{} {}", self.object_name, self.detail["error"].as_str().unwrap_or_default())
    }
}

#[tokio::test]
async fn what_was_refused_is_in_the_audit_log_with_its_reason() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.token(&client, "").await;
        bed.token_from("192.0.2.7", Some(&basic(&client.id, "wrong")), "grant_type=client_credentials").await;
        bed.token(&client, "&scope=other:x").await;
        bed.get("/t/nobody/oauth/jwks").await;

        let events = refusals(bed).await;
        assert_eq!(events.len(), 2, "what succeeded is no refusal, and nobody's requests are nobody's: {events:?}");
        assert_eq!(events[0].brief(), "token invalid_client");
        assert_eq!((&*events[0].actor, &*events[0].peer), (&*format!("client:{}", client.id), "192.0.2.7"));
        assert_eq!(events[1].detail["error"], json!("invalid_scope"));
        assert!(!format!("{events:?}").contains("wrong"), "no secret, even a wrong one");

        let metrics = bed.app.metrics.render(bed.app.db.pool(), bed.app.policy_changes.connected());
        for (outcome, count) in [("ok", 1), ("invalid_client", 1), ("invalid_scope", 1)] {
            let line = format!("tollgate_oauth_requests_total{{endpoint=\"token\",outcome=\"{outcome}\"}} {count}");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    })
    .await;
}

#[tokio::test]
async fn refusals_of_every_endpoint_that_programs_ask_are_in_the_audit_log() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let wrong = basic(&client.id, "wrong");
        bed.post_from("192.0.2.7", "introspect", Some(&wrong), "token=tga_x").await;
        bed.post_from("192.0.2.7", "introspect", Some(&client.basic()), "").await;
        bed.post_from("192.0.2.7", "revoke", Some(&wrong), "token=tgr_x").await;
        bed.post_from("192.0.2.7", "revoke", Some(&client.basic()), "").await;
        bed.post_from("192.0.2.7", "register", None, "no=json").await;
        bed.get(&format!("/t/acme/oauth/register/{}", client.id)).await;

        let events = refusals(bed).await;
        let brief: Vec<String> = events.iter().map(Refusal::brief).collect();
        let expected = [
            "introspect invalid_client",
            "introspect invalid_request",
            "revoke invalid_client",
            "revoke invalid_request",
            "register invalid_request",
            "register access_denied",
        ];
        assert_eq!(brief, expected, "{events:?}");
        assert!(events[..5].iter().all(|event| event.peer == "192.0.2.7"), "{events:?}");
        assert!(events.iter().all(|event| event.detail["reason"] != ""), "{events:?}");
    })
    .await;
}
