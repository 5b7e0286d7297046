//! What tests of this crate share: a control plane on a database of its own, and requests to its router.
//!
//! A test asks for a [`Bench`] in [`run`], which drops the database afterwards, whether the test passed or not.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;
use tollgate_proto::TenantId;
use tower::ServiceExt as _;
use url::Url;
use uuid::Uuid;

use crate::{
    api_keys::{self, NewKey},
    app::{App, Urls},
    caller::{Caller, Role},
    config::Enrolment,
    db::Db,
    router,
    seal::MasterKey,
};

/// What data planes may join the control planes of tests with.
pub(crate) const ENROLLMENT_TOKEN: &str = "a-token-that-both-planes-know-0123";

const SETTING: &str = "TOLLGATE_TEST_DATABASE_URL";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The migrated database that every test's own is a copy of: making it anew for each would take most of the time.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A control plane without listeners, with a tenant `acme`.
pub(crate) struct Bench {
    pub(crate) app: Arc<App>,
    pub(crate) acme: TenantId,
    router: Router,
    /// Keys by role, in `acme`.
    keys: Vec<(Role, String)>,
}

/// What the router answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Null when the body is none.
    pub(crate) json: Value,
    /// The body as it came.
    pub(crate) text: String,
}

/// A request in the making; by default with the key of an owner.
pub(crate) struct Call<'a> {
    bench: &'a Bench,
    request: http::request::Builder,
    key: Option<String>,
}

/// Runs `test` on a [`Bench`] of its own.
pub(crate) async fn run(test: impl AsyncFnOnce(&Bench)) {
    let name = format!("test_{}", Uuid::now_v7().simple());
    let template = TEMPLATE.get_or_init(make_template).await;
    administer(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    let bench = Bench::on(&name).await;
    let outcome = AssertUnwindSafe(test(&bench)).catch_unwind().await;
    bench.app.db.pool().close().await;
    administer(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Runs `test` on the URL of an empty database of its own.
pub(crate) async fn run_empty(test: impl AsyncFnOnce(SecretString)) {
    let name = format!("test_{}", Uuid::now_v7().simple());
    administer(&format!("CREATE DATABASE {name}")).await;
    let outcome = AssertUnwindSafe(test(url_of(&name))).catch_unwind().await;
    administer(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// What handlers share, on `db`.
pub(crate) fn app(db: Db, master_key: MasterKey) -> App {
    let urls = Urls { control: "http://control.test".to_owned(), data: "http://data.test".to_owned() };
    let enrolment = Enrolment {
        shared_token: Some(SecretString::from(ENROLLMENT_TOKEN)),
        certificate_life: Duration::from_secs(3_600),
    };
    App::new(db, master_key, urls, enrolment)
}

impl Bench {
    async fn on(database: &str) -> Self {
        let db = Db::open(&url_of(database)).await.expect("the copy opens");
        let app = Arc::new(app(db, MasterKey::generate().expect("a key")));
        let router = router::build(Arc::clone(&app));
        let mut bench = Self { app, acme: TenantId::new(), router, keys: Vec::new() };
        bench.acme = bench.tenant("acme").await;
        for role in [Role::Owner, Role::Admin, Role::Operator, Role::Finance, Role::Viewer] {
            let key = bench.key(bench.acme, role).await;
            bench.keys.push((role, key));
        }
        bench
    }

    /// Makes another tenant.
    pub(crate) async fn tenant(&self, name: &str) -> TenantId {
        let id = TenantId::new();
        sqlx::query("INSERT INTO tenants (id, name, created_by) VALUES ($1, $2, 'test')")
            .bind(id.uuid())
            .bind(name)
            .execute(self.app.db.pool())
            .await
            .expect("a tenant");
        id
    }

    /// Makes an API key.
    pub(crate) async fn key(&self, tenant: TenantId, role: Role) -> String {
        let mut tx = self.app.db.platform().await.expect("a transaction");
        let new = NewKey { tenant, name: role.as_str(), role, platform: false };
        let key = api_keys::create(&mut tx, new).await.expect("a key");
        tx.commit().await.expect("committed");
        key.to_string()
    }

    /// An owner of `acme`, for calling operations without HTTP.
    pub(crate) fn owner(&self) -> Caller {
        Caller {
            actor: "user:owner@acme.test".to_owned(),
            role: Role::Owner,
            tenant: self.acme,
            tenant_name: "acme".to_owned(),
            platform: false,
        }
    }

    /// A request to `path`; below `acme` when it does not begin with a slash.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/tenants/acme/{path}") };
        Call { bench: self, request: Request::builder().method(method).uri(path), key: None }.by(Role::Owner)
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    /// `POST path` with a body.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path).json(body).await
    }

    /// `PUT path` with a body and no precondition.
    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path).json(body).await
    }

    /// The audit events of `acme` as `action object`, the oldest first.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let mut tx = self.app.db.tenant(self.acme).await.expect("a transaction");
        sqlx::query_scalar("SELECT action || ' ' || object_name FROM audit_events ORDER BY at, id")
            .fetch_all(&mut *tx)
            .await
            .expect("events")
    }

    /// The policy revision of `acme`.
    pub(crate) async fn policy_revision(&self) -> i64 {
        sqlx::query_scalar("SELECT policy_revision FROM tenants WHERE id = $1")
            .bind(self.acme.uuid())
            .fetch_one(self.app.db.pool())
            .await
            .expect("a revision")
    }
}

impl Call<'_> {
    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends the key of this role in `acme`.
    pub(crate) fn by(self, role: Role) -> Self {
        let key = self.bench.keys.iter().find(|(known, _)| *known == role).map(|(_, key)| key.clone());
        Self { key, ..self }
    }

    /// Sends this key.
    pub(crate) fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Sends no key.
    pub(crate) fn anonymous(self) -> Self {
        Self { key: None, ..self }
    }

    /// Sends `body` as JSON.
    pub(crate) async fn json(self, body: Value) -> Answer {
        self.header("content-type", "application/json").body(body.to_string()).await
    }

    /// Sends no body.
    pub(crate) async fn send(self) -> Answer {
        self.body(String::new()).await
    }

    /// Sends `body` as it is.
    pub(crate) async fn body(self, body: String) -> Answer {
        send(&self.bench.router, self.request, self.key.as_deref(), body).await
    }
}

