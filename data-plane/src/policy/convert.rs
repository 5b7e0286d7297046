//! From the policy as it was sent to the policy that calls ask.
//!
//! Invariant: a policy with one fault is refused whole, with the reason that the control plane will show.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    str::FromStr,
    sync::Arc,
};

use http::HeaderName;
use jsonwebtoken::{DecodingKey, jwk::JwkSet};
use tollgate_proto::{
    IdError, InstanceId, Name, NameError, ServerId, TenantId, UserId,
    access::{Book, BookError},
    feature,
    policy::v1 as wire,
};

use crate::{
    mcp::version::Era,
    policy::{
        Access, AccessError, BudgetError, Budgets, Egress, LimitError, Limits, Staleness, Via,
        snapshot::{Agent, Instance, Server, Team, Tenant, Transport, UsageReports, User},
        toolset::{SelectionError, Toolset, Toolsets},
    },
    seal::SealingKeys,
};

/// Why a tenant's policy cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It would allow more to who does not know this.
    #[error("it needs `{0}`, which this version of the data plane does not know: upgrade it")]
    Feature(String),
    /// Something newer is in force.
    #[error("revision {revision} is older than revision {in_force}, which is in force")]
    Older {
        /// What came.
        revision: u64,
        /// What is there.
        in_force: u64,
    },
    /// Nothing is served any more.
    #[error("this data plane was revoked")]
    Withdrawn,
    /// An id that is none.
    #[error("{0}")]
    Id(#[from] IdError),
    /// A name that is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A grant or an approval that cannot be decided by.
    #[error(transparent)]
    Book(#[from] BookError),
    /// A network that is none.
    #[error("`{0}` is no network in CIDR notation")]
    Network(String),
    /// An instance's URL that cannot be requested.
    #[error("`{0}` is no http or https URL")]
    Url(String),
    /// A server without an instance.
    #[error("server `{0}` has no instance")]
    NoInstance(String),
    /// The keys are no JWK Set, or one cannot verify.
    #[error("the signing keys are unusable: {0}")]
    Keys(String),
    /// A sealing key of the wrong length.
    #[error("the sealing keys are unusable")]
    SealingKeys,
    /// What is presented or passed on to a server cannot be.
    #[error("server `{0}`: {1}")]
    Access(String, AccessError),
    /// A limit that cannot be kept.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A budget that cannot be kept.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A tool of a toolset that could not be told from another, or whose server is not there.
    #[error("toolset `{toolset}`, tool `{tool}`: {fault}")]
    Toolset {
        /// The toolset.
        toolset: Name,
        /// The tool, as its server names it.
        tool: String,
        /// What is wrong with it.
        fault: SelectionError,
    },
}

impl Tenant {
    /// Reads a policy as it was sent. Of the one before it is taken over what was costly to make and is the same.
    ///
    /// # Errors
    /// The first thing in it that cannot be served.
    pub fn read(policy: &wire::TenantPolicy, before: Option<&Self>) -> Result<Self, SnapshotError> {
        if let Some(unknown) = feature::unknown_in(policy) {
            return Err(SnapshotError::Feature(unknown.to_owned()));
        }
        let book = before.map_or_else(|| Book::read(policy), |before| Book::read_after(policy, &before.book))?;
        let via = Via::of(&policy.data_url);
        let servers = policy.servers.iter().map(|sent| server(sent, &via)).collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(Self {
            id: TenantId::from_str(&policy.tenant_id)?,
            name: policy.tenant.parse()?,
            revision: policy.revision,
            digest: policy.digest.clone(),
            epoch: policy.epoch.clone(),
            issuer: policy.issuer.clone(),
            keys: keys(&policy.jwks)?,
            data_url: policy.data_url.clone(),
            via,
            egress: egress(&policy.egress_allow)?,
            agents: policy.agents.iter().map(agent).collect::<Result<_, _>>()?,
            limits: Limits::read(&policy.limits)?,
            budgets: Budgets::read(policy)?,
            users: policy.users.iter().map(user).collect::<Result<_, _>>()?,
            passed_headers: passed_headers(servers.values()),
            toolsets: toolsets(&policy.toolsets, &servers)?,
            servers: servers.into_iter().map(|(name, server)| (name, Arc::new(server))).collect(),
            book,
            sealing: sealing(&policy.sealing_keys)?,
            staleness: Staleness::read(policy.staleness),
        })
    }
}

fn agent(sent: &wire::Agent) -> Result<(String, Arc<Agent>), SnapshotError> {
    let id = sent.id.parse()?;
    let client_id = if sent.client_id.is_empty() { &sent.id } else { &sent.client_id };
    let agent = Agent {
        id,
        client_id: client_id.clone(),
        name: sent.name.clone(),
        team: team(&sent.team_id, &sent.team, &sent.cost_center)?,
        labels: sent.labels.clone(),
        active: sent.active,
    };
    Ok((client_id.clone(), Arc::new(agent)))
}

fn user(sent: &wire::User) -> Result<(UserId, Arc<User>), SnapshotError> {
    let id = sent.id.parse()?;
    let is_of_team = !sent.team_id.is_empty();
    let team = is_of_team.then(|| team(&sent.team_id, &sent.team, &sent.cost_center)).transpose()?;
    let (email, role) = (sent.email.clone(), sent.role.as_str().into());
    Ok((id, Arc::new(User { id, email, team, role, active: sent.active })))
}

fn team(id: &str, name: &str, cost_center: &str) -> Result<Team, IdError> {
    Ok(Team { id: id.parse()?, name: name.to_owned(), cost_center: cost_center.to_owned() })
}

fn server(sent: &wire::Server, via: &Via) -> Result<(Name, Server), SnapshotError> {
    let name: Name = sent.name.parse()?;
    let transport = match wire::Transport::try_from(sent.transport) {
        Ok(wire::Transport::Sse) => Transport::EventStream,
        Ok(wire::Transport::Unspecified) | Err(_) => Transport::Streamable,
    };
    let era = match wire::Era::try_from(sent.era) {
        _ if transport == Transport::EventStream => Some(Era::Legacy),
        Ok(wire::Era::Legacy) => Some(Era::Legacy),
        Ok(wire::Era::Modern) => Some(Era::Modern),
        Ok(wire::Era::Unspecified) | Err(_) => None,
    };
    let id = ServerId::from_str(&sent.id)?;
    let first = sent.instances.first().ok_or_else(|| SnapshotError::NoInstance(sent.name.clone()))?;
    let access = Access::read(id, &first.url, sent.credential.clone(), &sent.passed_headers, via);
    let access = Arc::new(access.map_err(|error| SnapshotError::Access(sent.name.clone(), error))?);
    let instances = sent.instances.iter().map(|sent| instance(sent, transport, &access));
    let instances = instances.collect::<Result<Vec<_>, _>>()?;
    let usage_reports = match wire::UsageReports::try_from(sent.usage_reports) {
        Ok(wire::UsageReports::Record) => UsageReports::Recorded,
        Ok(wire::UsageReports::Bill) => UsageReports::Billed,
        Ok(wire::UsageReports::Unspecified) | Err(_) => UsageReports::Ignored,
    };
    let display_name = sent.display_name.clone();
    let server = Server { id, name: name.clone(), display_name, era, instances, usage_reports };
    Ok((name, server))
}

fn instance(sent: &wire::Instance, transport: Transport, access: &Arc<Access>) -> Result<Arc<Instance>, SnapshotError> {
    let unusable = || SnapshotError::Url(sent.url.clone());
    let url: http::Uri = sent.url.parse().map_err(|_| unusable())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
        return Err(unusable());
    }
    let (id, access) = (InstanceId::from_str(&sent.id)?, Arc::clone(access));
    Ok(Arc::new(Instance { id, url, transport, draining: sent.draining, access }))
}

