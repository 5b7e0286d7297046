//! What the groups of who signs in make them here.
//!
//! Invariant: of several mappings that fit the first counts, so that the order in the spec is the whole rule; and a
//! provider takes the role `owner` away only where it can give it.

use serde::{Deserialize, Serialize};
use tollgate_proto::Name;
use utoipa::ToSchema;

use super::IdentityProviderSpec;
use crate::caller::Role;

/// A group gives a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleMapping {
    /// The group, as the provider writes it.
    pub group: String,
    /// The role.
    pub role: Role,
}

/// A group leads to a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamMapping {
    /// The group, as the provider writes it.
    pub group: String,
    /// The name of the team.
    #[schema(value_type = String)]
    pub team: Name,
}

/// What a provider decides about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped<T> {
    /// Nothing: it is decided here.
    Unmanaged,
    /// This.
    To(T),
    /// That none of what it maps fits.
    Nothing,
}

impl IdentityProviderSpec {
    /// The role of who comes for the first time with these groups; `None` refuses them.
    #[must_use]
    pub fn first_role(&self, groups: &[String]) -> Option<Role> {
        self.mapped_role(groups).or(self.default_role)
    }

    /// The role of who is a user already and has `current`.
    #[must_use]
    pub fn next_role(&self, groups: &[String], current: Role) -> Mapped<Role> {
        if self.role_mapping.as_ref().is_none_or(Vec::is_empty) {
            return Mapped::Unmanaged;
        }
        if current == Role::Owner && !self.gives_out(Role::Owner) {
            return Mapped::Unmanaged;
        }
        self.first_role(groups).map_or(Mapped::Nothing, Mapped::To)
    }

    /// The team that these groups lead to.
    #[must_use]
    pub fn team(&self, groups: &[String]) -> Mapped<&Name> {
        let Some(mappings) = self.team_mapping.as_ref().filter(|mappings| !mappings.is_empty()) else {
            return Mapped::Unmanaged;
        };
        let found = mappings.iter().find(|mapping| groups.contains(&mapping.group));
        found.map_or(Mapped::Nothing, |mapping| Mapped::To(&mapping.team))
    }

    /// Whether somebody may come to have this role through the provider.
    #[must_use]
    pub fn gives_out(&self, role: Role) -> bool {
        self.default_role == Some(role) || self.role_mapping.iter().flatten().any(|mapping| mapping.role == role)
    }

    fn mapped_role(&self, groups: &[String]) -> Option<Role> {
        let mut mappings = self.role_mapping.iter().flatten();
        mappings.find(|mapping| groups.contains(&mapping.group)).map(|mapping| mapping.role)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(mut mapping: serde_json::Value) -> IdentityProviderSpec {
        mapping["issuer"] = json!("https://a.example");
        mapping["client_id"] = json!("c");
        serde_json::from_value(mapping).expect("a spec")
    }

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_mapping_that_fits_gives_the_role() {
        let spec = spec(json!({
            "role_mapping": [{ "group": "ops", "role": "operator" }, { "group": "boss", "role": "admin" }],
            "default_role": "viewer",
        }));
        assert_eq!(spec.first_role(&groups(&["boss", "ops"])), Some(Role::Operator));
        assert_eq!(spec.first_role(&groups(&["boss"])), Some(Role::Admin));
        assert_eq!(spec.first_role(&groups(&["Boss"])), Some(Role::Viewer), "groups are compared as they are");
        assert_eq!(spec.next_role(&groups(&[]), Role::Admin), Mapped::To(Role::Viewer));
    }

    #[test]
    fn without_a_default_who_is_in_no_group_gets_nothing() {
        let spec = spec(json!({ "role_mapping": [{ "group": "ops", "role": "operator" }] }));
        assert_eq!(spec.first_role(&groups(&["other"])), None);
        assert_eq!(spec.next_role(&groups(&["other"]), Role::Operator), Mapped::Nothing);
    }

    #[test]
    fn without_mappings_roles_and_teams_are_decided_here() {
        let spec = spec(json!({ "default_role": "viewer", "role_mapping": [] }));
        assert_eq!(spec.first_role(&[]), Some(Role::Viewer));
        assert_eq!(spec.next_role(&groups(&["ops"]), Role::Admin), Mapped::Unmanaged);
        assert_eq!(spec.team(&groups(&["ops"])), Mapped::Unmanaged);
    }

    #[test]
    fn an_owner_stays_one_where_the_provider_makes_none() {
        let ops = json!({ "group": "ops", "role": "operator" });
        let boss = json!({ "group": "boss", "role": "owner" });
        let without = spec(json!({ "role_mapping": [ops] }));
        assert_eq!(without.next_role(&groups(&["ops"]), Role::Owner), Mapped::Unmanaged);
        let with = spec(json!({ "role_mapping": [ops, boss] }));
        assert_eq!(with.next_role(&groups(&["ops"]), Role::Owner), Mapped::To(Role::Operator));
    }

    #[test]
    fn who_is_in_no_group_of_a_team_has_none() {
        let spec = spec(json!({ "team_mapping": [{ "group": "eng", "team": "core" }] }));
        let core: Name = "core".parse().expect("a name");
        assert_eq!(spec.team(&groups(&["eng"])), Mapped::To(&core));
        assert_eq!(spec.team(&groups(&["ops"])), Mapped::Nothing);
    }
}
