//! Who asks, as the policy knows them.

use tollgate_proto::{
    AgentId,
    policy::v1::{TenantPolicy, User},
};

use crate::error::ApiError;

/// An agent, and the user that it acts for.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    /// The agent.
    pub(super) agent: AgentId,
    /// The role of the user; none: it acts for itself.
    pub(super) role: Option<&'a str>,
    /// Why whatever token there is would be refused.
    pub(super) barred: Option<String>,
}

impl<'a> Standing<'a> {
    /// Looks both up by name, address or id.
    pub(super) fn of(policy: &'a TenantPolicy, agent: &str, user: Option<&str>) -> Result<Self, ApiError> {
        let unknown = |noun, key: &str| ApiError::NotFound { noun, key: key.to_owned() };
        let agents = &policy.agents;
        let found = agents.iter().find(|one| one.name == agent || one.id == agent);
        let found = found.ok_or_else(|| unknown("agent", agent))?;
        let user = match user {
            None => None,
            Some(key) => {
                let is_it = |one: &&User| is_user(one, key);
                Some(policy.users.iter().find(is_it).ok_or_else(|| unknown("user", key))?)
            }
        };
        let barred = (!found.active).then(|| format!("agent `{}` is not active", found.name));
        let barred =
            barred.or_else(|| user.filter(|one| !one.active).map(|one| format!("user `{}` is disabled", one.email)));
        Ok(Self {
            agent: found.id.parse().map_err(ApiError::internal)?,
            role: user.map(|user| user.role.as_str()),
            barred,
        })
    }
}

/// Addresses that differ in case alone are the same.
fn is_user(user: &User, key: &str) -> bool {
    user.id == key || user.email.eq_ignore_ascii_case(key)
}
