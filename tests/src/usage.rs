//! The usage ledger, as the REST API shows it.
//!
//! Invariant: a story waits for the records it expects; that there are no more of them it sees in what it gets.

use serde::Deserialize;

use crate::{deployment::Deployment, wait::eventually};

/// One record.
#[derive(Debug, Clone, Deserialize)]
pub struct UsageRecord {
    /// As in `Tollgate-Call-Id`.
    pub call_id: String,
    /// The agent's name; empty or absent when the caller was not identified.
    #[serde(default)]
    pub agent: Option<String>,
    /// E-mail address of the user that the agent acted for.
    #[serde(default)]
    pub user: Option<String>,
    /// The team that was charged.
    #[serde(default)]
    pub team: Option<String>,
    /// The server's name.
    #[serde(default)]
    pub server: Option<String>,
    /// The tool, as the server names it.
    #[serde(default)]
    pub tool: Option<String>,
    /// JSON-RPC method.
    #[serde(default)]
    pub method: Option<String>,
    /// `allowed`, or the reason of the refusal.
    pub decision: String,
    /// How it ended.
    pub outcome: String,
    /// Whether a server saw it.
    pub forwarded: bool,
    /// The policy revision that decided.
    #[serde(default)]
    pub policy_revision: i64,
    /// HTTP status that the agent got.
    pub http_status: i64,
    /// Tokens of the arguments.
    pub input_tokens: i64,
    /// Tokens of the result.
    pub output_tokens: i64,
    /// `exact`, `estimated` or `server_reported`.
    pub token_method: String,
    /// What counted.
    pub tokenizer: String,
    /// Images in the result.
    pub images: i64,
    /// Pieces of audio in the result.
    pub audio: i64,
    /// Bytes of binary content.
    pub media_bytes: i64,
    /// What the server reported, where it was taken.
    #[serde(default)]
    pub reported: serde_json::Value,
    /// JSON-RPC error code that the agent got.
    #[serde(default)]
    pub rpc_error_code: Option<i64>,
    /// What it costs: a decimal number, not rounded.
    pub cost: String,
    /// The call that this one belongs to.
    #[serde(default)]
    pub parent_call_id: Option<String>,
    /// Whether the server asked for something instead of ending the call.
    #[serde(default)]
    pub input_required: bool,
}

impl Deployment {
    /// Every usage record of tenant `default`, newest first.
    pub async fn usage(&self) -> Vec<UsageRecord> {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("usage-records?limit=500{cursor}")).await;
            let items: Vec<UsageRecord> =
                serde_json::from_value(page["items"].clone()).unwrap_or_else(|error| panic!("{error}: {page}"));
            records.extend(items);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return records,
            }
        }
    }

    /// Waits for the record of a call.
    pub async fn usage_of(&self, call_id: &str) -> UsageRecord {
        eventually(&format!("the usage record of {call_id}"), || async {
            let mut found: Vec<_> = self.usage().await.into_iter().filter(|record| record.call_id == call_id).collect();
            assert!(found.len() < 2, "call {call_id} was recorded {} times", found.len());
            found.pop()
        })
        .await
    }

    /// Waits until all of these calls are recorded, and returns the records of tool calls.
    pub async fn usage_with(&self, call_ids: &[String]) -> Vec<UsageRecord> {
        eventually("the usage records", || async {
            let records = self.usage().await;
            let all = call_ids.iter().all(|id| records.iter().any(|record| record.call_id == *id));
            all.then(|| records.into_iter().filter(|record| record.method.as_deref() == Some("tools/call")).collect())
        })
        .await
    }
}
