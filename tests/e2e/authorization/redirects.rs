//! The way back from the consent page in a real browser, whose `form-action` rule applies to every redirect that
//! follows a form: to https, to a loopback name, and to an app of the device.

use serde_json::json;
use tollgate_tests::{Errand, Journey, code_of, eventually_true, free_port};
use url::Url;

use super::Desk;

#[tokio::test]
async fn a_browser_comes_back_to_https_to_a_loopback_name_and_to_an_app() {
    let mut desk = Desk::set().await;
    desk.site.publish("/callback", &json!({}));
    let https = desk.site.url("/callback");
    let journey = allow(&mut desk, "web", &https).await;
    assert!(!code_of(&at(&journey.url, &https)).is_empty());
    eventually_true("the browser to be there", || async { desk.site.visits("/callback") == 1 }).await;

    let loopback = format!("http://localhost:{}/callback", free_port());
    let journey = allow(&mut desk, "native", &loopback).await;
    assert!(!code_of(&at(&journey.url, &loopback)).is_empty());

    let app = "cursor://anysphere.cursor-mcp/oauth/callback";
    let journey = allow(&mut desk, "editor", app).await;
    assert_eq!(journey.status, 200, "the page stays, since another app could open: {journey:?}");
    let link = journey.link.as_deref().unwrap_or_else(|| panic!("a link leads to the app: {journey:?}"));
    assert!(!code_of(&at(link, app)).is_empty());
}

#[tokio::test]
async fn a_browser_that_refuses_comes_back_without_a_code() {
    let mut desk = Desk::set().await;
    let back = format!("http://127.0.0.1:{}/callback", free_port());
    let agent = desk.tollgate.interactive_agent("refused").grant("demo:echo").redirect_uri(&back).create().await;
    let errand = Errand::to(&agent.authorize_url(&[]), &back);
    let errand = errand.signing_in(&desk.owner.email, &desk.owner.password).refusing();
    let journey = desk.browser.run(&errand).await;
    let url = at(&journey.url, &back);
    let value = |name: &str| url.query_pairs().find(|(given, _)| given == name).map(|(_, value)| value.into_owned());
    assert_eq!(value("error").as_deref(), Some("access_denied"), "{journey:?}");
    assert_eq!(value("state").as_deref(), Some("the state"));
    assert_eq!(value("iss"), Some(desk.tollgate.issuer()));
    assert_eq!(value("code"), None);
}

async fn allow(desk: &mut Desk, name: &str, redirect_uri: &str) -> Journey {
    let agent = desk.tollgate.interactive_agent(name).grant("demo:echo").redirect_uri(redirect_uri).create().await;
    let errand = Errand::to(&agent.authorize_url(&[]), redirect_uri);
    desk.browser.run(&errand.signing_in(&desk.owner.email, &desk.owner.password)).await
}

fn at(url: &str, redirect_uri: &str) -> Url {
    assert!(url.starts_with(redirect_uri), "{url}");
    url.parse().expect("a browser is at a URL")
}
