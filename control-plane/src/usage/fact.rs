//! One delivered record, read.
//!
//! Invariant: a [`Fact`] can be stored and added up: no text in it holds a NUL, no count is beyond [`COUNT_MAX`], and its
//! day follows from its call id.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, NaiveDate, Utc};
use tollgate_proto::{
    AgentId, Currency, LimitId, ServerId, TeamId, TenantId, UserId,
    rating::{Books, Call, Ending, Quantities, Rating},
    usage::v1::{Outcome, TokenMethod, UsageRecord},
};
use uuid::Uuid;

use super::reported::ReportedUsage;
use crate::resource::labels;

/// The largest of bytes, tokens and microseconds that is believed of one call: a petabyte, or 35 years.
pub(super) const COUNT_MAX: i64 = 1 << 50;
const REFUSED: &str = "refused";

/// A record as the database holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    /// `None` when the request named no tenant.
    pub(super) tenant: Option<TenantId>,
    pub(super) call_id: Uuid,
    pub(super) parent_call_id: Option<Uuid>,
    pub(super) at: DateTime<Utc>,
    pub(super) combination: Combination,
    pub(super) protocol_version: String,
    pub(super) decision: String,
    /// The limit that refused it.
    pub(super) limit_id: Option<Uuid>,
    pub(super) input_required: bool,
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
    pub(super) token_method: &'static str,
    pub(super) tokenizer: String,
    pub(super) images: i32,
    pub(super) audio: i32,
    pub(super) media_bytes: i64,
    /// `None` when its server reported nothing that was taken.
    pub(super) reported: Option<ReportedUsage>,
    /// What it costs, once it was rated.
    pub(super) rating: Rating,
}

/// What a call has in common with those that it is counted with. Names are those at the time of the call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Combination {
    pub(super) team_id: Option<Uuid>,
    pub(super) team: String,
    pub(super) cost_center: String,
    pub(super) agent_id: Option<Uuid>,
    pub(super) agent: String,
    /// `None` when the agent acted for itself.
    pub(super) user_id: Option<Uuid>,
    pub(super) user: String,
    pub(super) server_id: Option<Uuid>,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) method: String,
    pub(super) outcome: Cow<'static, str>,
    /// Of what it cost; empty when nothing has a price.
    pub(super) currency: String,
    /// The agent's.
    pub(super) labels: BTreeMap<String, String>,
}

/// Why a record is put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unstorable {
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
    #[error("`labels` has too many labels, or too long ones")]
    Labels,
    #[error("the call is more than an hour ahead of this control plane's clock")]
    Future,
    #[error("records of its time are no longer kept, so that nobody can tell whether it was stored before")]
    Expired,
}

impl Unstorable {
    /// What metrics call it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Absent | Self::CallId | Self::Id(_) | Self::Outcome | Self::Unsaid(_) => "unreadable",
            Self::Number(_) | Self::Labels => "out_of_range",
            Self::Future => "future",
            Self::Expired => "expired",
        }
    }
}

impl Fact {
    /// Reads a record as it was delivered.
    pub(super) fn read(record: &UsageRecord) -> Result<Self, Unstorable> {
        let (call_id, at) = call(&record.call_id)?;
        Ok(Self {
            tenant: id::<TenantId>("tenant_id", &record.tenant_id)?.map(TenantId::from),
            call_id,
            parent_call_id: id::<Uuid>("parent_call_id", &record.parent_call_id)?,
            at,
            combination: Combination::read(record)?,
            protocol_version: text(&record.protocol_version),
            decision: text(&record.decision),
            limit_id: id::<LimitId>("limit_id", &record.limit_id)?,
            input_required: record.input_required,
            forwarded: record.forwarded,
            http_status: Some(record.http_status)
                .filter(|status| *status >= 0)
                .ok_or(Unstorable::Number("http_status"))?,
            rpc_error_code: Some(record.rpc_error_code).filter(|code| *code != 0),
            input_bytes: count("input_bytes", record.input_bytes)?,
            output_bytes: count("output_bytes", record.output_bytes)?,
            input_tokens: count("input_tokens", record.input_tokens)?,
            output_tokens: count("output_tokens", record.output_tokens)?,
            duration_us: count("duration_us", record.duration_us)?,
            upstream_us: count("upstream_us", record.upstream_us)?,
            trace_id: text(&record.trace_id),
            policy_revision: i64::try_from(record.policy_revision)
                .map_err(|_| Unstorable::Number("policy_revision"))?,
            token_method: token_method(record.token_method),
            tokenizer: text(&record.tokenizer),
            images: i32::try_from(record.images).map_err(|_| Unstorable::Number("images"))?,
            audio: i32::try_from(record.audio).map_err(|_| Unstorable::Number("audio"))?,
            media_bytes: count("media_bytes", record.media_bytes)?,
            reported: reported(record)?,
            rating: Rating::default(),
        })
    }

