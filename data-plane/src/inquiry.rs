//! What operators want to know of sessions and limits (`inquiry/limits.rs`), the sessions that they end, and what servers
//! offer. The control plane asks over the policy stream; the answers are in the store, or at the server.
//!
//! Invariant: a question is answered from its own tenant's sessions, and no answer holds what a session is used with: the
//! ids that agents and servers know it by, or anything that was said in it.

mod limits;

use std::sync::Arc;

use futures_util::future::join_all;
use prost::Message as _;
use tollgate_proto::{
    AgentId, ServerId, SessionHandle,
    policy::v1::{
        Era, InspectLimits, LegState, ListSessions, Question, ReadCatalog, Reply, Session as Shown, SessionKind,
        SessionLeg, question::What, watch_request::Message,
    },
};

use crate::{
    catalog,
    endpoint::Target,
    gateway::Gateway,
    mcp::{
        json::{self, Bounds},
        version::ProtocolVersion,
    },
    policy::Tenant,
    reaper,
    store::{Kept, Leg, Listed, StoreError},
    telemetry::SessionEnd,
};

/// Sessions in one answer.
const SESSIONS_MAX: usize = 512;
/// So far below what gRPC takes that the last session of an answer may be of any size.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Sessions that are taken from the store at once.
const PAGE: usize = 256;
/// So many pages are looked through for one answer: whoever wants to know more asks again.
const PAGES_MAX: usize = 20;
const LEGS_MAX: usize = 64;
/// Of what clients say of themselves.
const CLIENT_CHARS_MAX: usize = 100;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("it has no policy of this tenant yet")]
    NoTenant,
    #[error("its policy has no such server yet")]
    NoServer,
    #[error("the question cannot be read: a newer data plane may answer it")]
    NotUnderstood,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer to one question: a reply, and before it the reports that were asked for. What it asks to end is over by
/// then; servers are told afterwards.
pub async fn answer(gateway: Arc<Gateway>, question: Question) -> Vec<Message> {
    let (id, mut answers) = (question.id, Vec::new());
    let reply = match look(&gateway, question, &mut answers).await {
        Ok(reply) => reply,
        Err(unanswered) => Reply { failure: unanswered.to_string(), ..Reply::default() },
    };
    answers.push(Message::Reply(Reply { question: id, ..reply }));
    answers
}

async fn look(gateway: &Arc<Gateway>, question: Question, reports: &mut Vec<Message>) -> Result<Reply, Unanswered> {
    let snapshot = gateway.policies.load();
    let tenant_id = question.tenant_id.parse().map_err(|_| Unanswered::NotUnderstood)?;
    let tenant = snapshot.tenants().find(|tenant| tenant.id == tenant_id).ok_or(Unanswered::NoTenant)?;
    match question.what.ok_or(Unanswered::NotUnderstood)? {
        What::ListSessions(list) => list_sessions(gateway, tenant, list).await,
        What::InspectSession(inspect) => {
            let handle = handle(&inspect.handle)?;
            let found = gateway.store.session(tenant.id, handle).await?;
            Ok(only(found.map(|listed| show(tenant, &listed))))
        }
        What::EndSession(end) => Ok(only(end_session(gateway, tenant, handle(&end.handle)?).await?)),
        What::ReadCatalog(ReadCatalog { server_id }) => {
            let id: ServerId = server_id.parse().map_err(|_| Unanswered::NotUnderstood)?;
            let server = tenant.servers.values().find(|server| server.id == id).ok_or(Unanswered::NoServer)?;
            let read = catalog::answer(gateway, tenant, server, question.id).await;
            reports.extend(read.reports.into_iter().map(Message::CatalogReport));
            Ok(Reply { failure: read.failure, ..Reply::default() })
        }
        What::InspectLimits(InspectLimits { ids }) => {
            let uses = limits::uses(gateway, tenant, &ids).await?;
            Ok(Reply { limit_uses: Some(uses), ..Reply::default() })
        }
    }
}

async fn list_sessions(gateway: &Gateway, tenant: &Tenant, list: ListSessions) -> Result<Reply, Unanswered> {
    let mut before = if list.before.is_empty() { None } else { Some(handle(&list.before)?) };
    let agent = match list.agent.as_str() {
        "" => None,
        key => match agent_id(tenant, key) {
            Some(agent) => Some(agent),
            None => return Ok(Reply::default()),
        },
    };
    let limit = usize::try_from(list.limit).unwrap_or(SESSIONS_MAX).min(SESSIONS_MAX);
    let (mut sessions, mut bytes) = (Vec::new(), 0);
    for _ in 0..PAGES_MAX {
        let page = gateway.store.sessions(tenant.id, before, agent, PAGE).await?;
        for listed in page.found.iter().filter(|listed| is_of_server(tenant, listed, &list.server)) {
            let shown = show(tenant, listed);
            bytes += shown.encoded_len();
            let reached = shown.handle.clone();
            sessions.push(shown);
            if sessions.len() >= limit || bytes > ANSWER_BYTES_MAX {
                return Ok(Reply { sessions, reached, ..Reply::default() });
            }
        }
        before = page.reached;
        if before.is_none() {
            break;
        }
    }
    let reached = before.map(|reached| reached.to_string()).unwrap_or_default();
    Ok(Reply { sessions, reached, ..Reply::default() })
}

