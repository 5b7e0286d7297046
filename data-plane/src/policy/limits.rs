//! How much may be asked for, and whose calls count.
//!
//! Invariant: every limit of a tenant is on exactly one thing, and what is looked up for a call depends on nothing but who
//! calls and what.

use std::{collections::HashMap, sync::Arc};

use tollgate_proto::{
    AgentId, IdError, LimitId, ServerId, TeamId, UserId,
    policy::v1::{self as wire, limit::On},
};

/// A tenant's limits by what they are on.
#[derive(Debug, Default)]
pub struct Limits {
    agents: HashMap<AgentId, Vec<Arc<Limit>>>,
    users: HashMap<UserId, Vec<Arc<Limit>>>,
    teams: HashMap<TeamId, Vec<Arc<Limit>>>,
    tools: HashMap<ServerId, HashMap<Box<str>, Vec<Arc<Limit>>>>,
    servers: HashMap<ServerId, Vec<Arc<Limit>>>,
    tenant: Vec<Arc<Limit>>,
}

/// One limit.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its id.
    pub id: LimitId,
    /// Its name, which refusals and headers show.
    pub name: String,
    /// What it is on.
    pub on: Subject,
    /// Requests that may pass.
    pub requests: Option<Rate>,
    /// Tokens that may pass.
    pub tokens: Option<Rate>,
    /// Calls that may run at once.
    pub concurrency: Option<u32>,
    /// What becomes of it while counters cannot be reached.
    pub on_store_outage: OnStoreOutage,
    /// Whether some of it may be taken in advance.
    pub is_leased: bool,
}

/// What a limit does while counters cannot be reached, in the order of how much it lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnStoreOutage {
    /// It does not count.
    Open,
    /// Each data plane keeps it for itself, to its share.
    Local,
    /// It refuses.
    Deny,
}

/// At most so many in any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// The window's length in seconds.
    pub window_s: u32,
}

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One agent.
    Agent,
    /// One user, whichever agents act for them.
    User,
    /// Whatever a team pays for.
    Team,
    /// One tool of a server.
    Tool,
    /// One server.
    Server,
    /// Everything.
    Tenant,
}

/// Who calls, and what.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// The agent.
    pub agent: AgentId,
    /// The user for whom it acts.
    pub user: Option<UserId>,
    /// The team that pays.
    pub team: TeamId,
    /// The server that is asked, where it is one.
    pub server: Option<ServerId>,
    /// The tool that is called, as its server names it.
    pub tool: Option<&'a str>,
}

/// Why a limit cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// It can never admit anything, or limits nothing.
    #[error("limit `{0}` allows nothing, or limits nothing")]
    Empty(String),
    /// What it is on is not known here.
    #[error("limit `{0}` is on something that this version does not know")]
    Subject(String),
    /// What it does while counters cannot be reached is not known here.
    #[error("limit `{0}` does something without counters that this version does not know")]
    OnStoreOutage(String),
}

impl OnStoreOutage {
    /// `None`: not known here.
    pub(super) fn read(sent: i32) -> Option<Self> {
        Some(match wire::OnStoreOutage::try_from(sent).ok()? {
            wire::OnStoreOutage::Unspecified => Self::Local,
            wire::OnStoreOutage::Deny => Self::Deny,
            wire::OnStoreOutage::Open => Self::Open,
        })
    }
}

impl Subject {
    /// As refusals name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
            Self::Team => "team",
            Self::Tool => "tool",
            Self::Server => "server",
            Self::Tenant => "tenant",
        }
    }
}

impl Limits {
    /// What was sent.
    ///
    /// # Errors
    /// When one of them cannot be kept.
    pub fn read(sent: &[wire::Limit]) -> Result<Self, LimitError> {
        let mut limits = Self::default();
        for sent in sent {
            limits.add(sent)?;
        }
        Ok(limits)
    }

