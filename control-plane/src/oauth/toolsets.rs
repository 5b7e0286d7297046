//! What toolsets hold at this moment, and so which scopes stand for which.
//!
//! Invariant: a toolset that does not exist stands for nothing: its scope covers no tool, and nothing covers it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tollgate_proto::{Name, Scope};

use super::target::Target;
use crate::{db::TenantTx, toolsets};

/// The toolsets that a decision speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Toolsets(BTreeMap<Name, Toolset>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Toolset {
    title: String,
    tools: BTreeSet<Scope>,
}

impl Toolsets {
    /// Reads those that scopes or targets name. Where they name none, nothing is asked of Postgres.
    pub(super) async fn read<'a>(
        tx: &mut TenantTx,
        scopes: impl IntoIterator<Item = &'a Scope>,
        targets: &'a [Target],
    ) -> Result<Self, sqlx::Error> {
        let targets = targets.iter().filter_map(Target::toolset);
        let names: BTreeSet<&Name> = scopes.into_iter().filter_map(Scope::toolset).chain(targets).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
        let found = toolsets::contents(tx, &names).await?.into_iter();
        let entry = |found: toolsets::Contents| {
            (found.name, Toolset { title: found.display_name, tools: found.tools.into_iter().collect() })
        };
        Ok(Self(found.map(entry).collect()))
    }

    /// Those alone that the scopes name.
    pub(super) fn named_by<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let found = |name: &Name| Some((name.clone(), self.0.get(name)?.clone()));
        Self(scopes.into_iter().filter_map(Scope::toolset).filter_map(found).collect())
    }

    /// The tools of one.
    pub(super) fn tools(&self, name: &Name) -> impl Iterator<Item = &Scope> {
        self.0.get(name).into_iter().flat_map(|toolset| &toolset.tools)
    }

    /// The servers of all their tools.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Name> {
        self.0.values().flat_map(|toolset| &toolset.tools).filter_map(Scope::server)
    }

    /// What people call one.
    pub(super) fn title(&self, name: &Name) -> String {
        let title = self.0.get(name).map(|toolset| toolset.title.clone()).filter(|title| !title.is_empty());
        title.unwrap_or_else(|| name.to_string())
    }

    /// Whether the one is there.
    pub(super) fn contain(&self, name: &Name) -> bool {
        self.0.contains_key(name)
    }

    /// Whether holding all of `by` suffices where `wanted` is asked for.
    pub(super) fn covered(&self, wanted: &Scope, by: &[Scope]) -> bool {
        match wanted {
            Scope::Toolset { name } => {
                self.contain(name) && (by.contains(wanted) || self.tools(name).all(|tool| self.covered(tool, by)))
            }
            _ => by.iter().any(|held| held.covers(wanted) || self.holds(held, wanted)),
        }
    }

    /// What of `wanted` is held: all of it, or the scopes that lie within it. Where two patterns overlap, and neither lies
    /// within the other, that is nothing: no scope says what they share.
    pub(super) fn narrowed(&self, wanted: &Scope, held: &[Scope]) -> Vec<Scope> {
        if self.covered(wanted, held) {
            return vec![wanted.clone()];
        }
        let part: BTreeSet<&Scope> = match wanted {
            Scope::Toolset { name } => self.tools(name).filter(|tool| self.covered(tool, held)).collect(),
            _ => held.iter().flat_map(|held| self.spread(held)).filter(|it| wanted.covers(it)).collect(),
        };
        part.into_iter().cloned().collect()
    }

    /// What is left of the scopes. Of a toolset it is the tools that are not denied; the rest of a whole server or of a
    /// pattern stays one scope, since only the data plane knows what fits it.
    pub(super) fn without_denied(&self, scopes: &[Scope], denied: &[Scope]) -> Vec<Scope> {
        let is_left = |scope: &Scope| !self.covered(scope, denied);
        let left = |scope: &Scope| match scope {
            Scope::Toolset { name } if !self.tools(name).all(is_left) => {
                self.tools(name).filter(|tool| is_left(tool)).cloned().collect()
            }
            Scope::Toolset { name } if !self.contain(name) => Vec::new(),
            scope if is_left(scope) => vec![scope.clone()],
            _ => Vec::new(),
        };
        scopes.iter().flat_map(left).collect()
    }

    /// What of the scopes means anything at an endpoint.
    pub(super) fn at(&self, target: &Target, scopes: &[Scope]) -> Vec<Scope> {
        target.whole().map_or_else(|| scopes.to_vec(), |whole| self.narrowed(&whole, scopes))
    }

    /// Whether a scope means anything at an endpoint.
    pub(super) fn concern(&self, target: &Target, scope: &Scope) -> bool {
        !self.at(target, std::slice::from_ref(scope)).is_empty()
    }

    /// The scopes without those that another one covers, in a stable order.
    pub(super) fn without_covered(&self, scopes: &BTreeSet<Scope>) -> Vec<Scope> {
        let covers = |other: &Scope, scope: &Scope| match (other, scope) {
            (Scope::Toolset { .. }, _) => self.holds(other, scope),
            (Scope::Tool { .. }, _) => false,
            _ => self.covered(scope, std::slice::from_ref(other)),
        };
        let redundant = |scope: &Scope| scopes.iter().any(|other| other != scope && covers(other, scope));
        scopes.iter().filter(|scope| !redundant(scope)).cloned().collect()
    }

    /// Whether a scope is that of a toolset with this tool.
    fn holds(&self, scope: &Scope, tool: &Scope) -> bool {
        scope.toolset().and_then(|name| self.0.get(name)).is_some_and(|toolset| toolset.tools.contains(tool))
    }

    /// The scope itself, or the tools of the toolset that it is.
    fn spread<'a>(&'a self, scope: &'a Scope) -> Box<dyn Iterator<Item = &'a Scope> + 'a> {
        match scope {
            Scope::Toolset { name } => Box::new(self.tools(name)),
            _ => Box::new(std::iter::once(scope)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Toolsets that hold these tools.
    pub(in crate::oauth) fn holding(toolsets: &[(&str, &[&str])]) -> Toolsets {
        let toolset = |tools: &[&str]| Toolset { title: String::new(), tools: scopes(tools).into_iter().collect() };
        Toolsets(toolsets.iter().map(|(name, tools)| (name.parse().expect("a name"), toolset(tools))).collect())
    }

    pub(in crate::oauth) fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| text.parse().expect("a scope")).collect()
    }

    fn triage() -> Toolsets {
        holding(&[("triage", &["github:list", "github:open", "mail:send"])])
    }

    #[track_caller]
    fn covered(wanted: &str, by: &[&str]) -> bool {
        triage().covered(&wanted.parse().expect("a scope"), &scopes(by))
    }

    #[test]
    fn a_toolset_covers_its_tools_and_no_whole_server() {
        assert!(covered("github:open", &["toolset/triage"]));
        assert!(!covered("github:close", &["toolset/triage"]));
        assert!(!covered("mail:*", &["toolset/triage"]));
    }

    #[test]
    fn a_toolset_is_covered_by_whatever_covers_each_of_its_tools() {
        assert!(covered("toolset/triage", &["toolset/triage"]));
        assert!(covered("toolset/triage", &["github:*", "mail:send"]));
        assert!(!covered("toolset/triage", &["github:*"]));
    }

    #[test]
    fn a_toolset_that_is_gone_covers_nothing_and_nothing_covers_it() {
        assert!(!covered("toolset/gone", &["toolset/gone", "github:*"]));
        assert!(triage().without_denied(&scopes(&["toolset/gone"]), &[]).is_empty());
    }

    #[test]
    fn what_is_held_in_part_is_narrowed_to_tools() {
        let narrowed =
            |wanted: &str, held: &[&str]| triage().narrowed(&wanted.parse().expect("a scope"), &scopes(held));
        assert_eq!(narrowed("toolset/triage", &["github:*"]), scopes(&["github:list", "github:open"]));
        assert_eq!(narrowed("github:*", &["toolset/triage"]), scopes(&["github:list", "github:open"]));
        assert!(narrowed("toolset/triage", &["files:*"]).is_empty());
    }

    #[test]
    fn what_is_asked_for_as_a_pattern_is_narrowed_to_what_lies_within_it() {
        let narrowed =
            |wanted: &str, held: &[&str]| triage().narrowed(&wanted.parse().expect("a scope"), &scopes(held));
        assert_eq!(narrowed("github:open", &["github:o*"]), scopes(&["github:open"]));
        assert_eq!(narrowed("github:o*", &["github:*"]), scopes(&["github:o*"]));
        assert_eq!(narrowed("github:*", &["github:o*", "github:@read"]), scopes(&["github:o*", "github:@read"]));
        assert_eq!(
            narrowed("github:l*", &["toolset/triage", "github:list_all"]),
            scopes(&["github:list", "github:list_all"])
        );
        assert_eq!(narrowed("toolset/triage", &["github:*s*", "mail:s*"]), scopes(&["github:list", "mail:send"]));
        let docs = ["github:@resource/docs/*", "github:@prompt/review"];
        assert_eq!(narrowed("github:@resource/docs/a", &docs), scopes(&["github:@resource/docs/a"]));
        assert_eq!(narrowed("github:@resource/*", &docs), scopes(&["github:@resource/docs/*"]));
        for (wanted, held) in
            [("github:*n", "github:o*"), ("github:@read", "github:list"), ("github:list", "github:@read")]
        {
            assert!(narrowed(wanted, &[held]).is_empty(), "{wanted} of {held}");
        }
    }

    #[test]
    fn a_denial_of_one_tool_leaves_the_others_of_a_toolset() {
        let left = |denied: &[&str]| triage().without_denied(&scopes(&["toolset/triage"]), &scopes(denied));
        assert_eq!(left(&["github:*"]), scopes(&["mail:send"]));
        assert_eq!(left(&["files:*"]), scopes(&["toolset/triage"]));
        assert!(left(&["toolset/triage"]).is_empty());
    }

    #[test]
    fn a_scope_that_another_one_covers_is_not_said_twice() {
        let said = |of: &[&str]| triage().without_covered(&scopes(of).into_iter().collect());
        assert_eq!(said(&["toolset/triage", "mail:send", "mail:read"]), scopes(&["mail:read", "toolset/triage"]));
        assert_eq!(said(&["mail:s*", "mail:send", "mail:sent_*", "mail:@read"]), scopes(&["mail:s*", "mail:@read"]));
        let one_server = holding(&[("mine", &["mail:send"]), ("same", &["mail:send"])]);
        let said = |of: &[&str]| one_server.without_covered(&scopes(of).into_iter().collect());
        assert_eq!(said(&["mail:*", "toolset/mine"]), scopes(&["mail:*"]));
        assert_eq!(said(&["toolset/same", "toolset/mine"]), scopes(&["toolset/mine", "toolset/same"]));
    }

    #[test]
    fn a_scope_concerns_the_endpoints_where_it_allows_something() {
        let concern = |target: Target, scope: &str| triage().concern(&target, &scope.parse().expect("a scope"));
        let server = |name: &str| Target::Server(name.parse().expect("a name"));
        let toolset = || Target::Toolset("triage".parse().expect("a name"));
        for scope in ["toolset/triage", "github:open", "github:*"] {
            assert!(concern(toolset(), scope) && concern(server("github"), scope), "{scope}");
        }
        assert!(!concern(toolset(), "github:close") && concern(server("github"), "github:close"));
        assert!(!concern(toolset(), "files:*") && !concern(server("files"), "toolset/triage"));
    }
}
