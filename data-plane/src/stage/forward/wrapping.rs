//! The URIs of resources in what a server says of them, as a federated endpoint has them.
//!
//! Invariant: whatever an agent may ask to read or subscribe to, it hears of under the URI that leads back to that
//! server; links that it can follow by itself (`https`) stay as they are, and so does everything else.

use bytes::Bytes;
use tollgate_proto::Name;

use super::exchange::FromServer;
use crate::{
    mcp::{
        json::{self, Bounds, Raw},
        message::{Edit, Response},
        method::{Method, ServerNotice},
        sse, uris,
    },
    policy::Server,
    stage::{
        identify::Caller,
        route::{Carried, ToServer},
    },
};

/// How the URIs of one server become those of the endpoint, in the answer to one request.
#[derive(Debug, Clone)]
pub struct Wrapping {
    server: Name,
    method: Option<Method>,
}

impl Wrapping {
    /// For this errand; `None` on endpoints of a single server, where URIs are the server's own.
    #[must_use]
    pub fn of(caller: &Caller, errand: &ToServer) -> Option<Self> {
        if caller.server().is_some() {
            return None;
        }
        let method = match &errand.message {
            Carried::Request { method, .. } | Carried::Task { method, .. } => Some(*method),
            _ => None,
        };
        Some(Self { server: errand.server.name.clone(), method })
    }

    /// For what a server says without being asked.
    #[must_use]
    pub fn of_server(server: &Server) -> Self {
        Self { server: server.name.clone(), method: None }
    }

    /// What the server says, as the agent is to hear it.
    #[must_use]
    pub fn heard(&self, said: FromServer) -> FromServer {
        match said {
            FromServer::Answer(response, event) => FromServer::Answer(self.answer(response), event),
            FromServer::Notification(notification, event)
                if ServerNotice::parse(&notification.method) == Some(ServerNotice::Tasks) =>
            {
                let data = event.data.as_ref().and_then(|data| self.of_task(data));
                FromServer::Notification(notification, sse::Event { data, ..event })
            }
            FromServer::Notification(notification, event)
                if ServerNotice::parse(&notification.method) == Some(ServerNotice::ResourceUpdated) =>
            {
                let uri = notification.params.uri().map(|uri| uris::wrapped(&self.server, uri));
                let edit = Edit { uri: uri.as_deref(), ..Edit::default() };
                let data = notification.write(&edit);
                match notification.edited(&edit) {
                    Some(edited) => FromServer::Notification(edited, sse::Event { data: Some(data), ..event }),
                    // It was read a moment ago and differs in one text.
                    None => FromServer::Notification(notification, event),
                }
            }
            said => said,
        }
    }

    /// A notification of a task, which may hold what came of it.
    #[must_use]
    pub fn of_task(&self, notification: &Bytes) -> Option<Bytes> {
        let message = json::parse(notification, &Bounds::UPSTREAM).ok()?;
        let wrapped = with(&message, "params", &|params| with(params, "result", &|result| self.of_tool(result)));
        Some(wrapped.to_bytes())
    }

    /// The answer to the request.
    #[must_use]
    pub fn answer(&self, response: Response) -> Response {
        let Ok(result) = &response.outcome else { return response };
        let wrapped = match self.method {
            Some(Method::ToolsCall) => self.of_tool(result),
            Some(Method::TasksGet) => with(result, "result", &|result| self.of_tool(result)),
            Some(Method::PromptsGet) => with(result, "messages", &|messages| {
                each(messages, &|message| with(message, "content", &|content| self.said(content)))
            }),
            Some(Method::ResourcesRead) => {
                with(result, "contents", &|contents| each(contents, &|content| self.resource(content)))
            }
            Some(Method::SkillsGet) => with(result, "skill", &|skill| self.skill(skill)),
            Some(Method::ResourcesDirectoryRead) => {
                with(result, "resources", &|files| each(files, &|file| self.resource(file)))
            }
            _ => return response,
        };
        Response { outcome: Ok(wrapped), ..response }
    }

    /// The result of a tool.
    fn of_tool(&self, result: &Raw) -> Raw {
        with(result, "content", &|content| each(content, &|block| self.block(block)))
    }

    /// A skill, with the files that it is made of.
    #[must_use]
    pub fn skill(&self, skill: &Raw) -> Raw {
        let files = with(skill, "resources", &|files| each(files, &|file| self.resource(file)));
        self.resource(&files)
    }

    /// The content of a prompt's message: one block, or several.
    fn said(&self, content: &Raw) -> Raw {
        match content.array() {
            Some(_) => each(content, &|block| self.block(block)),
            None => self.block(content),
        }
    }

    /// A block of content.
    fn block(&self, block: &Raw) -> Raw {
        let kind = block.object().and_then(|members| members.get("type")?.as_str().map(String::from));
        match kind.as_deref() {
            Some("resource") => with(block, "resource", &|resource| self.resource(resource)),
            Some("resource_link") => with(block, "uri", &|uri| match uri.as_str() {
                Some(text) if text.starts_with("https://") => uri.clone(),
                _ => self.uri(uri),
            }),
            _ => block.clone(),
        }
    }

    fn resource(&self, resource: &Raw) -> Raw {
        with(resource, "uri", &|uri| self.uri(uri))
    }

    fn uri(&self, uri: &Raw) -> Raw {
        uri.as_str().map_or_else(|| uri.clone(), |own| Raw::text(&uris::wrapped(&self.server, &own)))
    }
}

/// The object with one member changed. Anything else stays as it is.
fn with(value: &Raw, member: &str, change: &dyn Fn(&Raw) -> Raw) -> Raw {
    let Some(members) = value.object().filter(|members| members.get(member).is_some()) else { return value.clone() };
    json::object(|written| {
        for (key, value) in members.iter() {
            if key == member { written.raw(key, &change(value)) } else { written.raw(key, value) }
        }
    })
}

/// The array with each element changed. Anything else stays as it is.
fn each(value: &Raw, change: &dyn Fn(&Raw) -> Raw) -> Raw {
    let Some(elements) = value.array() else { return value.clone() };
    json::array(|written| elements.iter().for_each(|element| written.raw(&change(element))))
}

#[cfg(test)]
mod tests;
