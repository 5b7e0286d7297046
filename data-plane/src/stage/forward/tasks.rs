//! Tasks of modern servers (`io.modelcontextprotocol/tasks`): their ids travel through agents sealed, with the instance
//! that has the task and the tool that made it.
//!
//! Invariant: a task is used by the agent and the user whose call made it, at the endpoint where it was made, for as
//! long as they may call its tool. Any other id is one that nobody knows.

use std::sync::Arc;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tollgate_proto::{InstanceId, ServerId};
use uuid::Uuid;

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault, Outgoing},
    exchange::Exchange,
    speech::Speech,
    translation::{Same, Subject, Translation},
};
use crate::{
    mcp::{
        json::{self, Object, ObjectWriter, Raw},
        message::{Edit, MetaValue, Notification, Request, Response},
        method::{Method, ServerNotice},
        sse,
        version::Era,
    },
    policy::{Server, Tenant},
    refusal::Refusal,
    seal::{self, Purpose},
    stage::identify::Caller,
};

/// How long an id leads to its task, in seconds: longer than servers keep tasks.
const ID_LIFE_S: i64 = 30 * 24 * 60 * 60;
const TASK_ID: &str = "taskId";

/// A task as an agent's id names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The server that has it.
    pub server: ServerId,
    /// The tool that made it, as the server names it.
    pub tool: Box<str>,
    /// The call that made it, where its id says so.
    pub root: Option<Uuid>,
    instance: InstanceId,
    /// As the server names it.
    id: Box<str>,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    s: String,
    i: String,
    t: Box<str>,
    #[serde(default)]
    c: Option<Uuid>,
    id: Box<str>,
}

/// The ids of tasks in what one server says, as the agent gets them.
#[derive(Debug)]
pub struct TaskIds {
    tenant: Arc<Tenant>,
    bindings: [Vec<u8>; 3],
    server: ServerId,
    instance: InstanceId,
    tool: Box<str>,
    /// The call that makes them.
    root: Uuid,
    now: i64,
    /// Ids that the agent has already, by the server's.
    known: Vec<(Box<str>, Box<str>)>,
}

impl Task {
    /// The task that this id names; `None` for an id that was not made for this caller here. `now` in unix seconds.
    pub fn open(caller: &Caller, now: i64, id: &str) -> Option<Self> {
        let bindings = bindings(caller);
        let bound_to = bindings.each_ref().map(Vec::as_slice);
        let opened = seal::open(caller.tenant(), Purpose::TaskId, &bound_to, now, id)?;
        let Sealed { s, i, t, c, id } = serde_json::from_slice(&opened).ok()?;
        Some(Self { server: s.parse().ok()?, instance: i.parse().ok()?, tool: t, root: c, id })
    }
}

impl TaskIds {
    /// For what this server says about a call of `tool`.
    pub fn new(ask: &Ask, caller: &Caller, speech: &Speech, tool: &str) -> Self {
        Self {
            tenant: Arc::clone(caller.tenant()),
            bindings: bindings(caller),
            server: speech.server.id,
            instance: speech.instance.id,
            tool: tool.into(),
            root: ask.root(),
            now: ask.gateway().now(),
            known: Vec::new(),
        }
    }

    /// A response with the agent's ids. Where none can be made the server's answer is of no use to the agent.
    pub fn in_response(&self, response: Response) -> Response {
        let Some(members) = response.outcome.as_ref().ok().and_then(Raw::object) else { return response };
        let names_task = members.get(TASK_ID).is_some_and(|id| id.as_str().is_some());
        if !names_task {
            return response;
        }
        Response { outcome: Ok(json::object(|result| self.write(&members, result))), ..response }
    }

    /// A notification of a task, or of which tasks are listened to, with the agent's ids.
    pub fn in_event(&self, notification: &Notification, event: sse::Event) -> sse::Event {
        let kind = ServerNotice::parse(&notification.method);
        if !matches!(kind, Some(ServerNotice::Tasks | ServerNotice::SubscriptionsAcknowledged)) {
            return event;
        }
        let written = json::object(|message| {
            message.text("jsonrpc", "2.0");
            message.text("method", &notification.method);
            message.object("params", |params| {
                for (key, value) in notification.params.iter() {
                    match key {
                        TASK_ID => params.text(key, &self.of(&value.as_str().unwrap_or_default())),
                        "notifications" => params.raw(key, &renamed(value, |id| Some(self.of(id)))),
                        _ => params.raw(key, value),
                    }
                }
            });
        });
        sse::Event { data: Some(written.to_bytes()), ..event }
    }

