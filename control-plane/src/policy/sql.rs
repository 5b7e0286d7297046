//! Every query of the policy publisher. Lists are ordered by id, so that a policy's bytes depend on its rows alone.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use sqlx::{PgConnection, types::Json};
use tokio::time::Instant;
use tollgate_proto::{
    AgentId, GrantId, InstanceId, LimitId, ServerId, TeamId, TenantId, ToolsetId, UserId,
    policy::v1::{
        Agent, CatalogItem, DenyAs, Era, Grant, Instance, Limit, LimitedTool, OnStoreOutage, Rate, Revocation, Server,
        Toolset, ToolsetTool, Transport, User, grant::To, limit::On, revocation::What,
    },
};
use uuid::Uuid;

use super::{
    compile::{CompileError, unsigned},
    enforcement::{self, Committed},
};
use crate::{
    catalog::ItemKind,
    db::TenantTx,
    grants::wire_conditions,
    resource::Labels,
    servers::{Approval, UsageReports, credential::StoredSecret},
};

pub(super) async fn bump(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE tenants SET policy_revision = policy_revision + 1, policy_revised_at = now() WHERE id = $1
         RETURNING policy_revision",
        tenant.uuid()
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn notify(connection: &mut PgConnection, channel: &str, tenant: TenantId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify($1, $2)", channel, tenant.uuid().to_string()).fetch_one(connection).await.map(drop)
}

/// The deployment's epoch and every tenant's revisions, as of one moment.
#[derive(Debug)]
pub(super) struct Revisions {
    pub(super) epoch: String,
    /// How many data planes were ever sent away.
    pub(super) data_planes_revoked: i64,
    /// How many were seen lately.
    pub(super) data_planes: u32,
    pub(super) tenants: Vec<TenantRevisions>,
}

/// How far a tenant is.
#[derive(Debug, Clone, Copy)]
pub(super) struct TenantRevisions {
    pub(super) tenant: TenantId,
    pub(super) policy: i64,
    pub(super) revocations: i64,
}

pub(super) async fn revisions(connection: &mut PgConnection) -> Result<Revisions, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT deployment.epoch, deployment.data_planes_revoked,
                  (SELECT count(*) FROM data_planes WHERE revoked_at IS NULL AND last_seen_at > now() - interval '15 s')
                      AS "data_planes!",
                  tenants.id AS "id?", tenants.policy_revision AS "policy_revision?",
                  tenants.revocation_revision AS "revocation_revision?"
           FROM deployment LEFT JOIN tenants ON true ORDER BY tenants.id"#
    )
    .fetch_all(connection)
    .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (epoch, data_planes_revoked) = (first.epoch.to_string(), first.data_planes_revoked);
    let data_planes = u32::try_from(first.data_planes).unwrap_or(u32::MAX);
    let tenants = rows.into_iter().filter_map(|row| {
        let tenant = row.id?.into();
        Some(TenantRevisions { tenant, policy: row.policy_revision?, revocations: row.revocation_revision? })
    });
    Ok(Revisions { epoch, data_planes_revoked, data_planes, tenants: tenants.collect() })
}

/// A revocation, its number, and when it was made by the clock of this process.
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) revocation: Revocation,
    pub(super) committed: Committed,
}

/// The live revocations of the transaction's tenant after number `told`, in the order of their numbers.
pub(super) async fn revocations(tx: &mut TenantTx, told: i64) -> Result<Vec<Made>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT revision, kind, subject, issued_before, expires_at,
                  extract(epoch FROM clock_timestamp() - at)::float8 AS "age_s!" FROM revocations
           WHERE tenant_id = $1 AND revision > $2 AND expires_at > now() ORDER BY revision"#,
        tenant,
        told
    )
    .fetch_all(&mut **tx)
    .await?;
    let now = Instant::now();
    let read = rows.into_iter().map(|row| {
        let what = match row.kind.as_str() {
            "token" => What::Token(row.subject),
            "grant_family" => What::GrantFamily(row.subject),
            "agent" => What::Agent(row.subject),
            "user" => What::User(row.subject),
            "tenant" => What::Tenant(true),
            "key" => What::Key(row.subject),
            // Left out, it would be a token that goes on working.
            other => return Err(sqlx::Error::Decode(format!("cannot revoke a `{other}`").into())),
        };
        let issued_before = row.issued_before.unwrap_or_default();
        // Rounded up: it is never forgotten early.
        let expires_at = row.expires_at.timestamp() + 1;
        // Below zero where the database's clock was set back.
        let age = Duration::try_from_secs_f64(row.age_s).unwrap_or_default();
        let committed = Committed { kind: enforcement::kind(&what), at: now.checked_sub(age).unwrap_or(now) };
        let revocation = Revocation { what: Some(what), issued_before, expires_at };
        Ok(Made { number: row.revision.unsigned_abs(), revocation, committed })
    });
    read.collect()
}

