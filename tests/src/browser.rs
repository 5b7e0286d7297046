//! A person in front of a real browser: opens a page of Tollgate's, signs in, decides, and ends where the pages lead.
//!
//! Invariant: nothing is posted that a form on a page did not hold, and what the browser complained of fails the story.

use serde_json::{Value, json};

use crate::{
    conversation::Conversation,
    drivers::{node, repository_root, web_modules},
};

/// A browser with one profile: whoever signed in stays so.
#[derive(Debug)]
pub struct Browser(Conversation);

/// What the person is going to do on the way.
#[derive(Debug, Clone)]
pub struct Errand {
    order: Value,
}

/// What the person saw.
#[derive(Debug, Clone)]
pub struct Journey {
    /// Where it ended.
    pub url: String,
    /// HTTP status of the last page.
    pub status: u64,
    /// Text of the last page, when it was one of Tollgate's.
    pub text: String,
    /// Where the last page's link back to the client leads, when it has one.
    pub link: Option<String>,
    /// Each consent page: its text, and whether each scope on it was ticked when it was sent.
    pub consents: Vec<(String, Vec<(String, bool)>)>,
    /// Host of every page on the way.
    pub hosts: Vec<String>,
}

impl Errand {
    /// Opens `visit` and goes on until `until`, allowing what is asked.
    #[must_use]
    pub fn to(visit: &str, until: &str) -> Self {
        Self { order: json!({"visit": visit, "until": until, "decision": "allow"}) }
    }

    /// Signs in with Tollgate's own form.
    #[must_use]
    pub fn signing_in(self, email: &str, password: &str) -> Self {
        self.with("email", json!(email)).with("password", json!(password))
    }

    /// Signs in through the provider whose name the sign-in page shows, as an account of its.
    #[must_use]
    pub fn through(self, provider: &str, account: &str) -> Self {
        self.with("provider", json!(provider)).with("account", json!(account))
    }

    /// Takes scopes out of what is allowed.
    #[must_use]
    pub fn without(self, scopes: &[&str]) -> Self {
        self.with("untick", json!(scopes))
    }

    /// Refuses instead.
    #[must_use]
    pub fn refusing(self) -> Self {
        self.with("decision", json!("deny"))
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.order[name] = value;
        self
    }
}

impl Browser {
    /// Starts Chromium.
    #[must_use]
    pub fn start() -> Self {
        let mut command = node();
        command.arg(repository_root().join("tests/clients/browser.mjs")).env("TOLLGATE_TEST_MODULES", web_modules());
        Self(Conversation::start("the browser", command))
    }

    /// Does an errand.
    ///
    /// # Panics
    /// When the way does not end, or the browser complained.
    pub async fn run(&mut self, errand: &Errand) -> Journey {
        self.0.say(&errand.order);
        let seen = self.0.hear().await;
        assert!(seen["error"].is_null(), "{errand:?}: {seen}");
        assert_eq!(seen["complaints"], json!([]), "{seen}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let consents = seen["consents"].as_array().into_iter().flatten().map(|consent| {
            let scopes = consent["scopes"].as_object().into_iter().flatten();
            (text(&consent["text"]), scopes.map(|(scope, ticked)| (scope.clone(), ticked == true)).collect())
        });
        Journey {
            url: text(&seen["url"]),
            status: seen["status"].as_u64().unwrap_or_default(),
            text: text(&seen["text"]),
            link: seen["link"].as_str().map(str::to_owned),
            consents: consents.collect(),
            hosts: seen["hosts"].as_array().into_iter().flatten().map(text).collect(),
        }
    }
}
