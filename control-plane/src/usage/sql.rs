//! Every query on usage.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, types::Json};
use tollgate_proto::{AgentId, DataPlaneId, LimitId, PriceBookVersionId, ReratingId, TenantId, UserId};
use uuid::Uuid;

use super::{
    Filter, Position, ReportedUsage, Rerating, UsageRating, UsageRecord,
    fact::{self, Fact},
    intake::Quarantined,
};
use crate::resource::Labels;

/// One column of many rows, as `UNNEST` takes it.
pub(super) fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Says of tenants that usage of theirs was stored, in the order in which all intakes lock them.
pub(super) async fn mark(connection: &mut PgConnection, tenants: &[TenantId]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO usage_marks AS held (tenant_id, batches)
         SELECT tenant, 1 FROM UNNEST($1::uuid[]) AS tenant ORDER BY tenant
         ON CONFLICT (tenant_id) DO UPDATE SET batches = held.batches + 1",
        &column(tenants, |tenant| tenant.uuid()),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// How many batches had usage of each of the tenants.
pub(super) async fn marks(
    connection: &mut PgConnection,
    tenants: &[TenantId],
) -> Result<HashMap<TenantId, i64>, sqlx::Error> {
    let marks = sqlx::query!(
        "SELECT tenant_id, batches FROM usage_marks WHERE tenant_id = ANY($1)",
        &column(tenants, |tenant| tenant.uuid()),
    );
    let marks = marks.fetch_all(connection).await?;
    Ok(marks.into_iter().map(|mark| (mark.tenant_id.into(), mark.batches)).collect())
}

/// Stores facts of the tenant that the transaction has entered; those stored before stay as they are. Answers which were
/// not.
#[allow(clippy::too_many_lines, reason = "one statement, and a line for each of its columns")]
pub(super) async fn insert_facts(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    tenant: TenantId,
    facts: &[&Fact],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO usage_records
             (data_plane_id, tenant_id, event_day, call_id, at, agent_id, agent, team_id, team, cost_center, server_id,
              server, tool, method, protocol_version, outcome, decision, forwarded, http_status, rpc_error_code,
              input_bytes, output_bytes, input_tokens, output_tokens, duration_us, upstream_us, trace_id,
              policy_revision, user_id, user_email, parent_call_id, input_required, labels, cost, currency, unpriced,
              price_book_version, price_index, token_method, tokenizer, images, audio, media_bytes, reported, limit_id)
         SELECT $1, $2, fact.*
         FROM UNNEST($3::date[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::text[], $8::uuid[], $9::text[],
                     $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                     $17::text[], $18::bool[], $19::int[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[],
                     $24::bigint[], $25::bigint[], $26::bigint[], $27::text[], $28::bigint[], $29::uuid[], $30::text[],
                     $31::uuid[], $32::bool[], $33::jsonb[], $34::numeric[], $35::text[], $36::bool[], $37::uuid[], $38::int[],
                     $39::text[], $40::text[], $41::int[], $42::int[], $43::bigint[], $44::jsonb[],
                     $45::uuid[]) AS fact
         ON CONFLICT (event_day, call_id) DO NOTHING
         RETURNING call_id",
        data_plane.uuid(),
        tenant.uuid(),
        &column(facts, |fact| fact.event_day()),
        &column(facts, |fact| fact.call_id),
        &column(facts, |fact| fact.at),
        &column(facts, |fact| fact.combination.agent_id) as &[Option<Uuid>],
        &column(facts, |fact| &*fact.combination.agent) as &[&str],
        &column(facts, |fact| fact.combination.team_id) as &[Option<Uuid>],
        &column(facts, |fact| &*fact.combination.team) as &[&str],
        &column(facts, |fact| &*fact.combination.cost_center) as &[&str],
        &column(facts, |fact| fact.combination.server_id) as &[Option<Uuid>],
        &column(facts, |fact| &*fact.combination.server) as &[&str],
        &column(facts, |fact| &*fact.combination.tool) as &[&str],
        &column(facts, |fact| &*fact.combination.method) as &[&str],
        &column(facts, |fact| &*fact.protocol_version) as &[&str],
        &column(facts, |fact| &*fact.combination.outcome) as &[&str],
        &column(facts, |fact| &*fact.decision) as &[&str],
        &column(facts, |fact| fact.forwarded),
        &column(facts, |fact| fact.http_status),
        &column(facts, |fact| fact.rpc_error_code) as &[Option<i64>],
        &column(facts, |fact| fact.input_bytes),
        &column(facts, |fact| fact.output_bytes),
        &column(facts, |fact| fact.input_tokens),
        &column(facts, |fact| fact.output_tokens),
        &column(facts, |fact| fact.duration_us),
        &column(facts, |fact| fact.upstream_us),
        &column(facts, |fact| &*fact.trace_id) as &[&str],
        &column(facts, |fact| fact.policy_revision),
        &column(facts, |fact| fact.combination.user_id) as &[Option<Uuid>],
        &column(facts, |fact| &*fact.combination.user) as &[&str],
        &column(facts, |fact| fact.parent_call_id) as &[Option<Uuid>],
        &column(facts, |fact| fact.input_required),
        &column(facts, |fact| json!(fact.combination.labels)) as &[Value],
        &column(facts, |fact| fact.rating.cost),
        &column(facts, |fact| &*fact.combination.currency) as &[&str],
        &column(facts, |fact| fact.rating.unpriced),
        &column(facts, |fact| fact.rating.decided_by.map(|by| by.version.uuid())) as &[Option<Uuid>],
        &column(facts, |fact| fact.rating.decided_by.and_then(|by| i32::try_from(by.price).ok())) as &[Option<i32>],
        &column(facts, |fact| fact.token_method) as &[&str],
        &column(facts, |fact| &*fact.tokenizer) as &[&str],
        &column(facts, |fact| fact.images),
        &column(facts, |fact| fact.audio),
        &column(facts, |fact| fact.media_bytes),
        &column(facts, |fact| fact.reported.as_ref().map(Json)) as &[Option<Json<&ReportedUsage>>],
        &column(facts, |fact| fact.limit_id) as &[Option<Uuid>],
    )
    .fetch_all(connection)
    .await
    .map(HashSet::from_iter)
}

pub(super) async fn insert_unattributed(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    facts: &[Fact],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO unattributed_requests (data_plane_id, call_id, at, decision, http_status)
         SELECT $1, fact.* FROM UNNEST($2::uuid[], $3::timestamptz[], $4::text[], $5::int[]) AS fact
         ON CONFLICT (call_id) DO NOTHING",
        data_plane.uuid(),
        &column(facts, |fact| fact.call_id),
        &column(facts, |fact| fact.at),
        &column(facts, |fact| &*fact.decision) as &[&str],
        &column(facts, |fact| fact.http_status),
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn quarantine(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    records: &[Quarantined],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO quarantined_records (data_plane_id, position, reason, payload)
         SELECT $1, record.* FROM UNNEST($2::bigint[], $3::text[], $4::bytea[]) AS record
         ON CONFLICT (data_plane_id, position) DO NOTHING",
        data_plane.uuid(),
        &column(records, |record| record.position),
        &column(records, |record| record.reason.to_string()),
        &column(records, |record| &*record.payload) as &[&[u8]],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// What a list asks for.
pub(super) struct Wanted<'a> {
    pub(super) agent_id: Option<Uuid>,
    pub(super) agent: Option<&'a str>,
    pub(super) user_id: Option<Uuid>,
    pub(super) user: Option<&'a str>,
    pub(super) server_id: Option<Uuid>,
    pub(super) server: Option<&'a str>,
    pub(super) filter: &'a Filter,
    pub(super) call_id: Option<Uuid>,
    pub(super) after: Option<Position>,
    pub(super) limit: i64,
}

/// A record as a list reads it.
struct Row {
    call_id: Uuid,
    at: DateTime<Utc>,
    agent: String,
    agent_id: Option<Uuid>,
    user_email: String,
    user_id: Option<Uuid>,
    team: String,
    server: String,
    tool: String,
    method: String,
    protocol_version: String,
    outcome: String,
    decision: String,
    forwarded: bool,
    http_status: i32,
    rpc_error_code: Option<i64>,
    input_bytes: i64,
    output_bytes: i64,
    input_tokens: i64,
    output_tokens: i64,
    token_method: String,
    tokenizer: String,
    images: i32,
    audio: i32,
    media_bytes: i64,
    reported: Option<Json<ReportedUsage>>,
    duration_us: i64,
    upstream_us: i64,
    trace_id: String,
    policy_revision: i64,
    parent_call_id: Option<Uuid>,
    input_required: bool,
    labels: Json<Labels>,
    cost: String,
    currency: String,
    unpriced: bool,
    price_book_version: Option<Uuid>,
    limit_id: Option<Uuid>,
    /// Those after the first one, in their order.
    ratings: Option<Json<Vec<RatingRow>>>,
}

/// A later rating of a record.
#[derive(Deserialize)]
struct RatingRow {
    cost: String,
    currency: String,
    unpriced: bool,
    price_book_version: Option<Uuid>,
    rerating_id: Uuid,
    asked_at: DateTime<Utc>,
    asked_by: String,
    reason: String,
}

impl From<RatingRow> for UsageRating {
    fn from(row: RatingRow) -> Self {
        Self {
            cost: row.cost,
            currency: known(row.currency),
            unpriced: row.unpriced,
            price_book_version: row.price_book_version.map(PriceBookVersionId::from),
            rerating: Some(Rerating {
                id: ReratingId::from(row.rerating_id),
                at: row.asked_at,
                by: row.asked_by,
                reason: row.reason,
            }),
        }
    }
}

fn known(currency: String) -> Option<String> {
    Some(currency).filter(|currency| !currency.is_empty())
}

impl From<Row> for UsageRecord {
    fn from(row: Row) -> Self {
        let first = UsageRating {
            cost: row.cost,
            currency: known(row.currency),
            unpriced: row.unpriced,
            price_book_version: row.price_book_version.map(PriceBookVersionId::from),
            rerating: None,
        };
        let mut ratings: Vec<_> = row.ratings.into_iter().flat_map(|later| later.0).map(UsageRating::from).collect();
        let counts = ratings.last().unwrap_or(&first).clone();
        if !ratings.is_empty() {
            ratings.insert(0, first);
        }
        Self {
            call_id: row.call_id,
            at: row.at,
            agent: row.agent,
            agent_id: row.agent_id.map(AgentId::from),
            user: row.user_email,
            user_id: row.user_id.map(UserId::from),
            team: row.team,
            server: row.server,
            tool: row.tool,
            method: row.method,
            protocol_version: row.protocol_version,
            outcome: row.outcome,
            decision: row.decision,
            forwarded: row.forwarded,
            http_status: row.http_status,
            rpc_error_code: row.rpc_error_code,
            input_bytes: row.input_bytes,
            output_bytes: row.output_bytes,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            reported: row.reported.map(|reported| reported.0),
            token_method: row.token_method,
            tokenizer: row.tokenizer,
            images: row.images,
            audio: row.audio,
            media_bytes: row.media_bytes,
            duration_ms: milliseconds(row.duration_us),
            upstream_ms: milliseconds(row.upstream_us),
            trace_id: row.trace_id,
            policy_revision: row.policy_revision,
            parent_call_id: row.parent_call_id,
            input_required: row.input_required,
            labels: row.labels.0,
            cost: counts.cost,
            currency: counts.currency,
            unpriced: counts.unpriced,
            price_book_version: counts.price_book_version,
            ratings,
            limit_id: row.limit_id.map(LimitId::from),
        }
    }
}

pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    wanted: Wanted<'_>,
) -> Result<Vec<UsageRecord>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT call_id, at, agent, agent_id, user_email, user_id, team, server, tool, method, protocol_version, outcome, decision,
                forwarded, http_status, rpc_error_code, input_bytes, output_bytes, input_tokens, output_tokens,
                token_method, tokenizer, images, audio, media_bytes, reported AS "reported: Json<ReportedUsage>",
                duration_us, upstream_us, trace_id, policy_revision, parent_call_id, input_required,
                labels AS "labels: Json<Labels>", trim_scale(cost)::text AS "cost!", currency, unpriced, price_book_version,
                limit_id,
                (SELECT jsonb_agg(jsonb_build_object(
                            'cost', trim_scale(later.cost)::text, 'currency', later.currency, 'unpriced', later.unpriced,
                            'price_book_version', later.price_book_version, 'rerating_id', later.rerating_id,
                            'asked_at', asked_at, 'asked_by', asked_by, 'reason', reason) ORDER BY position)
                 FROM usage_ratings AS later JOIN usage_reratings ON usage_reratings.id = later.rerating_id
                 WHERE later.tenant_id = $1 AND later.event_day = usage_records.event_day
                   AND later.call_id = usage_records.call_id) AS "ratings: Json<Vec<RatingRow>>"
         FROM usage_records
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR agent_id = $2) AND ($3::text IS NULL OR agent = $3)
           AND ($4::uuid IS NULL OR server_id = $4) AND ($5::text IS NULL OR server = $5)
           AND ($6::text IS NULL OR tool = $6)
           AND ($7::text IS NULL OR decision = $7) AND ($8::text IS NULL OR outcome = $8)
           AND ($9::timestamptz IS NULL OR (at, call_id) < ($9, $10::uuid))
           AND ($12::uuid IS NULL OR call_id = $12) AND ($15::date IS NULL OR event_day = $15)
           AND ($13::uuid IS NULL OR user_id = $13) AND ($14::text IS NULL OR user_email = $14)
         ORDER BY at DESC, call_id DESC
         LIMIT $11"#,
        tenant.uuid(),
        wanted.agent_id,
        wanted.agent,
        wanted.server_id,
        wanted.server,
        wanted.filter.tool.as_deref(),
        wanted.filter.decision.as_deref(),
        wanted.filter.outcome.as_deref(),
        wanted.after.map(|after| after.at),
        wanted.after.map(|after| after.call_id),
        wanted.limit,
        wanted.call_id,
        wanted.user_id,
        wanted.user,
        wanted.call_id.and_then(fact::day_of),
    )
    .fetch_all(connection)
    .await
    .map(|rows| rows.into_iter().map(UsageRecord::from).collect())
}

/// Exact up to 285 years.
#[allow(clippy::cast_precision_loss, reason = "no call takes 2^53 microseconds")]
fn milliseconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1_000.0
}
