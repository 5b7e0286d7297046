use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};
use tollgate_proto::{
    AgentId, DataPlaneId, TenantId,
    policy::v1::{self as wire, Question},
};
use uuid::Builder;

use super::*;
use crate::{
    policy::testing::Answering,
    testing::{Bench, run, text},
};

/// A store of sessions of one tenant, which data planes may share.
#[derive(Clone)]
struct Store {
    tenant: TenantId,
    sessions: Arc<Mutex<Vec<wire::Session>>>,
}

impl Store {
    fn of(tenant: TenantId, opened_at_ms: &[u64]) -> Self {
        let sessions = opened_at_ms.iter().map(|at_ms| session(*at_ms)).collect();
        Self { tenant, sessions: Arc::new(Mutex::new(sessions)) }
    }

    /// A data plane that has it.
    fn connect(&self, bench: &Bench) -> Answering {
        let store = self.clone();
        Answering::connect(&bench.app, DataPlaneId::new(), move |question| store.answer(question))
    }

    fn handles(&self) -> Vec<String> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().map(|session| session.handle.clone()).collect()
    }

    fn answer(&self, question: Question) -> Reply {
        if question.tenant_id != self.tenant.to_string() {
            return Reply::default();
        }
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.sort_by(|one, two| two.handle.cmp(&one.handle));
        let with = |handle: &str| sessions.iter().position(|session| session.handle == handle);
        let sessions = match question.what.expect("a question") {
            What::ListSessions(list) => {
                let behind = |session: &&wire::Session| list.before.is_empty() || session.handle < list.before;
                sessions.iter().filter(behind).take(list.limit as usize).cloned().collect()
            }
            What::InspectSession(inspect) => with(&inspect.handle).map(|at| sessions[at].clone()).into_iter().collect(),
            What::EndSession(end) => with(&end.handle).map(|at| sessions.remove(at)).into_iter().collect(),
            What::ReadCatalog(_) | What::InspectLimits(_) => Vec::new(),
        };
        Reply { sessions, ..Reply::default() }
    }
}

fn handle_at(opened_at_ms: u64) -> SessionHandle {
    Builder::from_unix_timestamp_millis(opened_at_ms, &[7; 10]).into_uuid().into()
}

fn session(opened_at_ms: u64) -> wire::Session {
    wire::Session {
        handle: handle_at(opened_at_ms).to_string(),
        kind: wire::SessionKind::Agent.into(),
        agent_id: AgentId::new().to_string(),
        agent: "ci-bot".to_owned(),
        endpoint: "http://data.test/t/acme/mcp/files".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        created_at_ms: i64::try_from(opened_at_ms).expect("a time"),
        ..wire::Session::default()
    }
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().map(|session| text(&session["id"])).collect()
}

fn reply(opened_at_ms: &[u64], reached: Option<u64>) -> Reply {
    let sessions = opened_at_ms.iter().map(|at_ms| session(*at_ms)).collect();
    let reached = reached.map(|at_ms| handle_at(at_ms).to_string()).unwrap_or_default();
    Reply { sessions, reached, ..Reply::default() }
}

fn opened(sessions: &[Session]) -> Vec<i64> {
    sessions.iter().map(|session| session.created_at.timestamp_millis()).collect()
}

#[test]
fn nothing_is_shown_from_beyond_the_point_that_a_data_plane_came_to() {
    let (items, end) = merge(&[reply(&[9, 5, 1], None), reply(&[8, 6], Some(6))], 10);
    assert_eq!((opened(&items), end), (vec![9, 8, 6], Some(handle_at(6))));
    let (items, end) = merge(&[reply(&[9, 5, 1], None), reply(&[8, 6], Some(6))], 2);
    assert_eq!((opened(&items), end), (vec![9, 8], Some(handle_at(8))));
    let (items, end) = merge(&[reply(&[9, 5], None), reply(&[9, 5], None)], 10);
    assert_eq!((opened(&items), end), (vec![9, 5], None), "each once, and that is all");
}

#[test]
fn an_endpoint_is_told_by_its_path() {
    for (url, kind, name) in [
        ("https://d.test/t/acme/mcp", "federated", Value::Null),
        ("https://d.test/t/acme/mcp/files", "server", json!("files")),
        ("https://d.test/t/acme/toolsets/office", "toolset", json!("office")),
        ("https://d.test/t/mcp/mcp", "federated", Value::Null),
        ("https://d.test/t/t/mcp/mcp", "server", json!("mcp")),
    ] {
        let said = wire::Session { endpoint: url.to_owned(), ..session(1) };
        let shown = json!(Session::try_from(&said).expect("a session").endpoint);
        assert_eq!(shown, json!({ "url": url, "kind": kind, "name": name }));
    }
}

