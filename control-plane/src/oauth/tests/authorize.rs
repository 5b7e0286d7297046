//! The authorization endpoint as clients and people meet it.

use http::{Request, header};
use serde_json::Value;
use tollgate_proto::{AgentId, UserId};
use url::Url;

use crate::{
    oauth::testing::{Answer, Bed},
    secret::{self, Purpose},
};

mod challenge;
mod consent;
mod decision;
mod documents;
mod people;
mod requests;
mod toolsets;

/// Base64url of the SHA-256 of RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const WEB: &str = "https://app.example/cb";
const LOOPBACK: &str = "http://127.0.0.1/cb";
const ENDPOINT: &str = "/t/acme/oauth/authorize";

/// What an interactive agent is made of.
#[derive(Clone, Copy)]
struct Kind {
    origin: &'static str,
    auth_method: &'static str,
    redirect_uris: &'static [&'static str],
}

const PRE_REGISTERED: Kind = Kind { origin: "admin", auth_method: "none", redirect_uris: &[WEB] };
const SELF_REGISTERED: Kind = Kind { origin: "registration", auth_method: "none", redirect_uris: &[WEB] };

/// A client that sends users.
struct App {
    agent: AgentId,
    id: String,
}

impl App {
    async fn new(bed: &Bed, name: &str, kind: Kind, scopes: &[&str]) -> Self {
        let agent = bed.agent(name, scopes).await.agent;
        let document_url = format!("https://{name}.example/client.json");
        let documented = kind.origin == "client_document";
        sqlx::query(
            "UPDATE agents SET type = 'interactive', origin = $2, auth_method = $3, redirect_uris = $4, document_url = $5,
                    grant_types = '{authorization_code,refresh_token}', metadata_digest = sha256($1::text::bytea),
                    metadata_fetched_at = now(), metadata_fresh_until = now() + interval '1 hour',
                    jwks = CASE WHEN $3 = 'private_key_jwt' THEN '{\"keys\": []}'::jsonb END
             WHERE id = $1",
        )
        .bind(agent.uuid())
        .bind(kind.origin)
        .bind(kind.auth_method)
        .bind(kind.redirect_uris)
        .bind(documented.then_some(&document_url))
        .execute(&mut *sql(bed).await)
        .await
        .expect("an interactive agent");
        Self { agent, id: if documented { document_url } else { agent.to_string() } }
    }

    /// A request that makes sense.
    fn ask(&self) -> Ask {
        self.ask_to(WEB)
    }

    fn ask_to(&self, redirect_uri: &str) -> Ask {
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", redirect_uri),
            ("state", "a state"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Ask(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }
}

/// A request in the making.
#[derive(Clone)]
struct Ask(Vec<(String, String)>);

impl Ask {
    fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(given, _)| given != name);
        self
    }

    fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    fn path(&self) -> String {
        format!("{ENDPOINT}?{}", self.query())
    }
}

/// Somebody with a browser who is signed in to `acme`.
struct Person<'a> {
    bed: &'a Bed,
    user: UserId,
    cookie: String,
}

impl<'a> Person<'a> {
    async fn new(bed: &'a Bed, email: &str) -> Self {
        let user = UserId::new();
        sqlx::query("INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, $3, 'viewer')")
            .bind(bed.tenant.uuid())
            .bind(user.uuid())
            .bind(email)
            .execute(&mut *sql(bed).await)
            .await
            .expect("a user");
        let mut person = Self { bed, user, cookie: String::new() };
        person.sign_in().await;
        person
    }

    /// Begins another session.
    async fn sign_in(&mut self) {
        let session = secret::generate(Purpose::Session);
        sqlx::query(
            "INSERT INTO console_sessions (digest, tenant_id, user_id, expires_at, proven_at)
             VALUES ($1, $2, $3, now() + interval '1 hour', now())",
        )
        .bind(session.digest.as_bytes())
        .bind(self.bed.tenant.uuid())
        .bind(self.user.uuid())
        .execute(self.bed.app.db.pool())
        .await
        .expect("a session");
        self.cookie = format!("__Host-tollgate_acme={}", *session.text);
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header(header::COOKIE, &self.cookie);
        self.bed.send(request.body(axum::body::Body::empty()).expect("a request")).await
    }