/// Ends a session as if its agent had, and answers with it; nothing when there is none (any more).
async fn end_session(
    gateway: &Arc<Gateway>,
    tenant: &Arc<Tenant>,
    handle: SessionHandle,
) -> Result<Option<Shown>, Unanswered> {
    let Some(found) = gateway.store.session(tenant.id, handle).await? else { return Ok(None) };
    let kept = match &found.kept {
        Kept::Session(id, session) => {
            // Its legs may be others by now.
            let ended = gateway.store.end_session(session.owner, id).await?;
            gateway.metrics.sessions_ended(SessionEnd::Operator, usize::from(ended.is_some()));
            ended.map(|session| Kept::Session(*id, session))
        }
        Kept::Upstream(key, bridge) => {
            let removed = gateway.store.remove_bridge_leg(key, &bridge.leg).await?;
            removed.then(|| found.kept.clone())
        }
    };
    let Some(kept) = kept else { return Ok(None) };
    let ended = Listed { kept, ..found };
    let shown = show(tenant, &ended);
    let (gateway, tenant) = (Arc::clone(gateway), Arc::clone(tenant));
    tokio::spawn(async move {
        let owner = ended.kept.owner();
        join_all(ended.kept.legs().map(|leg| reaper::tell_server(&gateway, &tenant, owner, leg))).await
    });
    Ok(Some(shown))
}

fn handle(text: &str) -> Result<SessionHandle, Unanswered> {
    text.parse().map_err(|_| Unanswered::NotUnderstood)
}

fn only(session: Option<Shown>) -> Reply {
    Reply { sessions: session.into_iter().collect(), ..Reply::default() }
}

/// The agent with this id or name. One that the policy does not know may have sessions still.
fn agent_id(tenant: &Tenant, key: &str) -> Option<AgentId> {
    let known = tenant.agents.values().find(|agent| agent.name == key).map(|agent| agent.id);
    known.or_else(|| key.parse().ok())
}

/// Whether a session reaches the server with this id or name, or was opened at its endpoint; empty: any server.
fn is_of_server(tenant: &Tenant, listed: &Listed, key: &str) -> bool {
    if key.is_empty() {
        return true;
    }
    let known = tenant.servers.values().find(|server| server.name.as_str() == key || server.id.to_string() == key);
    let Some(id) = known.map(|server| server.id).or_else(|| key.parse::<ServerId>().ok()) else { return false };
    let is_at =
        |endpoint: &str| known.is_some_and(|server| tenant.is_resource(endpoint, &Target::Server(server.name.clone())));
    listed.kept.legs().any(|(server, _)| server == id)
        || matches!(&listed.kept, Kept::Session(_, session) if is_at(&session.endpoint))
}

/// What people may see.
fn show(tenant: &Tenant, listed: &Listed) -> Shown {
    let owner = listed.kept.owner();
    let agent = tenant.agents.values().find(|agent| agent.id == owner.agent);
    let user = owner.user.and_then(|user| tenant.users.get(&user));
    let mut legs: Vec<_> = listed.kept.legs().map(|(server, leg)| show_leg(tenant, server, leg)).collect();
    let legs_omitted = legs.len().saturating_sub(LEGS_MAX);
    legs.truncate(LEGS_MAX);
    let shown = Shown {
        handle: listed.handle.to_string(),
        kind: SessionKind::Agent.into(),
        agent_id: owner.agent.to_string(),
        agent: agent.map(|agent| agent.name.clone()).unwrap_or_default(),
        user_id: owner.user.map(|user| user.to_string()).unwrap_or_default(),
        user: user.map(|user| user.email.clone()).unwrap_or_default(),
        created_at_ms: milliseconds(listed.created_at_ms()),
        last_used_at_ms: milliseconds(listed.last_used_at_s.saturating_mul(1_000)),
        expires_at_ms: milliseconds(listed.expires_at_s.saturating_mul(1_000)),
        legs,
        legs_omitted: u32::try_from(legs_omitted).unwrap_or(u32::MAX),
        ..Shown::default()
    };
    match &listed.kept {
        Kept::Upstream(_, bridge) => {
            Shown { kind: SessionKind::Upstream.into(), protocol_version: bridge.leg.protocol_version.clone(), ..shown }
        }
        Kept::Session(_, session) => {
            let (client_name, client_version) = client(&session.initialize_params);
            Shown {
                endpoint: session.endpoint.clone(),
                protocol_version: session.protocol_version.clone(),
                client_name,
                client_version,
                ..shown
            }
        }
    }
}

fn show_leg(tenant: &Tenant, id: ServerId, leg: &Leg) -> SessionLeg {
    let server = tenant.servers.values().find(|server| server.id == id);
    let is_there = server.is_some_and(|server| server.instances.iter().any(|instance| instance.id == leg.instance));
    let state = match &leg.upstream_session {
        _ if !is_there => LegState::Gone,
        Some(_) => LegState::Open,
        None => LegState::Stateless,
    };
    SessionLeg {
        server_id: id.to_string(),
        server: server.map(|server| server.name.to_string()).unwrap_or_default(),
        instance_id: leg.instance.to_string(),
        era: era(&leg.protocol_version).into(),
        protocol_version: leg.protocol_version.clone(),
        state: state.into(),
    }
}

fn era(version: &str) -> Era {
    match ProtocolVersion::parse(version).map(ProtocolVersion::era) {
        Some(crate::mcp::version::Era::Legacy) => Era::Legacy,
        Some(crate::mcp::version::Era::Modern) => Era::Modern,
        None => Era::Unspecified,
    }
}

/// Name and version of the client, as it said at `initialize`.
fn client(initialize_params: &[u8]) -> (String, String) {
    let params = json::parse(&bytes::Bytes::copy_from_slice(initialize_params), &Bounds::AGENT).ok();
    let info = params.and_then(|params| params.object()?.get("clientInfo")?.object()).unwrap_or_default();
    let said = |member: &str| {
        let text = info.get(member).and_then(json::Raw::as_str).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(CLIENT_CHARS_MAX).collect()
    };
    (said("name"), said("version"))
}

fn milliseconds(since_epoch: u64) -> i64 {
    i64::try_from(since_epoch).unwrap_or(i64::MAX)
}
