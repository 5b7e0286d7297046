//! What differs between the request that the agent sent and the one that a legacy server gets.
//!
//! Invariant: the server sees nothing of the modern era, and an id and a progress token that no other request of its
//! session has.

use crate::mcp::{
    json::Raw,
    message::{Edit, MetaValue, Params, Request, RequestId},
};

/// Keys of `_meta` that only the modern era knows begin with this.
const STRIPPED: [&str; 1] = ["io.modelcontextprotocol/"];
/// Members of params that only a retry has.
const LEFT_OUT: [&str; 2] = ["inputResponses", "requestState"];

/// How the server knows the request: one upstream session carries many requests of an agent, whose own ids may meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The id towards the server, and the progress token where the agent gave one.
    pub id: RequestId,
    /// The agent's progress token.
    pub progress_token: Option<Raw>,
}

impl Alias {
    /// `id` must be one that the upstream session has not seen.
    #[must_use]
    pub fn of(request: &Request, id: RequestId) -> Self {
        Self { id, progress_token: request.params.progress_token().cloned() }
    }

    /// The entries of `_meta` for the server: its progress token, and `more` of the gateway's own.
    #[must_use]
    pub fn meta<'a>(&'a self, more: &[(&'a str, MetaValue<'a>)]) -> Vec<(&'a str, MetaValue<'a>)> {
        let token = match (&self.progress_token, &self.id) {
            (None, _) => None,
            (Some(_), RequestId::Text(text)) => Some(("progressToken", MetaValue::Text(text))),
            (Some(_), RequestId::Integer(number)) => Some(("progressToken", MetaValue::Integer(*number))),
        };
        token.into_iter().chain(more.iter().copied()).collect()
    }

    /// How the request is written for the server; `meta` from [`Alias::meta`].
    #[must_use]
    pub fn edit<'a>(&'a self, name: Option<&'a str>, meta: &'a [(&'a str, MetaValue<'a>)]) -> Edit<'a> {
        Edit { id: Some(&self.id), name, strip_meta: &STRIPPED, without: &LEFT_OUT, meta, ..Edit::default() }
    }

    /// Whether `token` of a notification is the one that the server was given.
    #[must_use]
    pub fn is_token(&self, token: &Raw) -> bool {
        *token == self.id.to_raw()
    }
}

/// What identifies a call among its retries: its method and everything in its params but what retries add.
///
/// Members are in the order of their names, whatever the agent's writer does with them.
#[must_use]
pub fn canonical(method: &str, params: &Params) -> Vec<u8> {
    let mut members = std::collections::BTreeMap::new();
    for (key, value) in params.iter().filter(|(key, _)| *key != "_meta" && !LEFT_OUT.contains(key)) {
        // Values were validated when they were read; one that serde cannot take counts as written.
        let value = serde_json::from_slice(value.as_bytes())
            .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()));
        members.insert(key, value);
    }
    serde_json::json!([method, members]).to_string().into_bytes()
}