    /// Says what it costs.
    pub(super) fn rate(&mut self, books: &Books) {
        let of = &self.combination;
        self.rating = books.rate(&Call {
            at: self.at,
            team: &of.team,
            server: &of.server,
            tool: &of.tool,
            method: &of.method,
            forwarded: self.forwarded,
            ending: if self.input_required { Ending::InputRequired } else { Ending::of(&of.outcome) },
            quantities: Quantities {
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
                upstream_us: self.upstream_us,
                bytes: self.input_bytes + self.output_bytes,
            },
            reported: self.reported.as_ref().and_then(ReportedUsage::billed_cost),
        });
        self.combination.currency = self.rating.currency.map(Currency::code).unwrap_or_default().to_owned();
    }

    /// The day of the call in UTC.
    pub(super) fn event_day(&self) -> NaiveDate {
        self.at.date_naive()
    }

    /// Whether it was turned away.
    pub(super) fn is_refused(&self) -> bool {
        self.combination.outcome == REFUSED
    }
}

impl Combination {
    fn read(record: &UsageRecord) -> Result<Self, Unstorable> {
        Ok(Self {
            team_id: id::<TeamId>("team_id", &record.team_id)?,
            team: text(&record.team),
            cost_center: text(&record.cost_center),
            agent_id: id::<AgentId>("agent_id", &record.agent_id)?,
            agent: text(&record.agent),
            user_id: id::<UserId>("user_id", &record.user_id)?,
            user: text(&record.user),
            server_id: id::<ServerId>("server_id", &record.server_id)?,
            server: text(&record.server),
            tool: text(&record.tool),
            method: text(&record.method),
            outcome: outcome(record.outcome).map(Cow::Borrowed).ok_or(Unstorable::Outcome)?,
            currency: String::new(),
            labels: read_labels(&record.labels)?,
        })
    }
}

/// The day (UTC) whose partition has the record of this call; `None` when it is no id of a call.
pub(super) fn day_of(call_id: Uuid) -> Option<NaiveDate> {
    time_of(call_id).map(|at| at.date_naive())
}

fn call(text: &str) -> Result<(Uuid, DateTime<Utc>), Unstorable> {
    let call_id = Uuid::try_parse(text).map_err(|_| Unstorable::CallId)?;
    Ok((call_id, time_of(call_id).ok_or(Unstorable::CallId)?))
}

fn time_of(call_id: Uuid) -> Option<DateTime<Utc>> {
    if call_id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = call_id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

fn id<Id>(field: &'static str, text: &str) -> Result<Option<Uuid>, Unstorable>
where
    Id: std::str::FromStr + Into<Uuid>,
{
    match text {
        "" => Ok(None),
        text => text.parse::<Id>().map(|id| Some(id.into())).map_err(|_| Unstorable::Id(field)),
    }
}

/// Postgres' text holds no NUL. An agent can send one in the name of a tool, and its call still counts.
pub(super) fn text(text: &str) -> String {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) };
    text.into_owned()
}

fn read_labels(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Unstorable> {
    let fits = |text: &str, max| text.chars().count() <= max;
    let all_fit = given.iter().all(|(key, value)| fits(key, labels::KEY_LEN_MAX) && fits(value, labels::VALUE_LEN_MAX));
    if given.len() > labels::COUNT_MAX || !all_fit {
        return Err(Unstorable::Labels);
    }
    Ok(given.iter().map(|(key, value)| (text(key), text(value))).collect())
}

pub(super) fn count(field: &'static str, value: u64) -> Result<i64, Unstorable> {
    i64::try_from(value).ok().filter(|count| *count <= COUNT_MAX).ok_or(Unstorable::Number(field))
}

/// What is not known any more was estimated once.
fn token_method(value: i32) -> &'static str {
    match TokenMethod::try_from(value) {
        Ok(TokenMethod::Exact) => "exact",
        Ok(TokenMethod::ServerReported) => "server_reported",
        Ok(TokenMethod::Unspecified | TokenMethod::Estimated) | Err(_) => "estimated",
    }
}

