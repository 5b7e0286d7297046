//! Servers: registered MCP servers, each with one or more running instances.
//!
//! Invariant: an instance keeps its id as long as its URL stays, so that sessions pinned to it survive an edit.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::{Name, ServerId, TeamId, TenantId, policy::v1 as wire};
use utoipa::ToSchema;

use crate::{
    app::{App, Urls},
    caller::Caller,
    catalog::{self, CatalogStatus},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    teams,
};

pub mod api;
pub(crate) mod credential;
pub(crate) mod instance_url;
mod instances;
mod sql;
#[cfg(test)]
mod tests;

pub use credential::ServerCredential;
pub use instances::{InstanceStatus, SightFrom};

const INSTANCES_MAX: usize = 16;
const OWN_URL: &str = "this is Tollgate itself: name the URL of the server that is to be reached through it";
/// Leaves room for a tool's name in the 64 characters of a federated tool name.
const SLUG_LEN_MAX: usize = 40;

/// A server as the API shows it.
pub type Server = Object<ServerSpec>;
/// One page of servers.
pub type ServerPage = Page<Server>;
/// The body that creates a server.
pub type NewServer = Draft<ServerSpec>;
/// The body that replaces a server.
pub type ServerContent = Content<ServerSpec>;

/// What a client says about a server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Where it runs: 1 to 16 copies.
    #[schema(min_items = 1, max_items = 16)]
    pub instances: Vec<InstanceSpec>,
    /// How it is spoken to; `streamable-http` unless told, where a server that does not know it is tried as `sse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Which protocol it speaks; found out by asking it unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<Era>,
    /// The name of the team that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// What Tollgate presents to it; `{type: none}` unless told. An agent's own token is never presented to a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<ServerCredential>,
    /// Headers of agents' requests that are passed on to it; none unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 16, example = json!(["X-Request-Id"]))]
    pub passed_headers: Option<Vec<String>>,
    /// What becomes of definitions that are new or have changed; `{approval: trust}` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Catalog>,
    /// What becomes of the usage that it reports with its results, in `_meta`; `ignore` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_usage: Option<UsageReports>,
}

/// One running copy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// Its MCP endpoint, `http` or `https`, without credentials.
    #[schema(example = "http://127.0.0.1:3001/mcp")]
    pub url: String,
    /// Gets no new work, while the sessions that it holds go on: to be set before the copy is stopped. When all copies
    /// drain, they share the work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// One endpoint, answering JSON or an event stream.
    StreamableHttp,
    /// The deprecated pair of endpoints (MCP 2024-11-05): an event stream by GET, which is what instances' URLs name, and
    /// messages to the address that it announces. Such a server is of the legacy era.
    Sse,
}

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Found out by asking it.
    Auto,
    /// 2024-11-05 to 2025-11-25, with an `initialize` handshake.
    Legacy,
    /// 2026-07-28, stateless.
    Modern,
}

/// What becomes of what a server offers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// What becomes of a definition that is new or has changed.
    pub approval: Approval,
}

/// What becomes of a definition that is new or has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// It is in force at once.
    Trust,
    /// It is in force at once, and waits for somebody to look at it.
    Notify,
    /// It waits until somebody approves it: meanwhile agents see the approved definition's item only if the server still
    /// says so, and nothing of one that was never approved.
    Pinned,
}

/// What becomes of the usage that a server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageReports {
    /// Nobody looks for it.
    Ignore,
    /// It is kept on the record, beside what Tollgate counts.
    Record,
    /// The server is trusted with the bill: its tokens are the record's. What Tollgate counts is kept beside them, and is
    /// what limits go by.
    Bill,
}

/// What the server side says about a server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServerStatus {
    /// Where agents reach it.
    pub urls: ServerUrls,
    /// What applies where the spec is silent.
    pub effective: EffectiveServer,
    /// How its instances do, in their order.
    pub instances: Vec<InstanceStatus>,
    /// What is known of what it offers.
    pub catalog: CatalogStatus,
    /// Which secrets of its credential are stored. They are never shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ShownSecret>,
}

/// What is shown of a stored secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShownSecret {
    /// `header:` and the header in lower case, `client_secret` or `private_key`.
    #[schema(example = "client_secret")]
    pub name: String,
    /// When it was last given.
    pub set_at: DateTime<Utc>,
}

/// Where agents reach a server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServerUrls {
    /// Its own endpoint on the data planes.
    pub mcp: String,
}

/// What applies where a server's spec is silent.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EffectiveServer {
    /// How it is spoken to.
    pub transport: Transport,
    /// Which protocol it speaks.
    pub era: Era,
    /// What becomes of a definition that is new or has changed.
    pub approval: Approval,
    /// What becomes of the usage that it reports.
    pub reported_usage: UsageReports,
}

/// What a server's spec means.
#[derive(Debug)]
pub struct Meaning {
    transport: &'static str,
    era: &'static str,
    approval: Approval,
    team: Option<TeamId>,
    instances: Vec<InstanceSpec>,
    secrets: credential::Meaning,
}

/// The facts that `select` adds to a row.
#[derive(Deserialize)]
struct Facts {
    secrets: Vec<ShownSecret>,
    instances: Vec<instances::Known>,
    catalog: CatalogStatus,
}

impl ShownSecret {
    /// For people: the header, or what else it is.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        match self.name.as_str() {
            "client_secret" => "client secret",
            "private_key" => "private key",
            name => name.strip_prefix("header:").unwrap_or(name),
        }
    }
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable-http",
            Self::Sse => "sse",
        }
    }
}

