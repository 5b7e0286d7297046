//! The pages of sessions, and of how instances do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tollgate_proto::{
    AgentId, DataPlaneId, SessionHandle,
    policy::v1::{Reply, Session, SessionKind, question::What},
};

use super::Browser;
use crate::{
    caller::Role,
    policy::testing::Answering,
    testing::{Bench, run},
};

/// A data plane with one session, until it is ended.
fn one_session(bench: &Bench, handle: SessionHandle) -> Answering {
    let ended = Arc::new(AtomicBool::new(false));
    let session = Session {
        handle: handle.to_string(),
        kind: SessionKind::Agent.into(),
        agent_id: AgentId::new().to_string(),
        agent: "ci-bot".to_owned(),
        endpoint: "http://data.test/t/acme/mcp/files".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        client_name: "<b>editor".to_owned(),
        ..Session::default()
    };
    Answering::connect(&bench.app, DataPlaneId::new(), move |question| {
        let ends = matches!(question.what, Some(What::EndSession(_)));
        let is_over = if ends { ended.swap(true, Ordering::SeqCst) } else { ended.load(Ordering::SeqCst) };
        Reply { sessions: (!is_over).then(|| session.clone()).into_iter().collect(), ..Reply::default() }
    })
}

#[tokio::test]
async fn sessions_are_shown_and_ended_by_who_may() {
    run(async |bench| {
        let handle = SessionHandle::new();
        let _plane = one_session(bench, handle);
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let list = viewer.get("/sessions?agent=ci-bot").await.expect(200);
        assert!(list.text.contains("/agents/ci-bot") && list.text.contains("&#60;b&#62;editor"), "{}", list.text);
        assert!(!list.text.contains("/end\""), "no button for who only reads");
        let end = format!("/sessions/{handle}/end");
        viewer.post(&end, &[]).await.expect(403);

        let mut operator = Browser::of(bench, Role::Operator).await;
        let page = operator.get(&format!("/sessions/{handle}")).await.expect(200);
        assert!(page.text.contains(&end) && page.text.contains("data-confirm"), "{}", page.text);
        let ended = operator.post(&end, &[]).await.expect(303);
        assert_eq!(ended.header("location"), "/sessions?done=session-ended");
        let list = operator.get("/sessions").await.expect(200);
        assert!(list.text.contains("No session is open"), "{}", list.text);
        operator.get(&format!("/sessions/{handle}")).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_list_that_nobody_can_give_says_so() {
    run(async |bench| {
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = viewer.get("/sessions").await.expect(200);
        assert!(page.text.contains("No session can be shown"), "{}", page.text);
        assert!(page.text.contains("no data plane is connected"), "{}", page.text);
        assert!(!page.text.contains("No session is open"));
    })
    .await;
}

#[tokio::test]
async fn the_page_of_a_server_says_how_its_instances_do_in_words() {
    run(async |bench| {
        let mut owner = Browser::of(bench, Role::Owner).await;
        owner.get("/new/server").await.expect(200);
        owner.post("/new/server", &[("name", "files"), ("instances", "http://a/mcp draining")]).await.expect(303);
        let page = owner.get("/servers/files").await.expect(200);
        for word in ["not asked yet", "draining", "none says anything"] {
            assert!(page.text.contains(word), "{word}: {}", page.text);
        }
    })
    .await;
}
