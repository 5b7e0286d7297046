//! The closed table of methods: which era knows each, what it carries and what it means for authorization. What
//! servers send has a table of its own.
//!
//! Beside the core of each revision it has the extensions that can be governed: `io.modelcontextprotocol/tasks` and
//! the experimental tasks of 2025-11-25 before it, and `io.modelcontextprotocol/skills`.
//!
//! Invariant: a text that is not in the table is no method, and a request's method is never a notification's;
//! whoever asks the table by era denies by default.

mod server;

#[cfg(test)]
mod tests;

use super::{message::Params, version::Era};

pub use server::{ServerNotice, ServerRequest};

/// A request that an agent may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `server/discover`: what the server is and can do (modern).
    Discover,
    /// `initialize`: opens a session (legacy).
    Initialize,
    /// `ping` (legacy).
    Ping,
    /// `logging/setLevel` (legacy).
    LoggingSetLevel,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`.
    ToolsCall,
    /// `prompts/list`.
    PromptsList,
    /// `prompts/get`.
    PromptsGet,
    /// `resources/list`.
    ResourcesList,
    /// `resources/templates/list`.
    ResourceTemplatesList,
    /// `resources/read`.
    ResourcesRead,
    /// `resources/subscribe` (legacy).
    ResourcesSubscribe,
    /// `resources/unsubscribe` (legacy).
    ResourcesUnsubscribe,
    /// `completion/complete`.
    CompletionComplete,
    /// `subscriptions/listen` (modern).
    SubscriptionsListen,
    /// `tasks/get`: how a task stands.
    TasksGet,
    /// `tasks/result`: what came of a task (legacy).
    TasksResult,
    /// `tasks/list` (legacy).
    TasksList,
    /// `tasks/update`: what a task has asked for (modern).
    TasksUpdate,
    /// `tasks/cancel`.
    TasksCancel,
    /// `skills/list`.
    SkillsList,
    /// `skills/get`.
    SkillsGet,
    /// `resources/directory/read`: the files of a skill.
    ResourcesDirectoryRead,
}

/// A notification that an agent may send. All of them are legacy: the modern era has none over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// `notifications/initialized`.
    Initialized,
    /// `notifications/cancelled`.
    Cancelled,
    /// `notifications/progress`.
    Progress,
    /// `notifications/roots/list_changed`.
    RootsListChanged,
    /// `notifications/tasks/status`: how a task stands that the agent runs for a server.
    TaskStatus,
}

/// What the params of a method name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carries {
    /// `params.name` is a tool.
    ToolName,
    /// `params.name` is a prompt.
    PromptName,
    /// `params.uri` is a resource.
    ResourceUri,
    /// `params.ref` is a prompt or a resource template.
    Reference,
    /// `params.taskId` is a task, which belongs to whoever's call made it.
    TaskId,
    /// `params.cursor` may be there, and the answer is a list of this kind.
    List(ListKind),
    /// Nothing that is authorized by itself.
    Nothing,
}

/// What a list method lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `tools`.
    Tools,
    /// `prompts`.
    Prompts,
    /// `resources`.
    Resources,
    /// `resourceTemplates`.
    ResourceTemplates,
    /// `skills`.
    Skills,
}

/// What a method does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Has the server do something or hand something out.
    Executing,
    /// Says what is there.
    Discovery,
    /// Keeps the conversation itself.
    Conversation,
}

const METHODS: [Method; 23] = [
    Method::Discover,
    Method::Initialize,
    Method::Ping,
    Method::LoggingSetLevel,
    Method::ToolsList,
    Method::ToolsCall,
    Method::PromptsList,
    Method::PromptsGet,
    Method::ResourcesList,
    Method::ResourceTemplatesList,
    Method::ResourcesRead,
    Method::ResourcesSubscribe,
    Method::ResourcesUnsubscribe,
    Method::CompletionComplete,
    Method::SubscriptionsListen,
    Method::TasksGet,
    Method::TasksResult,
    Method::TasksList,
    Method::TasksUpdate,
    Method::TasksCancel,
    Method::SkillsList,
    Method::SkillsGet,
    Method::ResourcesDirectoryRead,
];

const NOTICES: [Notice; 5] =
    [Notice::Initialized, Notice::Cancelled, Notice::Progress, Notice::RootsListChanged, Notice::TaskStatus];

impl Method {
    /// The method of this name, byte for byte, in whichever era; see [`Self::parse_in`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        METHODS.into_iter().find(|method| method.as_str() == text)
    }

    /// The method of this name if `era` knows it.
    #[must_use]
    pub fn parse_in(era: Era, text: &str) -> Option<Self> {
        Self::parse(text).filter(|method| method.is_known_in(era))
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "server/discover",
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::ResourceTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::CompletionComplete => "completion/complete",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::SkillsList => "skills/list",
            Self::SkillsGet => "skills/get",
            Self::ResourcesDirectoryRead => "resources/directory/read",
        }
    }

    /// Whether the revisions of `era` define this method.
    #[must_use]
    pub fn is_known_in(self, era: Era) -> bool {
        match self {
            Self::Discover | Self::SubscriptionsListen | Self::TasksUpdate => era == Era::Modern,
            Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::TasksResult
            | Self::TasksList => era == Era::Legacy,
            _ => true,
        }
    }

    /// What its params name.
    #[must_use]
    pub fn carries(self) -> Carries {
        match self {
            Self::ToolsCall => Carries::ToolName,
            Self::PromptsGet => Carries::PromptName,
            Self::ResourcesRead
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::SkillsGet
            | Self::ResourcesDirectoryRead => Carries::ResourceUri,
            Self::TasksGet | Self::TasksResult | Self::TasksUpdate | Self::TasksCancel => Carries::TaskId,
            Self::CompletionComplete => Carries::Reference,
            Self::ToolsList => Carries::List(ListKind::Tools),
            Self::PromptsList => Carries::List(ListKind::Prompts),
            Self::ResourcesList => Carries::List(ListKind::Resources),
            Self::ResourceTemplatesList => Carries::List(ListKind::ResourceTemplates),
            Self::SkillsList => Carries::List(ListKind::Skills),
            Self::Discover
            | Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::SubscriptionsListen
            | Self::TasksList => Carries::Nothing,
        }
    }

    /// What it does.
    ///
    /// What is done with a task is neither counted nor charged again: the call that made it was.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Self::ToolsCall
            | Self::PromptsGet
            | Self::ResourcesRead
            | Self::CompletionComplete
            | Self::SkillsGet
            | Self::ResourcesDirectoryRead => Effect::Executing,
            Self::Discover
            | Self::ToolsList
            | Self::PromptsList
            | Self::ResourcesList
            | Self::ResourceTemplatesList
            | Self::SkillsList
            | Self::TasksList => Effect::Discovery,
            Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::SubscriptionsListen
            | Self::TasksGet
            | Self::TasksResult
            | Self::TasksUpdate
            | Self::TasksCancel => Effect::Conversation,
        }
    }

    /// Whether it has the server do something or hand something out.
    #[must_use]
    pub fn is_executing(self) -> bool {
        self.effect() == Effect::Executing
    }

    /// Whether it only says what is there.
    #[must_use]
    pub fn is_discovery(self) -> bool {
        self.effect() == Effect::Discovery
    }

    /// Whether a modern request of this method must mirror what it names in `Mcp-Name` (2026-07-28,
    /// basic/transports/streamable-http; for tasks their extension).
    #[must_use]
    pub fn has_name_header(self) -> bool {
        let is_read = matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead);
        is_read || matches!(self, Self::TasksGet | Self::TasksUpdate | Self::TasksCancel)
    }

    /// What a request of this method names by itself: a tool, a prompt, a resource or a task.
    #[must_use]
    pub fn named(self, params: &Params) -> Option<&str> {
        match self.carries() {
            Carries::ToolName | Carries::PromptName => params.name(),
            Carries::ResourceUri => params.uri(),
            Carries::TaskId => params.task_id(),
            Carries::Reference | Carries::List(_) | Carries::Nothing => None,
        }
    }

    /// What a modern request of this method has in `Mcp-Name`, before it is encoded.
    #[must_use]
    pub fn mirrored_name(self, params: &Params) -> Option<&str> {
        self.named(params).filter(|_| self.has_name_header())
    }
}

impl ListKind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates, Self::Skills];

    /// The method that asks for it.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Tools => Method::ToolsList,
            Self::Prompts => Method::PromptsList,
            Self::Resources => Method::ResourcesList,
            Self::ResourceTemplates => Method::ResourceTemplatesList,
            Self::Skills => Method::SkillsList,
        }
    }

    /// The member of the result that holds the list.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Skills => "skills",
        }
    }
}

impl Notice {
    /// The notification of this name, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        NOTICES.into_iter().find(|notice| notice.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "notifications/initialized",
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::RootsListChanged => "notifications/roots/list_changed",
            Self::TaskStatus => "notifications/tasks/status",
        }
    }
}
