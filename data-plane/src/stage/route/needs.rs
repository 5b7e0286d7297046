//! What the caller of an errand must be allowed.
//!
//! Invariant: what goes to a server needs something of that server, but for what keeps the conversation itself; a call
//! needs its tool with these very arguments.

use tollgate_proto::{
    Name,
    access::{Item, Kind},
};

use super::{Carried, Errand, ToServer, subscription};
use crate::mcp::{
    json::Raw,
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
    /// With what; none: what was used with it was looked at when it was begun, or is not known.
    pub arguments: Option<Raw>,
}

impl Use {
    /// One thing of a server.
    #[must_use]
    pub fn of(server: &Name, kind: Kind, name: &str, arguments: Option<Raw>) -> Self {
        Self { server: server.clone(), kind, name: name.into(), arguments }
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
        Carried::Task { task, .. } => Needs::Use(Use::of(server, Kind::Tool, &task.tool, None)),
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
        (_, Carries::ResourceUri) => params.uri().map(|uri| (Kind::Resource, uri, Some(Raw::empty_object()))),
        // What is completed is not yet what it will be used with.
        (_, Carries::Reference) => params.reference().map(|reference| match reference {
            Reference::Prompt(name) => (Kind::Prompt, &**name, None),
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
