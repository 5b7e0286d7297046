//! Usage: the fact of every call, as data planes deliver it and people read it.
//!
//! - `intake.rs` stores what data planes deliver, each record once; `fact.rs` reads one record.
//! - `rollup.rs` keeps what records add up to; `report.rs` reads that, `recount.rs` counts it anew.
//! - `rerate.rs` charges records anew; what they were charged before stays.
//! - `terms.rs` is how each tenant's usage is counted and kept; `retention.rs` and `partitions.rs` are how records leave.
//! - The operations here list records; `api.rs` shows them and reports, `csv.rs` writes reports for spreadsheets.
//!
//! Invariant: a fact is never rewritten.

pub mod api;
pub(crate) mod csv;
mod fact;
mod intake;
pub mod partitions;
pub mod recount;
mod report;
mod reported;
pub mod rerate;
pub mod retention;
mod rollup;
mod sql;
pub mod terms;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use intake::UsageIntake;
pub use report::{Dimension, ReportRow, Summary, report, summary, time_zone};
pub use reported::{CountedTokens, ReportedCost, ReportedUsage};

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tollgate_proto::{AgentId, LimitId, PriceBookVersionId, ReratingId, ServerId, TenantId, UserId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{db::TenantTx, page::Page, resource::Labels};

/// One call, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsageRecord {
    /// UUIDv7; what `Tollgate-Call-Id` told the agent.
    pub call_id: Uuid,
    /// When the call arrived, by the clock of its data plane.
    pub at: DateTime<Utc>,
    /// The agent's name; empty when the caller was not identified.
    pub agent: String,
    /// `agt_…`.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The user that the agent acted for, by e-mail address; empty when it acted for itself.
    pub user: String,
    /// `usr_…`.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// The team that was charged: the user's, where the user had one at the time, else the agent's.
    pub team: String,
    /// The server's name; empty when the request named none.
    pub server: String,
    /// The tool as its server names it; empty when the request was no tool call.
    pub tool: String,
    /// The JSON-RPC method.
    pub method: String,
    /// The protocol version of the request.
    pub protocol_version: String,
    /// `ok`, `tool_error`, `rpc_error`, `timeout`, `upstream_error`, `refused`, `abandoned`, `cut_off` or `unknown`.
    pub outcome: String,
    /// `allowed`, or the reason code of the refusal.
    pub decision: String,
    /// The limit that refused it, of several the one that the refusal names: `lim_…`.
    #[schema(value_type = Option<String>)]
    pub limit_id: Option<LimitId>,
    /// Whether a server saw the call.
    pub forwarded: bool,
    /// What the agent was answered.
    pub http_status: i32,
    /// The JSON-RPC error code of the answer.
    pub rpc_error_code: Option<i64>,
    /// Of the request's arguments, or of the URI that it names.
    pub input_bytes: i64,
    /// Of the answer.
    pub output_bytes: i64,
    /// Of the request's arguments.
    pub input_tokens: i64,
    /// Of the result.
    pub output_tokens: i64,
    /// How the tokens were found out: `exact`, `estimated` or `server_reported`.
    pub token_method: String,
    /// What counted them, with its version; empty where nothing was counted exactly.
    #[schema(example = "o200k_base/bpe-openai-0.3.2")]
    pub tokenizer: String,
    /// Images in the result.
    pub images: i32,
    /// Pieces of audio in the result.
    pub audio: i32,
    /// Bytes of them and of other binary content, decoded.
    pub media_bytes: i64,
    /// What the server says that the call used; absent when it says nothing that was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<ReportedUsage>,
    /// From arrival to the last byte answered.
    pub duration_ms: f64,
    /// From the first byte sent to the server to its last byte.
    pub upstream_ms: f64,
    /// W3C trace id; empty when the call was not traced.
    pub trace_id: String,
    /// The policy revision that decided.
    pub policy_revision: i64,
    /// The call that this one is a round of, or asks about, where that is known.
    pub parent_call_id: Option<Uuid>,
    /// Whether the server asked for something instead of ending the call: another round follows.
    pub input_required: bool,
    /// The agent's labels at the time of the call.
    pub labels: Labels,
    /// What it costs: a decimal number, not rounded.
    #[schema(example = "0.0125")]
    pub cost: String,
    /// The currency of `cost` (ISO 4217); absent when no price book was in force for the team.
    pub currency: Option<String>,
    /// Whether it would be charged, and no price could be applied.
    pub unpriced: bool,
    /// The version of the price book that decided: `pbv_…`.
    #[schema(value_type = Option<String>)]
    pub price_book_version: Option<PriceBookVersionId>,
    /// Of a call that was charged anew: how it was rated at first and each time since. The last one counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ratings: Vec<UsageRating>,
}

