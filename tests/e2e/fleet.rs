//! What operators see of the data planes: sessions, which they can end, and how servers do.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, Relay, Reply, ScriptedServer, eventually, eventually_true};

use crate::scene::{Refused, Scene, assert_refusal};

const UNKNOWN: Refused = Refused { status: 404, code: 40400, reason: "session_unknown" };

/// All sessions, which every data plane knows.
async fn sessions(tollgate: &Deployment, query: &str) -> Vec<Value> {
    // A data plane that is slow to answer is named as one that did not.
    let page = eventually("every data plane to answer", || async {
        Some(tollgate.get(&format!("sessions{query}")).await).filter(|page| page["complete"] == true)
    })
    .await;
    assert_eq!(page["unanswered"], json!([]), "{page}");
    page["items"].as_array().expect("a list").clone()
}

fn id(session: &Value) -> &str {
    session["id"].as_str().expect("an id")
}

/// The upstream sessions that the server was told are over.
fn ended_at(server: &ScriptedServer) -> Vec<String> {
    let deleted = server.seen().into_iter().filter(|seen| seen.http_method == "DELETE");
    deleted.map(|seen| seen.header("mcp-session-id").unwrap_or_default().to_owned()).collect()
}

async fn end(tollgate: &Deployment, session: &str) -> u16 {
    tollgate.rest(Method::DELETE, &format!("sessions/{session}"), &[], &Value::Null).await.status
}

/// How the only instance of `files` does, as the control plane says.
async fn instance(tollgate: &Deployment) -> Value {
    tollgate.get("servers/files").await["status"]["instances"][0].clone()
}

async fn becomes(tollgate: &Deployment, healths: &[&str]) -> Value {
    eventually(&format!("the server to be {healths:?}"), || async {
        let instance = instance(tollgate).await;
        healths.iter().any(|health| instance["health"] == *health).then_some(instance)
    })
    .await
}

#[tokio::test]
async fn sessions_opened_anywhere_are_on_one_list_and_one_that_is_ended_is_over_everywhere() {
    let scene = Scene::set(Deployment::separate(2), &Era::Legacy).await;
    let second_plane = scene.tollgate.data_plane_url(1);
    let here = scene.client.initialize("2025-11-25").await;
    assert_eq!(here.call("read", json!({})).await.text(), "content");
    let upstream = scene.server.calls()[0].header("mcp-session-id").expect("an upstream session").to_owned();
    let there = scene.client.clone().through(second_plane).initialize("2025-06-18").await;

    let listed = sessions(&scene.tollgate, "?agent=ci&server=files").await;
    let versions: Vec<_> = listed.iter().map(|session| session["protocol_version"].clone()).collect();
    assert_eq!(versions, ["2025-06-18", "2025-11-25"], "the newest first");
    assert!(sessions(&scene.tollgate, "?agent=somebody").await.is_empty());
    let first = &listed[1];
    assert_eq!((&first["agent"], &first["kind"]), (&json!("ci"), &json!("agent")));
    assert_eq!((&first["endpoint"]["kind"], &first["endpoint"]["name"]), (&json!("server"), &json!("files")));
    let leg = &first["legs"][0];
    assert_eq!((&leg["server"], &leg["era"], &leg["state"]), (&json!("files"), &json!("legacy"), &json!("open")));
    let shown = json!(listed).to_string();
    for secret in [here.session_id().expect("an id"), there.session_id().expect("an id"), &upstream] {
        assert!(!shown.contains(secret), "what a session is used with is not shown");
    }

    assert_eq!(end(&scene.tollgate, id(first)).await, 204);
    assert_refusal(&here.clone().through(second_plane).call("read", json!({})).await, UNKNOWN);
    assert_refusal(&here.call("read", json!({})).await, UNKNOWN);
    eventually_true("the server to hear of it", || async { !ended_at(&scene.server).is_empty() }).await;
    assert_eq!(ended_at(&scene.server), [upstream]);
    assert_eq!(end(&scene.tollgate, id(first)).await, 404);
    assert_eq!(there.call("read", json!({})).await.text(), "content", "the other one goes on");
    let left = sessions(&scene.tollgate, "").await;
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), [id(&listed[0])]);
}

#[tokio::test]
async fn what_the_gateway_keeps_open_for_a_modern_agent_is_shown_and_ended_by_command() {
    let scene = Scene::legacy().await;
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    let listed = scene.tollgate.command(&["sessions", "list", "--agent", "ci", "-o", "json"]).await.success().json();
    let [session] = &listed.as_array().expect("a list")[..] else { panic!("one session: {listed}") };
    assert_eq!((&session["kind"], &session["endpoint"]), (&json!("upstream"), &Value::Null));
    let shown = scene.tollgate.command(&["sessions", "show", id(session)]).await.success().stdout;
    assert!(shown.contains("files") && shown.contains("open"), "{shown}");
    scene.tollgate.command(&["sessions", "end", id(session)]).await.success();
    eventually_true("the server to hear of it", || async { ended_at(&scene.server).len() == 1 }).await;
    assert_eq!(scene.tollgate.command(&["sessions", "show", id(session)]).await.code, 5);
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content", "the next call opens another one");
    assert_eq!(sessions(&scene.tollgate, "").await.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be_and_comes_back() {
    let server = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    let url = server.url();
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let wire = Relay::to(address.parse().expect("an address"));
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("files", &format!("http://127.0.0.1:{}/{path}", wire.port())).await;
    let agent = tollgate.agent("ci").grant("files:read").create().await;
    let client = agent.at_server("files").await;
    assert_eq!(client.initialize("2025-11-25").await.call("read", json!({})).await.text(), "content");
    let fine = eventually("both to be told of", || async {
        let instance = becomes(&tollgate, &["healthy"]).await;
        let told_by = instance["data_planes"].as_array().map(Vec::len);
        (instance["protocol_version"] != Value::Null && told_by == Some(2)).then_some(instance)
    })
    .await;
    assert_eq!((&fine["era"], &fine["last_error"]), (&json!("legacy"), &Value::Null));

    wire.cut().await;
    client.try_initialize("2025-11-25").await;
    let gone = becomes(&tollgate, &["ejected"]).await;
    assert_eq!(gone["last_error"], "unreachable");
    let shown = tollgate.command(&["get", "server", "files"]).await.success().stdout;
    assert!(shown.contains("(ejected: unreachable)"), "{shown}");
    wire.mend();
    becomes(&tollgate, &["returning", "healthy"]).await;
}

#[tokio::test]
async fn a_data_plane_of_another_control_plane_is_named_and_its_word_on_servers_counts() {
    let scene = Scene::set(Deployment::separate(2).with_second_control_plane(), &Era::Legacy).await;
    let session = scene.client.initialize("2025-11-25").await;
    assert!(session.session_id().is_some());
    let page = eventually("the data plane that is asked to answer", || async {
        let page = scene.tollgate.get("sessions").await;
        (page["unanswered"].as_array().map(Vec::len) == Some(1)).then_some(page)
    })
    .await;
    assert_eq!((page["items"].as_array().map(Vec::len), &page["complete"]), (Some(1), &json!(false)), "{page}");
    assert_eq!(page["unanswered"][0]["reason"], "connected_elsewhere", "{page}");
    let listed = scene.tollgate.command(&["sessions", "list"]).await.success();
    assert!(listed.stderr.contains("another control plane"), "{listed:?}");
    eventually_true("both to say how the server does", || async {
        instance(&scene.tollgate).await["data_planes"].as_array().map(Vec::len) == Some(2)
    })
    .await;
}