/// What a policy says of its tenant.
pub(super) struct Head {
    pub(super) name: String,
    pub(super) policy_revision: i64,
    pub(super) egress_allow: Vec<String>,
    pub(super) epoch: Uuid,
    /// Absent: for ever.
    pub(super) max_stale_s: Option<i32>,
    pub(super) stale_destructive: bool,
}

pub(super) async fn head(connection: &mut PgConnection, tenant: TenantId) -> Result<Option<Head>, sqlx::Error> {
    sqlx::query_as!(
        Head,
        "SELECT tenants.name, tenants.policy_revision, tenants.egress_allow, deployment.epoch,
                tenants.max_stale_s, tenants.stale_destructive
         FROM tenants CROSS JOIN deployment WHERE tenants.id = $1",
        tenant.uuid()
    )
    .fetch_optional(connection)
    .await
}

pub(super) async fn agents(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<Agent>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT agents.id, agents.name, agents.team_id, teams.name AS team, teams.cost_center, agents.state,
                agents.document_url, COALESCE((agents.spec->>'exact_tools')::boolean, false) AS "exact_tools!",
                agents.labels AS "labels: Json<Labels>"
         FROM agents JOIN teams ON teams.tenant_id = agents.tenant_id AND teams.id = agents.team_id
         WHERE agents.tenant_id = $1 ORDER BY agents.id"#,
        tenant.uuid()
    )
    .map(|row| Agent {
        id: AgentId::from(row.id).to_string(),
        name: row.name,
        team_id: TeamId::from(row.team_id).to_string(),
        team: row.team,
        cost_center: row.cost_center,
        active: row.state == "active",
        client_id: row.document_url.unwrap_or_else(|| AgentId::from(row.id).to_string()),
        exact_tools: row.exact_tools,
        labels: row.labels.0,
    })
    .fetch_all(connection)
    .await
}

pub(super) async fn users(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT users.id, users.email, users.team_id, users.state, users.role,
                  teams.name AS "team?", teams.cost_center AS "cost_center?"
           FROM users LEFT JOIN teams ON teams.tenant_id = users.tenant_id AND teams.id = users.team_id
           WHERE users.tenant_id = $1 ORDER BY users.id"#,
        tenant.uuid()
    )
    .map(|row| User {
        id: UserId::from(row.id).to_string(),
        email: row.email,
        team_id: row.team_id.map(|id| TeamId::from(id).to_string()).unwrap_or_default(),
        team: row.team.unwrap_or_default(),
        cost_center: row.cost_center.unwrap_or_default(),
        active: row.state == "active",
        role: row.role,
    })
    .fetch_all(connection)
    .await
}

/// A server, and what its spec says of its credential.
pub(super) struct ServerRow {
    pub(super) server: Server,
    pub(super) id: ServerId,
    pub(super) credential: Option<Value>,
}

