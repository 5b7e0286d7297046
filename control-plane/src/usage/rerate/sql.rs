//! Every query of re-ratings.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::types::Json;
use tollgate_proto::{
    ReratingId,
    rating::{Decision, Rating},
};
use uuid::Uuid;

use super::{Asked, Change, Rated};
use crate::{
    db::TenantTx,
    usage::{
        ReportedUsage,
        fact::{Combination, Fact, stored_token_method},
        sql::column,
    },
};

/// Writes down who asks for what, and why.
pub(super) async fn begin(tx: &mut TenantTx, id: ReratingId, asked: &Asked, actor: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO usage_reratings (tenant_id, id, first_day, last_day, team, price_book_version, reason, asked_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        id.uuid(),
        asked.from,
        asked.to,
        asked.team,
        asked.by.map(|version| version.uuid()),
        asked.reason,
        actor,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// A record with the rating that counts.
struct Row {
    call_id: Uuid,
    parent_call_id: Option<Uuid>,
    at: DateTime<Utc>,
    team_id: Option<Uuid>,
    team: String,
    cost_center: String,
    agent_id: Option<Uuid>,
    agent: String,
    user_id: Option<Uuid>,
    user_email: String,
    server_id: Option<Uuid>,
    server: String,
    tool: String,
    method: String,
    outcome: String,
    labels: Json<BTreeMap<String, String>>,
    protocol_version: String,
    decision: String,
    input_required: bool,
    forwarded: bool,
    http_status: i32,
    rpc_error_code: Option<i64>,
    input_bytes: i64,
    output_bytes: i64,
    input_tokens: i64,
    output_tokens: i64,
    duration_us: i64,
    upstream_us: i64,
    trace_id: String,
    policy_revision: i64,
    token_method: String,
    tokenizer: String,
    images: i32,
    audio: i32,
    media_bytes: i64,
    reported: Option<Json<ReportedUsage>>,
    ratings: i32,
    cost: Decimal,
    currency: String,
    unpriced: bool,
    price_book_version: Option<Uuid>,
    price_index: Option<i32>,
    limit_id: Option<Uuid>,
}

impl Row {
    fn read(self, tx: &TenantTx) -> Rated {
        let decided_by = self.price_book_version.zip(self.price_index).and_then(|(version, price)| {
            Some(Decision { version: version.into(), price: usize::try_from(price).ok()? })
        });
        let rating =
            Rating { cost: self.cost, currency: self.currency.parse().ok(), unpriced: self.unpriced, decided_by };
        let combination = Combination {
            team_id: self.team_id,
            team: self.team,
            cost_center: self.cost_center,
            agent_id: self.agent_id,
            agent: self.agent,
            user_id: self.user_id,
            user: self.user_email,
            server_id: self.server_id,
            server: self.server,
            tool: self.tool,
            method: self.method,
            outcome: Cow::Owned(self.outcome),
            currency: self.currency,
            labels: self.labels.0,
        };
        let fact = Fact {
            tenant: Some(tx.tenant()),
            call_id: self.call_id,
            parent_call_id: self.parent_call_id,
            at: self.at,
            combination,
            protocol_version: self.protocol_version,
            decision: self.decision,
            input_required: self.input_required,
            forwarded: self.forwarded,
            http_status: self.http_status,
            rpc_error_code: self.rpc_error_code,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            duration_us: self.duration_us,
            upstream_us: self.upstream_us,
            trace_id: self.trace_id,
            policy_revision: self.policy_revision,
            token_method: stored_token_method(&self.token_method),
            tokenizer: self.tokenizer,
            images: self.images,
            audio: self.audio,
            media_bytes: self.media_bytes,
            reported: self.reported.map(|reported| reported.0),
            limit_id: self.limit_id,
            rating,
        };
        Rated { fact, ratings: self.ratings }
    }
}

/// The first records of a time, or of those of a team, behind `after`; in the order of their times.
pub(super) async fn records(
    tx: &mut TenantTx,
    span: &Range<DateTime<Utc>>,
    team: Option<&str>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Rated>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (at, call_id) = after.unwrap_or((span.start, Uuid::nil()));
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT r.call_id, parent_call_id, at, team_id, team, cost_center, agent_id, agent, user_id, user_email, server_id,
                  server, tool, method, outcome, labels AS "labels: Json<BTreeMap<String, String>>", protocol_version,
                  decision, input_required, forwarded, http_status, rpc_error_code, input_bytes, output_bytes,
                  input_tokens, output_tokens, duration_us, upstream_us, trace_id, policy_revision, token_method,
                  tokenizer, images, audio, media_bytes, reported AS "reported: Json<ReportedUsage>",
                  COALESCE(rating_position, 0) AS "ratings!", COALESCE(last.cost, r.cost) AS "cost!",
                  COALESCE(last.currency, r.currency) AS "currency!", COALESCE(last.unpriced, r.unpriced) AS "unpriced!",
                  CASE WHEN rating_position IS NULL THEN r.price_book_version ELSE last.price_book_version END
                      AS price_book_version,
                  CASE WHEN rating_position IS NULL THEN r.price_index ELSE last.price_index END AS price_index,
                  r.limit_id
           FROM usage_records AS r
           LEFT JOIN LATERAL last_rating(r.tenant_id, r.event_day, r.call_id) AS last ON true
           WHERE r.tenant_id = $1 AND (at, r.call_id) > ($2, $3::uuid) AND at < $4
             AND event_day >= ($2::timestamptz AT TIME ZONE 'UTC')::date
             AND event_day <= ($4::timestamptz AT TIME ZONE 'UTC')::date
             AND ($5::text IS NULL OR team = $5)
           ORDER BY at, r.call_id LIMIT $6"#,
        tenant,
        at,
        call_id,
        span.end,
        team,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.read(tx)).collect())
}

/// Puts ratings beside those that records have had.
pub(super) async fn insert(tx: &mut TenantTx, id: ReratingId, changes: &[Change]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO usage_ratings
             (tenant_id, rerating_id, event_day, call_id, position, cost, currency, unpriced, price_book_version, price_index)
         SELECT $1, $2, rating.*
         FROM UNNEST($3::date[], $4::uuid[], $5::int[], $6::numeric[], $7::text[], $8::bool[], $9::uuid[], $10::int[]) AS rating",
        tenant,
        id.uuid(),
        &column(changes, |change| change.after.event_day()),
        &column(changes, |change| change.after.call_id),
        &column(changes, |change| change.before.ratings + 1),
        &column(changes, |change| change.after.rating.cost),
        &column(changes, |change| &*change.after.combination.currency) as &[&str],
        &column(changes, |change| change.after.rating.unpriced),
        &column(changes, |change| change.after.rating.decided_by.map(|by| by.version.uuid())) as &[Option<Uuid>],
        &column(changes, |change| change.after.rating.decided_by.and_then(|by| i32::try_from(by.price).ok()))
            as &[Option<i32>],
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
