//! What a user is asked to allow: what the client wants, within what operators granted it, without what the user
//! allowed before.
//!
//! Invariant: nothing is offered that no grant covers or that a denial covers, and nothing is taken for allowed at a
//! resource where it was not.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_proto::{AgentId, Name, Scope, UserId};

use super::{fault::RequestFault, request::AuthorizationRequest, sql};
use crate::{
    db::TenantTx,
    oauth::{
        scope_policy::{self, Granted, Offered},
        target::{Target, TargetError},
        toolsets::Toolsets,
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
    /// What the toolsets hold that any of it names.
    pub(super) toolsets: Toolsets,
    /// What servers are called.
    titles: BTreeMap<Name, String>,
}

/// What is remembered for a user and a client, by resource.
pub(super) type Remembered = Vec<(Target, Vec<Scope>)>;

/// Under what a tick box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heading<'a> {
    /// The server that is asked for in part or as a whole.
    Server(&'a Name),
    /// The toolset that is asked for, of which the box is one tool.
    Toolset(&'a Name),
}

impl Offer {
    /// Reads grants, toolsets and servers. The inner fault is the client's.
    pub(super) async fn make(
        tx: &mut TenantTx,
        agent: AgentId,
        user: UserId,
        request: &AuthorizationRequest,
        remembered: &Remembered,
    ) -> Result<Result<Self, RequestFault>, sqlx::Error> {
        let (allowed, denied) = sql::grants(tx, agent, user).await?;
        let requested = request.scopes.as_deref();
        let remembered = remembered.iter().flat_map(|(_, scopes)| scopes);
        let spoken_of = || allowed.iter().chain(&denied).chain(requested.unwrap_or_default());
        let toolsets = Toolsets::read(tx, spoken_of().chain(remembered), &request.targets).await?;
        let named = request.targets.iter().filter_map(Target::server);
        let names: BTreeSet<&Name> =
            named.chain(spoken_of().filter_map(Scope::server)).chain(toolsets.servers()).collect();
        let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
        let titles = sql::server_titles(tx, &names).await?;
        let known = Known { titles: &titles, toolsets: &toolsets };
        if let Err(fault) = known.check(&request.targets, requested.unwrap_or_default()) {
            return Ok(Err(fault));
        }
        let granted = Granted { allowed: &allowed, denied: &denied, toolsets: &toolsets };
        let Offered { granted, withheld } = scope_policy::offer(granted, &request.targets, requested);
        Ok(Ok(Self { asked: granted.clone(), held: Vec::new(), granted, withheld, toolsets, titles }))
    }

    /// The same with what was allowed before taken out of what is asked. A scope counts as allowed when it was at
    /// every resource of the request that it means something for. A toolset counts tool by tool, unless it was allowed
    /// as such: whoever allowed its tools has not allowed what is put into it later.
    pub(super) fn without(mut self, remembered: &Remembered) -> Self {
        let toolsets = &self.toolsets;
        let everywhere = |scope: &Scope, counts: &dyn Fn(&[Scope]) -> bool| {
            let mut concerned = remembered.iter().filter(|(target, _)| toolsets.concern(target, scope));
            concerned.all(|(_, before)| counts(before))
        };
        let covered = |scope: &Scope| everywhere(scope, &|before| toolsets.covered(scope, before));
        let (mut held, mut asked) = (Vec::new(), Vec::new());
        for scope in &self.granted {
            match scope {
                Scope::Toolset { name } if !everywhere(scope, &|before| before.contains(scope)) => {
                    let (before, new): (Vec<&Scope>, Vec<&Scope>) =
                        toolsets.tools(name).partition(|tool| covered(tool));
                    held.extend(before.into_iter().cloned());
                    asked.extend((!new.is_empty()).then(|| scope.clone()));
                }
                scope if covered(scope) => held.push(scope.clone()),
                scope => asked.push(scope.clone()),
            }
        }
        (self.held, self.asked) = (held, asked);
        self
    }

    /// The same that asks what was asked on a page.
    pub(super) fn asking(self, asked: &[Scope], held: &[Scope], toolsets: &Toolsets) -> Self {
        Self { asked: asked.to_vec(), held: held.to_vec(), toolsets: toolsets.clone(), ..self }
    }

    /// The tick boxes: a scope for each that is asked, and for a toolset its tools, so that each can be left out. A tool
    /// has one box at most, and none where it was allowed before.
    pub(super) fn boxes(&self) -> Vec<(Heading<'_>, &Scope)> {
        let of_servers = self.asked.iter().filter_map(|scope| Some((Heading::Server(scope.server()?), scope)));
        let mut boxes: Vec<(Heading<'_>, &Scope)> = of_servers.collect();
        let mut shown: Vec<Scope> = boxes.iter().map(|(_, scope)| *scope).chain(&self.held).cloned().collect();
        for name in self.asked.iter().filter_map(Scope::toolset) {
            for tool in self.toolsets.tools(name) {
                if !self.toolsets.covered(tool, &shown) {
                    shown.push(tool.clone());
                    boxes.push((Heading::Toolset(name), tool));
                }
            }
        }
        boxes.sort_by_key(|(heading, _)| *heading);
        boxes
    }

    /// What the user chose by ticking these boxes: a toolset as such when nothing of it was left out and it holds no
    /// more `now` than it did on the page, else the tools.
    pub(super) fn chosen(&self, is_ticked: impl Fn(&Scope) -> bool, now: &Toolsets) -> Vec<Scope> {
        let ticked = self.boxes().into_iter().map(|(_, scope)| scope).filter(|scope| is_ticked(scope));
        let ticked: Vec<Scope> = ticked.cloned().collect();
        let all: Vec<Scope> = ticked.iter().chain(&self.held).cloned().collect();
        let is_whole = |scope: &&Scope| {
            scope.toolset().is_some() && self.toolsets.covered(scope, &all) && now.covered(scope, &all)
        };
        let whole: Vec<Scope> = self.asked.iter().filter(is_whole).cloned().collect();
        self.toolsets.without_covered(&ticked.into_iter().chain(whole).collect())
    }

    /// What people call a server.
    pub(super) fn title(&self, server: &Name) -> String {
        self.titles.get(server).filter(|title| !title.is_empty()).cloned().unwrap_or_else(|| server.to_string())
    }
}

/// The servers and toolsets that exist.
struct Known<'a> {
    titles: &'a BTreeMap<Name, String>,
    toolsets: &'a Toolsets,
}

impl Known<'_> {
    /// What does not exist has no endpoint and no scopes, and one endpoint none of another's.
    fn check(&self, targets: &[Target], requested: &[Scope]) -> Result<(), RequestFault> {
        if !targets.iter().all(|target| self.has(target.server(), target.toolset())) {
            return Err(TargetError::Unknown.into());
        }
        let means_something = |scope: &&Scope| {
            self.has(scope.server(), scope.toolset())
                && targets.iter().any(|target| self.toolsets.concern(target, scope))
        };
        match requested.iter().find(|scope| !means_something(scope)) {
            None => Ok(()),
            Some(scope) => Err(RequestFault::InvalidScope(format!("`{scope}` is no scope of this resource"))),
        }
    }

    fn has(&self, server: Option<&Name>, toolset: Option<&Name>) -> bool {
        server.is_none_or(|name| self.titles.contains_key(name))
            && toolset.is_none_or(|name| self.toolsets.contain(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::toolsets::tests::{holding, scopes};

    fn offer(granted: &[&str]) -> Offer {
        let toolsets = holding(&[("mix", &["demo:add", "demo:echo", "files:read"]), ("some", &["demo:echo"])]);
        Offer { granted: scopes(granted), toolsets, ..Offer::default() }
    }

    fn at_mix(before: &[&str]) -> Remembered {
        vec![(Target::Toolset("mix".parse().expect("a name")), scopes(before))]
    }

    fn boxes(offer: &Offer) -> Vec<String> {
        offer.boxes().into_iter().map(|(_, scope)| scope.to_string()).collect()
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

    #[test]
    fn a_toolset_is_asked_as_its_tools() {
        let asking = offer(&["toolset/mix"]).without(&at_mix(&[]));
        assert_eq!(boxes(&asking), ["demo:add", "demo:echo", "files:read"]);
    }

    #[test]
    fn of_a_toolset_only_the_tools_are_asked_that_are_new() {
        let asking = offer(&["toolset/mix"]).without(&at_mix(&["demo:add", "files:*"]));
        assert_eq!((boxes(&asking), asking.held), (vec!["demo:echo".to_owned()], scopes(&["demo:add", "files:read"])));
        let all = offer(&["toolset/mix"]).without(&at_mix(&["demo:*", "files:read"]));
        assert_eq!((all.asked, all.held), (Vec::new(), scopes(&["demo:add", "demo:echo", "files:read"])));
        let same = offer(&["toolset/mix"]).without(&at_mix(&["toolset/mix"]));
        assert_eq!((same.asked, same.held), (Vec::new(), scopes(&["toolset/mix"])));
        let tool = offer(&["demo:echo"]).without(&at_mix(&["toolset/some"]));
        assert_eq!((tool.asked, tool.held), (Vec::new(), scopes(&["demo:echo"])));
    }

    #[test]
    fn a_toolset_is_allowed_as_such_when_nothing_of_it_is_left_out() {
        let asking = offer(&["toolset/mix"]).without(&at_mix(&["demo:add"]));
        let now = asking.toolsets.clone();
        assert_eq!(asking.chosen(|_| true, &now), scopes(&["toolset/mix"]));
        assert_eq!(asking.chosen(|scope| scope.to_string() != "files:read", &now), scopes(&["demo:echo"]));
        assert!(asking.chosen(|_| false, &now).is_empty());
        let grown = holding(&[("mix", &["demo:add", "demo:echo", "demo:drop", "files:read"])]);
        assert_eq!(asking.chosen(|_| true, &grown), scopes(&["demo:echo", "files:read"]));
    }

    #[test]
    fn no_tool_has_two_boxes() {
        let asked = scopes(&["files:*", "toolset/mix", "toolset/some"]);
        let asking = Offer { asked, ..offer(&[]) };
        assert_eq!(boxes(&asking), ["files:*", "demo:add", "demo:echo"]);
        let now = asking.toolsets.clone();
        assert_eq!(asking.chosen(|_| true, &now), scopes(&["files:*", "toolset/mix", "toolset/some"]));
        let ticked = |scope: &Scope| scope.to_string() != "demo:add";
        assert_eq!(asking.chosen(ticked, &now), scopes(&["files:*", "toolset/some"]));
    }
}