    fn write(&self, members: &Object, result: &mut ObjectWriter<'_>) {
        for (key, value) in members.iter() {
            match value.as_str().filter(|_| key == TASK_ID) {
                Some(id) => result.text(key, &self.of(&id)),
                None => result.raw(key, value),
            }
        }
    }

    /// The agent's id of a task; an empty one when none can be made, which leads nowhere.
    fn of(&self, id: &str) -> String {
        if let Some((_, known)) = self.known.iter().find(|(own, _)| &**own == id) {
            return known.to_string();
        }
        let sealed = Sealed {
            s: self.server.to_string(),
            i: self.instance.to_string(),
            t: self.tool.clone(),
            c: Some(self.root),
            id: id.into(),
        };
        let sealed = serde_json::to_vec(&sealed).expect("texts are JSON");
        let bound_to = self.bindings.each_ref().map(Vec::as_slice);
        let sealed = seal::seal(&self.tenant, Purpose::TaskId, &bound_to, self.now + ID_LIFE_S, &sealed);
        sealed.unwrap_or_else(|error| {
            tracing::error!(%error, "a task has no id that its agent could use");
            String::new()
        })
    }
}

/// Forwards what is asked of a task to the instance that has it.
///
/// # Errors
/// How the server failed, and [`Refusal::TaskUnknown`] when the instance is gone and its tasks with it.
pub async fn forward(
    ask: &Ask,
    caller: &Caller,
    server: &Arc<Server>,
    request: Request,
    method: Method,
    task: Task,
) -> Result<Forwarded, Refusal> {
    let instance = server.instances.iter().find(|instance| instance.id == task.instance);
    let speech = Speech::modern(server, instance.ok_or(Refusal::TaskUnknown)?);
    let mut ids = TaskIds::new(ask, caller, &speech, &task.tool);
    ids.known.push((task.id.clone(), request.params.task_id().unwrap_or_default().into()));
    let id = Some(&*task.id);
    let write = |meta: &[(&str, MetaValue<'_>)]| request.write(&Edit { task_id: id, meta, ..Edit::default() });
    let headers = speech.headers(method.as_str(), id, HeaderMap::new());
    let outgoing = Outgoing { headers, method: method.as_str(), tool: &task.tool, write: &write };
    let exchange = Exchange::open(ask, &speech, request.id.clone(), outgoing).await;
    let exchange = exchange.map_err(|fault: Fault| ask.refusal(server, &fault))?.with_task_ids(ids);
    let translation = Translation::Same(Same { era: Era::Modern, subject: Subject::Answer, mapping: None });
    let passing = Passing::new(exchange, Some(request.id), translation);
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}

/// What an agent listens to, with the server's ids of its tasks: those of other servers and of nobody are left out.
/// `None` when it names no tasks.
pub fn listened_to(caller: &Caller, ids: &mut TaskIds, request: &Request) -> Option<Raw> {
    let filter = request.params.get("notifications")?;
    filter.object()?.get("taskIds")?;
    Some(renamed(filter, |sealed| {
        let task = Task::open(caller, ids.now, sealed).filter(|task| task.server == ids.server)?;
        ids.known.push((task.id.clone(), sealed.into()));
        Some(task.id.into())
    }))
}

/// A filter of notifications with other ids of tasks.
fn renamed(filter: &Raw, mut rename: impl FnMut(&str) -> Option<String>) -> Raw {
    let Some(members) = filter.object() else { return filter.clone() };
    json::object(|filter| {
        for (key, value) in members.iter() {
            match value.array().filter(|_| key == "taskIds") {
                Some(ids) => filter.array(key, |list| {
                    let ids = ids.iter().filter_map(|id| rename(&id.as_str()?));
                    ids.for_each(|id| list.text(&id));
                }),
                None => filter.raw(key, value),
            }
        }
    })
}

/// To whom and where an id is of use.
fn bindings(caller: &Caller) -> [Vec<u8>; 3] {
    let user = caller.user().map(|user| user.to_string()).unwrap_or_default();
    [caller.agent().id.to_string().into_bytes(), user.into_bytes(), caller.resource().into_bytes()]
}