impl Answer {
    /// Itself, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.json);
        self
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// The problem's code and, for each fault, `pointer code`.
    pub(crate) fn problem(&self) -> (&str, Vec<String>) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let faults = self.json["errors"].as_array().expect("a list").iter();
        let faults = faults.map(|fault| format!("{} {}", text(&fault["pointer"]), text(&fault["code"]))).collect();
        (text(&self.json["code"]), faults)
    }
}

/// Sends a request to `router`, with `key` as bearer.
pub(crate) async fn send(
    router: &Router,
    mut request: http::request::Builder,
    key: Option<&str>,
    body: String,
) -> Answer {
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let request = request.body(Body::from(body)).expect("a request");
    let response = router.clone().oneshot(request).await.expect("the router answers");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, json, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Makes the template unless an earlier run left the one of these migrations.
async fn make_template() -> String {
    let checksums: Vec<u8> = MIGRATIONS.iter().flat_map(|migration| migration.checksum.to_vec()).collect();
    let name = format!("tollgate_template_{:08x}", crc32fast::hash(&checksums));
    let mut connection = PgConnection::connect(admin_url().as_str()).await.expect("the administrator's database opens");
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .expect("an answer");
    if !known {
        // Migrated under another name, so that what has the name is whole.
        let draft = format!("draft_{}", Uuid::now_v7().simple());
        administer(&format!("CREATE DATABASE {draft}")).await;
        Db::open(&url_of(&draft)).await.expect("the migrations run").pool().close().await;
        let named =
            sqlx::query(AssertSqlSafe(format!("ALTER DATABASE {draft} RENAME TO {name}"))).execute(&mut connection);
        if named.await.is_err() {
            // Another run was faster.
            administer(&format!("DROP DATABASE {draft}")).await;
        }
    }
    connection.close().await.expect("closed");
    name
}

/// Runs a statement on the administrator's database. Copies of one template are made one at a time.
pub(crate) async fn administer(statement: &str) {
    let mut connection = PgConnection::connect(admin_url().as_str()).await.expect("the administrator's database opens");
    sqlx::query("SELECT pg_advisory_lock(7400)").execute(&mut connection).await.expect("the lock");
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
    connection.close().await.expect("closed");
}

/// Where a database of the tests' server is.
pub(crate) fn url_of(database: &str) -> SecretString {
    let mut url = admin_url();
    url.set_path(database);
    SecretString::from(url.to_string())
}

fn admin_url() -> Url {
    let text = std::env::var(SETTING).unwrap_or_else(|_| {
        panic!("set {SETTING} to the URL of a Postgres superuser's database; `make test` starts one and sets it")
    });
    text.parse().expect("a URL")
}
