//! Stage 5, authorise: what the caller asks for, against the token's scopes and the agent's grants.
//!
//! Invariant: default deny; a list shows exactly what a call would be allowed, because both ask the same question.

mod sight;

use std::sync::Arc;

use tollgate_proto::{
    Name, Scope,
    access::{Arguments, Desk, Item, Kind, Refused, Ruling},
    policy::v1::DenyAs,
};

use crate::{
    mcp::method::ListKind,
    policy::{Policies, Server},
    refusal::Refusal,
    stage::{
        identify::{Caller, identify_again},
        route::{Needs, Route, Use},
    },
    upstream::observed::Glance,
};

pub use sight::Sight;

/// Evidence that the caller may do what the route says.
#[derive(Debug)]
pub struct Permit {
    view: View,
    standing: Standing,
    deny_as: DenyAs,
}

/// What was permitted, to be looked at again while the answer is under way.
#[derive(Debug, Clone)]
pub struct Standing {
    caller: Caller,
    needs: Arc<Needs>,
}

/// What one caller may see of servers' offers, at its endpoint.
#[derive(Debug, Clone)]
pub struct View {
    caller: Caller,
    now: i64,
}

/// Where one caller asks for the items of one list of a server: what does not depend on the item, looked up once.
#[derive(Debug)]
pub struct Counter<'a> {
    caller: &'a Caller,
    server: &'a Name,
    list: ListKind,
    kind: Kind,
    desk: Desk<'a, 'a>,
    seen: Option<Glance>,
}

impl Counter<'_> {
    /// Whether an item may be used, with some arguments at least, and so be seen.
    #[must_use]
    pub fn shows(&self, item: &str) -> bool {
        let is_here = match self.list {
            ListKind::Tools => self.caller.reach().has_tool(self.server, item),
            // A toolset has none of these.
            _ => self.caller.toolset().is_none(),
        };
        let seen = self.seen.as_ref().and_then(|seen| seen.digest(item));
        is_here && self.desk.decide(Item { kind: self.kind, name: item }, Arguments::Unknown, seen.as_ref()).is_ok()
    }
}

impl Permit {
    /// What the caller may see.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// What was permitted, to whom.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// How a limit turns away what was permitted, as the grant has it that decided.
    #[must_use]
    pub const fn deny_as(&self) -> DenyAs {
        self.deny_as
    }
}

impl Standing {
    /// To whom it was permitted.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it would be permitted still, by the policy and the revocations of now. That would be no new call: what
    /// was permitted at the start is not refused because a token's time ran out.
    ///
    /// Answers with the caller by that policy.
    ///
    /// # Errors
    /// What a new call would be refused with.
    pub fn recheck(&self, policies: &Policies, now: i64) -> Result<Caller, Refusal> {
        let caller = identify_again(&self.caller, &policies.load(), policies)?;
        permit(&caller, &self.needs, now)?;
        Ok(caller)
    }
}

impl View {
    /// What this caller may see at `now`, in unix seconds.
    #[must_use]
    pub fn new(caller: &Caller, now: i64) -> Self {
        Self { caller: caller.clone(), now }
    }

    /// What this caller may see of one list of a server.
    #[must_use]
    pub fn at<'a>(&'a self, kind: ListKind, server: &'a Name) -> Counter<'a> {
        let item_kind = kind_of(kind);
        Counter {
            caller: &self.caller,
            server,
            list: kind,
            kind: item_kind,
            desk: self.caller.desk(server, self.now),
            seen: self.caller.glance(server, item_kind),
        }
    }

    /// Whether one item may be used, with some arguments at least, and so be seen.
    #[must_use]
    pub fn shows(&self, kind: ListKind, server: &Name, item: &str) -> bool {
        self.at(kind, server).shows(item)
    }

    /// Whether anything of this kind can be seen of the server, so that asking for it is not in vain.
    #[must_use]
    pub fn deals_in(&self, kind: ListKind, server: &Server) -> bool {
        match self.caller.toolset() {
            None => self.caller.desk(&server.name, self.now).deals_in(kind_of(kind)),
            Some(_) => kind == ListKind::Tools && self.knows(server),
        }
    }

    /// Whether anything of the server can be seen at all, so that asking it is not in vain.
    #[must_use]
    pub fn knows(&self, server: &Server) -> bool {
        match self.caller.toolset() {
            None => self.caller.desk(&server.name, self.now).deals(),
            Some(toolset) => {
                let tools = self.at(ListKind::Tools, &server.name);
                toolset.tools_of(&server.name).any(|tool| tools.shows(tool))
            }
        }
    }
}