/// How a call was rated at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageRating {
    /// A decimal number, not rounded.
    #[schema(example = "0.0125")]
    pub cost: String,
    /// The currency of `cost` (ISO 4217); absent when no price book was in force for the team.
    pub currency: Option<String>,
    /// Whether it would be charged, and no price could be applied.
    pub unpriced: bool,
    /// The version of the price book that decided: `pbv_…`.
    #[schema(value_type = Option<String>)]
    pub price_book_version: Option<PriceBookVersionId>,
    /// Why it was rated so; absent: when it was stored.
    pub rerating: Option<Rerating>,
}

/// Why a call was charged anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rerating {
    /// `rrt_…`.
    #[schema(value_type = String)]
    pub id: ReratingId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who asked for it.
    pub by: String,
    /// What for, in their words.
    pub reason: String,
}

/// One page of records.
pub type UsageRecordPage = Page<UsageRecord>;

/// Which records to list; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Name or id of the agent.
    pub agent: Option<String>,
    /// E-mail address or id of the user.
    pub user: Option<String>,
    /// Name or id of the server.
    pub server: Option<String>,
    /// The tool as its server names it.
    pub tool: Option<String>,
    /// `allowed` or a reason code.
    pub decision: Option<String>,
    /// `ok`, `refused`, …
    pub outcome: Option<String>,
}

impl Filter {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = [&self.agent, &self.user, &self.server, &self.tool, &self.decision, &self.outcome];
        texts.into_iter().filter_map(Option::as_deref)
    }
}

/// Where a list goes on: behind this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The record's time.
    pub at: DateTime<Utc>,
    /// Tells records of one millisecond apart.
    pub call_id: Uuid,
}

impl UsageRecord {
    /// Where a list goes on behind this record.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { at: self.at, call_id: self.call_id }
    }
}

/// The tenant's records, newest first: at most `limit`, behind `after`.
///
/// # Errors
/// When Postgres is away.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<UsageRecord>, sqlx::Error> {
    let tenant = tx.tenant();
    let (agent_id, agent) = id_or_name::<AgentId>(filter.agent.as_deref());
    let (server_id, server) = id_or_name::<ServerId>(filter.server.as_deref());
    let (user_id, user) = id_or_name::<UserId>(filter.user.as_deref());
    let wanted = sql::Wanted { agent_id, agent, user_id, user, server_id, server, filter, call_id: None, after, limit };
    sql::list(tx, tenant, wanted).await
}

/// How many batches of usage had something of each of the tenants: another number says that their sums are other ones.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn marks(
    connection: &mut PgConnection,
    tenants: &[TenantId],
) -> Result<HashMap<TenantId, i64>, sqlx::Error> {
    sql::marks(connection, tenants).await
}

/// The record of one call.
///
/// # Errors
/// When Postgres is away.
pub async fn get(tx: &mut TenantTx, call_id: Uuid) -> Result<Option<UsageRecord>, sqlx::Error> {
    let tenant = tx.tenant();
    let wanted = sql::Wanted {
        agent_id: None,
        agent: None,
        user_id: None,
        user: None,
        server_id: None,
        server: None,
        filter: &Filter::default(),
        call_id: Some(call_id),
        after: None,
        limit: 1,
    };
    Ok(sql::list(tx, tenant, wanted).await?.pop())
}

fn id_or_name<Id>(text: Option<&str>) -> (Option<Uuid>, Option<&str>)
where
    Id: std::str::FromStr + Into<Uuid>,
{
    match text.map(|text| text.parse::<Id>()) {
        Some(Ok(id)) => (Some(id.into()), None),
        Some(Err(_)) | None => (None, text),
    }
}
