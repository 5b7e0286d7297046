//! One delivered record, read.
//!
//! Invariant: a [`Fact`] can be stored: no text in it holds a NUL, no number leaves the range of its column, and its
//! day follows from its call id.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use tollgate_proto::{
    AgentId, ServerId, TeamId, TenantId, UserId,
    usage::v1::{Outcome, TokenMethod, UsageRecord},
};
use uuid::Uuid;

use super::reported::ReportedUsage;

/// A record as the database holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    /// `None` when the request named no tenant.
    pub(super) tenant: Option<TenantId>,
    pub(super) call_id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) agent_id: Option<Uuid>,
    pub(super) agent: String,
    pub(super) team_id: Option<Uuid>,
    pub(super) team: String,
    pub(super) cost_center: String,
    pub(super) server_id: Option<Uuid>,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) method: String,
    pub(super) protocol_version: String,
    pub(super) outcome: &'static str,
    pub(super) decision: String,
    pub(super) forwarded: bool,
    pub(super) http_status: i32,
    pub(super) rpc_error_code: Option<i64>,
    pub(super) input_bytes: i64,
    pub(super) output_bytes: i64,
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) duration_us: i64,
    pub(super) upstream_us: i64,
    pub(super) trace_id: String,
    pub(super) policy_revision: i64,
    /// `None` when the agent acted for itself.
    pub(super) user_id: Option<Uuid>,
    pub(super) user: String,
    pub(super) token_method: &'static str,
    pub(super) tokenizer: String,
    pub(super) images: i32,
    pub(super) audio: i32,
    pub(super) media_bytes: i64,
    /// `None` when its server reported nothing that was taken.
    pub(super) reported: Option<ReportedUsage>,
}

/// Why a record cannot be stored as a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("there is no record")]
    Absent,
    #[error("`call_id` is no UUIDv7")]
    CallId,
    #[error("`{0}` is no id of its kind")]
    Id(&'static str),
    #[error("`outcome` is unknown")]
    Outcome,
    #[error("`{0}` is out of range")]
    Number(&'static str),
    #[error("`{0}` is missing")]
    Unsaid(&'static str),
}

impl Fact {
    /// Reads a record as it was delivered.
    pub(super) fn read(record: &UsageRecord) -> Result<Self, Unreadable> {
        let (call_id, at) = call(&record.call_id)?;
        Ok(Self {
            tenant: id::<TenantId>("tenant_id", &record.tenant_id)?.map(TenantId::from),
            call_id,
            at,
            agent_id: id::<AgentId>("agent_id", &record.agent_id)?,
            agent: text(&record.agent),
            team_id: id::<TeamId>("team_id", &record.team_id)?,
            team: text(&record.team),
            cost_center: text(&record.cost_center),
            server_id: id::<ServerId>("server_id", &record.server_id)?,
            server: text(&record.server),
            tool: text(&record.tool),
            method: text(&record.method),
            protocol_version: text(&record.protocol_version),
            outcome: outcome(record.outcome).ok_or(Unreadable::Outcome)?,
            decision: text(&record.decision),
            forwarded: record.forwarded,
            http_status: Some(record.http_status)
                .filter(|status| *status >= 0)
                .ok_or(Unreadable::Number("http_status"))?,
            rpc_error_code: Some(record.rpc_error_code).filter(|code| *code != 0),
            input_bytes: count("input_bytes", record.input_bytes)?,
            output_bytes: count("output_bytes", record.output_bytes)?,
            input_tokens: count("input_tokens", record.input_tokens)?,
            output_tokens: count("output_tokens", record.output_tokens)?,
            duration_us: count("duration_us", record.duration_us)?,
            upstream_us: count("upstream_us", record.upstream_us)?,
            trace_id: text(&record.trace_id),
            policy_revision: count("policy_revision", record.policy_revision)?,
            user_id: id::<UserId>("user_id", &record.user_id)?,
            user: text(&record.user),
            token_method: token_method(record.token_method),
            tokenizer: text(&record.tokenizer),
            images: i32::try_from(record.images).map_err(|_| Unreadable::Number("images"))?,
            audio: i32::try_from(record.audio).map_err(|_| Unreadable::Number("audio"))?,
            media_bytes: count("media_bytes", record.media_bytes)?,
            reported: reported(record)?,
        })
    }

    /// The day of the call in UTC.
    pub(super) fn event_day(&self) -> NaiveDate {
        self.at.date_naive()
    }
}

fn call(text: &str) -> Result<(Uuid, DateTime<Utc>), Unreadable> {
    let call_id = Uuid::try_parse(text).map_err(|_| Unreadable::CallId)?;
    if call_id.get_version_num() != 7 {
        return Err(Unreadable::CallId);
    }
    let (seconds, nanos) = call_id.get_timestamp().ok_or(Unreadable::CallId)?.to_unix();
    let at = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanos));
    Ok((call_id, at.ok_or(Unreadable::CallId)?))
}

