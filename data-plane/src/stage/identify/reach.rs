//! What a caller is at: what of its tenant the endpoint leads to, by the policy that it was identified under.

use std::sync::Arc;

use tollgate_proto::Name;

use crate::{
    endpoint::Target,
    policy::{Server, Tenant, Toolset},
    refusal::Refusal,
};

/// What an endpoint leads to.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Every server, each with everything that it offers.
    Everything,
    /// One server.
    Server(Arc<Server>),
    /// The tools of a toolset.
    Toolset(Arc<Toolset>),
}

impl Reach {
    /// What this target leads to.
    ///
    /// # Errors
    /// When the tenant has no such server or toolset.
    pub fn of(tenant: &Tenant, target: &Target) -> Result<Self, Refusal> {
        match target {
            Target::All => Ok(Self::Everything),
            Target::Server(name) => tenant.servers.get(name).cloned().map(Self::Server).ok_or(Refusal::ServerUnknown),
            Target::Toolset(name) => {
                tenant.toolsets.get(name).cloned().map(Self::Toolset).ok_or(Refusal::ToolsetUnknown)
            }
        }
    }

    /// By which names the endpoint is known.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Everything => Target::All,
            Self::Server(server) => Target::Server(server.name.clone()),
            Self::Toolset(toolset) => Target::Toolset(toolset.name.clone()),
        }
    }

    /// Whether it leads to anything of this server.
    #[must_use]
    pub fn has_server(&self, server: &Name) -> bool {
        match self {
            Self::Everything => true,
            Self::Server(only) => only.name == *server,
            Self::Toolset(toolset) => toolset.has_server(server),
        }
    }

    /// Whether a server's tool is among what it leads to.
    #[must_use]
    pub fn has_tool(&self, server: &Name, tool: &str) -> bool {
        match self {
            Self::Everything | Self::Server(_) => self.has_server(server),
            Self::Toolset(toolset) => toolset.shown(server, tool).is_some(),
        }
    }
}
