//! Scopes as people write them into grants and rules.
//!
//! Invariant: what they name exists when they are written, so that a typo does not silently allow nothing.

use std::collections::BTreeSet;

use tollgate_proto::{Name, Scope};

use crate::{db::TenantTx, error::Faults, servers, toolsets};

/// What is named and does not exist.
pub(crate) struct Missing {
    servers: BTreeSet<String>,
    toolsets: BTreeSet<String>,
}

/// The scopes of a list at `pointer`, in its order; every fault is named where it is.
pub(crate) async fn read(
    given: &[String],
    pointer: &str,
    tx: &mut TenantTx,
    faults: &mut Faults,
) -> Result<Vec<Scope>, sqlx::Error> {
    let mut scopes = Vec::new();
    for (index, text) in given.iter().enumerate() {
        match text.parse::<Scope>() {
            Ok(scope) => scopes.push((index, scope)),
            Err(error) => faults.add(format!("{pointer}/{index}"), "scope", error.to_string()),
        }
    }
    let missing = Missing::of(scopes.iter().map(|(_, scope)| scope), tx).await?;
    for (index, scope) in &scopes {
        if let Some((code, detail)) = missing.named_by(scope) {
            faults.add(format!("{pointer}/{index}"), code, detail);
        }
    }
    Ok(scopes.into_iter().map(|(_, scope)| scope).collect())
}

impl Missing {
    /// What of that which the scopes name does not exist.
    pub(crate) async fn of<'a>(
        scopes: impl Iterator<Item = &'a Scope> + Clone,
        tx: &mut TenantTx,
    ) -> Result<Self, sqlx::Error> {
        let names = |of: fn(&Scope) -> Option<&Name>| -> Vec<String> {
            let names: BTreeSet<&Name> = scopes.clone().filter_map(of).collect();
            names.into_iter().map(ToString::to_string).collect()
        };
        Ok(Self {
            servers: servers::unknown(tx, &names(Scope::server)).await?.into_iter().collect(),
            toolsets: toolsets::unknown(tx, &names(Scope::toolset)).await?.into_iter().collect(),
        })
    }

    /// The fault of a scope that names any of it, as code and detail.
    pub(crate) fn named_by(&self, scope: &Scope) -> Option<(&'static str, String)> {
        let server = scope.server().filter(|name| self.servers.contains(name.as_str()));
        let toolset = scope.toolset().filter(|name| self.toolsets.contains(name.as_str()));
        server
            .map(|name| ("server_unknown", format!("there is no server `{name}`")))
            .or_else(|| toolset.map(|name| ("toolset_unknown", format!("there is no toolset `{name}`"))))
    }
}
