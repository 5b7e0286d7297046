//! The client of `rmcp`, on its own HTTP client, as it tries an endpoint out.
//!
//! Invariant: what it tells has the form that `tests/clients/compatibility.py` describes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, bail};
use rmcp::{
    ClientHandler, ErrorData, RoleClient,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
        ElicitationAction, GetPromptRequestParams, Implementation, ProgressNotificationParam, ProtocolVersion,
        ReadResourceRequestParams, ResourceContents, ResourceUpdatedNotificationParam, ServerNotification,
        SubscribeRequestParams, SubscriptionFilter,
    },
    service::{ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RequestContext, RunningService},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};

use crate::wait::PATIENCE;

/// Tries everything that `request` names.
pub(crate) async fn try_out(request: &Value) -> Value {
    let client = match connect(request).await {
        Ok(client) => client,
        Err(error) => return wrong(&error),
    };
    let trial = Trial { client, request };
    let version = trial.client.peer_info().map(|info| info.protocol_version.to_string());
    let mut facts = json!({"protocol_version": version});
    facts["tools"] = trial.tools().await.unwrap_or_else(|error| wrong(&error));
    facts["resources"] = trial.resources().await.unwrap_or_else(|error| wrong(&error));
    facts["prompts"] = trial.prompts().await.unwrap_or_else(|error| wrong(&error));
    facts["progress"] = trial.progress().await.unwrap_or_else(|error| wrong(&error));
    facts["elicitation"] = trial.elicitation().await.unwrap_or_else(|error| wrong(&error));
    facts["subscriptions"] = trial.subscriptions().await.unwrap_or_else(|error| wrong(&error));
    facts
}

struct Trial<'a> {
    client: RunningService<RoleClient, Ear>,
    request: &'a Value,
}

/// What hears the server, and answers its questions.
#[derive(Debug, Clone)]
struct Ear {
    content: Value,
    asked: Arc<AtomicUsize>,
    reports: Arc<AtomicUsize>,
    updated: Arc<Notify>,
}

async fn connect(request: &Value) -> anyhow::Result<RunningService<RoleClient, Ear>> {
    let ear = Ear {
        content: request["content"].clone(),
        asked: Arc::default(),
        reports: Arc::default(),
        updated: Arc::default(),
    };
    let config =
        StreamableHttpClientTransportConfig::with_uri(text(&request["url"])).auth_header(text(&request["token"]));
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = match request["era"].as_str() {
        Some("legacy") => ClientLifecycleMode::Initialize,
        Some("auto") => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        _ => ClientLifecycleMode::Discover { preferred_versions },
    };
    let connecting = ear.serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), lifecycle);
    Ok(timeout(PATIENCE, connecting).await.context("the connection takes too long")??)
}

impl Trial<'_> {
    async fn tools(&self) -> anyhow::Result<Value> {
        let listed = self.client.list_all_tools().await?;
        let listed: Vec<&str> = listed.iter().map(|tool| tool.name.as_ref()).collect();
        Ok(json!({"listed": listed, "text": self.call(&self.request["tool"]).await?}))
    }

    async fn resources(&self) -> anyhow::Result<Value> {
        self.client.list_all_resources().await?;
        let read = self.client.read_resource(ReadResourceRequestParams::new(text(&self.request["resource"]))).await?;
        match read.contents.first() {
            Some(ResourceContents::TextResourceContents { text, .. }) => Ok(json!({"text": text})),
            other => bail!("no text but {other:?}"),
        }
    }

    async fn prompts(&self) -> anyhow::Result<Value> {
        self.client.list_all_prompts().await?;
        let prompt = self.client.get_prompt(GetPromptRequestParams::new(text(&self.request["prompt"]))).await?;
        Ok(json!({"messages": prompt.messages.len()}))
    }

    async fn progress(&self) -> anyhow::Result<Value> {
        self.call(&self.request["progress"]).await?;
        Ok(json!({"reports": self.client.service().reports.load(Ordering::Relaxed)}))
    }

    async fn elicitation(&self) -> anyhow::Result<Value> {
        let text = self.call(&self.request["elicitation"]).await?;
        Ok(json!({"text": text, "asked": self.client.service().asked.load(Ordering::Relaxed)}))
    }

    #[expect(deprecated, reason = "legacy sessions have nothing else")]
    async fn subscriptions(&self) -> anyhow::Result<Value> {
        let (uri, touch) = (text(&self.request["subscription"]["uri"]), &self.request["subscription"]["touch"]);
        let version = self.client.peer_info().map(|info| info.protocol_version.clone());
        if version.is_none_or(|version| version.has_initialize()) {
            self.client.subscribe(SubscribeRequestParams::new(uri.clone())).await?;
            self.call(touch).await?;
            let heard = timeout(PATIENCE / 3, self.client.service().updated.notified()).await;
            heard.context("nothing came")?;
            return Ok(json!({"uri": uri}));
        }
        let mut filter = SubscriptionFilter::default();
        filter.resource_subscriptions = Some(vec![uri]);
        let mut subscription = self.client.listen(filter).await?;
        self.call(touch).await?;
        match timeout(PATIENCE / 3, subscription.next()).await.context("nothing came")?? {
            Some(ServerNotification::ResourceUpdatedNotification(update)) => Ok(json!({"uri": update.params.uri})),
            other => bail!("no update but {other:?}"),
        }
    }

    async fn call(&self, step: &Value) -> anyhow::Result<String> {
        let mut params = CallToolRequestParams::new(text(&step["name"]));
        params.arguments = step["arguments"].as_object().cloned();
        let called: CallToolResult =
            timeout(PATIENCE / 3, self.client.call_tool(params)).await.context("no answer")??;
        Ok(called.content.iter().filter_map(|block| Some(block.as_text()?.text.as_str())).collect())
    }
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::builder().enable_elicitation().build(), Implementation::new("trial", "1"))
    }

    async fn create_elicitation(
        &self,
        _question: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(self.content.clone()))
    }

    async fn on_progress(&self, _report: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        self.reports.fetch_add(1, Ordering::Relaxed);
    }

    async fn on_resource_updated(
        &self,
        _update: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.updated.notify_one();
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("the trial names it").to_owned()
}

fn wrong(error: &anyhow::Error) -> Value {
    json!({"error": format!("{error:#}")})
}
