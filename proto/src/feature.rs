//! What a policy may use that a data plane has to know, because it would allow more without.
//!
//! Everything else in a policy may be passed over by a data plane that is older than it. A policy names the features that
//! it uses (`TenantPolicy.requires`), and a data plane refuses one that names a feature which it does not know.
//!
//! Invariant: a feature that a control plane can put into a policy has a name here before it can.

use crate::policy::v1::{Approval, TenantPolicy};

/// How large a policy may be, in bytes, as it travels: a tenant comes whole.
pub const POLICY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Grants that hold for some arguments or networks only.
    GrantConditions,
    /// Items of servers that wait for approval, or are blocked.
    Approval,
    /// Agents that are held to exact tools.
    ExactTools,
    /// Budgets that turn calls away.
    Budgets,
}

impl Feature {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::GrantConditions, Self::Approval, Self::ExactTools, Self::Budgets];

    /// As policies name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GrantConditions => "grant_conditions",
            Self::Approval => "approval",
            Self::ExactTools => "exact_tools",
            Self::Budgets => "budgets",
        }
    }

    /// Whether the policy uses it.
    #[must_use]
    pub fn is_used_by(self, policy: &TenantPolicy) -> bool {
        match self {
            Self::GrantConditions => {
                policy.grants.iter().any(|grant| !grant.conditions.is_empty() || !grant.networks.is_empty())
            }
            Self::Approval => policy
                .servers
                .iter()
                .any(|server| server.approval() == Approval::Pinned || server.catalog.iter().any(|item| item.blocked)),
            Self::ExactTools => policy.agents.iter().any(|agent| agent.exact_tools),
            Self::Budgets => !policy.budgets.is_empty(),
        }
    }
}

/// What a policy has to name as required.
#[must_use]
pub fn required_by(policy: &TenantPolicy) -> Vec<String> {
    let used = Feature::ALL.into_iter().filter(|feature| feature.is_used_by(policy));
    used.map(|feature| feature.as_str().to_owned()).collect()
}

/// The first that a policy requires and this version does not know.
#[must_use]
pub fn unknown_in(policy: &TenantPolicy) -> Option<&str> {
    let is_known = |name: &str| Feature::ALL.iter().any(|feature| feature.as_str() == name);
    policy.requires.iter().map(String::as_str).find(|name| !is_known(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::v1::{Agent, Budget, CatalogItem, DenyAs, Grant, Server};

    #[test]
    fn a_policy_requires_what_it_uses_and_every_version_knows_its_own_features() {
        let plain = TenantPolicy::default();
        assert!(required_by(&plain).is_empty());
        let narrowed = Grant { networks: vec!["10.0.0.0/8".to_owned()], ..Grant::default() };
        let blocked = CatalogItem { blocked: true, ..CatalogItem::default() };
        let pinned = Server { approval: Approval::Pinned.into(), ..Server::default() };
        let of = |grants: &[Grant], servers: &[Server]| {
            required_by(&TenantPolicy { grants: grants.to_vec(), servers: servers.to_vec(), ..TenantPolicy::default() })
        };
        assert_eq!(of(std::slice::from_ref(&narrowed), &[]), ["grant_conditions"]);
        assert_eq!(of(&[], &[pinned]), ["approval"]);
        let held = Agent { exact_tools: true, ..Agent::default() };
        assert_eq!(required_by(&TenantPolicy { agents: vec![held], ..TenantPolicy::default() }), ["exact_tools"]);
        let budgets = vec![Budget::default()];
        assert_eq!(required_by(&TenantPolicy { budgets, ..TenantPolicy::default() }), ["budgets"]);
        let server = Server { catalog: vec![blocked], ..Server::default() };
        assert_eq!(of(&[narrowed], &[server]), ["grant_conditions", "approval"]);
        let names = Feature::ALL.map(|feature| feature.as_str().to_owned()).to_vec();
        assert_eq!(unknown_in(&TenantPolicy { requires: names, ..TenantPolicy::default() }), None);
    }

    #[test]
    fn how_a_refusal_is_told_is_nothing_that_a_data_plane_has_to_know() {
        let told = Grant { deny_as: DenyAs::ToolError.into(), ..Grant::default() };
        assert!(required_by(&TenantPolicy { grants: vec![told], ..TenantPolicy::default() }).is_empty());
    }

    #[test]
    fn what_this_version_does_not_know_is_named() {
        let requires = vec!["approval".to_owned(), "telepathy".to_owned()];
        assert_eq!(unknown_in(&TenantPolicy { requires, ..TenantPolicy::default() }), Some("telepathy"));
    }
}