fn id<Id>(field: &'static str, text: &str) -> Result<Option<Uuid>, Unreadable>
where
    Id: std::str::FromStr + Into<Uuid>,
{
    match text {
        "" => Ok(None),
        text => text.parse::<Id>().map(|id| Some(id.into())).map_err(|_| Unreadable::Id(field)),
    }
}

/// Postgres' text holds no NUL. An agent can send one in the name of a tool, and its call still counts.
pub(super) fn text(text: &str) -> String {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) };
    text.into_owned()
}

pub(super) fn count(field: &'static str, value: u64) -> Result<i64, Unreadable> {
    i64::try_from(value).map_err(|_| Unreadable::Number(field))
}

/// What is not known any more was estimated once.
fn token_method(value: i32) -> &'static str {
    match TokenMethod::try_from(value) {
        Ok(TokenMethod::Exact) => "exact",
        Ok(TokenMethod::ServerReported) => "server_reported",
        Ok(TokenMethod::Unspecified | TokenMethod::Estimated) | Err(_) => "estimated",
    }
}

fn reported(record: &UsageRecord) -> Result<Option<ReportedUsage>, Unreadable> {
    let replaces = record.token_method() == TokenMethod::ServerReported;
    match &record.reported {
        Some(reported) => ReportedUsage::read(reported, replaces).map(Some),
        None if replaces => Err(Unreadable::Unsaid("reported")),
        None => Ok(None),
    }
}

fn outcome(value: i32) -> Option<&'static str> {
    match Outcome::try_from(value).ok()? {
        Outcome::Unspecified => None,
        Outcome::Ok => Some("ok"),
        Outcome::ToolError => Some("tool_error"),
        Outcome::RpcError => Some("rpc_error"),
        Outcome::Timeout => Some("timeout"),
        Outcome::UpstreamError => Some("upstream_error"),
        Outcome::Refused => Some("refused"),
        Outcome::Abandoned => Some("abandoned"),
        Outcome::Unknown => Some("unknown"),
        Outcome::CutOff => Some("cut_off"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Datelike as _;
    use tollgate_proto::CallId;

    use super::*;

    fn record() -> UsageRecord {
        UsageRecord {
            call_id: CallId::new().to_string(),
            outcome: Outcome::Ok.into(),
            decision: "allowed".to_owned(),
            ..UsageRecord::default()
        }
    }

    #[test]
    fn the_day_is_that_of_the_call_id() {
        // 2026-11-22T23:59:59.999Z and the millisecond after.
        for (millis, day) in [(1_795_391_999_999, 22), (1_795_392_000_000, 23)] {
            let call_id = uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().to_string();
            let fact = Fact::read(&UsageRecord { call_id, ..record() }).expect("readable");
            assert_eq!(fact.event_day().day(), day);
            assert_eq!(fact.at.timestamp_millis(), i64::try_from(millis).expect("fits"));
        }
    }

    #[test]
    fn what_cannot_be_stored_is_unreadable() {
        let agent = AgentId::new().to_string();
        let broken = [
            (UsageRecord { call_id: String::new(), ..record() }, Unreadable::CallId),
            (UsageRecord { call_id: Uuid::new_v4().to_string(), ..record() }, Unreadable::CallId),
            (UsageRecord { tenant_id: "default".to_owned(), ..record() }, Unreadable::Id("tenant_id")),
            (UsageRecord { user_id: agent.clone(), ..record() }, Unreadable::Id("user_id")),
            (UsageRecord { server_id: agent, ..record() }, Unreadable::Id("server_id")),
            (UsageRecord { outcome: 0, ..record() }, Unreadable::Outcome),
            (UsageRecord { outcome: 99, ..record() }, Unreadable::Outcome),
            (UsageRecord { http_status: -1, ..record() }, Unreadable::Number("http_status")),
            (UsageRecord { input_tokens: u64::MAX, ..record() }, Unreadable::Number("input_tokens")),
            (UsageRecord { images: u32::MAX, ..record() }, Unreadable::Number("images")),
            (
                UsageRecord { token_method: TokenMethod::ServerReported.into(), ..record() },
                Unreadable::Unsaid("reported"),
            ),
        ];
        for (record, reason) in broken {
            assert_eq!(Fact::read(&record), Err(reason));
        }
    }

    #[test]
    fn a_nul_in_a_tool_name_does_not_hide_the_call() {
        let fact = Fact::read(&UsageRecord { tool: "a\0b".to_owned(), ..record() }).expect("readable");
        assert_eq!(fact.tool, "a\u{fffd}b");
    }
}
