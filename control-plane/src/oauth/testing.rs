//! Agents with secrets and grants on a control plane of their own, and token requests to it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tollgate_proto::{AgentId, CredentialId, GrantId, ServerId, TeamId, TenantId, ToolsetId};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::{
    app::{App, Urls},
    db::{Db, TenantTx},
    fetch::Fetcher,
    router,
    secret::{self, Purpose},
    testing::{self, Bench},
};

pub(super) mod approval;
mod signer;

pub(crate) use signer::Signer;

/// Where an agent shows its papers, and which.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) agent: AgentId,
    pub(super) id: String,
    pub(super) secret: String,
}

impl Client {
    /// As `Authorization` carries it.
    pub(super) fn basic(&self) -> String {
        basic(&self.id, &self.secret)
    }
}

/// The `Authorization` of any id and secret that need no encoding.
pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(super) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("header values are text"))
    }

    /// Status and `error`, for comparing both at once.
    pub(super) fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

/// A control plane without listeners, at `https://h` and `https://gw`.
pub(super) struct Bed {
    pub(super) app: Arc<App>,
    /// Tenant `acme`, with team `core`.
    pub(super) tenant: TenantId,
    team: TeamId,
    router: Router,
}

/// Runs `test` on a [`Bed`] of its own.
pub(super) async fn run(test: impl AsyncFnOnce(&Bed)) {
    testing::run(async |bench| test(&Bed::on(bench).await).await).await;
}

impl Bed {
    async fn on(bench: &Bench) -> Self {
        let app = another(&bench.app);
        let (tenant, team) = (bench.acme, TeamId::new());
        let mut tx = app.db.tenant(tenant).await.expect("a transaction");
        sqlx::query("INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, 'core', 'test')")
            .bind(tenant.uuid())
            .bind(team.uuid())
            .execute(&mut *tx)
            .await
            .expect("a team");
        tx.commit().await.expect("committed");
        Self { router: router::build(Arc::clone(&app)), app, tenant, team }
    }

    /// The same bed at this control plane.
    pub(super) fn at(&self, app: Arc<App>) -> Self {
        Self { router: router::build(Arc::clone(&app)), app, tenant: self.tenant, team: self.team }
    }

    /// A bed at another control plane on the same database, over connections of its own.
    pub(super) async fn beside_on_its_own_connections(&self) -> Self {
        let database: String =
            sqlx::query_scalar("SELECT current_database()::text").fetch_one(self.app.db.pool()).await.expect("a name");
        let db = Db::open(&testing::url_of(&database)).await.expect("the database opens");
        self.at(another(&testing::app(db, self.app.master_key.clone())))
    }

    /// A bed at a control plane on the same database that trusts these proxies.
    pub(super) fn behind(&self, proxies: &str) -> Self {
        let trusted_proxies = proxies.parse().expect("networks");
        self.with(|app| App { trusted_proxies, ..app })
    }

    /// A bed at a control plane on the same database that differs in something.
    pub(super) fn with(&self, change: impl FnOnce(App) -> App) -> Self {
        let app = testing::app(self.app.db.clone(), self.app.master_key.clone());
        self.at(Arc::new(change(App { urls: self.app.urls.clone(), ..app })))
    }

    /// Another control plane on the same database, with the same master key and nothing in memory.
    pub(super) fn second(&self) -> Arc<App> {
        another(&self.app)
    }

    /// Another control plane on the same database, which fetches what others name through `fetcher`.
    pub(super) fn fetching(&self, fetcher: Fetcher) -> Arc<App> {
        let app = testing::app(self.app.db.clone(), self.app.master_key.clone());
        Arc::new(App { urls: self.app.urls.clone(), fetcher, ..app })
    }

    pub(super) async fn tx(&self) -> TenantTx {
        self.app.db.tenant(self.tenant).await.expect("a transaction")
    }

    /// Runs one statement with one bound id.
    pub(super) async fn run(&self, sql: &'static str, id: Uuid) {
        let mut tx = self.tx().await;
        sqlx::query(sql).bind(id).execute(&mut *tx).await.expect(sql);
        tx.commit().await.expect("committed");
    }

    /// Makes another tenant.
    pub(super) async fn tenant(&self, name: &str) -> TenantId {
        let tenant = TenantId::new();
        let mut tx = self.app.db.platform().await.expect("a transaction");
        sqlx::query("INSERT INTO tenants (id, name, created_by) VALUES ($1, $2, 'test')")
            .bind(tenant.uuid())
            .bind(name)
            .execute(&mut *tx)
            .await
            .expect("a tenant");
        tx.commit().await.expect("committed");
        tenant
    }

    pub(super) async fn server(&self, name: &str) {
        let mut tx = self.tx().await;
        sqlx::query("INSERT INTO servers (tenant_id, id, name, created_by) VALUES ($1, $2, $3, 'test')")
            .bind(self.tenant.uuid())
            .bind(ServerId::new().uuid())
            .bind(name)
            .execute(&mut *tx)
            .await
            .expect("a server");
        tx.commit().await.expect("committed");
    }

