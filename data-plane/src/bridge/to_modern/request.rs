//! What differs between the request that the agent sent and the one that a modern server gets.
//!
//! Invariant: whatever the agent wrote where only the modern era means something is not what the server reads.

use crate::mcp::{
    json::Raw,
    message::{Edit, MetaValue, RequestId},
};

/// Keys of `_meta` that say what the introduction says, or what the other era alone knows, begin with this.
const STRIPPED: [&str; 1] = ["io.modelcontextprotocol/"];
/// Members of params that legacy tasks and modern retries have.
const LEFT_OUT: [&str; 3] = ["task", "inputResponses", "requestState"];

/// What a retry brings.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    /// The agent's answers, an object; absent where nothing was asked.
    pub input_responses: Option<Raw>,
    /// What the server wants back, as it gave it.
    pub request_state: Option<Raw>,
}

impl Retry {
    /// The members of params that it adds.
    #[must_use]
    pub fn members(&self) -> Vec<(&str, &Raw)> {
        let responses = self.input_responses.iter().map(|responses| ("inputResponses", responses));
        responses.chain(self.request_state.iter().map(|state| ("requestState", state))).collect()
    }
}

/// How the request is written for the server; `name` is the tool as the server knows it, `more` from
/// [`Retry::members`], `meta` from [`Introduction::meta`](super::Introduction::meta).
#[must_use]
pub fn edit<'a>(
    id: &'a RequestId,
    name: Option<&'a str>,
    more: &'a [(&'a str, &'a Raw)],
    meta: &'a [(&'a str, MetaValue<'a>)],
) -> Edit<'a> {
    Edit { id: Some(id), name, strip_meta: &STRIPPED, without: &LEFT_OUT, more, meta, ..Edit::default() }
}
