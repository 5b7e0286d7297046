//! The authorization-server scenarios of the MCP conformance suite, unmodified.

use tollgate_tests::{Browser, Conformance, Deployment, Errand, Front, InteractiveAgent, Plan, free_port};

use super::Office;

#[tokio::test]
async fn the_suite_passes_for_a_public_client_before_a_browser() {
    let mut office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let draft = office.tollgate.interactive_agent("suite").grant("files:read").redirect_uri(REDIRECT_URI);
    let agent = draft.create().await;
    let mut browser = Browser::start();
    let (email, password) = (office.owner.email.clone(), office.owner.password.clone());
    let resource = office.tollgate.server_url("files");
    for resource in [None, Some(resource.as_str())] {
        run(&office, &agent, resource, async |url, redirect_uri| {
            let errand = Errand::to(url, redirect_uri).signing_in(&email, &password);
            assert!(browser.run(&errand).await.url.starts_with(redirect_uri));
        })
        .await;
    }
    // The suite closed its listener; the person is still there.
    office.owner.take_another_browser();
}

#[tokio::test]
async fn the_suite_passes_for_a_client_with_its_secret_in_the_form() {
    confidential("client_secret_post", &["client_secret_post"]).await;
}

#[tokio::test]
async fn the_suite_passes_for_a_client_with_its_secret_in_the_header() {
    confidential("client_secret_basic", &["client_secret_basic"]).await;
}

/// Any port of the loopback address is the client's (RFC 8252 section 7.3).
const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// The suite sends no secret where `none` is advertised, whatever it was given. So it meets the authorization server
/// behind a proxy that advertises one method only.
async fn confidential(method: &'static str, advertised: &'static [&'static str]) {
    let front = Front::advertising(advertised).await;
    let plan: Plan = Deployment::separate(1).behind(&front);
    let office = Office::open(plan).await;
    let draft = office.tollgate.interactive_agent("suite").grant("files:read").redirect_uri(REDIRECT_URI);
    let agent = draft.confidential(method).create().await;
    let resource = office.tollgate.server_url("files");
    let mut person = office.owner.clone();
    for resource in [None, Some(resource.as_str())] {
        run(&office, &agent, resource, async |url, redirect_uri| {
            let back = person.allow(url).await;
            assert!(back.as_str().starts_with(redirect_uri), "{back}");
            // Without a browser, nobody else follows the last redirect.
            tollgate_tests::Http::default().get(back.as_str()).await;
        })
        .await;
    }
}

async fn run(
    office: &Office,
    agent: &InteractiveAgent,
    resource: Option<&str>,
    mut visit: impl AsyncFnMut(&str, &str),
) {
    let (issuer, port) = (office.tollgate.issuer(), free_port().to_string());
    let mut arguments = vec!["--url", &issuer, "--client-id", &agent.client_id, "--port", &port];
    arguments.extend(["--spec-version", "2026-07-28"]);
    arguments.extend(agent.client_secret.iter().flat_map(|secret| ["--client-secret", secret]));
    arguments.extend(resource.iter().flat_map(|resource| ["--resource", resource]));
    let mut suite = Conformance::of_authorization_server(&arguments);
    let url = suite.address().await;
    visit(&url, &format!("http://127.0.0.1:{port}/callback")).await;
    let (code, printed) = suite.verdict().await;
    assert_eq!(code, 0, "{printed}");
    for trouble in ["FAILURE", "WARNING", "SKIPPED", "✗"] {
        assert!(!printed.contains(trouble), "{printed}");
    }
}