fn toolsets(sent: &[wire::Toolset], servers: &BTreeMap<Name, Server>) -> Result<Toolsets, SnapshotError> {
    let names: HashMap<ServerId, &Name> = servers.values().map(|server| (server.id, &server.name)).collect();
    sent.iter().map(|sent| toolset(sent, &names)).collect()
}

fn toolset(sent: &wire::Toolset, servers: &HashMap<ServerId, &Name>) -> Result<Arc<Toolset>, SnapshotError> {
    let mut toolset = Toolset::new(sent.name.parse()?, sent.display_name.clone(), sent.description.clone());
    for wire::ToolsetTool { server_id, tool, name, description } in &sent.tools {
        let server = servers.get(&server_id.parse()?).ok_or(SelectionError::ServerUnknown);
        let added = server.and_then(|server| toolset.select(server, tool, name, description));
        added.map_err(|fault| SnapshotError::Toolset { toolset: toolset.name.clone(), tool: tool.clone(), fault })?;
    }
    Ok(Arc::new(toolset))
}

/// Each header that any of the servers is passed.
fn passed_headers<'a>(servers: impl Iterator<Item = &'a Server>) -> Vec<HeaderName> {
    let instances = servers.filter_map(|server| server.instances.first());
    let names = instances.flat_map(|instance| &instance.access.passed_headers);
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(name.as_str())).cloned().collect()
}

fn keys(jwks: &str) -> Result<HashMap<String, DecodingKey>, SnapshotError> {
    let unusable = |error: &dyn std::fmt::Display| SnapshotError::Keys(error.to_string());
    let set: JwkSet = serde_json::from_str(jwks).map_err(|error| unusable(&error))?;
    set.keys
        .iter()
        .map(|jwk| {
            let kid = jwk.common.key_id.clone().ok_or_else(|| unusable(&"a key without `kid`"))?;
            let key = DecodingKey::from_jwk(jwk).map_err(|error| unusable(&error))?;
            Ok((kid, key))
        })
        .collect()
}

fn sealing(sent: &[wire::SealingKey]) -> Result<SealingKeys, SnapshotError> {
    let keys = sent.iter().map(|key| (key.id.clone(), key.secret.as_slice()));
    SealingKeys::new(keys).ok_or(SnapshotError::SealingKeys)
}

fn egress(allowed: &[String]) -> Result<Egress, SnapshotError> {
    let networks = allowed.iter().map(|text| text.parse().map_err(|_| SnapshotError::Network(text.clone())));
    networks.collect::<Result<_, _>>().map(Egress::new)
}
