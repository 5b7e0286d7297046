//! From a policy as it was sent to the book that is asked.
//!
//! Invariant: a policy with one fault is refused whole: a grant that could be read by half might allow too much.

use std::collections::{HashMap, HashSet};

use super::{
    Book, Member, Selections,
    catalog::Catalog,
    condition::{Compiler, Condition, ConditionError},
    grant::{Grant, Rule, Rules, Terms},
};
use crate::{
    AgentId, GrantId, IdError, Name, NameError, Scope, ScopeError, TeamId, canonical_network,
    policy::v1::{self as wire, grant::To},
};

/// Why a policy cannot be decided by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A scope that is none.
    #[error("grant `{grant}`: {source}")]
    Scope {
        /// The grant.
        grant: String,
        /// What is wrong with it.
        source: ScopeError,
    },
    /// A condition that cannot be tested.
    #[error("grant `{grant}`: {source}")]
    Condition {
        /// The grant.
        grant: String,
        /// What is wrong with it.
        source: ConditionError,
    },
    /// A network that is none.
    #[error("grant `{grant}`: `{network}` is no network in CIDR notation")]
    Network {
        /// The grant.
        grant: String,
        /// As it was sent.
        network: String,
    },
    /// A grant to nobody.
    #[error("grant `{0}` names nobody")]
    Nobody(String),
    /// An approved digest that is no SHA-256.
    #[error("the approved digest of `{0}` is no SHA-256")]
    Digest(String),
}

/// Rules while they are gathered.
struct Draft<'b> {
    agents: HashMap<AgentId, Vec<Rule>>,
    teams: HashMap<TeamId, Vec<Rule>>,
    roles: HashMap<Box<str>, Vec<Rule>>,
    compiler: Compiler<'b>,
}

impl Book {
    /// Reads what a policy says of access.
    ///
    /// # Errors
    /// The first thing in it that cannot be decided by.
    pub fn read(policy: &wire::TenantPolicy) -> Result<Self, BookError> {
        Self::read_after(policy, &Self::default())
    }

    /// As [`Self::read`], with what the book before it has compiled already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_after(policy: &wire::TenantPolicy, before: &Self) -> Result<Self, BookError> {
        let servers = policy.servers.iter().zip(0..);
        let servers = servers.map(|(server, number)| Ok((server.name.parse()?, Catalog::read(number, server)?)));
        let mut book = Self {
            servers: servers.collect::<Result<_, BookError>>()?,
            toolsets: toolsets(policy)?,
            ..Self::default()
        };
        let mut draft = Draft {
            agents: HashMap::with_capacity(policy.agents.len()),
            teams: HashMap::new(),
            roles: HashMap::new(),
            compiler: Compiler::new(&before.expressions),
        };
        let grants = policy.grants.iter().zip(0..).map(|(sent, index)| draft.grant(sent, index, &book));
        book.grants = grants.collect::<Result<_, _>>()?;
        let agents = policy.agents.iter().map(|agent| {
            let id = agent.id.parse()?;
            let rules = Rules::new(draft.agents.remove(&id).unwrap_or_default());
            Ok((id, Member { team: agent.team_id.parse()?, rules, is_held: agent.exact_tools }))
        });
        book.agents = agents.collect::<Result<_, BookError>>()?;
        book.teams = draft.teams.into_iter().map(|(team, rules)| (team, Rules::new(rules))).collect();
        book.roles = draft.roles.into_iter().map(|(role, rules)| (role, Rules::new(rules))).collect();
        book.expressions = draft.compiler.compiled;
        Ok(book)
    }
}

impl Draft<'_> {
    /// Compiles the grant at this place, and adds what it says to whoever it is for.
    fn grant(&mut self, sent: &wire::Grant, index: u32, book: &Book) -> Result<Grant, BookError> {
        let scopes = sent.scopes.iter().map(|text| text.parse());
        let scopes: Box<[Scope]> =
            scopes.collect::<Result<_, _>>().map_err(|source| BookError::Scope { grant: sent.name.clone(), source })?;
        let rules = match sent.to.as_ref().ok_or_else(|| BookError::Nobody(sent.name.clone()))? {
            To::AgentId(id) => self.agents.entry(id.parse()?).or_default(),
            To::TeamId(id) => self.teams.entry(id.parse()?).or_default(),
            To::Role(role) => self.roles.entry(role.as_str().into()).or_default(),
        };
        for (scope, at) in scopes.iter().zip(0..) {
            let of_toolset =
                scope.toolset().and_then(|name| book.toolsets.get(name)).into_iter().flat_map(HashMap::keys);
            for server in of_toolset.chain(scope.server()) {
                let catalog = book.servers.get(server);
                rules.extend(catalog.map(|catalog| Rule { server: catalog.number, grant: index, scope: at }));
            }
        }
        Ok(Grant {
            id: sent.id.parse::<GrantId>()?,
            name: sent.name.as_str().into(),
            deny: sent.deny,
            // What is not known here is passed over: it would refuse as well.
            deny_as: sent.deny_as(),
            scopes,
            expires_at: if sent.expires_at == 0 { i64::MAX } else { sent.expires_at },
            terms: self.terms(sent)?,
        })
    }

    fn terms(&mut self, sent: &wire::Grant) -> Result<Option<Box<Terms>>, BookError> {
        if sent.conditions.is_empty() && sent.networks.is_empty() {
            return Ok(None);
        }
        let conditions = sent.conditions.iter().map(|condition| {
            let read = Condition::read(condition, &mut self.compiler);
            read.map_err(|source| BookError::Condition { grant: sent.name.clone(), source })
        });
        let networks = sent.networks.iter().map(|network| {
            let unreadable = || BookError::Network { grant: sent.name.clone(), network: network.clone() };
            network.parse().map(canonical_network).map_err(|_| unreadable())
        });
        let (conditions, networks) = (conditions.collect::<Result<_, _>>()?, networks.collect::<Result<_, _>>()?);
        Ok(Some(Box::new(Terms { conditions, networks })))
    }
}

/// The tools of each toolset by server, sorted. What a toolset selects of a server that is gone nobody can use.
fn toolsets(policy: &wire::TenantPolicy) -> Result<HashMap<Name, Selections>, BookError> {
    let servers = policy.servers.iter().map(|server| Ok((server.id.as_str(), server.name.parse()?)));
    let servers = servers.collect::<Result<HashMap<&str, Name>, NameError>>()?;
    let mut toolsets = HashMap::with_capacity(policy.toolsets.len());
    for sent in &policy.toolsets {
        let mut tools: HashMap<Name, HashSet<Box<str>>> = HashMap::new();
        for selected in &sent.tools {
            if let Some(server) = servers.get(selected.server_id.as_str()) {
                tools.entry(server.clone()).or_default().insert(selected.tool.as_str().into());
            }
        }
        let sorted = tools.into_iter().map(|(server, tools)| {
            let mut tools = Vec::from_iter(tools);
            tools.sort_unstable();
            (server, tools.into())
        });
        toolsets.insert(sent.name.parse()?, sorted.collect());
    }
    Ok(toolsets)
}
