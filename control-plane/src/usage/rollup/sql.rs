//! Every query that changes rollups.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tollgate_proto::TenantId;
use uuid::Uuid;

use super::{Row, digest::Digest};
use crate::usage::{fact::Combination, sql::column};

/// The ids of those of the combinations that have one.
pub(super) async fn dimension_ids(
    connection: &mut PgConnection,
    tenant: TenantId,
    digests: &[Digest],
) -> Result<HashMap<Vec<u8>, i64>, sqlx::Error> {
    sqlx::query!(
        "SELECT digest, id FROM usage_dimensions WHERE tenant_id = $1 AND digest = ANY($2)",
        tenant.uuid(),
        &column(digests, |digest| digest.as_slice()) as &[&[u8]],
    )
    .map(|row| (row.digest, row.id))
    .fetch_all(connection)
    .await
    .map(HashMap::from_iter)
}

/// Makes combinations known, unless another intake was faster.
pub(super) async fn insert_dimensions(
    connection: &mut PgConnection,
    tenant: TenantId,
    combinations: &BTreeMap<&Digest, &&Combination>,
) -> Result<(), sqlx::Error> {
    let digests: Vec<&[u8]> = combinations.keys().map(|digest| digest.as_slice()).collect();
    let all: Vec<&Combination> = combinations.values().map(|combination| **combination).collect();
    sqlx::query!(
        "INSERT INTO usage_dimensions
             (tenant_id, digest, team_id, team, cost_center, agent_id, agent, user_id, user_email, server_id, server, tool,
              method, outcome, currency, labels)
         SELECT $1, new.*
         FROM UNNEST($2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::uuid[], $9::text[],
                     $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::jsonb[]) AS new
         ON CONFLICT (tenant_id, digest) DO NOTHING",
        tenant.uuid(),
        &digests as &[&[u8]],
        &column(&all, |of| of.team_id) as &[Option<Uuid>],
        &column(&all, |of| &*of.team) as &[&str],
        &column(&all, |of| &*of.cost_center) as &[&str],
        &column(&all, |of| of.agent_id) as &[Option<Uuid>],
        &column(&all, |of| &*of.agent) as &[&str],
        &column(&all, |of| of.user_id) as &[Option<Uuid>],
        &column(&all, |of| &*of.user) as &[&str],
        &column(&all, |of| of.server_id) as &[Option<Uuid>],
        &column(&all, |of| &*of.server) as &[&str],
        &column(&all, |of| &*of.tool) as &[&str],
        &column(&all, |of| &*of.method) as &[&str],
        &column(&all, |of| &*of.outcome) as &[&str],
        &column(&all, |of| &*of.currency) as &[&str],
        &column(&all, |of| json!(of.labels)) as &[Value],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Adds sums to the rows of `$table` that there are, and makes the others.
macro_rules! add_sums {
    ($connection:expr, $tenant:expr, $rows:expr, $table:literal, $period:literal, $periods:literal) => {
        sqlx::query!(
            "INSERT INTO "
                + $table
                + " AS held
                 (tenant_id, "
                + $period
                + ", dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes,
                  output_bytes, duration_us, upstream_us, cost, unpriced_calls)
             SELECT $1, added.*
             FROM UNNEST($2::"
                + $periods
                + ", $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::numeric[], $14::bigint[]) AS added
             ON CONFLICT (tenant_id, "
                + $period
                + ", dimension_id) DO UPDATE SET
                 records = held.records + excluded.records,
                 calls = held.calls + excluded.calls,
                 refused = held.refused + excluded.refused,
                 input_tokens = held.input_tokens + excluded.input_tokens,
                 output_tokens = held.output_tokens + excluded.output_tokens,
                 input_bytes = held.input_bytes + excluded.input_bytes,
                 output_bytes = held.output_bytes + excluded.output_bytes,
                 duration_us = held.duration_us + excluded.duration_us,
                 upstream_us = held.upstream_us + excluded.upstream_us,
                 cost = held.cost + excluded.cost,
                 unpriced_calls = held.unpriced_calls + excluded.unpriced_calls",
            $tenant.uuid(),
            &column($rows, |(period, ..)| *period),
            &column($rows, |(_, dimension, _)| *dimension),
            &column($rows, |(.., sums)| sums.records),
            &column($rows, |(.., sums)| sums.calls),
            &column($rows, |(.., sums)| sums.refused),
            &column($rows, |(.., sums)| sums.input_tokens),
            &column($rows, |(.., sums)| sums.output_tokens),
            &column($rows, |(.., sums)| sums.input_bytes),
            &column($rows, |(.., sums)| sums.output_bytes),
            &column($rows, |(.., sums)| sums.duration_us),
            &column($rows, |(.., sums)| sums.upstream_us),
            &column($rows, |(.., sums)| sums.cost),
            &column($rows, |(.., sums)| sums.unpriced_calls),
        )
        .execute($connection)
        .await
        .map(drop)
    };
}

pub(super) async fn add_hourly(
    connection: &mut PgConnection,
    tenant: TenantId,
    rows: &[Row<DateTime<Utc>>],
) -> Result<(), sqlx::Error> {
    add_sums!(connection, tenant, rows, "usage_hourly", "hour", "timestamptz[]")
}

pub(super) async fn add_daily(
    connection: &mut PgConnection,
    tenant: TenantId,
    rows: &[Row<NaiveDate>],
) -> Result<(), sqlx::Error> {
    add_sums!(connection, tenant, rows, "usage_daily", "day", "date[]")
}

pub(super) async fn add_monthly(
    connection: &mut PgConnection,
    tenant: TenantId,
    rows: &[Row<NaiveDate>],
) -> Result<(), sqlx::Error> {
    add_sums!(connection, tenant, rows, "usage_monthly", "month", "date[]")
}

pub(super) async fn add_overhead(
    connection: &mut PgConnection,
    tenant: TenantId,
    calls: &BTreeMap<(DateTime<Utc>, i32), i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO usage_overhead AS held (tenant_id, hour, bucket, calls)
         SELECT $1, added.* FROM UNNEST($2::timestamptz[], $3::int[], $4::bigint[]) AS added
         ON CONFLICT (tenant_id, hour, bucket) DO UPDATE SET calls = held.calls + excluded.calls",
        tenant.uuid(),
        &calls.keys().map(|(hour, _)| *hour).collect::<Vec<_>>(),
        &calls.keys().map(|(_, bucket)| *bucket).collect::<Vec<_>>(),
        &calls.values().copied().collect::<Vec<_>>(),
    )
    .execute(connection)
    .await
    .map(drop)
}
