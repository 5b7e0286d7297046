//! The pages as a browser without scripting uses them.

use http::{HeaderMap, Method};
use tollgate_proto::TenantId;

use crate::{
    caller::{Caller, Role},
    testing::{Answer, Bench, run},
    users,
};

mod access;
mod alerts;
mod apps;
mod budgets;
mod catalog;
mod fleet;
mod forms;
mod limits;
mod people;
mod price_books;
mod provider_logout;
mod providers;
mod recent;
mod revoking;
mod sessions;
mod settings;
mod signing_in;
mod toolsets;
mod usage;
mod waiting;

const PASSWORD: &str = "correct horse battery";

/// A browser: it keeps cookies, and sends forms with the token of the page that it saw last.
pub(super) struct Browser<'a> {
    bench: &'a Bench,
    cookies: Vec<(String, String)>,
    token: String,
}

impl<'a> Browser<'a> {
    fn new(bench: &'a Bench) -> Self {
        Self { bench, cookies: Vec::new(), token: String::new() }
    }

    /// Signed in to `acme` by a link.
    async fn of(bench: &'a Bench, role: Role) -> Self {
        Self::in_tenant(bench, bench.acme, "acme", role).await
    }

    async fn in_tenant(bench: &'a Bench, tenant: TenantId, name: &str, role: Role) -> Self {
        let link = link(bench, tenant, name, role).await;
        let mut browser = Self::new(bench);
        browser.get(&link).await.expect(303);
        browser.get("/account").await.expect(200);
        browser
    }

    async fn get(&mut self, path: &str) -> Answer {
        let call = self.bench.call(Method::GET, path).anonymous().header("cookie", &self.cookie());
        let answer = call.send().await;
        self.keep(&answer);
        answer
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let token = self.token.clone();
        self.post_as(path, form, &[("sec-fetch-site", "same-origin")], &token).await
    }

    async fn post_as(&mut self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)], token: &str) -> Answer {
        let mut call = self.bench.call(Method::POST, path).anonymous();
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let pairs = form.iter().copied().chain([("csrf", token)]);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let call = call.header("cookie", &self.cookie()).header("content-type", "application/x-www-form-urlencoded");
        let answer = call.body(body).await;
        self.keep(&answer);
        answer
    }

    fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, answer: &Answer) {
        for (name, value) in set_cookies(&answer.headers) {
            self.cookies.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                self.cookies.push((name, value));
            }
        }
        if let Some(token) = hidden(&answer.text, "csrf") {
            self.token = token;
        }
    }
}

/// The path of a new sign-in link of a user with this role, who is made for it.
async fn link(bench: &Bench, tenant: TenantId, name: &str, role: Role) -> String {
    let owner =
        Caller { actor: "system".to_owned(), role: Role::Owner, tenant, tenant_name: name.to_owned(), platform: false };
    let email = format!("{role}@{name}.test");
    let mut tx = bench.app.db.tenant(tenant).await.expect("a transaction");
    users::ensure(&mut tx, "system", &email, role).await.expect("a user");
    tx.commit().await.expect("committed");
    let ttl = std::time::Duration::from_secs(60);
    let link = users::create_sign_in_link(&bench.app, &owner, &email, ttl).await.expect("a link");
    link.url.strip_prefix("http://control.test").expect("an address of ours").to_owned()
}

/// The value of a hidden field of a page's form.
fn hidden(html: &str, name: &str) -> Option<String> {
    let field = format!("name=\"{name}\" value=\"");
    let rest = &html[html.find(&field)? + field.len()..];
    Some(rest[..rest.find('"')?].replace("&#34;", "\""))
}

fn set_cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all("set-cookie").into_iter().map(|line| line.to_str().expect("text"));
    lines
        .map(|line| line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

const SERVER: [(&str, &str); 2] = [("name", "files"), ("instances", "https://files.example.com/mcp")];

#[tokio::test]
async fn every_page_has_the_security_headers_and_no_inline_code() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Owner).await;
        browser.post("/new/team", &[("name", "core")]).await.expect(303);
        browser.post("/new/server", &SERVER).await.expect(303);
        browser.post("/new/agent", &[("name", "bot"), ("team", "core")]).await.expect(303);
        let pages = [
            "/",
            "/servers",
            "/servers/files",
            "/servers/files/edit",
            "/servers/files/delete",
            "/toolsets",
            "/new/toolset",
            "/usage",
            "/budgets",
            "/new/budget",
            "/price-books",
            "/new/price-book",
            "/alerts",
            "/webhooks",
            "/new/webhook",
            "/agents",
            "/agents/bot",
            "/access",
            "/calls",
            "/search?q=fi",
            "/account",
            "/account/apps",
            "/new/server",
            "/new/grant",
            "/users",
            "/new/user",
            "/new/identity-provider",
            "/settings",
            "/fleet",
            "/tenants/acme/edit",
            "/access/keys",
            "/waiting",
            "/sign-in",
            "/no/such/page",
            "/servers/none",
            "/sign-in?token=tgl_x",
        ];
        for page in pages {
            let answer = browser.get(page).await;
            let policy = answer.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{page}: {policy}");
            assert!(policy.ends_with("base-uri 'none'; frame-ancestors 'none'"), "{page}: {policy}");
            for (name, value) in [
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("x-content-type-options", "nosniff"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.header(name), value, "{page}: {name}");
            }
            for inline in ["<style", " style=", "<script>", "javascript:", " onclick="] {
                assert!(!answer.text.contains(inline), "{page}: {inline}");
            }
            assert!(answer.text.contains("<title>"), "{page}: {:?}", answer.status);
        }
    })
    .await;
}

#[tokio::test]
async fn static_files_never_change_under_their_name() {
    run(async |bench| {
        let page = Browser::new(bench).get("/sign-in").await.expect(200);
        let start = page.text.find("/static/console.").expect("a stylesheet");
        let path = &page.text[start..start + page.text[start..].find('"').expect("an end")];
        let file = Browser::new(bench).get(path).await.expect(200);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(file.header("content-type"), "text/css; charset=utf-8");
        Browser::new(bench).get("/static/console.000000000000.css").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_chosen_theme_is_rendered_by_the_server() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Viewer).await;
        assert!(!browser.get("/").await.text.contains("data-theme"));
        let answer =
            browser.post("/account/theme", &[("theme", "dark"), ("back", "/\\evil.example")]).await.expect(303);
        assert_eq!(answer.header("location"), "/", "the way back stays on this site");
        assert!(browser.get("/").await.text.contains("<html lang=\"en\" data-theme=\"dark\">"));
        browser.post("/account/theme", &[("theme", "system"), ("back", "/account")]).await.expect(303);
        assert!(!browser.get("/").await.text.contains("data-theme"));
    })
    .await;
}