    /// A toolset of these tools, `server:tool` each, of servers that are there.
    pub(super) async fn toolset(&self, name: &str, tools: &[&str]) {
        let id = ToolsetId::new().uuid();
        let mut tx = self.tx().await;
        sqlx::query("INSERT INTO toolsets (tenant_id, id, name, created_by) VALUES ($1, $2, $3, 'test')")
            .bind(self.tenant.uuid())
            .bind(id)
            .bind(name)
            .execute(&mut *tx)
            .await
            .expect("a toolset");
        sqlx::query(
            "INSERT INTO toolset_tools (tenant_id, toolset_id, position, server_id, tool, name)
             SELECT $1, $2, given.position, servers.id, split_part(given.tool, ':', 2), replace(given.tool, ':', '__')
             FROM unnest($3::text[]) WITH ORDINALITY AS given (tool, position)
             JOIN servers ON servers.name = split_part(given.tool, ':', 1)",
        )
        .bind(self.tenant.uuid())
        .bind(id)
        .bind(tools)
        .execute(&mut *tx)
        .await
        .expect("its tools");
        tx.commit().await.expect("committed");
    }

    /// An agent of team `core` with one secret and a grant of `scopes`, if any.
    pub(super) async fn agent(&self, name: &str, scopes: &[&str]) -> Client {
        let agent = AgentId::new();
        let mut tx = self.tx().await;
        sqlx::query("INSERT INTO agents (tenant_id, id, name, team_id, created_by) VALUES ($1, $2, $3, $4, 'test')")
            .bind(self.tenant.uuid())
            .bind(agent.uuid())
            .bind(name)
            .bind(self.team.uuid())
            .execute(&mut *tx)
            .await
            .expect("an agent");
        tx.commit().await.expect("committed");
        if !scopes.is_empty() {
            self.grant(Some(agent), scopes, false).await;
        }
        self.credential(agent).await
    }

    /// Another secret of an agent.
    pub(super) async fn credential(&self, agent: AgentId) -> Client {
        let made = secret::generate(Purpose::Client);
        let mut tx = self.tx().await;
        sqlx::query(
            "INSERT INTO agent_credentials (tenant_id, id, agent_id, digest, created_by) VALUES ($1, $2, $3, $4, 'test')",
        )
        .bind(self.tenant.uuid())
        .bind(CredentialId::new().uuid())
        .bind(agent.uuid())
        .bind(made.digest.as_bytes())
        .execute(&mut *tx)
        .await
        .expect("a credential");
        tx.commit().await.expect("committed");
        Client { agent, id: agent.to_string(), secret: made.text.to_string() }
    }

    /// A grant to an agent, or to team `core`.
    pub(super) async fn grant(&self, agent: Option<AgentId>, scopes: &[&str], deny: bool) -> GrantId {
        let id = GrantId::new();
        let mut tx = self.tx().await;
        sqlx::query(
            "INSERT INTO grants (tenant_id, id, name, agent_id, team_id, scopes, deny, created_by)
             VALUES ($1, $2, $2::text, $3, $4, $5, $6, 'test')",
        )
        .bind(self.tenant.uuid())
        .bind(id.uuid())
        .bind(agent.map(AgentId::uuid))
        .bind(agent.is_none().then(|| self.team.uuid()))
        .bind(scopes)
        .bind(deny)
        .execute(&mut *tx)
        .await
        .expect("a grant");
        tx.commit().await.expect("committed");
        id
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// A token request with this body and `Authorization`, from this address.
    pub(super) async fn token_from(&self, peer: &str, authorization: Option<&str>, body: &str) -> Answer {
        self.post_from(peer, "token", authorization, body).await
    }

    /// A form for an endpoint, with this `Authorization`, from this address.
    pub(super) async fn post_from(
        &self,
        peer: &str,
        endpoint: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Answer {
        let mut request = Request::post(format!("/t/acme/oauth/{endpoint}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .extension(ConnectInfo(SocketAddr::new(peer.parse().expect("an address"), 4000)));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    /// A token request that came to us from `peer`, as that says on behalf of others.
    pub(super) async fn token_through(&self, peer: &str, forwarded_for: &str, authorization: &str) -> Answer {
        let request = Request::post("/t/acme/oauth/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, authorization)
            .header("x-forwarded-for", forwarded_for)
            .extension(ConnectInfo(SocketAddr::new(peer.parse().expect("an address"), 4000)));
        self.send(request.body(Body::from("grant_type=client_credentials")).expect("a request")).await
    }

    /// A form to an endpoint below `oauth/`, with this `Authorization`.
    pub(super) async fn post(&self, endpoint: &str, authorization: Option<&str>, body: &str) -> Answer {
        let mut request = Request::post(format!("/t/acme/oauth/{endpoint}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    /// A token request of `client` by Basic; `more` is added to the grant type.
    pub(super) async fn token(&self, client: &Client, more: &str) -> Answer {
        self.token_from("192.0.2.1", Some(&client.basic()), &format!("grant_type=client_credentials{more}")).await
    }
}

fn another(app: &App) -> Arc<App> {
    let urls = Urls { control: "https://h".to_owned(), data: "https://gw".to_owned() };
    Arc::new(App { urls, ..testing::app(app.db.clone(), app.master_key.clone()) })
}
