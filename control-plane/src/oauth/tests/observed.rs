//! Refused requests are counted and written into the audit log, behind the answer.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::oauth::{
    Trail,
    testing::{Bed, basic, run},
};

async fn refusals(bed: &Bed) -> Vec<(String, String, Value)> {
    let sql = "SELECT actor, object_name, detail FROM audit_events WHERE action = 'oauth.refuse' ORDER BY id";
    sqlx::query_as(sql).fetch_all(&mut *bed.tx().await).await.expect("events")
}

#[tokio::test]
async fn what_was_refused_is_in_the_audit_log_with_its_reason() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.token(&client, "").await;
        bed.token_from("192.0.2.7", Some(&basic(&client.id, "wrong")), "grant_type=client_credentials").await;
        bed.token(&client, "&scope=other:x").await;
        bed.get("/t/nobody/oauth/jwks").await;
        let stopping = CancellationToken::new();
        stopping.cancel();
        Trail::keep(Arc::clone(&bed.app), stopping).await;

        let events = refusals(bed).await;
        assert_eq!(events.len(), 2, "what succeeded is no refusal, and nobody's requests are nobody's: {events:?}");
        let (_, endpoint, detail) = &events[0];
        assert_eq!((endpoint.as_str(), &detail["error"]), ("token", &json!("invalid_client")));
        assert_eq!(detail["peer"], "192.0.2.7");
        assert_eq!(events[1].2["error"], "invalid_scope");
        assert!(!format!("{events:?}").contains("wrong"), "no secret, even a wrong one");

        let metrics = bed.app.metrics.render(bed.app.db.pool());
        for (outcome, count) in [("ok", 1), ("invalid_client", 1), ("invalid_scope", 1)] {
            let line = format!("tollgate_oauth_requests_total{{endpoint=\"token\",outcome=\"{outcome}\"}} {count}");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    })
    .await;
}
