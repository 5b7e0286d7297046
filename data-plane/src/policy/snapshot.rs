//! The policy in the form that calls ask: everything found by one look-up, nothing parsed on a call's clock.
//!
//! Invariant: no I/O and no clock in here; what depends on the time takes it as an argument.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use jsonwebtoken::DecodingKey;
use tollgate_proto::{AgentId, InstanceId, Name, ServerId, TeamId, TenantId, UserId, access::Book};

use crate::{
    endpoint::Target,
    mcp::{header, version::Era},
    policy::{Access, Budgets, Egress, Limits, Staleness, Toolsets, Via},
    seal::SealingKeys,
};

/// Every tenant's policy.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    tenants: HashMap<Name, Arc<Tenant>>,
}

impl Snapshot {
    /// The tenant that a URL names.
    #[must_use]
    pub fn tenant(&self, name: &Name) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// This snapshot with one tenant's policy replaced.
    #[must_use]
    pub fn with(&self, tenant: Arc<Tenant>) -> Self {
        let mut next = self.without(tenant.id);
        next.tenants.insert(tenant.name.clone(), tenant);
        next
    }

    /// This snapshot without one tenant.
    #[must_use]
    pub fn without(&self, id: TenantId) -> Self {
        let kept = self.tenants.iter().filter(|(_, tenant)| tenant.id != id);
        Self { tenants: kept.map(|(name, tenant)| (name.clone(), Arc::clone(tenant))).collect() }
    }
}

/// One tenant's policy at one revision.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The `{tenant}` of its URLs.
    pub name: Name,
    /// Which policy this is.
    pub revision: u64,
    /// SHA-256 of the policy as it was sent, in hex.
    pub digest: String,
    /// Of the database that made it.
    pub epoch: String,
    /// Issuer of its tokens, byte-exact.
    pub issuer: String,
    /// Keys that sign its tokens, by `kid`.
    pub keys: HashMap<String, DecodingKey>,
    /// Base URL of its endpoints, without a trailing slash.
    pub data_url: String,
    /// Who asks its servers.
    pub via: Via,
    /// Where its servers may live.
    pub egress: Egress,
    /// Its agents by `client_id`, as tokens name them.
    pub agents: HashMap<String, Arc<Agent>>,
    /// Those for whom agents may act.
    pub users: HashMap<UserId, Arc<User>>,
    /// Its servers by slug, ordered, so that merged lists are.
    pub servers: BTreeMap<Name, Arc<Server>>,
    /// What it offers of them under names of its own.
    pub toolsets: Toolsets,
    /// Who may use what of them.
    pub book: Book,
    /// How much of it.
    pub limits: Limits,
    /// And for how much money.
    pub budgets: Budgets,
    /// What seals values that travel through its agents.
    pub sealing: SealingKeys,
    /// Headers of agents that are passed on to any of its servers.
    pub passed_headers: Vec<HeaderName>,
    /// What it wants while no control plane is heard.
    pub staleness: Staleness,
}

impl Tenant {
    /// The resource that an endpoint is: its exact URL.
    #[must_use]
    pub fn resource(&self, target: &Target) -> String {
        format!("{}{}", self.data_url, target.path(&self.name))
    }

    /// Whether `text` is the resource that an endpoint is, without writing it out.
    #[must_use]
    pub fn is_resource(&self, text: &str, target: &Target) -> bool {
        text.strip_prefix(&self.data_url).is_some_and(|path| target.is_at(&self.name, path))
    }

    /// Where the RFC 9728 document of that resource is.
    #[must_use]
    pub fn resource_metadata(&self, target: &Target) -> String {
        format!("{}{}", self.data_url, target.metadata_path(&self.name))
    }

    /// What of an agent's headers may be of use to a server, and whom the request has been through.
    #[must_use]
    pub fn passed(&self, of_agent: &HeaderMap) -> HeaderMap {
        let mut passed = HeaderMap::new();
        for name in self.passed_headers.iter().chain([&header::CDN_LOOP]) {
            for value in of_agent.get_all(name) {
                passed.append(name, value.clone());
            }
        }
        passed
    }
}

/// A registered server.
#[derive(Debug)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its slug.
    pub name: Name,
    /// For people.
    pub display_name: String,
    /// Which era it speaks; `None`: found out by asking.
    pub era: Option<Era>,
    /// Where it runs; never empty.
    pub instances: Vec<Arc<Instance>>,
    /// What becomes of the usage that it reports.
    pub usage_reports: UsageReports,
}

/// What becomes of the usage that a server reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UsageReports {
    /// Nobody looks for it.
    #[default]
    Ignored,
    /// It is kept beside what was counted.
    Recorded,
    /// It is billed, and what was counted is kept beside it.
    Billed,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One endpoint. A server that does not know what is POSTed there is asked for an event stream next.
    #[default]
    Streamable,
    /// An event stream by GET, and messages to the address that it announces.
    EventStream,
}

/// One running copy of a server.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its MCP endpoint.
    pub url: http::Uri,
    /// How its server is spoken to.
    pub transport: Transport,
    /// New work goes elsewhere; the sessions that it holds go on.
    pub draining: bool,
    /// How its server is approached.
    pub access: Arc<Access>,
}

/// Who may call, and as part of which team.
#[derive(Debug)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// As tokens name it: the id, or the URL of its metadata document.
    pub client_id: String,
    /// Its name.
    pub name: String,
    /// The team that it belongs to, which pays.
    pub team: Team,
    /// What usage can be told apart by.
    pub labels: BTreeMap<String, String>,
    /// False while suspended.
    pub active: bool,
}

/// Somebody for whom agents act.
#[derive(Debug)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their address, as records name them.
    pub email: String,
    /// Who pays for what is done in their name; none: the agent's team.
    pub team: Option<Team>,
    /// What they are to the tenant, which grants may speak of.
    pub role: Box<str>,
    /// False while disabled.
    pub active: bool,
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// Its accounting code.
    pub cost_center: String,
}
