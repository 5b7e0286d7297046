//! What servers send by themselves: requests in the middle of a call, and notifications.
//!
//! Invariant: the tables are closed. What is not in them is nothing that an agent of any era would understand, and
//! goes nowhere.

use crate::mcp::version::Era;

/// A request of a server to an agent. The modern era has none on the wire: there it stands in an `input_required`
/// result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerRequest {
    /// `ping`.
    Ping,
    /// `sampling/createMessage`.
    CreateMessage,
    /// `elicitation/create`.
    Elicit,
    /// `roots/list`.
    ListRoots,
    /// `tasks/get`, of a task that the agent runs for the server.
    TasksGet,
    /// `tasks/result`.
    TasksResult,
    /// `tasks/list`.
    TasksList,
    /// `tasks/cancel`.
    TasksCancel,
}

/// A notification of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerNotice {
    /// `notifications/cancelled`.
    Cancelled,
    /// `notifications/progress`.
    Progress,
    /// `notifications/message`: a line of its log.
    Message,
    /// `notifications/tools/list_changed`.
    ToolsListChanged,
    /// `notifications/prompts/list_changed`.
    PromptsListChanged,
    /// `notifications/resources/list_changed`.
    ResourcesListChanged,
    /// `notifications/resources/updated`.
    ResourceUpdated,
    /// `notifications/elicitation/complete` (legacy).
    ElicitationComplete,
    /// `notifications/tasks/status` (legacy).
    TaskStatus,
    /// `notifications/tasks` (modern, extension).
    Tasks,
    /// `notifications/subscriptions/acknowledged` (modern).
    SubscriptionsAcknowledged,
}

const REQUESTS: [ServerRequest; 8] = [
    ServerRequest::Ping,
    ServerRequest::CreateMessage,
    ServerRequest::Elicit,
    ServerRequest::ListRoots,
    ServerRequest::TasksGet,
    ServerRequest::TasksResult,
    ServerRequest::TasksList,
    ServerRequest::TasksCancel,
];

const NOTICES: [ServerNotice; 11] = [
    ServerNotice::Cancelled,
    ServerNotice::Progress,
    ServerNotice::Message,
    ServerNotice::ToolsListChanged,
    ServerNotice::PromptsListChanged,
    ServerNotice::ResourcesListChanged,
    ServerNotice::ResourceUpdated,
    ServerNotice::ElicitationComplete,
    ServerNotice::TaskStatus,
    ServerNotice::Tasks,
    ServerNotice::SubscriptionsAcknowledged,
];

impl ServerRequest {
    /// The request of this method, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        REQUESTS.into_iter().find(|request| request.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::CreateMessage => "sampling/createMessage",
            Self::Elicit => "elicitation/create",
            Self::ListRoots => "roots/list",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
            Self::TasksCancel => "tasks/cancel",
        }
    }

    /// Whether it can stand in an `input_required` result (2026-07-28, basic/patterns/mrtr).
    #[must_use]
    pub fn is_input(self) -> bool {
        matches!(self, Self::CreateMessage | Self::Elicit | Self::ListRoots)
    }
}

impl ServerNotice {
    /// The notification of this method, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        NOTICES.into_iter().find(|notice| notice.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::Message => "notifications/message",
            Self::ToolsListChanged => "notifications/tools/list_changed",
            Self::PromptsListChanged => "notifications/prompts/list_changed",
            Self::ResourcesListChanged => "notifications/resources/list_changed",
            Self::ResourceUpdated => "notifications/resources/updated",
            Self::ElicitationComplete => "notifications/elicitation/complete",
            Self::TaskStatus => "notifications/tasks/status",
            Self::Tasks => "notifications/tasks",
            Self::SubscriptionsAcknowledged => "notifications/subscriptions/acknowledged",
        }
    }

    /// Whether the revisions of `era` have it over HTTP.
    #[must_use]
    pub fn is_known_in(self, era: Era) -> bool {
        match self {
            Self::Cancelled | Self::ElicitationComplete | Self::TaskStatus => era == Era::Legacy,
            Self::Tasks | Self::SubscriptionsAcknowledged => era == Era::Modern,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_send_reads_back_from_its_name() {
        for request in REQUESTS {
            assert_eq!(ServerRequest::parse(request.as_str()), Some(request));
        }
        for notice in NOTICES {
            assert_eq!(ServerNotice::parse(notice.as_str()), Some(notice));
        }
        assert_eq!(ServerRequest::parse("tools/call"), None);
        assert_eq!(ServerNotice::parse("notifications/initialized"), None);
    }

    #[test]
    fn three_requests_can_wait_for_input() {
        let inputs: Vec<_> = REQUESTS.into_iter().filter(|request| request.is_input()).collect();
        assert_eq!(inputs, [ServerRequest::CreateMessage, ServerRequest::Elicit, ServerRequest::ListRoots]);
    }

    #[test]
    fn every_notice_is_known_in_one_era_at_least() {
        for notice in NOTICES {
            assert!(notice.is_known_in(Era::Legacy) || notice.is_known_in(Era::Modern), "{notice:?}");
        }
    }
}
