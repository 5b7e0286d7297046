//! Documents that nobody here has ever asked for: they are fetched for who has signed in.

use axum::body::Body;
use form_urlencoded::Serializer;
use http::{Request, header};
use serde_json::json;

use super::{Scene, document, scene, settings};
use crate::{
    oauth::testing::{Answer, Bed, run},
    secret::{self, Purpose},
};

/// A request of the client at `url`.
fn path(url: &str, more: &[(&str, &str)]) -> String {
    let usual = [
        ("response_type", "code"),
        ("client_id", url),
        ("redirect_uri", "https://client.example/callback"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let query = Serializer::new(String::new()).extend_pairs(usual).extend_pairs(more).finish();
    format!("/t/acme/oauth/authorize?{query}")
}

/// The cookie of somebody who is signed in.
async fn cookie(bed: &Bed) -> String {
    let person = bed.person("ada@acme.test").await;
    let session = secret::generate(Purpose::Session);
    sqlx::query("UPDATE console_sessions SET digest = $2, proven_at = now() WHERE user_id = $1")
        .bind(person.user.uuid())
        .bind(session.digest.as_bytes())
        .execute(bed.app.db.pool())
        .await
        .expect("a session");
    format!("__Host-tollgate_acme={}", *session.text)
}

async fn get(bed: &Bed, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path).header(header::COOKIE, cookie);
    bed.send(request.body(Body::empty()).expect("a request")).await
}

/// The control plane of the scene, as clients meet it.
fn here(scene: &Scene<'_>) -> Bed {
    scene.bed.at(scene.app.clone())
}

#[tokio::test]
async fn who_has_not_signed_in_has_nothing_fetched_and_makes_no_agent() {
    run(async |bed| {
        let scene = scene(bed).await;
        let (here, url) = (here(&scene), scene.serves(json!({})));
        let asked = path(&url, &[]);
        let sent = here.get(&asked).await;
        assert_eq!(sent.status, 303);
        assert!(sent.header(header::LOCATION).starts_with("/sign-in?"), "{}", sent.header(header::LOCATION));
        assert_eq!(
            here.get(&path(&url, &[("prompt", "none")])).await.status,
            400,
            "nor is a page shown that was not wanted"
        );
        assert_eq!(here.get(&asked.replace("/authorize?", "/authorize/declined?")).await.status, 400);
        assert_eq!((scene.fetches(), scene.host.look_ups(), scene.agents().await), (0, 0, 0));

        let cookie = cookie(bed).await;
        let shown = get(&here, &asked, &cookie).await;
        let page = String::from_utf8_lossy(&shown.body);
        assert!(page.contains("may not use anything here yet"), "{page}");
        assert_eq!((shown.status.as_u16(), scene.fetches(), scene.agents().await), (403, 1, 1));
        scene.goes_stale(1).await;
        assert_eq!(here.get(&asked).await.status, 303);
        assert_eq!(scene.fetches(), 2, "who is known is looked up for everybody");
    })
    .await;
}

#[tokio::test]
async fn a_pinned_document_needs_nobody_and_a_forbidden_host_is_refused_at_once() {
    run(async |bed| {
        let scene = scene(bed).await;
        let (here, url) = (here(&scene), scene.serves(json!({})));
        settings(bed, json!({ "document_hosts": { "deny": ["client.example"] } })).await;
        assert_eq!(here.get(&path(&url, &[])).await.status, 400);
        settings(bed, json!({ "pinned_documents": [{ "url": url, "document": document(&url, json!({})) }] })).await;
        let sent = here.get(&path(&url, &[])).await;
        assert_eq!((sent.status.as_u16(), scene.agents().await, scene.fetches()), (303, 1, 0));
    })
    .await;
}