pub(super) async fn servers(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<ServerRow>, sqlx::Error> {
    let mut instances = sqlx::query!(
        "SELECT server_id, id, url, draining FROM server_instances WHERE tenant_id = $1 ORDER BY server_id, position, id",
        tenant.uuid()
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .peekable();
    let servers = sqlx::query!(
        r#"SELECT id, name, display_name, transport, era, approval, spec -> 'credential' AS credential,
                  spec ->> 'reported_usage' AS reported_usage,
                  coalesce((SELECT array_agg(lower(header)) FROM jsonb_array_elements_text(spec -> 'passed_headers') header),
                           '{}') AS "passed_headers!"
           FROM servers WHERE tenant_id = $1 ORDER BY id"#,
        tenant.uuid()
    )
    .fetch_all(connection)
    .await?;
    // Both lists are in the order of the server's id, so one pass joins them.
    let mut instances_of = |server_id| {
        std::iter::from_fn(|| instances.next_if(|instance| instance.server_id == server_id))
            .map(|instance| Instance {
                id: InstanceId::from(instance.id).to_string(),
                url: instance.url,
                draining: instance.draining,
            })
            .collect()
    };
    Ok(servers
        .into_iter()
        .map(|row| {
            let id = ServerId::from(row.id);
            let server = Server {
                id: id.to_string(),
                name: row.name,
                display_name: row.display_name,
                era: era(&row.era).into(),
                transport: transport(&row.transport).into(),
                instances: instances_of(row.id),
                passed_headers: row.passed_headers,
                credential: None,
                approval: Approval::of(&row.approval).wire().into(),
                catalog: Vec::new(),
                usage_reports: UsageReports::wire(row.reported_usage.as_deref()).into(),
            };
            ServerRow { server, id, credential: row.credential }
        })
        .collect())
}

/// The secrets of the credentials of all servers.
pub(super) async fn server_secrets(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<StoredSecret>, sqlx::Error> {
    sqlx::query!("SELECT server_id, name, value_sealed FROM server_secrets WHERE tenant_id = $1", tenant.uuid())
        .map(|row| StoredSecret {
            server: ServerId::from(row.server_id),
            name: row.name,
            value_sealed: row.value_sealed,
        })
        .fetch_all(connection)
        .await
}

/// What every server offers, or has offered.
pub(super) async fn catalog(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<HashMap<ServerId, Vec<CatalogItem>>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT server_id, kind, name, blocked, read_only, additive,
                -- What was last seen as another is not what was approved, wherever that was seen.
                CASE WHEN digest = approved_digest THEN approved_digest END AS approved_digest
         FROM catalog_items WHERE tenant_id = $1 ORDER BY server_id, kind, name",
        tenant.uuid()
    )
    .fetch_all(connection)
    .await?;
    let mut catalog: HashMap<ServerId, Vec<CatalogItem>> = HashMap::new();
    for row in rows {
        let kind = ItemKind::of(&row.kind).map(ItemKind::wire).unwrap_or_default();
        catalog.entry(row.server_id.into()).or_default().push(CatalogItem {
            kind: kind.into(),
            name: row.name,
            approved_digest: row.approved_digest.unwrap_or_default(),
            blocked: row.blocked,
            read_only: row.read_only,
            additive: row.additive,
        });
    }
    Ok(catalog)
}

fn transport(text: &str) -> Transport {
    if text == "sse" { Transport::Sse } else { Transport::Unspecified }
}

fn era(text: &str) -> Era {
    match text {
        "legacy" => Era::Legacy,
        "modern" => Era::Modern,
        _ => Era::Unspecified,
    }
}

pub(super) async fn grants(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<Grant>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, name, agent_id, team_id, role, scopes, deny, expires_at, conditions, networks, deny_as
         FROM grants WHERE tenant_id = $1 ORDER BY id",
        tenant.uuid()
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().map(|row| {
        let to = (row.agent_id.map(|agent| To::AgentId(AgentId::from(agent).to_string())))
            .or_else(|| row.team_id.map(|team| To::TeamId(TeamId::from(team).to_string())))
            .or(row.role.map(To::Role));
        Ok(Grant {
            id: GrantId::from(row.id).to_string(),
            name: row.name,
            to,
            scopes: row.scopes,
            deny: row.deny,
            // Rounded down: a grant never outlives its expiry. Zero would mean for ever.
            expires_at: row.expires_at.map_or(0, |at| at.timestamp().max(1)),
            conditions: wire_conditions(row.conditions).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            networks: row.networks,
            deny_as: match row.deny_as.as_str() {
                "tool_error" => DenyAs::ToolError,
                _ => DenyAs::Unspecified,
            }
            .into(),
        })
    });
    read.collect()
}

pub(super) async fn toolsets(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<Toolset>, sqlx::Error> {
    let mut tools = sqlx::query!(
        "SELECT toolset_id, server_id, tool, name, description FROM toolset_tools
         WHERE tenant_id = $1 ORDER BY toolset_id, position",
        tenant.uuid()
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .peekable();
    let toolsets = sqlx::query!(
        "SELECT id, name, display_name, description FROM toolsets WHERE tenant_id = $1 ORDER BY id",
        tenant.uuid()
    )
    .fetch_all(connection)
    .await?;
    // Both lists are in the order of the toolset's id, so one pass joins them.
    let mut tools_of = |toolset_id| {
        std::iter::from_fn(|| tools.next_if(|tool| tool.toolset_id == toolset_id))
            .map(|tool| ToolsetTool {
                server_id: ServerId::from(tool.server_id).to_string(),
                tool: tool.tool,
                name: tool.name,
                description: tool.description,
            })
            .collect()
    };
    let compiled = toolsets.into_iter().map(|row| Toolset {
        id: ToolsetId::from(row.id).to_string(),
        tools: tools_of(row.id),
        name: row.name,
        display_name: row.display_name,
        description: row.description,
    });
    Ok(compiled.collect())
}

/// A limit with the database's numbers.
pub(super) struct LimitRow {
    id: Uuid,
    name: String,
    agent_id: Option<Uuid>,
    team_id: Option<Uuid>,
    user_id: Option<Uuid>,
    server_id: Option<Uuid>,
    tool: Option<String>,
    requests_count: Option<i32>,
    window_s: Option<i32>,
    tokens_count: Option<i64>,
    tokens_window_s: Option<i32>,
    concurrency: Option<i32>,
    on_store_outage: String,
    leased: bool,
}

impl LimitRow {
    pub(super) fn into_message(self) -> Result<Limit, CompileError> {
        let server = self.server_id.map(|id| ServerId::from(id).to_string());
        let on = match (self.agent_id, self.team_id, self.user_id, server, self.tool) {
            (Some(agent), ..) => On::AgentId(AgentId::from(agent).to_string()),
            (_, Some(team), ..) => On::TeamId(TeamId::from(team).to_string()),
            (_, _, Some(user), ..) => On::UserId(UserId::from(user).to_string()),
            (.., Some(server_id), Some(tool)) => On::Tool(LimitedTool { server_id, tool }),
            (.., Some(server), None) => On::ServerId(server),
            (.., None, _) => On::Tenant(true),
        };
        Ok(Limit {
            id: LimitId::from(self.id).to_string(),
            name: self.name,
            on: Some(on),
            requests: rate("limits.requests_count", self.requests_count.map(i64::from), self.window_s)?,
            tokens: rate("limits.tokens_count", self.tokens_count, self.tokens_window_s)?,
            concurrency: unsigned("limits.concurrency", self.concurrency.unwrap_or_default().into())?,
            on_store_outage: match self.on_store_outage.as_str() {
                "deny" => OnStoreOutage::Deny,
                "open" => OnStoreOutage::Open,
                _ => OnStoreOutage::Unspecified,
            }
            .into(),
            leased: self.leased,
        })
    }
}

fn rate(what: &'static str, count: Option<i64>, window_s: Option<i32>) -> Result<Option<Rate>, CompileError> {
    let Some((count, window_s)) = count.zip(window_s) else { return Ok(None) };
    Ok(Some(Rate { count: unsigned(what, count)?, window_s: unsigned("limits.window_s", window_s.into())? }))
}

pub(super) async fn limits(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<LimitRow>, sqlx::Error> {
    sqlx::query_as!(
        LimitRow,
        "SELECT id, name, agent_id, team_id, user_id, server_id, tool, requests_count, window_s, tokens_count,
                tokens_window_s, concurrency, on_store_outage, leased
         FROM limits WHERE tenant_id = $1 ORDER BY id",
        tenant.uuid()
    )
    .fetch_all(connection)
    .await
}
