//! Rules: which agents get a team and scopes at the moment they register.
//!
//! Invariant: a rule about a host matches only when every address of the agent is at that host, so that nobody slips
//! one of theirs in beside a trusted one.

use serde::{Deserialize, Serialize};
use tollgate_proto::Name;
use utoipa::ToSchema;

use crate::agents::Origin;

/// What agents that match get at registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which agents; all of them when empty.
    pub r#match: RuleMatch,
    /// Their team; the default team when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// What they are granted; nothing when empty.
    #[serde(default)]
    #[schema(max_items = 200, example = json!(["demo:*"]))]
    pub scopes: Vec<String>,
}

/// What an agent has to be. Everything that is given has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleMatch {
    /// The host of its `client_id`, if that is a URL, and of each of its redirect URIs is this one or below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "claude.ai")]
    pub host: Option<String>,
    /// The name that it gives itself, letter by letter. Anyone may choose any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Claude")]
    pub client_name: Option<String>,
    /// How it came: `client_document` or `registration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// An agent that is about to be registered, as rules see it.
#[derive(Debug)]
pub struct Newcomer<'a> {
    /// How it came.
    pub origin: Origin,
    /// What it calls itself.
    pub client_name: Option<&'a str>,
    /// The host of its `client_id`, if that is a URL, and of every redirect URI. `None` stands for an address without
    /// a host, such as an app's own scheme.
    pub hosts: Vec<Option<String>>,
}

impl RuleMatch {
    /// Whether the agent is one of those that are meant.
    #[must_use]
    pub fn fits(&self, newcomer: &Newcomer<'_>) -> bool {
        let within = |suffix: &String| {
            let at = |host: &Option<String>| host.as_deref().is_some_and(|host| is_within(host, suffix));
            !newcomer.hosts.is_empty() && newcomer.hosts.iter().all(at)
        };
        self.host.as_ref().is_none_or(within)
            && self.client_name.as_deref().is_none_or(|name| newcomer.client_name == Some(name))
            && self.origin.is_none_or(|origin| origin == newcomer.origin)
    }
}

/// Whether `host` is `suffix` or below it.
pub(super) fn is_within(host: &str, suffix: &str) -> bool {
    let host = host.trim_end_matches('.');
    let start = host.len().checked_sub(suffix.len());
    start.is_some_and(|start| {
        host.is_char_boundary(start)
            && host[start..].eq_ignore_ascii_case(suffix)
            && (start == 0 || host[..start].ends_with('.'))
    })
}
