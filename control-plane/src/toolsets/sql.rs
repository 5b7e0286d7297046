//! Queries about toolsets and what they hold.

use std::collections::BTreeMap;

use tollgate_proto::{Name, Scope, ServerId, ToolsetId};
use uuid::Uuid;

use super::{Contents, Meaning, Member};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM toolsets
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn unknown(tx: &mut TenantTx, names: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT given AS "given!" FROM unnest($1::text[]) AS given
           WHERE NOT EXISTS (SELECT 1 FROM toolsets t WHERE t.name = given)"#,
        names,
    )
    .fetch_all(&mut **tx)
    .await
}

/// The ids of those of the servers that exist, by name.
pub(super) async fn server_ids(tx: &mut TenantTx, names: &[String]) -> Result<BTreeMap<String, ServerId>, sqlx::Error> {
    let rows = sqlx::query!("SELECT name, id FROM servers WHERE name = ANY ($1)", names).fetch_all(&mut **tx).await?;
    Ok(rows.into_iter().map(|row| (row.name, row.id.into())).collect())
}

pub(super) async fn contents(tx: &mut TenantTx, names: &[String]) -> Result<Vec<Contents>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT toolsets.name, toolsets.display_name,
                  array_agg(servers.name ORDER BY tools.position) AS "servers!",
                  array_agg(tools.tool ORDER BY tools.position) AS "tools!"
           FROM toolsets
           JOIN toolset_tools AS tools ON tools.tenant_id = toolsets.tenant_id AND tools.toolset_id = toolsets.id
           JOIN servers ON servers.tenant_id = tools.tenant_id AND servers.id = tools.server_id
           WHERE toolsets.name = ANY ($1)
           GROUP BY toolsets.id ORDER BY toolsets.name"#,
        names,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        let tools = row.servers.iter().zip(&row.tools).map(|(server, tool)| Ok(Scope::tool(&name(server)?, tool)));
        Ok(Contents {
            name: name(&row.name)?,
            display_name: row.display_name,
            tools: tools.collect::<Result<_, sqlx::Error>>()?,
        })
    });
    read.collect()
}

fn name(text: &str) -> Result<Name, sqlx::Error> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO toolsets (tenant_id, id, name, labels, spec, revision, created_by, display_name, description)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             display_name = $8, description = $9",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.display_name,
        meaning.description,
    )
    .execute(&mut **tx)
    .await?;
    save_tools(tx, version.id, &meaning.tools).await
}

async fn save_tools(tx: &mut TenantTx, toolset: Uuid, tools: &[Member]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM toolset_tools WHERE toolset_id = $1", toolset).execute(&mut **tx).await?;
    let text = |of: fn(&Member) -> &String| tools.iter().map(|tool| of(tool).clone()).collect::<Vec<String>>();
    let servers: Vec<Uuid> = tools.iter().map(|tool| tool.server.uuid()).collect();
    sqlx::query!(
        "INSERT INTO toolset_tools (tenant_id, toolset_id, position, server_id, tool, name, description)
         SELECT $1, $2, new.position, new.server, new.tool, new.name, new.description
         FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[])
              WITH ORDINALITY AS new (server, tool, name, description, position)",
        tenant,
        toolset,
        &servers,
        &text(|tool| &tool.tool),
        &text(|tool| &tool.name),
        &text(|tool| &tool.description),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: ToolsetId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM toolsets WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