/// As the database has it.
pub(super) fn stored_token_method(text: &str) -> &'static str {
    let known = [TokenMethod::Exact, TokenMethod::ServerReported].map(|method| token_method(method.into()));
    known.into_iter().find(|method| *method == text).unwrap_or(token_method(TokenMethod::Estimated.into()))
}

fn reported(record: &UsageRecord) -> Result<Option<ReportedUsage>, Unstorable> {
    let replaces = record.token_method() == TokenMethod::ServerReported;
    match &record.reported {
        Some(reported) => ReportedUsage::read(reported, replaces).map(Some),
        None if replaces => Err(Unstorable::Unsaid("reported")),
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
        Outcome::Refused => Some(REFUSED),
        Outcome::Abandoned => Some("abandoned"),
        Outcome::Unknown => Some("unknown"),
        Outcome::CutOff => Some("cut_off"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Datelike as _;

    use super::*;

    fn record() -> UsageRecord {
        UsageRecord {
            call_id: Uuid::now_v7().to_string(),
            outcome: Outcome::Ok.into(),
            decision: "allowed".to_owned(),
            ..UsageRecord::default()
        }
    }

    /// So many labels, with keys and values of so many characters.
    fn labelled(count: usize, key_len: usize, value_len: usize) -> BTreeMap<String, String> {
        let keys = ('α'..).take(count).map(|letter| letter.to_string().repeat(key_len));
        keys.map(|key| (key, "v".repeat(value_len))).collect()
    }

    #[test]
    fn labels_are_kept_up_to_what_objects_permit() {
        let labels = labelled(32, 63, 120);
        let fact = Fact::read(&UsageRecord { labels: labels.clone(), ..record() }).expect("readable");
        assert_eq!(fact.combination.labels, labels);
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
            (UsageRecord { call_id: String::new(), ..record() }, Unstorable::CallId),
            (UsageRecord { call_id: Uuid::new_v4().to_string(), ..record() }, Unstorable::CallId),
            (UsageRecord { tenant_id: "default".to_owned(), ..record() }, Unstorable::Id("tenant_id")),
            (UsageRecord { user_id: agent.clone(), ..record() }, Unstorable::Id("user_id")),
            (UsageRecord { limit_id: agent.clone(), ..record() }, Unstorable::Id("limit_id")),
            (UsageRecord { server_id: agent, ..record() }, Unstorable::Id("server_id")),
            (UsageRecord { outcome: 0, ..record() }, Unstorable::Outcome),
            (UsageRecord { outcome: 99, ..record() }, Unstorable::Outcome),
            (UsageRecord { http_status: -1, ..record() }, Unstorable::Number("http_status")),
            (UsageRecord { input_tokens: u64::MAX, ..record() }, Unstorable::Number("input_tokens")),
            (UsageRecord { images: u32::MAX, ..record() }, Unstorable::Number("images")),
            (
                UsageRecord { token_method: TokenMethod::ServerReported.into(), ..record() },
                Unstorable::Unsaid("reported"),
            ),
            (UsageRecord { duration_us: (1 << 50) + 1, ..record() }, Unstorable::Number("duration_us")),
            (UsageRecord { parent_call_id: "call-1".to_owned(), ..record() }, Unstorable::Id("parent_call_id")),
            (UsageRecord { labels: labelled(33, 1, 1), ..record() }, Unstorable::Labels),
            (UsageRecord { labels: labelled(1, 64, 1), ..record() }, Unstorable::Labels),
            (UsageRecord { labels: labelled(1, 1, 121), ..record() }, Unstorable::Labels),
        ];
        for (record, reason) in broken {
            assert_eq!(Fact::read(&record), Err(reason));
        }
    }

    #[test]
    fn a_nul_in_a_tool_name_does_not_hide_the_call() {
        let fact = Fact::read(&UsageRecord { tool: "a\0b".to_owned(), ..record() }).expect("readable");
        assert_eq!(fact.combination.tool, "a\u{fffd}b");
    }
}