#[tokio::test]
async fn sessions_of_all_data_planes_are_on_one_list_each_once() {
    run(async |bench| {
        let shared = Store::of(bench.acme, &[1_000, 5_000, 3_000]);
        let other = Store::of(bench.acme, &[4_000, 2_000]);
        let _planes = [shared.connect(bench), shared.connect(bench), other.connect(bench)];
        let mut expected = [shared.handles(), other.handles()].concat();
        expected.sort_unstable_by(|one, two| two.cmp(one));
        let mut found: Vec<String> = Vec::new();
        let mut path = "sessions?limit=2".to_owned();
        loop {
            let page = bench.call(Method::GET, &path).by(Role::Viewer).send().await.expect(200).json;
            assert_eq!((&page["complete"], &page["unanswered"]), (&json!(true), &json!([])));
            found.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("sessions?limit=2&cursor={cursor}");
        }
        assert_eq!(found, expected);
        let shown = bench.get(&format!("sessions/{}", found[0])).await.expect(200).json;
        assert_eq!((&shown["agent"], &shown["user"]), (&json!("ci-bot"), &Value::Null));
    })
    .await;
}

#[tokio::test]
async fn who_did_not_answer_is_named_and_why() {
    run(async |bench| {
        let store = Store::of(bench.acme, &[1_000]);
        let (broken, elsewhere) = (DataPlaneId::new(), DataPlaneId::new());
        let _plane = store.connect(bench);
        let failure = || Reply { failure: "the store is unavailable".to_owned(), ..Reply::default() };
        let _broken = Answering::connect(&bench.app, broken, move |_| failure());
        sqlx::query("INSERT INTO data_planes (id) VALUES ($1)")
            .bind(elsewhere.uuid())
            .execute(bench.app.db.pool())
            .await
            .expect("a data plane of another control plane");
        let page = bench.get("sessions").await.expect(200).json;
        assert_eq!((ids(&page).len(), &page["complete"]), (1, &json!(false)));
        let unanswered = page["unanswered"].as_array().expect("a list").iter();
        let named: Vec<_> = unanswered.map(|one| (one["data_plane"].clone(), text(&one["reason"]))).collect();
        assert_eq!(named, [(json!(broken), "failed"), (json!(elsewhere), "connected_elsewhere")]);
        let unknown = bench.get(&format!("sessions/{}", handle_at(9))).await.expect(503);
        assert_eq!(unknown.problem().0, "data_planes_silent");
        assert!(text(&unknown.json["detail"]).contains(&broken.to_string()), "{}", unknown.text);
    })
    .await;
}

#[tokio::test]
async fn that_nobody_can_be_asked_is_no_empty_list() {
    run(async |bench| {
        let answer = bench.get("sessions").await.expect(503);
        assert_eq!((answer.problem().0, answer.header("retry-after")), ("data_planes_silent", "2"));
        assert!(text(&answer.json["detail"]).contains("no data plane is connected"), "{}", answer.text);
        bench.get("sessions/nonsense").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_handle_is_of_no_use_in_another_tenant() {
    run(async |bench| {
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        let store = Store::of(bench.acme, &[1_000]);
        let _plane = store.connect(bench);
        let path = format!("/api/v1/tenants/other/sessions/{}", store.handles()[0]);
        for method in [Method::GET, Method::DELETE] {
            bench.call(method, &path).with_key(&key).send().await.expect(404);
        }
        assert_eq!(store.handles().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_operator_ends_a_session_and_the_audit_says_whose() {
    run(async |bench| {
        let store = Store::of(bench.acme, &[1_000, 2_000]);
        let _planes = [store.connect(bench), store.connect(bench)];
        let path = format!("sessions/{}", store.handles()[0]);
        bench.call(Method::DELETE, &path).by(Role::Finance).send().await.expect(403);
        bench.call(Method::DELETE, &path).by(Role::Operator).send().await.expect(204);
        assert_eq!(store.handles().len(), 1);
        bench.call(Method::DELETE, &path).by(Role::Operator).send().await.expect(404);
        assert_eq!(bench.audit().await, ["session.end ci-bot"]);
    })
    .await;
}
