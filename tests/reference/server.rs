//! The table of methods.
//!
//! Invariant: what is advertised is what is answered, in the eras that are spoken.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
        GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams, GetSkillResult, GetTaskParams, GetTaskResult,
        Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult,
        ListToolsResult, LoggingLevel, PaginatedRequestParams, ProtocolVersion, ReadResourceDirectoryRequestParams,
        ReadResourceDirectoryResult, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec,
        ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
    task_manager::TaskManager,
};

use crate::{eras::Eras, library, listeners::Listeners, skills, tools};

/// How long lists and contents may be kept.
pub(crate) const TTL_MS: u64 = 60_000;

/// What all sessions and requests have in common.
pub(crate) struct Shared {
    pub(crate) eras: Eras,
    pub(crate) listeners: Listeners,
    pub(crate) tasks: TaskManager,
    /// Seals what a modern call keeps between its rounds.
    pub(crate) state: RequestStateCodec,
}

/// One legacy session, or one modern request.
pub(crate) struct Reference {
    pub(crate) shared: Arc<Shared>,
    /// The session's number among the listeners.
    number: u64,
    /// The least severe log message that a legacy session wants.
    pub(crate) log_level: Mutex<LoggingLevel>,
}

impl Shared {
    pub(crate) fn new(eras: Eras) -> Self {
        let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        Self {
            eras,
            listeners: Listeners::default(),
            tasks: TaskManager::new(),
            state: RequestStateCodec::try_new(key).expect("32 bytes are enough for a key"),
        }
    }
}

impl Reference {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let number = shared.listeners.number();
        Self { shared, number, log_level: Mutex::new(LoggingLevel::Debug) }
    }
}

impl ServerHandler for Reference {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_completions()
            .enable_logging()
            .enable_tasks()
            .enable_skills_with_directory_read()
            .build();
        if self.shared.eras == Eras::LegacyOnly {
            // Extensions came with 2026-07-28.
            capabilities.extensions = None;
        }
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("tollgate-reference-server", "1.0.0"))
            .with_instructions("Everything that a client can ask of a server, to try clients and gateways with.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Owned(self.shared.eras.versions())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.shared.listeners.session_began(self.number, context.peer);
    }

    async fn set_level(&self, request: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    // What follows is one line per method.

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListToolsResult, ErrorData> {
        let result = ListToolsResult { tools: tools::list(), ..Default::default() };
        Ok(result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, request, &context).await
    }

    async fn get_task(&self, request: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.shared.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }

    async fn list_resources(&self, _: Paginated, _: Context) -> Result<ListResourcesResult, ErrorData> {
        Ok(library::resources())
    }

    async fn list_resource_templates(
        &self,
        _: Paginated,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(library::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        library::read(&request.uri).map(Into::into)
    }

    async fn subscribe(&self, request: SubscribeRequestParams, context: Context) -> Result<(), ErrorData> {
        self.shared.listeners.subscribe(self.number, context.peer, &request.uri);
        Ok(())
    }

    async fn unsubscribe(&self, request: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        self.shared.listeners.unsubscribe(self.number, &request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.shared.listeners.listen(&subscription).await;
        Ok(())
    }

    async fn list_prompts(&self, _: Paginated, _: Context) -> Result<ListPromptsResult, ErrorData> {
        Ok(library::prompts())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        library::prompt(request, &context).await
    }

    async fn complete(&self, request: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        library::complete(&request)
    }

    async fn list_skills(&self, _: Paginated, _: Context) -> Result<ListSkillsResult, ErrorData> {
        Ok(skills::list())
    }

    async fn get_skill(&self, request: GetSkillRequestParams, _: Context) -> Result<GetSkillResult, ErrorData> {
        skills::get(&request.uri)
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _: Context,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        skills::directory(&request.uri)
    }
}

type Context = RequestContext<RoleServer>;
type Paginated = Option<PaginatedRequestParams>;
