//! What a user is asked to allow: what the client wants, within what operators granted it, without what the user
//! allowed before.
//!
//! Invariant: nothing is offered that no grant covers or that a denial covers, and nothing is taken for allowed at a
//! resource where it was not.

use std::collections::BTreeMap;

use tollgate_proto::{AgentId, Name, Scope};

use super::{fault::RequestFault, request::AuthorizationRequest, sql};
use crate::{
    db::TenantTx,
    oauth::{
        scope_policy,
        target::{Target, TargetError},
    },
};

/// What one request comes to.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    /// What the client gets if the user allows all of it.
    pub(super) granted: Vec<Scope>,
    /// What of it the user has to be asked for.
    pub(super) asked: Vec<Scope>,
    /// What of it the user allowed before.
    pub(super) held: Vec<Scope>,
    /// What the client wants though nobody granted it.
    pub(super) withheld: Vec<Scope>,
    /// What servers are called.
    titles: BTreeMap<Name, String>,
}

/// What is remembered for a user and a client, by resource.
pub(super) type Remembered = Vec<(Target, Vec<Scope>)>;

impl Offer {
    /// Reads grants and servers. The inner fault is the client's.
    pub(super) async fn make(
        tx: &mut TenantTx,
        agent: AgentId,
        request: &AuthorizationRequest,
    ) -> Result<Result<Self, RequestFault>, sqlx::Error> {
        let (allowed, denied) = sql::grants(tx, agent).await?;
        let requested = request.scopes.as_deref();
        let named = request.targets.iter().filter_map(Target::server);
        let spoken_of = allowed.iter().chain(requested.unwrap_or_default()).filter_map(Scope::server);
        let names: Vec<String> = named.chain(spoken_of).map(ToString::to_string).collect();
        let titles = sql::server_titles(tx, &names).await?;
        if let Err(fault) = check_targets(&request.targets, &titles).and_then(|()| match requested {
            None => Ok(()),
            Some(requested) => check_scopes(requested, &request.targets, &titles),
        }) {
            return Ok(Err(fault));
        }
        let offered = scope_policy::offer(&allowed, &denied, &request.targets, requested);
        let (granted, withheld) = (offered.granted, offered.withheld);
        Ok(Ok(Self { asked: granted.clone(), held: Vec::new(), granted, withheld, titles }))
    }

    /// The same with what was allowed before taken out of what is asked. A scope counts as allowed when it was at
    /// every resource of the request that it means something for.
    pub(super) fn without(mut self, remembered: &Remembered) -> Self {
        let held = |scope: &Scope| {
            remembered
                .iter()
                .filter(|(target, _)| target.concerns(scope))
                .all(|(_, scopes)| scopes.iter().any(|before| before.covers(scope)))
        };
        (self.held, self.asked) = self.granted.iter().cloned().partition(held);
        self
    }

    /// The same that asks for these.
    pub(super) fn asking(self, scopes: &[Scope]) -> Self {
        Self { asked: scopes.to_vec(), ..self }
    }

    /// What people call a server.
    pub(super) fn title(&self, server: &Name) -> String {
        self.titles.get(server).filter(|title| !title.is_empty()).cloned().unwrap_or_else(|| server.to_string())
    }
}

fn check_targets(targets: &[Target], titles: &BTreeMap<Name, String>) -> Result<(), RequestFault> {
    let known = |server: &Name| titles.contains_key(server);
    if targets.iter().filter_map(Target::server).all(known) { Ok(()) } else { Err(TargetError::Unknown.into()) }
}

/// A server that does not exist has no scopes, and one server's endpoint none of another's.
fn check_scopes(requested: &[Scope], targets: &[Target], titles: &BTreeMap<Name, String>) -> Result<(), RequestFault> {
    let means_something = |scope: &&Scope| {
        scope.server().is_some_and(|server| titles.contains_key(server))
            && targets.iter().any(|target| target.concerns(scope))
    };
    match requested.iter().find(|scope| !means_something(scope)) {
        None => Ok(()),
        Some(scope) => Err(RequestFault::InvalidScope(format!("`{scope}` is no scope of this resource"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| text.parse().expect("a scope")).collect()
    }

    fn offer(granted: &[&str]) -> Offer {
        Offer { granted: scopes(granted), ..Offer::default() }
    }

    #[test]
    fn only_what_is_new_is_asked() {
        let remembered = vec![(Target::Federated, scopes(&["demo:echo", "files:*"]))];
        let offer = offer(&["demo:echo", "demo:add", "files:read"]).without(&remembered);
        assert_eq!(offer.asked, scopes(&["demo:add"]));
        assert_eq!(offer.held, scopes(&["demo:echo", "files:read"]));
    }

    #[test]
    fn a_tool_that_was_allowed_does_not_make_its_server_allowed() {
        let remembered = vec![(Target::Federated, scopes(&["demo:echo"]))];
        assert_eq!(offer(&["demo:*"]).without(&remembered).asked, scopes(&["demo:*"]));
    }

    #[test]
    fn consent_at_one_resource_is_none_at_another() {
        let demo = Target::Server("demo".parse().expect("a name"));
        let remembered = vec![(Target::Federated, scopes(&["demo:echo"])), (demo, Vec::new())];
        assert_eq!(offer(&["demo:echo"]).without(&remembered).asked, scopes(&["demo:echo"]));
    }
}
