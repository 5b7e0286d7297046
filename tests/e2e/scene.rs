//! The setting of most stories: a deployment, a scripted server `files` with the tools `read` and `write`, and the
//! agent `ci` which may `read`.

use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, Era, McpAnswer, McpClient, Plan, Reply, ScriptedServer};

/// The setting.
pub(crate) struct Scene {
    pub(crate) tollgate: Deployment,
    pub(crate) server: ScriptedServer,
    pub(crate) agent: Agent,
    /// The agent's client at the endpoint of `files`.
    pub(crate) client: McpClient,
}

/// What a refusal must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
}

impl Scene {
    /// On `dev`, with a server of the modern era.
    pub(crate) async fn modern() -> Self {
        Self::set(Deployment::dev().argument("--no-demo"), &Era::Modern).await
    }

    /// On `dev`, with a server of the legacy era.
    pub(crate) async fn legacy() -> Self {
        Self::set(Deployment::dev().argument("--no-demo"), &Era::Legacy).await
    }

    /// On any deployment.
    pub(crate) async fn set(plan: Plan, era: &Era) -> Self {
        let script = if *era == Era::Modern { ScriptedServer::modern() } else { ScriptedServer::legacy() };
        let server = script.tool("read", Reply::text("content")).tool("write", Reply::text("written")).start().await;
        let tollgate = plan.start().await;
        tollgate.allow_loopback_servers().await;
        tollgate.register("files", &server).await;
        let agent = tollgate.agent("ci").grant("files:read").create().await;
        let client = agent.at_server("files").await;
        Self { tollgate, server, agent, client }
    }

    /// Asserts that a request was turned away exactly so, that one record says it, that no server saw it, and that
    /// the next good request is served.
    pub(crate) async fn assert_refused(&self, answer: &McpAnswer, expected: Refused) {
        assert_refusal(answer, expected);
        self.assert_tells_nothing(answer);
        let record = self.tollgate.usage_of(answer.call_id()).await;
        assert_eq!(record.decision, expected.reason);
        assert_eq!(record.http_status, i64::from(expected.status));
        assert!(!record.forwarded);
        assert_eq!(self.server.calls().len(), 0, "a refused request reached the server");
        self.assert_goes_on().await;
    }

    /// Asserts that the next good call is served.
    pub(crate) async fn assert_goes_on(&self) {
        let answer = self.client.call("read", json!({})).await;
        assert_eq!(answer.text(), "content");
    }

    /// Asserts that an answer names nothing that its reader has no business with.
    pub(crate) fn assert_tells_nothing(&self, answer: &McpAnswer) {
        for private in [self.server.url().as_str(), "stories", "postgres", "sqlx", "src/"] {
            assert!(!answer.body.contains(private), "the answer tells of {private}: {}", answer.body);
        }
    }
}

/// Asserts status, code, reason, and that the body's call id is the header's.
pub(crate) fn assert_refusal(answer: &McpAnswer, expected: Refused) {
    let Refused { status, code, reason } = expected;
    assert_eq!(answer.status, status, "{}", answer.body);
    let error = answer.error();
    assert_eq!(error["code"], json!(code), "{}", answer.body);
    assert_eq!(error["data"]["reason"], json!(reason), "{}", answer.body);
    assert_eq!(error["data"]["call_id"], json!(answer.call_id()), "{}", answer.body);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", answer.body);
}

/// Moves the end of every session of this kind in Redis into the past.
pub(crate) fn end_the_time_of(tollgate: &Deployment, kind: &str, field: &str) {
    for key in tollgate.redis(&["KEYS", &format!("tg:*:{kind}:*")]) {
        let _ = tollgate.redis(&["HSET", &key, field, "1"]);
    }
    for key in tollgate.redis(&["KEYS", &format!("tg:*:{kind}-ends")]) {
        for member in tollgate.redis(&["ZRANGE", &key, "0", "-1"]) {
            let _ = tollgate.redis(&["ZADD", &key, "1", &member]);
        }
    }
}

/// A modern `tools/call` message.
pub(crate) fn modern_call(tool: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": {},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    })
}
