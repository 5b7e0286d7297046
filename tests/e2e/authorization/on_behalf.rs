//! What agents do for people: whose calls these are, who pays, and whose sessions.

use http::Method;
use serde_json::json;
use tollgate_tests::{Deployment, Person, UsageRecord};

use super::Office;

const BOB: &str = "bob@example.com";

#[tokio::test]
async fn a_call_is_recorded_for_its_user_and_charged_to_their_team() {
    let mut office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let agent = office.tollgate.interactive_agent("app").grant("files:read").create().await;
    let resource = office.tollgate.server_url("files");
    let email = office.owner.email.clone();
    let client = agent.tokens(&mut office.owner, &resource).await.at(&resource);

    let before = client.call("read", json!({})).await;
    let record = office.tollgate.usage_of(before.call_id()).await;
    assert_eq!(people_of(&record), (email.as_str(), "stories"), "without a team of theirs the agent's pays");

    office.tollgate.put("teams/research", json!({"spec": {"cost_center": "R1"}})).await;
    let user = office.tollgate.rest(Method::GET, &format!("users/{email}"), &[], &json!(null)).await;
    let etag = user.header("etag").expect("a user has an ETag");
    let change = json!({"spec": {"team": "research"}});
    let changed = office.tollgate.rest(Method::PATCH, &format!("users/{email}"), &[("if-match", etag)], &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    office.tollgate.policy_in_force().await;
    let after = client.call("read", json!({})).await;
    let record = office.tollgate.usage_of(after.call_id()).await;
    assert_eq!(people_of(&record), (email.as_str(), "research"), "the token is as before");

    let report = office.tollgate.get("reports/usage?by=user").await;
    assert_eq!(report["items"][0]["user"], json!(email), "{report}");
    assert_eq!(report["items"][0]["calls"], 2, "{report}");
}

#[tokio::test]
async fn a_session_that_an_agent_holds_for_one_user_is_of_no_use_for_another() {
    let mut office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let agent = office.tollgate.interactive_agent("app").grant("files:read").create().await;
    let new = json!({"email": BOB, "spec": {"role": "viewer"}});
    let created = office.tollgate.rest(Method::POST, "users", &[], &new).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let mut bob = Person::with_link(&office.tollgate, BOB).await;

    let resource = office.tollgate.federated_url();
    let session = agent.tokens(&mut office.owner, &resource).await.at(&resource).initialize("2025-11-25").await;
    assert_eq!(session.request("ping", json!({})).await.status, 200);
    let id = session.session_id().expect("a legacy session has an id");
    let stolen = agent.tokens(&mut bob, &resource).await.at(&resource).with_session("2025-11-25", id);
    let answer = stolen.request("ping", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (404, "session_unknown"), "{}", answer.body);
    assert_eq!(session.request("ping", json!({})).await.status, 200, "the owner's own goes on");
}

#[tokio::test]
async fn a_user_is_not_sent_to_consent_to_what_the_agent_was_not_granted() {
    let mut office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let agent = office.tollgate.interactive_agent("app").grant("files:read").create().await;
    let resource = office.tollgate.server_url("files");
    let client = agent.tokens(&mut office.owner, &resource).await.at(&resource);
    let answer = client.call("write", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (403, "tool_not_granted"), "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"error="insufficient_scope""#) && !challenge.contains("scope=\"files"), "{challenge}");
    let spec = json!({"to": {"agent": "app"}, "scopes": ["files:write"]});
    office.tollgate.put("grants/more", json!({"spec": spec})).await;
    office.tollgate.policy_in_force().await;
    let answer = client.call("write", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (403, "scope_insufficient"), "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"scope="files:write""#), "now the user can give it: {challenge}");
}

/// For whom a call was made, and who paid.
fn people_of(record: &UsageRecord) -> (&str, &str) {
    (record.user.as_deref().unwrap_or_default(), record.team.as_deref().unwrap_or_default())
}
