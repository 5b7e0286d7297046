//! Names and URIs as agents write them on endpoints of several servers: which server they lead to, and what it calls
//! the same.
//!
//! Invariant: a name that leads nowhere is refused before anything is asked of anybody.

use std::sync::Arc;

use crate::{
    mcp::{
        era::EraError,
        message::{Edit, Reference, Request},
        method::{Carries, ListKind, Method},
        names::{self, Rest},
        uris,
        version::Era,
    },
    policy::{Server, Toolset},
    refusal::Refusal,
    stage::identify::Caller,
    store::Store,
};

/// The server of the tool that a call names, and the tool as that server names it.
///
/// # Errors
/// [`Refusal::ToolUnknown`], and [`Refusal::StoreUnavailable`] where a shortened name cannot be looked up.
pub async fn tool(store: &Store, caller: &Caller, call: &Request) -> Result<(Arc<Server>, Box<str>), Refusal> {
    let name = call.params.name().unwrap_or_default();
    let found = match caller.toolset() {
        Some(toolset) => selected(caller, toolset, name),
        None => federated(store, caller, name).await?,
    };
    found.ok_or_else(|| Refusal::ToolUnknown { tool: shown(name) })
}

/// A request for a prompt, a resource, a skill or a completion: the server that it is for, and as that server knows it.
///
/// # Errors
/// When it names nothing that the endpoint has, or is none of these.
pub async fn request(
    store: &Store,
    caller: &Caller,
    method: Method,
    era: Era,
    request: &Request,
) -> Result<(Arc<Server>, Request), Refusal> {
    let params = &request.params;
    let (server, edited) = match (method, params.reference()) {
        (Method::PromptsGet, _) => {
            let name = params.name().unwrap_or_default();
            let (server, own) = prompt(store, caller, name).await?;
            (server, request.edited(&Edit { name: Some(&own), ..Edit::default() }))
        }
        (method, _) if method.carries() == Carries::ResourceUri => {
            let (server, own) = resource(caller, era, params.uri().unwrap_or_default())?;
            (server, request.edited(&Edit { uri: Some(&own), ..Edit::default() }))
        }
        (Method::CompletionComplete, Some(Reference::Prompt(name))) => {
            let (server, own) = prompt(store, caller, name).await?;
            (server, request.edited(&Edit { reference: Some(&own), ..Edit::default() }))
        }
        (Method::CompletionComplete, Some(Reference::Resource(uri))) => {
            let (server, own) = resource(caller, era, uri)?;
            (server, request.edited(&Edit { reference: Some(&own), ..Edit::default() }))
        }
        _ => return Err(EraError::UnknownMethod { method: method.as_str().into(), era }.into()),
    };
    let detail = "it says what no server could be sent".to_owned();
    Ok((server, edited.ok_or(Refusal::Malformed { code: -32600, detail })?))
}

/// Whether a method is of use at this endpoint: a toolset has tools, and nothing else of its servers.
#[must_use]
pub fn offers(caller: &Caller, method: Method) -> bool {
    let is_of_tools = match method.carries() {
        Carries::ToolName | Carries::TaskId | Carries::Nothing => true,
        Carries::List(kind) => kind == ListKind::Tools,
        Carries::PromptName | Carries::ResourceUri | Carries::Reference => false,
    };
    is_of_tools || caller.toolset().is_none()
}

async fn prompt(store: &Store, caller: &Caller, name: &str) -> Result<(Arc<Server>, Box<str>), Refusal> {
    federated(store, caller, name).await?.ok_or_else(|| Refusal::PromptUnknown { prompt: shown(name) })
}

fn resource(caller: &Caller, era: Era, uri: &str) -> Result<(Arc<Server>, String), Refusal> {
    let found =
        uris::unwrapped(uri).and_then(|(slug, own)| Some((Arc::clone(caller.tenant().servers.get(&slug)?), own)));
    let code = if era == Era::Legacy { -32002 } else { -32602 };
    found.ok_or_else(|| Refusal::ResourceUnknown { uri: shown(uri), code })
}

/// From a name in a toolset to the server and the tool as the server names it.
fn selected(caller: &Caller, toolset: &Toolset, name: &str) -> Option<(Arc<Server>, Box<str>)> {
    let (slug, own) = toolset.named(name)?;
    Some((Arc::clone(caller.tenant().servers.get(slug)?), own.into()))
}

/// From a federated name to the server and the tool or prompt as the server names it.
async fn federated(store: &Store, caller: &Caller, name: &str) -> Result<Option<(Arc<Server>, Box<str>)>, Refusal> {
    let Some((slug, rest)) = names::split(name) else { return Ok(None) };
    let Some(server) = caller.tenant().servers.get(&slug) else { return Ok(None) };
    let own: Box<str> = match rest {
        Rest::Plain(own) => own.into(),
        Rest::Hashed(_) => match store.recall_name(caller.tenant().id, name).await? {
            Some((id, own)) if id == server.id && names::resolves(name, &slug, &own) => own.into(),
            _ => return Ok(None),
        },
    };
    Ok(Some((Arc::clone(server), own)))
}

/// The beginning of what an agent wrote, for a message.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}