impl Era {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl Approval {
    /// As the database and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Notify => "notify",
            Self::Pinned => "pinned",
        }
    }

    /// As the database has it: what it does not know is pinned.
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "trust" => Self::Trust,
            "notify" => Self::Notify,
            _ => Self::Pinned,
        }
    }

    /// As the protocol has it.
    pub(crate) const fn wire(self) -> wire::Approval {
        match self {
            Self::Trust => wire::Approval::Unspecified,
            Self::Notify => wire::Approval::Notify,
            Self::Pinned => wire::Approval::Pinned,
        }
    }
}

impl UsageReports {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Record => "record",
            Self::Bill => "bill",
        }
    }

    /// As a spec in the database has it, where it says anything.
    pub(crate) fn wire(text: Option<&str>) -> wire::UsageReports {
        match text {
            Some("record") => wire::UsageReports::Record,
            Some("bill") => wire::UsageReports::Bill,
            _ => wire::UsageReports::Unspecified,
        }
    }
}

impl ServerSpec {
    /// What applies where it is silent.
    #[must_use]
    pub fn effective(&self) -> EffectiveServer {
        let transport = self.transport.unwrap_or(Transport::StreamableHttp);
        let era = match (transport, self.era.unwrap_or(Era::Auto)) {
            (Transport::Sse, Era::Auto) => Era::Legacy,
            (_, era) => era,
        };
        let approval = self.catalog.as_ref().map_or(Approval::Trust, |catalog| catalog.approval);
        let reported_usage = self.reported_usage.unwrap_or(UsageReports::Ignore);
        EffectiveServer { transport, era, approval, reported_usage }
    }
}

impl Kind for ServerSpec {
    const TITLE: &'static str = "Server";
    const NOUN: &'static str = "server";
    const COLLECTION: &'static str = "servers";

    type Id = ServerId;
    type Status = ServerStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        name: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        if name.as_str().len() > SLUG_LEN_MAX {
            faults.add("/name", "name", format!("the name of a server has at most {SLUG_LEN_MAX} characters"));
        }
        fitting(self, faults);
        let instances = instances(&self.instances, faults);
        let secrets = credential::interpret(self, current, faults);
        credential::passed_headers(self, faults);
        let team = match &self.team {
            Some(team) => teams::look_up(tx, team, "/spec/team", faults).await?,
            None => None,
        };
        let EffectiveServer { transport, era, approval, .. } = self.effective();
        Ok(Some(Meaning { transport: transport.as_str(), era: era.as_str(), approval, team, instances, secrets }))
    }

    fn fit(meaning: &mut Meaning, app: &App, tenant: TenantId, id: ServerId) -> Result<(), ApiError> {
        elsewhere(&meaning.instances, &app.urls)?;
        credential::seal(&mut meaning.secrets, &app.master_key, tenant, id).map_err(ApiError::internal)
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await?;
        catalog::settle(tx, version.id.into(), meaning.approval).await
    }

    fn status(&self, row: &Row, app: &App, caller: &Caller) -> Result<ServerStatus, ApiError> {
        let mcp = app.urls.server(&caller.tenant_name, &row.name);
        let Facts { secrets, instances, catalog } = Facts::deserialize(&row.facts).map_err(ApiError::internal)?;
        let instances = instances.into_iter().map(InstanceStatus::from).collect();
        Ok(ServerStatus { urls: ServerUrls { mcp }, effective: self.effective(), instances, catalog, secrets })
    }
}

impl Removable for ServerSpec {
    async fn delete(tx: &mut TenantTx, id: ServerId, name: &str) -> Result<(), ApiError> {
        let by = sql::toolsets(tx, id).await?;
        if !by.is_empty() {
            return Err(ApiError::InUse { noun: Self::NOUN, name: name.to_owned(), by });
        }
        Ok(sql::delete(tx, id).await?)
    }
}

/// Which of the servers `names` do not exist.
///
/// # Errors
/// When Postgres is away.
pub async fn unknown(tx: &mut TenantTx, names: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sql::unknown(tx, names).await
}

/// Notes what does not go together.
fn fitting(spec: &ServerSpec, faults: &mut Faults) {
    if (spec.transport, spec.era) == (Some(Transport::Sse), Some(Era::Modern)) {
        faults.add("/spec/era", "conflict", "a server of the transport `sse` is of the legacy era");
    }
}

/// Refuses instances that are this deployment itself: it would ask itself for ever.
fn elsewhere(instances: &[InstanceSpec], urls: &Urls) -> Result<(), ApiError> {
    let is_own =
        |instance: &InstanceSpec| [&urls.control, &urls.data].iter().any(|own| instance_url::is_at(&instance.url, own));
    match instances.iter().position(is_own) {
        Some(index) => Err(ApiError::fault(&format!("/spec/instances/{index}/url"), "own_url", OWN_URL)),
        None => Ok(()),
    }
}

/// The instances, with their URLs in the one form that is compared.
fn instances(specs: &[InstanceSpec], faults: &mut Faults) -> Vec<InstanceSpec> {
    if specs.is_empty() {
        faults.add("/spec/instances", "required", "name at least one instance");
    }
    if specs.len() > INSTANCES_MAX {
        faults.add("/spec/instances", "too_many", format!("at most {INSTANCES_MAX} instances"));
    }
    let mut instances: Vec<InstanceSpec> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let pointer = format!("/spec/instances/{index}/url");
        match instance_url::read(&spec.url) {
            Ok(url) if instances.iter().any(|instance| instance.url == url) => {
                faults.add(pointer, "duplicate", "another instance has this URL");
            }
            Ok(url) => instances.push(InstanceSpec { url, draining: spec.draining }),
            Err(error) => faults.add(pointer, "url", error.to_string()),
        }
    }
    instances
}