const fn kind_of(list: ListKind) -> Kind {
    match list {
        ListKind::Tools => Kind::Tool,
        ListKind::Prompts => Kind::Prompt,
        ListKind::Resources => Kind::Resource,
        ListKind::ResourceTemplates => Kind::Template,
        // These are granted with the whole server, whatever their names.
        ListKind::Skills => Kind::Other,
    }
}

/// Decides. `now` in unix seconds.
///
/// # Errors
/// [`Refusal::ScopeInsufficient`] when a new token would help, [`Refusal::ArgumentNotAllowed`] and
/// [`Refusal::NetworkNotAllowed`] when the same from elsewhere or otherwise would do, [`Refusal::ToolBlocked`] and
/// [`Refusal::ToolNotApproved`] when an administrator has to look at it, [`Refusal::HeldToExactTools`] and
/// [`Refusal::NotGranted`] when only a grant would.
pub fn authorize(caller: &Caller, route: &Route, now: i64) -> Result<Permit, Refusal> {
    let deny_as = permit(caller, route.needs(), now)?;
    let view = View::new(caller, now);
    Ok(Permit { view, standing: Standing { caller: caller.clone(), needs: Arc::clone(route.needs()) }, deny_as })
}

/// Whether the caller has what is needed, and how a limit would turn it away. `now` in unix seconds.
///
/// # Errors
/// As [`authorize`].
pub(in crate::stage) fn permit(caller: &Caller, needs: &Needs, now: i64) -> Result<DenyAs, Refusal> {
    match needs {
        Needs::Nothing | Needs::Filter(_) => Ok(DenyAs::Unspecified),
        Needs::Use(used) => permit_use(caller, used, now),
        Needs::AnythingOf(server, kind) => {
            let desk = caller.desk(server, now);
            let deals = kind.map_or_else(|| desk.deals(), |kind| desk.deals_in(kind));
            if deals { Ok(DenyAs::Unspecified) } else { permit_use(caller, &Use::whole(server), now) }
        }
        Needs::All(all) => {
            all.iter().try_for_each(|needs| permit(caller, needs, now).map(drop))?;
            Ok(DenyAs::Unspecified)
        }
    }
}

fn permit_use(caller: &Caller, used: &Use, now: i64) -> Result<DenyAs, Refusal> {
    // What was begun when it was in the toolset ends with that.
    if used.kind == Kind::Tool && !caller.reach().has_tool(&used.server, &used.name) {
        return Err(Refusal::ToolUnknown { tool: used.name.to_string() });
    }
    let desk = caller.desk(&used.server, now);
    let seen = caller.observed(&used.server, used.item());
    let decided = desk.decide(used.item(), used.arguments(), seen.as_ref());
    decided.map(|ruling| ruling.grant.deny_as).map_err(|refused| refusal(caller, used, refused, now))
}

fn refusal(caller: &Caller, used: &Use, refused: Refused<'_>, now: i64) -> Refusal {
    let scope = used.item().scope(&used.server);
    let grant = |ruling: Ruling<'_>| ruling.grant.name.to_string();
    match refused {
        Refused::NotGranted | Refused::Denied(_) | Refused::Expired(_) => not_granted(caller, &used.server, scope, now),
        Refused::OutsideNetwork(ruling) => Refusal::NetworkNotAllowed { scope, grant: grant(ruling) },
        Refused::ConditionFailed { ruling, pointer } => {
            Refusal::ArgumentNotAllowed { scope, grant: grant(ruling), pointer: pointer.to_owned() }
        }
        Refused::NotExact(ruling) => {
            Refusal::HeldToExactTools { agent: caller.agent().name.clone(), scope, grant: grant(ruling) }
        }
        Refused::Blocked => Refusal::ToolBlocked { scope },
        Refused::NotApproved => Refusal::ToolNotApproved { scope },
        // One operation needs one scope, so that this is all that it needs.
        Refused::NotInToken(ruling) => {
            let asked = match ruling.scope {
                // Tokens are issued by what scopes say, and that does not tell which tools only read.
                only_reading @ Scope::ReadOnly { .. } => only_reading.clone(),
                _ => scope.clone(),
            };
            Refusal::ScopeInsufficient { challenge: caller.challenge(Some(asked)), scope }
        }
    }
}

/// The challenge names the scope where the agent deals with this server already, so that an administrator who is asked
/// for more may say yes. A stranger to the server is not sent to ask, and neither is a user: their consent gives nothing
/// that the agent was not granted, and a client that is told of a scope leads them through it in vain.
fn not_granted(caller: &Caller, server: &Name, scope: Scope, now: i64) -> Refusal {
    let may_ask = caller.user().is_none() && caller.desk(server, now).knows();
    let asked = may_ask.then(|| scope.clone());
    Refusal::NotGranted { agent: caller.agent().name.clone(), scope, challenge: caller.challenge(asked) }
}

#[cfg(test)]
mod tests;