    async fn open(&self, ask: &Ask) -> Answer {
        self.get(&ask.path()).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(path)
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.bed.send(request.body(body.into()).expect("a request")).await
    }

    /// Answers a consent page, with these scopes ticked.
    async fn decide(&self, page: &Answer, decision: &str, scopes: &[&str]) -> Answer {
        let html = page.text();
        let (csrf, transaction) = (field(&html, "csrf"), field(&html, "transaction"));
        let mut form = vec![("csrf", csrf.as_str()), ("transaction", &transaction), ("decision", decision)];
        form.extend(scopes.iter().map(|scope| ("scope", *scope)));
        self.post(&format!("{ENDPOINT}/decision"), &form).await
    }

    /// Allows everything that a request comes to, and arrives where it leads.
    async fn allow(&self, ask: &Ask) -> Url {
        let page = self.open(ask).await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert_not_framed(&page);
        let scopes = ticked(&page.text());
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let answer = self.decide(&page, "allow", &scopes).await;
        self.arrive(&answer).await
    }

    /// Follows an answer over the page of ours to where it leads.
    async fn arrive(&self, answer: &Answer) -> Url {
        assert_eq!(answer.status, 303, "{}", answer.text());
        let page = self.get(answer.header("location")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert_not_framed(&page);
        assert!(!page.text().contains("<form"), "a form would forbid to leave");
        let next = page.header("refresh").strip_prefix("0; url=").expect("the page leaves by itself").to_owned();
        let left = self.get(&next).await;
        assert_eq!(left.status, 302);
        left.header("location").parse().expect("a URL")
    }
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn sql(bed: &Bed) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    let mut connection = bed.app.db.pool().acquire().await.expect("a connection");
    sqlx::query("SELECT set_config('tollgate.tenant', $1, false)")
        .bind(bed.tenant.uuid().to_string())
        .execute(&mut *connection)
        .await
        .expect("the tenant");
    connection
}

/// No site can show the page in a frame, and no cache keeps it.
#[track_caller]
fn assert_not_framed(answer: &Answer) {
    assert_eq!((answer.header("x-frame-options"), answer.header("cache-control")), ("DENY", "no-store"));
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
}

/// The value of a hidden field.
fn field(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {html}"));
    rest.split('"').next().expect("an end").to_owned()
}

/// The scopes whose boxes are ticked.
fn ticked(html: &str) -> Vec<String> {
    let boxes = html.split("<input type=\"checkbox\" name=\"scope\" value=\"").skip(1);
    let boxes = boxes.filter_map(|rest| rest.split_once('"')).filter(|(_, rest)| rest.starts_with(" checked"));
    boxes.map(|(scope, _)| scope.to_owned()).collect()
}

/// The values of a query parameter.
fn values(url: &Url, name: &str) -> Vec<String> {
    url.query_pairs().filter(|(given, _)| given == name).map(|(_, value)| value.into_owned()).collect()
}

fn value(url: &Url, name: &str) -> String {
    let [value] = values(url, name).try_into().unwrap_or_else(|all| panic!("{name} of {url}: {all:?}"));
    value
}

/// Where an answer leads that leaves at once.
fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.header("location").parse().expect("a URL")
}

/// The newest audit event of this action.
async fn event(bed: &Bed, action: &str) -> Value {
    sqlx::query_scalar("SELECT detail FROM audit_events WHERE action = $1 ORDER BY id DESC LIMIT 1")
        .bind(action)
        .fetch_one(&mut *bed.tx().await)
        .await
        .expect("an event")
}

async fn families(bed: &Bed) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM authorizations").fetch_one(&mut *bed.tx().await).await.expect("a number")
}
