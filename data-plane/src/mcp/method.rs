//! The closed table of methods: which era knows each, what it carries and what it means for authorization.
//!
//! Invariant: a text that is not in the table is no method, and a request's method is never a notification's;
//! whoever asks the table by era denies by default.

use super::version::Era;

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

const METHODS: [Method; 15] = [
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
];

const NOTICES: [Notice; 4] = [Notice::Initialized, Notice::Cancelled, Notice::Progress, Notice::RootsListChanged];

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
        }
    }

    /// Whether the revisions of `era` define this method.
    #[must_use]
    pub fn is_known_in(self, era: Era) -> bool {
        match self {
            Self::Discover | Self::SubscriptionsListen => era == Era::Modern,
            Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe => era == Era::Legacy,
            _ => true,
        }
    }

    /// What its params name.
    #[must_use]
    pub fn carries(self) -> Carries {
        match self {
            Self::ToolsCall => Carries::ToolName,
            Self::PromptsGet => Carries::PromptName,
            Self::ResourcesRead | Self::ResourcesSubscribe | Self::ResourcesUnsubscribe => Carries::ResourceUri,
            Self::CompletionComplete => Carries::Reference,
            Self::ToolsList => Carries::List(ListKind::Tools),
            Self::PromptsList => Carries::List(ListKind::Prompts),
            Self::ResourcesList => Carries::List(ListKind::Resources),
            Self::ResourceTemplatesList => Carries::List(ListKind::ResourceTemplates),
            Self::Discover | Self::Initialize | Self::Ping | Self::LoggingSetLevel | Self::SubscriptionsListen => {
                Carries::Nothing
            }
        }
    }

    /// What it does.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead | Self::CompletionComplete => Effect::Executing,
            Self::Discover
            | Self::ToolsList
            | Self::PromptsList
            | Self::ResourcesList
            | Self::ResourceTemplatesList => Effect::Discovery,
            Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::SubscriptionsListen => Effect::Conversation,
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

    /// Whether a modern request of this method must mirror `params.name` or `params.uri` in `Mcp-Name`
    /// (2026-07-28, basic/transports/streamable-http).
    #[must_use]
    pub fn has_name_header(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }
}

impl ListKind {
    /// The member of the result that holds the list.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_notice_reads_back_from_its_name() {
        for method in METHODS {
            assert_eq!(Method::parse(method.as_str()), Some(method));
            assert_eq!(Notice::parse(method.as_str()), None);
        }
        for notice in NOTICES {
            assert_eq!(Notice::parse(notice.as_str()), Some(notice));
            assert_eq!(Method::parse(notice.as_str()), None);
        }
    }

    #[test]
    fn the_modern_wire_does_not_know_what_2026_07_28_removed() {
        for gone in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
            assert_eq!(Method::parse_in(Era::Modern, gone), None, "{gone}");
            assert!(Method::parse_in(Era::Legacy, gone).is_some(), "{gone}");
        }
        for new in ["server/discover", "subscriptions/listen"] {
            assert!(Method::parse_in(Era::Modern, new).is_some(), "{new}");
            assert_eq!(Method::parse_in(Era::Legacy, new), None, "{new}");
        }
    }

    #[test]
    fn near_misses_are_no_methods() {
        for text in ["Tools/Call", "tools/call ", "tools//call", "tools/calls", "", "tasks/get", "rpc.discover"] {
            assert_eq!(Method::parse(text), None, "{text}");
        }
    }

    #[test]
    fn exactly_four_methods_execute() {
        let executing: Vec<_> =
            METHODS.into_iter().filter(|method| method.is_executing()).map(Method::as_str).collect();
        assert_eq!(executing, ["tools/call", "prompts/get", "resources/read", "completion/complete"]);
    }
}
