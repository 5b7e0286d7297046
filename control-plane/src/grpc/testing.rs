//! For tests: a control plane's gRPC side on a real socket, over a database that the test can also touch by hand.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::Utc;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
    version::TLS13,
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{DataPlaneId, TenantId, enrollment::CONTROL_PLANE_NAME};
use tonic::transport::Channel;

use super::Certificates;
use crate::{
    app::App,
    authority::{self, SigningRequest},
    db::Db,
    policy,
    seal::MasterKey,
    testing::{administer, app, run_empty},
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

    /// Makes compiling the tenant, which has a limit, wait until the connection that is answered is closed.
    pub(crate) async fn hold_up_compiling(&self, tenant: TenantId) -> PgConnection {
        let id = tenant.uuid();
        self.run(format!(
            "CREATE FUNCTION held_up(tenant uuid) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN IF tenant = '{id}' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN true; END $$;
             CREATE POLICY held_up ON limits AS RESTRICTIVE USING (held_up(tenant_id))"
        ))
        .await;
        let mut holding = self.superuser().await;
        holding.execute("SELECT pg_advisory_lock(1)").await.unwrap();
        holding
    }

    /// Waits until somebody waits for a lock; answers how many do.
    pub(crate) async fn waiting(&self) -> i64 {
        let mut connection = self.superuser().await;
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let until = timeout(Duration::from_secs(10), async {
            loop {
                let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut connection).await.unwrap();
                if count > 0 {
                    return count;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        until.await.expect("somebody waits")
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
        let certificates = Certificates::new(authority::of(&app).await.unwrap()).unwrap();
        let stopping = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(policy::follow_changes(Arc::clone(&app), stopping.clone())),
            tokio::spawn(policy::follow_spending(Arc::clone(&app), stopping.clone())),
            tokio::spawn(super::serve(Arc::clone(&app), listener, certificates, stopping.clone())),
        ];
        Self { app, addr, stopping, tasks }
    }

    /// The data planes that follow it.
    pub(crate) fn connected(&self) -> &policy::Connected {
        self.app.policy_changes.connected()
    }

    /// A connection of a data plane whose certificate is good for an hour.
    pub(crate) async fn channel(&self, data_plane: DataPlaneId) -> Channel {
        let (key, request) = signing_request();
        self.channel_with(Some((self.certify(data_plane, &request, 3_600).await, key))).await.unwrap()
    }

    /// A connection without a certificate.
    pub(crate) async fn stranger(&self) -> Channel {
        self.channel_with(None).await.unwrap()
    }

    /// What the authority says to a signing request, without anybody's being enrolled.
    pub(crate) async fn certify(&self, data_plane: DataPlaneId, request: &[u8], life_s: u64) -> Vec<u8> {
        let request = SigningRequest::read(request).unwrap();
        let authority = authority::of(&self.app).await.unwrap();
        let life = Duration::from_secs(life_s);
        authority.certify(data_plane, &request, Utc::now(), life).unwrap().certificate
    }

    /// A connection with a certificate and its key, both in DER, or with none.
    pub(crate) async fn channel_with(
        &self,
        own: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Channel, tonic::transport::Error> {
        let roots = authority::of(&self.app).await.unwrap().roots().unwrap();
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let tls = match own {
            Some((certificate, key)) => tls
                .with_client_auth_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(key.into()))
                .expect("a certificate and its key"),
            None => tls.with_no_client_auth(),
        };
        let name = ServerName::try_from(CONTROL_PLANE_NAME).unwrap();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http2()
            .build();
        let endpoint = Channel::from_shared(format!("https://{}", self.addr)).unwrap();
        endpoint.connect_with_connector(connector).await
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

/// A new key (PKCS #8) and a request to certify it, both in DER.
pub(crate) fn signing_request() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    (key.serialize_der(), request.der().to_vec())
}