    /// Every limit that a call has to pass, those that concern the fewest others first.
    pub fn on<'a>(&'a self, party: &Party<'_>) -> impl Iterator<Item = &'a Limit> {
        let of_tool = party.server.zip(party.tool).and_then(|(server, tool)| self.tools.get(&server)?.get(tool));
        let of_server = party.server.and_then(|server| self.servers.get(&server));
        let of_user = party.user.and_then(|user| self.users.get(&user));
        let of_caller = [self.agents.get(&party.agent), of_user, self.teams.get(&party.team)];
        let all = of_caller.into_iter().chain([of_tool, of_server, Some(&self.tenant)]);
        all.flatten().flatten().map(Arc::as_ref)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Limit> {
        let of_tools = self.tools.values().flat_map(HashMap::values);
        let of_callers = self.agents.values().chain(self.users.values()).chain(self.teams.values());
        let all = of_callers.chain(of_tools).chain(self.servers.values()).chain([&self.tenant]);
        all.flatten().map(Arc::as_ref)
    }

    fn add(&mut self, sent: &wire::Limit) -> Result<(), LimitError> {
        let Some(on) = &sent.on else { return Err(LimitError::Subject(sent.name.clone())) };
        let rates = [rate(sent.requests), rate(sent.tokens)];
        let concurrency = (sent.concurrency > 0).then_some(sent.concurrency);
        let is_whole = rates.iter().flatten().all(|rate| rate.count > 0 && rate.window_s > 0);
        let [requests, tokens] = rates;
        if !is_whole || (requests, tokens, concurrency) == (None, None, None) {
            return Err(LimitError::Empty(sent.name.clone()));
        }
        let (held, subject) = match on {
            On::AgentId(id) => (self.agents.entry(id.parse()?).or_default(), Subject::Agent),
            On::UserId(id) => (self.users.entry(id.parse()?).or_default(), Subject::User),
            On::TeamId(id) => (self.teams.entry(id.parse()?).or_default(), Subject::Team),
            On::ServerId(id) => (self.servers.entry(id.parse()?).or_default(), Subject::Server),
            On::Tool(wire::LimitedTool { server_id, tool }) => (
                self.tools.entry(server_id.parse()?).or_default().entry(tool.as_str().into()).or_default(),
                Subject::Tool,
            ),
            On::Tenant(_) => (&mut self.tenant, Subject::Tenant),
        };
        let id = sent.id.parse()?;
        let on_store_outage = OnStoreOutage::read(sent.on_store_outage);
        held.push(Arc::new(Limit {
            id,
            name: sent.name.clone(),
            on: subject,
            requests,
            tokens,
            concurrency,
            on_store_outage: on_store_outage.ok_or_else(|| LimitError::OnStoreOutage(sent.name.clone()))?,
            is_leased: sent.leased,
        }));
        Ok(())
    }
}

fn rate(sent: Option<wire::Rate>) -> Option<Rate> {
    sent.map(|wire::Rate { count, window_s }| Rate { count, window_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Option<wire::Rate> = Some(wire::Rate { count: 60, window_s: 60 });

    fn limit(name: &str, on: On) -> wire::Limit {
        let (id, name) = (LimitId::new().to_string(), name.to_owned());
        wire::Limit { id, name, on: Some(on), requests: MINUTE, ..wire::Limit::default() }
    }

    #[test]
    fn a_call_has_to_pass_every_limit_that_is_on_it_and_no_other() {
        let (agent, user, team, server) = (AgentId::new(), UserId::new(), TeamId::new(), ServerId::new());
        let tool = |name: &str| On::Tool(wire::LimitedTool { server_id: server.to_string(), tool: name.to_owned() });
        let sent = vec![
            limit("everything", On::Tenant(true)),
            limit("server", On::ServerId(server.to_string())),
            limit("tool", tool("echo")),
            limit("other-tool", tool("add")),
            limit("team", On::TeamId(team.to_string())),
            limit("user", On::UserId(user.to_string())),
            limit("agent", On::AgentId(agent.to_string())),
            limit("other-agent", On::AgentId(AgentId::new().to_string())),
            limit("other-server", On::ServerId(ServerId::new().to_string())),
        ];
        let limits = Limits::read(&sent).unwrap();
        let on = |party: Party<'_>| limits.on(&party).map(|limit| limit.name.as_str()).collect::<Vec<_>>();
        assert_eq!(limits.all().count(), sent.len());
        let party = Party { agent, user: Some(user), team, server: Some(server), tool: Some("echo") };
        assert_eq!(on(party), ["agent", "user", "team", "tool", "server", "everything"]);
        assert_eq!(on(Party { tool: None, user: None, ..party }), ["agent", "team", "server", "everything"]);
        let stranger =
            Party { agent: AgentId::new(), user: None, team: TeamId::new(), server: None, tool: Some("echo") };
        assert_eq!(on(stranger), ["everything"]);
    }

    #[test]
    fn what_can_never_admit_and_what_limits_nothing_is_refused() {
        let of = |change: fn(&mut wire::Limit)| {
            let mut sent = limit("l", On::Tenant(true));
            change(&mut sent);
            Limits::read(&[sent]).unwrap_err()
        };
        let empty = LimitError::Empty("l".to_owned());
        assert_eq!(of(|sent| sent.requests = None), empty);
        assert_eq!(of(|sent| sent.tokens = Some(wire::Rate { count: 0, window_s: 1 })), empty);
        assert_eq!(of(|sent| sent.requests = Some(wire::Rate { count: 1, window_s: 0 })), empty);
        assert_eq!(of(|sent| sent.on = None), LimitError::Subject("l".to_owned()));
        assert!(matches!(of(|sent| sent.id = "x".to_owned()), LimitError::Id(_)));
    }
}
