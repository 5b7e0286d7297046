//! A person who uses the pages without a browser: quick, for the stories that are not about the pages.
//!
//! Invariant: a person posts what a form on a page holds, with the cookies that were set, and follows redirects until
//! they lead away from Tollgate.

use std::collections::BTreeMap;

use http::{Method, header};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::{
    deployment::Deployment,
    html::Form,
    http::{Answer, Http},
};

const REDIRECTS_MAX: usize = 12;

/// A person and the cookies of their browser.
#[derive(Debug, Clone)]
pub struct Person {
    http: Http,
    control_url: String,
    cookies: BTreeMap<String, String>,
    /// E-mail address.
    pub email: String,
    /// Password.
    pub password: String,
}

impl Person {
    /// The tenant's owner: signs in by a one-time link and sets a password.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn owner(tollgate: &Deployment) -> Self {
        Self::with_link(tollgate, "admin@localhost").await
    }

    /// A user who exists: signs in by a one-time link and sets a password.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn with_link(tollgate: &Deployment, email: &str) -> Self {
        let path = format!("users/{email}:sign-in-link");
        let link = tollgate.rest(Method::POST, &path, &[], &json!({})).await;
        assert_eq!(link.status, 201, "{path}: {}", link.text());
        let link = link.json()["url"].as_str().expect("a link has a URL").to_owned();
        let mut person = Self {
            http: Http::default(),
            control_url: tollgate.control_url().to_owned(),
            cookies: BTreeMap::new(),
            email: email.to_owned(),
            password: format!("story {}", Uuid::new_v4()),
        };
        tollgate.remember_secret(&person.password);
        person.open(&link).await;
        let account = person.open(&format!("{}/account", person.control_url)).await.0;
        let mut form = Form::find(&account.text(), "/account/password").expect("the account page sets passwords");
        form.set("new", &person.password.clone());
        let (changed, _) = person.submit(&form).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        person
    }

    /// Forgets every cookie, as another browser would have none.
    pub fn take_another_browser(&mut self) {
        self.cookies.clear();
    }

    /// What the browser sends in the header `cookie`.
    #[must_use]
    pub fn cookies(&self) -> String {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }

    /// Opens a page and follows redirects. Returns the last answer and its address; an address that is not
    /// Tollgate's is not opened.
    pub async fn open(&mut self, url: &str) -> (Answer, Url) {
        self.follow(Method::GET, url, String::new()).await
    }

    /// Signs in with e-mail address and password, where `page` is the sign-in page.
    pub async fn sign_in(&mut self, page: &Answer) -> (Answer, Url) {
        let mut form = Form::find(&page.text(), "action=\"/sign-in\"").expect("the sign-in page has a form");
        form.set("email", &self.email.clone());
        form.set("password", &self.password.clone());
        self.submit(&form).await
    }

    /// Answers an authorization request: signs in where asked to, and allows everything on the consent page.
    ///
    /// # Panics
    /// When no consent page comes.
    pub async fn allow(&mut self, authorize_url: &str) -> Url {
        self.decide(authorize_url, "allow", |_| true).await
    }

    /// Answers an authorization request with `decision`, for the ticked scopes that `keep` says yes to. Returns where
    /// the browser is sent: the client's redirect URI, when everything went well.
    ///
    /// # Panics
    /// When a page comes that has neither form.
    pub async fn decide(&mut self, authorize_url: &str, decision: &str, keep: impl Fn(&str) -> bool) -> Url {
        let (mut page, mut at) = self.open(authorize_url).await;
        if page.text().contains("action=\"/sign-in\"") {
            (page, at) = self.sign_in(&page).await;
        }
        if !at.as_str().starts_with(&self.control_url) {
            return at;
        }
        let mut form = Form::find(&page.text(), "id=\"consent\"")
            .unwrap_or_else(|| panic!("no consent page at {at}: {} {}", page.status, page.text()));
        form.fields.retain(|(name, value)| name != "scope" || keep(value));
        form.set("decision", decision);
        self.submit(&form).await.1
    }

    /// Fills in fields of the form on `page` whose opening tag holds `mark`, and sends it.
    ///
    /// # Panics
    /// When there is no such form.
    pub async fn fill_in(&mut self, page: &Answer, mark: &str, fields: &[(&str, &str)]) -> (Answer, Url) {
        let mut form = Form::find(&page.text(), mark).unwrap_or_else(|| panic!("no form {mark}: {}", page.text()));
        fields.iter().for_each(|(name, value)| form.set(name, value));
        self.submit(&form).await
    }

    pub(crate) async fn submit(&mut self, form: &Form) -> (Answer, Url) {
        let base = Url::parse(&self.control_url).expect("the control plane has a URL");
        let url = base.join(&form.action).expect("an action is a path");
        self.follow(Method::POST, url.as_str(), form.encoded()).await
    }

    async fn follow(&mut self, method: Method, url: &str, body: String) -> (Answer, Url) {
        let (mut method, mut body) = (method, body);
        let mut url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        for _ in 0..REDIRECTS_MAX {
            let answer = self.send(method, url.as_str(), body).await;
            let Some(next) = next(&answer) else { return (answer, url) };
            url = url.join(next).unwrap_or_else(|error| panic!("{next}: {error}"));
            if !url.as_str().starts_with(&self.control_url) {
                return (answer, url);
            }
            (method, body) = (Method::GET, String::new());
        }
        panic!("more than {REDIRECTS_MAX} redirects, to {url}");
    }

    async fn send(&mut self, method: Method, url: &str, body: String) -> Answer {
        let cookies = self.cookies();
        let mut headers = vec![("cookie", cookies.as_str())];
        if method == Method::POST {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            headers.push(("origin", &self.control_url));
        }
        let answer = self.http.send(method, url, &headers, body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {error:#}"));
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().expect("cookies are text");
            let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// Where an answer leads by itself: a redirect, or a page that leaves at once.
fn next(answer: &Answer) -> Option<&str> {
    let refresh = || answer.header(header::REFRESH.as_str())?.strip_prefix("0; url=");
    let location = answer.header(header::LOCATION.as_str());
    assert!(location.is_none() || matches!(answer.status, 201 | 302 | 303), "a redirect with {}", answer.status);
    location.or_else(refresh)
}
