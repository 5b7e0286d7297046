//! Stage 5, authorise: what the caller asks for, against the token's scopes and the agent's grants.
//!
//! Invariant: default deny; a list shows exactly what a call would be allowed, because both ask the same question.

mod sight;

use tollgate_proto::{Name, Scope};

use crate::{
    mcp::method::ListKind,
    policy::{Permission, Policies, Server},
    refusal::Refusal,
    stage::{
        identify::{Caller, identify_again},
        route::{Needs, Route},
    },
};

pub use sight::Sight;

/// Evidence that the caller may do what the route says.
#[derive(Debug)]
pub struct Permit {
    view: View,
    standing: Standing,
}

/// What was permitted, to be looked at again while the answer is under way.
#[derive(Debug, Clone)]
pub struct Standing {
    caller: Caller,
    needs: Needs,
}

/// What one caller may see of servers' offers, at its endpoint.
#[derive(Debug, Clone)]
pub struct View {
    caller: Caller,
    now: i64,
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

    /// Whether an item of a list may be used, and so be seen.
    #[must_use]
    pub fn shows(&self, kind: ListKind, server: &Name, item: &str) -> bool {
        let (is_here, wanted) = match kind {
            ListKind::Tools => (self.caller.reach().has_tool(server, item), Scope::tool(server, item)),
            // A toolset has none of these.
            ListKind::Prompts | ListKind::Resources | ListKind::ResourceTemplates | ListKind::Skills => {
                (self.caller.toolset().is_none(), Scope::Server { server: server.clone() })
            }
        };
        is_here && self.caller.permission(&wanted, self.now) == Permission::Allowed
    }

    /// Whether anything of this kind can be seen of the server, so that asking for it is not in vain.
    #[must_use]
    pub fn deals_in(&self, kind: ListKind, server: &Server) -> bool {
        match kind {
            ListKind::Tools => self.knows(server),
            // These are granted with the whole server, whatever their names.
            _ => self.shows(kind, &server.name, ""),
        }
    }

    /// Whether anything of the server can be seen at all, so that asking it is not in vain.
    #[must_use]
    pub fn knows(&self, server: &Server) -> bool {
        match self.caller.toolset() {
            None => self.caller.deals_with(&server.name, self.now),
            Some(toolset) => toolset.tools_of(&server.name).any(|tool| self.shows(ListKind::Tools, &server.name, tool)),
        }
    }
}

/// Decides. `now` in unix seconds.
///
/// # Errors
/// [`Refusal::ScopeInsufficient`] when a new token would help, [`Refusal::NotGranted`] when only a grant would.
pub fn authorize(caller: &Caller, route: &Route, now: i64) -> Result<Permit, Refusal> {
    permit(caller, route.needs(), now)?;
    let view = View::new(caller, now);
    Ok(Permit { view, standing: Standing { caller: caller.clone(), needs: route.needs().clone() } })
}

fn permit(caller: &Caller, needs: &Needs, now: i64) -> Result<(), Refusal> {
    let scope = match needs {
        Needs::Nothing | Needs::Filter(_) => return Ok(()),
        Needs::AnythingOf(server) if caller.deals_with(server, now) => return Ok(()),
        Needs::AnythingOf(server) => &Scope::Server { server: server.clone() },
        Needs::Scope(scope) => scope,
    };
    // What was begun when it was in the toolset ends with that.
    if let Scope::Tool { server, tool } = scope
        && !caller.reach().has_tool(server, tool)
    {
        return Err(Refusal::ToolUnknown { tool: tool.to_string() });
    }
    match caller.permission(scope, now) {
        Permission::Allowed => Ok(()),
        // One operation needs one scope, so that this is all that it needs.
        Permission::NotInToken => {
            Err(Refusal::ScopeInsufficient { scope: scope.clone(), challenge: caller.challenge(Some(scope.clone())) })
        }
        Permission::NotGranted => Err(not_granted(caller, scope, now)),
    }
}

/// The challenge names the scope where the agent deals with this server already, so that an administrator who is asked
/// for more may say yes. A stranger to the server is not sent to ask, and neither is a user: their consent gives nothing
/// that the agent was not granted, and a client that is told of a scope leads them through it in vain.
fn not_granted(caller: &Caller, scope: &Scope, now: i64) -> Refusal {
    let may_ask = caller.user().is_none() && scope.server().is_some_and(|server| caller.knows(server, now));
    let asked = may_ask.then(|| scope.clone());
    Refusal::NotGranted { agent: caller.agent().name.clone(), scope: scope.clone(), challenge: caller.challenge(asked) }
}

#[cfg(test)]
mod tests;
