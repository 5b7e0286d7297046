//! Stage 5, authorise: what the caller asks for, against the token's scopes and the agent's grants.
//!
//! Invariant: default deny; a list shows exactly what a call would be allowed, because both ask the same question.

use std::sync::Arc;

use tollgate_proto::{Name, Scope};

use crate::{
    mcp::method::ListKind,
    policy::{Agent, Permission, Server},
    refusal::Refusal,
    stage::{
        identify::Caller,
        route::{Needs, Route},
    },
};

/// Evidence that the caller may do what the route says.
#[derive(Debug)]
pub struct Permit {
    view: View,
}

/// What one caller may see of servers' offers.
#[derive(Debug, Clone)]
pub struct View {
    agent: Arc<Agent>,
    scopes: Arc<[Scope]>,
    now: i64,
}

impl Permit {
    /// What the caller may see.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }
}

impl View {
    /// Whether an item of a list may be used, and so be seen.
    #[must_use]
    pub fn shows(&self, kind: ListKind, server: &Name, item: &str) -> bool {
        let wanted = match kind {
            ListKind::Tools => Scope::tool(server, item),
            ListKind::Prompts | ListKind::Resources | ListKind::ResourceTemplates => {
                Scope::Server { server: server.clone() }
            }
        };
        self.agent.permission(&self.scopes, &wanted, self.now) == Permission::Allowed
    }

    /// Whether anything of the server can be seen at all, so that asking it is not in vain.
    #[must_use]
    pub fn knows(&self, server: &Server) -> bool {
        self.agent.knows(&server.name, self.now) && self.scopes.iter().any(|scope| *scope.server() == server.name)
    }
}

/// Decides. `now` in unix seconds.
///
/// # Errors
/// [`Refusal::ScopeInsufficient`] when a new token would help, [`Refusal::NotGranted`] when only a grant would.
pub fn authorize(caller: &Caller, route: &Route, now: i64) -> Result<Permit, Refusal> {
    if let Needs::Scope(scope) = route.needs() {
        match caller.agent().permission(caller.scopes(), scope, now) {
            Permission::Allowed => {}
            Permission::NotInToken => {
                return Err(Refusal::ScopeInsufficient {
                    scope: scope.clone(),
                    challenge: caller.challenge(Some(scope.clone())),
                });
            }
            Permission::NotGranted => return Err(not_granted(caller, scope, now)),
        }
    }
    let view = View { agent: Arc::clone(caller.agent()), scopes: caller.scopes().into(), now };
    Ok(Permit { view })
}

/// The challenge names the scope where the agent deals with this server already, so that asking for more may
/// succeed; a stranger to the server is not sent to ask.
fn not_granted(caller: &Caller, scope: &Scope, now: i64) -> Refusal {
    let asked = caller.agent().knows(scope.server(), now).then(|| scope.clone());
    Refusal::NotGranted { agent: caller.agent().name.clone(), scope: scope.clone(), challenge: caller.challenge(asked) }
}
