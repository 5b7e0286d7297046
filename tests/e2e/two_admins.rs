//! Two people who change one thing: nothing of what the first did is lost, and the second is told what to do.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Answer, Person};

use crate::scene::Scene;

const GRANT: &str = "grants/shared";
const EDIT: &str = "action=\"/grants/shared/edit\"";

/// A scene with a grant of the agent that both are to change.
struct Shared {
    scene: Scene,
    /// Of the version that both have seen.
    etag: String,
}

impl Shared {
    async fn new() -> Self {
        let scene = Scene::modern().await;
        scene.tollgate.put(GRANT, json!({"spec": spec(&["files:read"])})).await;
        let etag = scene.tollgate.get(GRANT).await["etag"].as_str().expect("a version").to_owned();
        Self { scene, etag }
    }

    async fn put(&self, etag: &str, scopes: &[&str]) -> Answer {
        self.scene.tollgate.rest(Method::PUT, GRANT, &[("if-match", etag)], &json!({"spec": spec(scopes)})).await
    }

    async fn stored(&self) -> Value {
        self.scene.tollgate.get(GRANT).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.scene.tollgate.control_url())
    }

    /// Somebody else than the owner who may change grants.
    async fn operator(&self, email: &str) -> Person {
        self.scene.tollgate.command(&["users", "create", email, "--role", "operator"]).await.success();
        Person::with_link(&self.scene.tollgate, email).await
    }
}

fn spec(scopes: &[&str]) -> Value {
    json!({"to": {"agent": "ci"}, "scopes": scopes})
}

fn manifest(scopes: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nkind: Grant\nmetadata: {{name: shared}}\nspec: {{to: {{agent: ci}}, scopes: [{scopes}]}}\n"
    )
}

fn assert_stale(answer: &Answer) {
    assert_eq!(answer.status, 412, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["code"], "precondition_failed");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with("read it again")), "{problem}");
}

#[tokio::test]
async fn of_two_admins_who_write_one_grant_the_second_is_told_to_read_it_again() {
    let shared = Shared::new().await;
    let first = shared.put(&shared.etag, &["files:read", "files:write"]).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_stale(&shared.put(&shared.etag, &["files:list"]).await);
    let stale = [("if-match", shared.etag.as_str())];
    let patch = json!({"spec": {"deny": true}});
    assert_stale(&shared.scene.tollgate.rest(Method::PATCH, GRANT, &stale, &patch).await);
    assert_stale(&shared.scene.tollgate.rest(Method::DELETE, GRANT, &stale, &Value::Null).await);
    let blind = shared.scene.tollgate.rest(Method::PUT, GRANT, &[], &json!({"spec": spec(&["files:list"])})).await;
    assert_eq!((blind.status, &blind.json()["code"]), (428, &json!("precondition_required")));

    let now = shared.stored().await;
    assert_eq!((&now["spec"], &now["revision"]), (&spec(&["files:read", "files:write"]), &json!(2)));
    shared.scene.tollgate.policy_in_force().await;
    // What the first granted.
    shared.scene.tollgate.command(&["can-i", "ci", "call", "files/write"]).await.success();
    let again = shared.put(now["etag"].as_str().expect("a version"), &["files:read", "files:list"]).await;
    assert_eq!(again.status, 200, "{}", again.text());
}

#[tokio::test]
async fn of_many_who_write_at_one_moment_one_does() {
    let shared = &Shared::new().await;
    let scopes: Vec<String> = (0..8).map(|number| format!("files:tool_{number}")).collect();
    let writing = scopes.iter().map(|scope| async move { shared.put(&shared.etag, &[scope.as_str()]).await });
    let answers = futures_util::future::join_all(writing).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().zip(&scopes).partition(|(answer, _)| answer.status == 200);
    refused.iter().for_each(|(answer, _)| assert_stale(answer));
    let [(_, scope)] = done[..] else { panic!("{} were done", done.len()) };
    let now = shared.stored().await;
    assert_eq!((&now["spec"]["scopes"], &now["revision"]), (&json!([scope]), &json!(2)));
}

