//! Tokens that an operator takes out in an agent's name.

use http::Method;
use serde_json::{Value, json};

use super::token::verified;
use crate::{
    caller::Role,
    oauth::{
        ScopeRefusal, TargetError,
        testing::{Bed, run},
        token::{IssueError, Issued, issue_for_operator},
    },
};

const ACTOR: &str = "user:usr_test";

async fn issue(bed: &Bed, agent: &str, resource: Option<&str>) -> Result<Issued, IssueError> {
    issue_for_operator(&bed.app, bed.tenant, agent, resource, ACTOR).await
}

#[tokio::test]
async fn an_operators_token_is_short_and_holds_what_the_agent_may() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo", "other:x"]).await;
        bed.server("demo").await;
        for agent in ["bot", client.id.as_str()] {
            let issued = issue(bed, agent, Some("https://gw/t/acme/mcp/demo/")).await.expect("a token");
            assert_eq!((issued.expires_in, issued.token_type), (300, "Bearer"));
            assert_eq!((issued.scope.as_str(), issued.resource.as_str()), ("demo:echo", "https://gw/t/acme/mcp/demo"));
            let claims = verified(bed, &issued.access_token, &issued.resource).await;
            assert_eq!(claims["sub"], client.id.as_str());
        }
        assert_eq!(issue(bed, "bot", None).await.expect("a token").resource, "https://gw/t/acme/mcp");
        bed.run("UPDATE tenants SET access_token_ttl_s = 60 WHERE id = $1", bed.tenant.uuid()).await;
        assert_eq!(issue(bed, "bot", None).await.expect("a token").expires_in, 60);
    })
    .await;
}

#[tokio::test]
async fn an_operators_token_is_audited_without_the_token() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo"]).await;
        let issued = issue(bed, "bot", None).await.expect("a token");
        let mut tx = bed.tx().await;
        let sql = "SELECT actor, object_id, object_name, detail FROM audit_events WHERE action = 'agent.token.issue'";
        let event: (String, String, String, Value) = sqlx::query_as(sql).fetch_one(&mut *tx).await.expect("one event");
        let detail = json!({ "resource": issued.resource, "scope": "demo:echo", "expires_in": 300 });
        assert_eq!(event, (ACTOR.to_owned(), client.id, "bot".to_owned(), detail));
        assert!(!format!("{issued:?}").contains(&issued.access_token));
    })
    .await;
}

#[tokio::test]
async fn an_operator_gets_no_token_that_the_agent_could_not_get() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo"]).await;
        bed.agent("idle", &[]).await;
        let elsewhere = bed.tenant("elsewhere").await;
        for agent in ["nobody", "NO NAME", ""] {
            assert!(matches!(issue(bed, agent, None).await, Err(IssueError::UnknownAgent)), "{agent}");
        }
        let foreign = issue_for_operator(&bed.app, elsewhere, &client.id, None, ACTOR).await;
        assert!(matches!(foreign, Err(IssueError::UnknownAgent)));
        let nothing = issue(bed, "idle", None).await;
        assert!(matches!(nothing, Err(IssueError::Scope(ScopeRefusal::NothingGranted))));
        let unknown = issue(bed, "bot", Some("https://gw/t/acme/mcp/demo")).await;
        assert!(matches!(unknown, Err(IssueError::Target(TargetError::Unknown))), "no such server yet");
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", client.agent.uuid()).await;
        assert!(matches!(issue(bed, "bot", None).await, Err(IssueError::Suspended)));
    })
    .await;
}

#[tokio::test]
async fn the_route_gives_operators_a_token_and_says_why_not() {
    crate::testing::run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        let instances = json!([{ "url": "https://mcp.example.com/mcp" }]);
        bench.put("servers/demo", json!({ "spec": { "instances": instances } })).await.expect(201);
        bench.put("agents/bot", json!({ "spec": { "team": "core", "type": "autonomous" } })).await.expect(201);
        let ask = |role| bench.call(Method::POST, "agents/bot:token").by(role);
        ask(Role::Viewer).send().await.expect(403);
        ask(Role::Finance).send().await.expect(403);
        let nothing = ask(Role::Operator).send().await.expect(422);
        assert_eq!(nothing.problem(), ("invalid_scope", vec!["/resource invalid_scope".to_owned()]));

        bench
            .put("grants/bot", json!({ "spec": { "to": { "agent": "bot" }, "scopes": ["demo:echo"] } }))
            .await
            .expect(201);
        let issued = ask(Role::Operator).send().await.expect(200);
        assert_eq!(issued.header("cache-control"), "no-store");
        let members: Vec<&str> = issued.json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["access_token", "expires_in", "resource", "scope", "token_type"]);
        assert_eq!(issued.json["resource"], bench.app.urls.federated("acme"));

        let named = ask(Role::Operator).json(json!({ "resource": bench.app.urls.federated("acme") })).await;
        named.expect(200);
        for empty in [json!({}), json!(null), json!({ "resource": null })] {
            ask(Role::Operator).json(empty).await.expect(200);
        }
        let elsewhere = ask(Role::Operator).json(json!({ "resource": "https://evil.example" })).await.expect(422);
        assert_eq!(elsewhere.problem().0, "invalid_target");
        ask(Role::Operator).json(json!({ "scope": "demo:echo" })).await.expect(422);
        bench.post("agents/nobody:token", json!({})).await.expect(404);
        bench.call(Method::POST, "agents/bot:suspend").send().await.expect(200);
        assert_eq!(ask(Role::Owner).send().await.expect(409).problem().0, "agent_suspended");
    })
    .await;
}
