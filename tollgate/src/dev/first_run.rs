//! What a first run puts in, over the REST API: a team, the demo server, an agent that may use some of its tools.
//!
//! Invariant: what is there is left as it is. Only the demo server's address and the URLs in `demo.json` follow when
//! ports change.

use serde_json::{Value, json};

use super::{DataDir, TENANT};
use crate::{
    api_client::{ApiClient, Precondition},
    demo_server::DemoServer,
    failure::{Exit, Failure},
};

/// Loopback and private networks: on a developer's machine, servers are there.
const PRIVATE_NETWORKS: [&str; 6] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
const EGRESS_STEP: &str = "egress-allowed";

const TEAM: &str = "platform";
pub(super) const SERVER: &str = "demo";
pub(super) const AGENT: &str = "demo-agent";
const GRANT: &str = "demo-agent-tools";
const ALLOWED_TOOLS: [&str; 7] =
    ["add", "confirm_order", "countdown", "counter_increment", "counter_read", "echo", "slow"];
/// So that a newcomer sees a refusal too.
const DENIED_TOOLS: [&str; 1] = ["reset_counter"];

/// The demo agent and where it calls.
#[derive(Debug)]
pub(super) struct Demo {
    pub(super) mcp_url: String,
    pub(super) federated_url: String,
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
}

impl Demo {
    /// As `demo.json` has it. Tools are named as the server's own endpoint names them.
    fn json(&self) -> Value {
        json!({
            "mcp_url": self.mcp_url,
            "token_url": self.token_url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "allowed_tools": ALLOWED_TOOLS,
            "denied_tools": DENIED_TOOLS,
        })
    }
}

/// Lets data planes reach this machine and its private networks, once.
pub(super) async fn allow_private_networks(api: &ApiClient, dir: &DataDir) -> Result<(), Failure> {
    if dir.is_done(EGRESS_STEP) {
        return Ok(());
    }
    let tenant = api.find(&[]).await?.ok_or_else(|| Failure::new(format!("there is no tenant {TENANT}")))?;
    let change = json!({ "spec": { "egress_allow": PRIVATE_NETWORKS } });
    api.patch(&[], &tenant.etag, &change)
        .await
        .map_err(|failure| failure.during("cannot let data planes reach private networks"))?;
    dir.note_done(EGRESS_STEP)
}

/// Makes what of the demo is not there, and writes `demo.json`.
pub(super) async fn provide_demo(api: &ApiClient, dir: &DataDir, server: &DemoServer) -> Result<Demo, Failure> {
    let known = dir.demo();
    if known.is_none() {
        provide_objects(api, server).await?;
    }
    follow_address(api, server).await?;
    let tenant = api.get(&[], &[]).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (client_id, client_secret) = match &known {
        Some(known) => (text(&known["client_id"]), text(&known["client_secret"])),
        None => issue_secret(api).await?,
    };
    let federated_url = text(&tenant["status"]["mcp_url"]);
    let demo = Demo {
        mcp_url: format!("{federated_url}/{SERVER}"),
        federated_url,
        token_url: text(&tenant["status"]["token_url"]),
        client_id,
        client_secret,
    };
    dir.keep_demo(&demo.json())?;
    Ok(demo)
}

async fn provide_objects(api: &ApiClient, server: &DemoServer) -> Result<(), Failure> {
    let scopes: Vec<_> = ALLOWED_TOOLS.iter().map(|tool| format!("{SERVER}:{tool}")).collect();
    let objects = [
        ("teams", TEAM, json!({ "display_name": "Platform" })),
        ("servers", SERVER, json!({ "instances": [{ "url": server.url() }], "team": TEAM })),
        ("agents", AGENT, json!({ "team": TEAM, "type": "autonomous" })),
        ("grants", GRANT, json!({ "to": { "agent": AGENT }, "scopes": scopes })),
    ];
    for (collection, name, spec) in objects {
        let path = [collection, name];
        if api.find(&path).await?.is_none() {
            api.put(&path, Precondition::Absent, &json!({ "spec": spec }))
                .await
                .map_err(|failure| failure.during(format!("cannot make {name} in {collection} for the demo")))?;
        }
    }
    Ok(())
}

/// Points the server to where the demo server listens now. A server that was removed is not brought back.
async fn follow_address(api: &ApiClient, server: &DemoServer) -> Result<(), Failure> {
    let path = ["servers", SERVER];
    let Some(stored) = api.find(&path).await? else { return Ok(()) };
    let instances = json!([{ "url": server.url() }]);
    if stored.body["spec"]["instances"] == instances {
        return Ok(());
    }
    api.patch(&path, &stored.etag, &json!({ "spec": { "instances": instances } }))
        .await
        .map(drop)
        .map_err(|failure| failure.during("cannot tell Tollgate the demo server's new address"))
}

/// An agent has two secrets at most. When `demo.json` was lost twice, the older one, which nobody has, makes room.
async fn issue_secret(api: &ApiClient) -> Result<(String, String), Failure> {
    let path = ["agents", AGENT, "credentials"];
    let issued = match api.post(&path, &json!({})).await {
        Err(failure) if failure.code() == Exit::Conflict => {
            let known = api.get(&path, &[]).await?;
            let ids = known["items"].as_array().into_iter().flatten().filter_map(|item| item["id"].as_str());
            if let Some(oldest) = ids.min() {
                api.delete(&["agents", AGENT, "credentials", oldest]).await?;
            }
            api.post(&path, &json!({})).await
        }
        issued => issued,
    };
    let issued = issued.map_err(|failure| failure.during("cannot issue a secret for the demo agent"))?;
    let text = |field: &str| issued[field].as_str().unwrap_or_default().to_owned();
    Ok((text("client_id"), text("client_secret")))
}
