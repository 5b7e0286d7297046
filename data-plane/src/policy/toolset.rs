//! Toolsets: tools of several servers, chosen and named by an administrator, offered as one endpoint.
//!
//! Invariant: within a toolset, a name leads to one tool and a tool has one name; whatever it is called, it is its
//! server and its own name that decide who may use it.

use std::{collections::HashMap, sync::Arc};

use tollgate_proto::Name;

/// A tenant's toolsets by name.
#[derive(Debug, Default)]
pub struct Toolsets(HashMap<Name, Arc<Toolset>>);

/// One toolset.
#[derive(Debug)]
pub struct Toolset {
    /// The `{toolset}` of its URL.
    pub name: Name,
    /// For people.
    pub display_name: String,
    /// What it is for; empty: nobody said.
    pub description: String,
    by_name: HashMap<Box<str>, (Name, Box<str>)>,
    by_tool: HashMap<Name, HashMap<Box<str>, Shown>>,
}

/// A tool as agents see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: Box<str>,
    /// What it does; `None`: what its server says.
    pub description: Option<Box<str>>,
    /// How many come before it.
    pub position: usize,
}

/// Why a tool cannot be put into a toolset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Nobody could be asked for it.
    #[error("there is no such server")]
    ServerUnknown,
    /// Agents could not tell them apart.
    #[error("another tool has that name")]
    NameTaken,
    /// It would have two names.
    #[error("the tool is in it already")]
    Repeated,
}

impl Toolsets {
    /// The toolset of this name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Arc<Toolset>> {
        self.0.get(name)
    }
}

impl FromIterator<Arc<Toolset>> for Toolsets {
    fn from_iter<I: IntoIterator<Item = Arc<Toolset>>>(toolsets: I) -> Self {
        Self(toolsets.into_iter().map(|toolset| (toolset.name.clone(), toolset)).collect())
    }
}

impl Toolset {
    /// One without a tool. Where nobody gave it a name for people, they see the other one.
    #[must_use]
    pub fn new(name: Name, display_name: String, description: String) -> Self {
        let display_name = if display_name.is_empty() { name.to_string() } else { display_name };
        Self { name, display_name, description, by_name: HashMap::new(), by_tool: HashMap::new() }
    }

    /// Puts a server's tool behind those that are in it. An empty description leaves it to the server.
    ///
    /// # Errors
    /// When the tool or the name is in it already; it may be of no use then.
    pub fn select(&mut self, server: &Name, tool: &str, name: &str, description: &str) -> Result<(), SelectionError> {
        let description = (!description.is_empty()).then(|| description.into());
        let shown = Shown { name: name.into(), description, position: self.by_name.len() };
        if self.by_name.insert(name.into(), (server.clone(), tool.into())).is_some() {
            return Err(SelectionError::NameTaken);
        }
        let known = self.by_tool.entry(server.clone()).or_default().insert(tool.into(), shown);
        if known.is_some() { Err(SelectionError::Repeated) } else { Ok(()) }
    }

    /// The server and the tool as it names it, by the name that agents see.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(&Name, &str)> {
        self.by_name.get(name).map(|(server, tool)| (server, &**tool))
    }

    /// How agents see a server's tool; `None`: they do not.
    #[must_use]
    pub fn shown(&self, server: &Name, tool: &str) -> Option<&Shown> {
        self.by_tool.get(server)?.get(tool)
    }

    /// Whether any of a server's tools is in it.
    #[must_use]
    pub fn has_server(&self, server: &Name) -> bool {
        self.by_tool.contains_key(server)
    }

    /// The tools of a server that are in it, as the server names them, in no order.
    pub fn tools_of(&self, server: &Name) -> impl Iterator<Item = &str> {
        self.by_tool.get(server).into_iter().flat_map(HashMap::keys).map(|tool| &**tool)
    }
}

#[cfg(test)]
mod tests;
