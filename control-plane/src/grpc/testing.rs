//! For tests: a control plane's gRPC side on a real socket, over a database that the test can also touch by hand.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tollgate_proto::TenantId;
use tonic::{Request, transport::Channel};

use crate::{
    app::App,
    db::Db,
    policy,
    seal::MasterKey,
    testing::{ENROLLMENT_TOKEN, administer, app, run_empty},
};

/// Runs `test` on a migrated database of its own, without a tenant.
pub(crate) async fn run(test: impl AsyncFnOnce(&Database)) {
    run_empty(async |url| {
        Db::open(&url).await.expect("the migrations run").pool().close().await;
        test(&Database { url, master_key: MasterKey::generate().expect("a key") }).await;
    })
    .await;
}

/// The database, for what an operator does by hand and what only tests do.
pub(crate) struct Database {
    url: SecretString,
    /// Of every control plane on it.
    master_key: MasterKey,
}

impl Database {
    /// Runs statements as superuser.
    pub(crate) async fn run(&self, statements: impl Into<String>) {
        self.superuser().await.execute(AssertSqlSafe(statements.into())).await.unwrap();
    }

    /// A connection that sees every tenant's rows.
    pub(crate) async fn superuser(&self) -> PgConnection {
        PgConnection::connect(self.url.expose_secret()).await.unwrap()
    }

    /// Makes a tenant with nothing in it.
    pub(crate) async fn make_tenant(&self, name: &str) -> TenantId {
        let tenant = TenantId::new();
        let id = tenant.uuid();
        self.run(format!("INSERT INTO tenants (id, name, created_by) VALUES ('{id}', '{name}', 'system')")).await;
        tenant
    }

    /// Refuses connections and breaks those there are, or takes them again.
    pub(crate) async fn set_reachable(&self, reachable: bool) {
        let name = self.url.expose_secret().rsplit_once('/').unwrap().1;
        administer(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {reachable}")).await;
        if !reachable {
            let of_it = format!("FROM pg_stat_activity WHERE datname = '{name}'");
            administer(&format!("SELECT pg_terminate_backend(pid) {of_it}")).await;
        }
    }
}

/// The gRPC listener and the follower of one control plane.
pub(crate) struct ControlPlane {
    pub(crate) app: Arc<App>,
    addr: SocketAddr,
    stopping: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl ControlPlane {
    pub(crate) async fn start(database: &Database) -> Self {
        let app = Arc::new(app(Db::open(&database.url).await.unwrap(), database.master_key.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stopping = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(policy::follow_changes(Arc::clone(&app), stopping.clone())),
            tokio::spawn(super::serve(Arc::clone(&app), listener, stopping.clone())),
        ];
        Self { app, addr, stopping, tasks }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stopping.cancel();
    }

    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        let closed = timeout(Duration::from_secs(10), self.app.db.pool().close()).await;
        closed.expect("every connection was given back");
    }
}

/// A request that presents the enrollment token.
pub(crate) fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ENROLLMENT_TOKEN}").parse().unwrap());
    request
}