#[tokio::test]
async fn a_form_that_was_opened_before_another_change_saves_nothing_until_it_is_opened_again() {
    let shared = Shared::new().await;
    let (mut ada, mut bea) = (shared.operator("ada@acme.test").await, shared.operator("bea@acme.test").await);
    let edit = shared.url("/grants/shared/edit");
    let (seen_by_ada, seen_by_bea) = (ada.open(&edit).await.0, bea.open(&edit).await.0);
    let with = |scopes| [("to", "to_agent"), ("agent", "ci"), ("scopes", scopes)];
    let (saved, at) = ada.fill_in(&seen_by_ada, EDIT, &with("files:read\nfiles:write")).await;
    assert_eq!((saved.status, at.path()), (200, "/access"), "{}", saved.text());

    let (mut refused, _) = bea.fill_in(&seen_by_bea, EDIT, &with("files:list")).await;
    for _ in 0..2 {
        assert_eq!(refused.status, 409, "{}", refused.text());
        let told = "Somebody else changed this grant after you opened the form. Open it again";
        assert!(refused.text().contains(told) && refused.text().contains("files:list"), "{}", refused.text());
        // Sent once more as it stands, it is refused once more.
        refused = bea.fill_in(&refused, EDIT, &with("files:list")).await.0;
    }
    let delete = shared.url("/grants/shared/delete");
    let asked = bea.open(&delete).await.0;
    assert_eq!(shared.stored().await["spec"], spec(&["files:read", "files:write"]));

    let seen_anew = bea.open(&edit).await.0;
    assert!(seen_anew.text().contains("files:write"), "{}", seen_anew.text());
    let (saved, _) = bea.fill_in(&seen_anew, EDIT, &with("files:read\nfiles:write\nfiles:list")).await;
    assert_eq!(saved.status, 200, "{}", saved.text());
    let mark = "action=\"/grants/shared/delete\"";
    let mut refused = bea.fill_in(&asked, mark, &[]).await.0;
    for _ in 0..2 {
        assert_eq!(refused.status, 409, "what was asked about is not there any more: {}", refused.text());
        refused = bea.fill_in(&refused, mark, &[]).await.0;
    }
    assert_eq!(shared.stored().await["revision"], 3);
}

#[tokio::test]
async fn files_that_are_applied_at_one_moment_lose_nothing_unsaid() {
    let shared = Shared::new().await;
    let mut ada = shared.operator("ada@acme.test").await;
    let seen = ada.open(&shared.url("/grants/shared/edit")).await.0;
    let manifests: Vec<String> = (0..6).map(|number| manifest(&format!("files:tool_{number}"))).collect();
    let applying = manifests.iter().map(|file| shared.scene.tollgate.command_with_input(&["apply", "-f", "-"], file));
    let outputs = futures_util::future::join_all(applying).await;
    let mut done = 0;
    for output in &outputs {
        match output.code {
            0 => done += 1,
            code => {
                assert_eq!(code, 6, "{output:?}");
                assert!(
                    output.stderr.contains("someone changed it meanwhile: look at what is there now"),
                    "{output:?}"
                );
            }
        }
    }
    assert!(done > 0, "{outputs:?}");
    let now = shared.stored().await;
    assert_eq!(now["revision"], 1 + done, "each that said so was written, and no other");
    let wrote = "SELECT count(*)::text FROM audit_events WHERE action = 'grant.update' AND object_name = 'shared'";
    assert_eq!(shared.scene.tollgate.sql(wrote).await, [done.to_string()]);

    let fields = [("to", "to_agent"), ("agent", "ci"), ("scopes", "files:read")];
    assert_eq!(ada.fill_in(&seen, EDIT, &fields).await.0.status, 409, "a form that was opened before");
    assert_eq!(shared.stored().await["spec"], now["spec"]);
    shared.scene.tollgate.apply(&manifest("files:read")).await;
    assert_eq!(shared.stored().await["spec"], spec(&["files:read"]));
}
