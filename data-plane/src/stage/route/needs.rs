//! What the caller of an errand must be allowed.
//!
//! Invariant: what goes to a server needs something of that server, but for what keeps the conversation itself; a call
//! needs its tool with these very arguments.

use tollgate_proto::{
    Name,
    access::{Arguments, Item, Kind},
};

use super::{Carried, Errand, ToServer, subscription};
use crate::mcp::{
    json::{self, Raw},
    message::{Params, Reference, Request},
    method::{Carries, ListKind, Method},
};

/// What the caller must be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// To be identified is enough.
    Nothing,
    /// To use one thing of a server.
    Use(Use),
    /// Anything at all of this server, or anything of a kind: for what is the caller's own, such as a task that its call
    /// has made, and for news of lists.
    AnythingOf(Name, Option<Kind>),
    /// Nothing, but the answer shows only what may be used.
    Filter(ListKind),
    /// Each of these.
    All(Vec<Self>),
}

/// One thing of a server, and what it is used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The server.
    pub server: Name,
    /// What it is.
    pub kind: Kind,
    /// As the server names it.
    pub name: Box<str>,
    with: With,
}

/// What something is used with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum With {
    /// These arguments.
    These(Raw),
    /// Nothing.
    Nothing,
    /// What was looked at when it was begun, and is not kept.
    Earlier,
}

impl Use {
    /// One thing of a server; arguments where it takes some.
    #[must_use]
    pub fn of(server: &Name, kind: Kind, name: &str, arguments: Option<Raw>) -> Self {
        let with = arguments.map_or(With::Nothing, With::These);
        Self { server: server.clone(), kind, name: name.into(), with }
    }

    /// What goes on of a tool's call that was permitted: its task.
    fn task_of(server: &Name, tool: &str) -> Self {
        Self { with: With::Earlier, ..Self::of(server, Kind::Tool, tool, None) }
    }

    /// What only comes with the whole server.
    #[must_use]
    pub fn whole(server: &Name) -> Self {
        Self::of(server, Kind::Other, "", None)
    }

    /// What is used.
    #[must_use]
    pub fn item(&self) -> Item<'_> {
        Item { kind: self.kind, name: &self.name }
    }

    /// With what.
    #[must_use]
    pub fn arguments(&self) -> Arguments<'_> {
        match &self.with {
            With::These(arguments) => Arguments::Given(arguments.as_bytes()),
            With::Nothing => Arguments::None,
            With::Earlier => Arguments::Unknown,
        }
    }
}

pub(super) fn needs_of(errand: &Errand) -> Needs {
    let ToServer { server, message } = match errand {
        // Of each server as much is heard as the caller may use.
        Errand::Here(_) | Errand::Listen(_) | Errand::Legs(_) => return Needs::Nothing,
        Errand::Merge(merge) => return Needs::Filter(merge.kind),
        Errand::Server(to) => to,
    };
    let server = &server.name;
    match message {
        Carried::Request { tool: Some(tool), request, .. } => {
            Needs::Use(Use::of(server, Kind::Tool, tool, Some(arguments(&request.params))))
        }
        Carried::Request { method: Method::SubscriptionsListen, request, .. } => subscription::needs(server, request),
        Carried::Task { task, .. } => Needs::Use(Use::task_of(server, &task.tool)),
        Carried::Request { method, request, .. } => of_request(server, *method, request),
        Carried::Stream { .. } => Needs::AnythingOf(server.clone(), None),
        Carried::Initialize { .. } | Carried::Notification(_) | Carried::Response(_) => Needs::Nothing,
    }
}

fn of_request(server: &Name, method: Method, request: &Request) -> Needs {
    let params = &request.params;
    let used = match (method, method.carries()) {
        (_, Carries::List(kind)) => return Needs::Filter(kind),
        (_, Carries::TaskId) => return Needs::AnythingOf(server.clone(), None),
        (Method::Discover | Method::LoggingSetLevel, _) => return Needs::Nothing,
        // Skills are granted with the whole server.
        (Method::SkillsGet | Method::ResourcesDirectoryRead, _) => None,
        (_, Carries::PromptName) => params.name().map(|name| (Kind::Prompt, name, Some(arguments(params)))),
        (_, Carries::ResourceUri) => params.uri().map(|uri| (Kind::Resource, uri, None)),
        (_, Carries::Reference) => params.reference().map(|reference| match reference {
            Reference::Prompt(name) => (Kind::Prompt, &**name, Some(completed(params))),
            Reference::Resource(uri) if uri.contains('{') => (Kind::Template, &**uri, None),
            Reference::Resource(uri) => (Kind::Resource, &**uri, None),
        }),
        (_, Carries::ToolName | Carries::Nothing) => None,
    };
    let used = used.map(|(kind, name, arguments)| Use::of(server, kind, name, arguments));
    Needs::Use(used.unwrap_or_else(|| Use::whole(server)))
}

/// What a server would read who is given none.
fn arguments(params: &Params) -> Raw {
    params.arguments().cloned().unwrap_or_else(Raw::empty_object)
}

/// What a prompt is completed with: the arguments that its user has chosen, and the one that is being written.
fn completed(params: &Params) -> Raw {
    let member = |of: &str, key: &str| params.get(of).and_then(Raw::object).and_then(|of| of.get(key).cloned());
    let chosen = member("context", "arguments").as_ref().and_then(Raw::object).unwrap_or_default();
    let name = member("argument", "name").as_ref().and_then(Raw::as_str).map(String::from);
    json::object(|arguments| {
        for (key, value) in chosen.iter().filter(|(key, _)| Some(*key) != name.as_deref()) {
            arguments.raw(key, value);
        }
        if let (Some(name), Some(value)) = (&name, member("argument", "value")) {
            arguments.raw(name, &value);
        }
    })
}

#[cfg(test)]
mod tests;
