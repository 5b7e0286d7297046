//! The authorization server with clients that others wrote, people before real pages, and things going wrong.
//!
//! Most of these stories play with the demo server, which every client can speak to in its own era.

use serde_json::{Value, json};
use tollgate_tests::{Authority, Browser, Deployment, Errand, Journey, Person, Plan, Reply, ScriptedServer, Site};

mod conformance;
mod database_away;
mod document;
mod federation;
mod machines;
mod on_behalf;
mod oracle;
mod redirects;
mod revocation;
mod sdk_clients;
mod second_opinion;
mod step_up;

/// A deployment with the demo server, the tenant's owner before a browser, and a site where clients publish documents.
pub(crate) struct Desk {
    pub(crate) tollgate: Deployment,
    pub(crate) owner: Person,
    pub(crate) browser: Browser,
    pub(crate) site: Site,
    _authority: Authority,
}

/// A deployment with a scripted server `files` whose tools are `read` and `write`, and the tenant's owner.
pub(crate) struct Office {
    pub(crate) tollgate: Deployment,
    pub(crate) owner: Person,
    _server: ScriptedServer,
}

impl Desk {
    pub(crate) async fn set() -> Self {
        let authority = Authority::create();
        let site = Site::start(&authority).await;
        let tollgate = Deployment::dev().trusting(&authority).start().await;
        let owner = Person::owner(&tollgate).await;
        Self { tollgate, owner, browser: Browser::start(), site, _authority: authority }
    }

    /// Opens what a client asks the owner to open; the owner signs in and allows it, but for `without`.
    ///
    /// A client that registered itself may use nothing at first: then an operator grants it what the demo server has,
    /// and the owner opens the address again.
    pub(crate) async fn allow(&mut self, url: &str, redirect_uri: &str, without: &[&str]) -> Journey {
        let errand = Errand::to(url, redirect_uri).signing_in(&self.owner.email, &self.owner.password).without(without);
        let journey = self.browser.run(&errand).await;
        if journey.url.starts_with(redirect_uri) {
            return journey;
        }
        assert!(journey.text.contains("may not use anything here yet"), "{journey:?}");
        for agent in self.tollgate.sql("SELECT name FROM agents WHERE origin <> 'admin'").await {
            let spec = json!({"to": {"agent": agent}, "scopes": ["demo:echo", "demo:countdown"]});
            self.tollgate.put(&format!("grants/{agent}"), json!({"spec": spec})).await;
        }
        self.tollgate.policy_in_force().await;
        let journey = self.browser.run(&errand).await;
        assert!(journey.url.starts_with(redirect_uri), "{journey:?}");
        journey
    }
}

impl Office {
    pub(crate) async fn open(plan: Plan) -> Self {
        let server =
            ScriptedServer::modern().tool("read", Reply::text("content")).tool("write", Reply::text("written"));
        let server = server.start().await;
        let tollgate = plan.start().await;
        tollgate.allow_loopback_servers().await;
        tollgate.register("files", &server).await;
        let owner = Person::owner(&tollgate).await;
        Self { tollgate, owner, _server: server }
    }
}

/// Changes parts of the tenant's spec.
pub(crate) async fn change_tenant(tollgate: &Deployment, spec: Value) {
    let tenant = tollgate.rest(http::Method::GET, "", &[], &Value::Null).await;
    let etag = tenant.header("etag").expect("a tenant has an ETag");
    let answer = tollgate.rest(http::Method::PATCH, "", &[("if-match", etag)], &json!({"spec": spec})).await;
    assert_eq!(answer.status, 200, "{spec}: {}", answer.text());
    tollgate.policy_in_force().await;
}
