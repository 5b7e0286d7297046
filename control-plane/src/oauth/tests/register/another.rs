//! What becomes of an agent that says it is somebody else than it was.

use super::*;

/// A registration whose users come back to a trusted host.
fn trusted() -> Value {
    let mut metadata = confidential();
    metadata["redirect_uris"] = json!(["https://app.trusted.example/cb"]);
    metadata
}

impl Bed {
    async fn replaced(&self, registered: &Value, changes: Value) -> Value {
        let mut body = trusted();
        body["client_id"] = registered["client_id"].clone();
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let answer = self.manage(Method::PUT, registered, Some(&body)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }

    async fn granted(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT unnest(scopes) FROM grants ORDER BY 1")
            .fetch_all(&mut *self.tx().await)
            .await
            .expect("scopes")
    }
}

#[tokio::test]
async fn who_moves_to_another_host_loses_what_a_rule_gave() {
    run(async |bed| {
        bed.server("demo").await;
        let rules = json!([{ "match": { "host": "trusted.example" }, "team": "core", "scopes": ["demo:*"] }]);
        bed.settings(json!({ "rules": rules })).await;
        let registered = bed.registered(&trusted()).await;
        assert_eq!(bed.granted().await, ["demo:*"]);

        let below = json!({ "redirect_uris": ["https://app.trusted.example/cb", "https://b.trusted.example/cb"] });
        let still = bed.replaced(&registered, below).await;
        assert_eq!(bed.granted().await, ["demo:*"], "the rule would give it now too");
        assert_eq!(bed.agent_row(&registered["client_id"]).await["spec"]["team"], "core");

        let gone = bed.replaced(&still, json!({ "redirect_uris": ["https://evil.example/cb"] })).await;
        assert!(bed.granted().await.is_empty());
        let row = bed.agent_row(&registered["client_id"]).await;
        assert_eq!((&row["spec"]["team"], &row["state"]), (&json!("default"), &json!("active")));
        assert!(bed.audited().await.contains(&"grant.delete web-app".to_owned()));

        bed.replaced(&gone, json!({})).await;
        assert!(bed.granted().await.is_empty(), "a change gives nothing");
    })
    .await;
}

#[tokio::test]
async fn who_was_approved_as_another_waits_again() {
    run(async |bed| {
        bed.settings(json!({ "registration": "approval" })).await;
        let registered = bed.registered(&trusted()).await;
        let state = async || bed.agent_row(&registered["client_id"]).await["state"].clone();
        let approve = async || {
            bed.run("UPDATE agents SET state = 'active' WHERE id = $1", id(&registered["client_id"]).uuid()).await;
        };
        approve().await;
        let elsewhere = json!({ "redirect_uris": ["https://app.trusted.example/other"] });
        let same = bed.replaced(&registered, elsewhere).await;
        assert_eq!(state().await, "active", "another page of the host that was approved");
        let renamed = bed.replaced(&same, json!({ "client_name": "Payroll" })).await;
        assert_eq!(state().await, "waiting", "a name that nobody approved");
        approve().await;
        let moved = json!({ "client_name": "Payroll", "redirect_uris": ["https://evil.example/cb"] });
        bed.replaced(&renamed, moved).await;
        assert_eq!(state().await, "waiting", "a host that nobody approved");
        let waits = bed.audited().await.into_iter().filter(|event| event == "agent.wait web-app").count();
        assert_eq!(waits, 2);
    })
    .await;
}

#[tokio::test]
async fn who_was_granted_something_by_hand_waits_when_it_becomes_another() {
    run(async |bed| {
        let registered = bed.registered(&trusted()).await;
        let elsewhere = json!({ "redirect_uris": ["https://other.example/cb"] });
        let free = bed.replaced(&registered, elsewhere).await;
        let agent = id(&registered["client_id"]);
        assert_eq!(bed.agent_row(&registered["client_id"]).await["state"], "active", "nobody had decided anything");
        bed.grant(Some(agent), &["demo:*"], false).await;
        let back = bed.replaced(&free, json!({})).await;
        assert_eq!(bed.agent_row(&registered["client_id"]).await["state"], "waiting");
        assert_eq!(bed.granted().await, ["demo:*"], "what a person granted, a person takes away");

        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", agent.uuid()).await;
        bed.replaced(&back, json!({ "client_name": "Other" })).await;
        assert_eq!(bed.agent_row(&registered["client_id"]).await["state"], "suspended", "stays what it is");
    })
    .await;
}
