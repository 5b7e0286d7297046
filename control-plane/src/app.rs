//! A running control plane: what every handler shares, and the listeners.
//!
//! Invariant: everything shared is built once, here; nothing else reads settings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::OnceCell};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::TrustedProxies;
use url::Url;

use crate::{
    access_checks,
    authority::{self, Authority, AuthorityError},
    bootstrap, catalog,
    config::{Config, Enrolment, POLICY_LEASE},
    db::{Db, OpenError},
    fetch::Fetcher,
    grpc, identity_providers, jobs, listener, oauth, ops, policy, price_books, router,
    seal::MasterKey,
    telemetry::Metrics,
    users, webhooks,
};

/// How long the body of a request may take, unless told.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What handlers and jobs share.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub db: Db,
    /// Seals and opens what must not be read from the database.
    pub master_key: MasterKey,
    /// Where people, agents and data planes find Tollgate.
    pub urls: Urls,
    /// How data planes join.
    pub enrolment: Enrolment,
    /// What certifies both planes to each other: [`authority::of`].
    pub(crate) authority: OnceCell<Authority>,
    /// Proxies that say for whom they speak.
    pub trusted_proxies: TrustedProxies,
    /// How long a data plane may take its policy for current without another heartbeat.
    pub policy_lease: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// Wakes the policy streams when a tenant's policy changed.
    pub policy_changes: policy::Changes,
    /// Keys that sign tokens, in the clear.
    pub signing_keys: oauth::KeyRing,
    /// Tenants that the authorization server was asked for.
    pub issuers: oauth::Issuers,
    /// Who shows wrong client secrets.
    pub token_failures: oauth::Failures,
    /// Bounds how many people sign in at a time, and how often one may fail.
    pub sign_ins: users::SignIns,
    /// Refused OAuth requests on their way into the audit log.
    pub oauth_trail: oauth::Trail,
    /// What data planes report of servers' offers, on its way into the catalog.
    pub catalog_reports: catalog::Reports,
    /// What Prometheus reads.
    pub metrics: Metrics,
    /// Asks hosts that others name.
    pub fetcher: Fetcher,
    /// Metadata documents of clients that are being fetched.
    pub client_documents: oauth::ClientDocuments,
    /// What was read from the identity providers of tenants.
    pub identity_providers: identity_providers::Discovered,
    /// Who asks about tokens that are none.
    pub introspection_misses: oauth::Misses,
    /// Public keys of clients that keep them at a URL.
    pub client_keys: oauth::ClientKeys,
    /// Keys that verify tokens which are shown to the authorization server itself.
    pub verifiers: oauth::Verifiers,
    /// How fast agents that register themselves come and go.
    pub registration_pace: oauth::RegistrationPace,
    /// How tenants let agents register themselves, as their metadata says it.
    pub registration_policies: oauth::Policies,
    /// What calls cost, for the intake of usage.
    pub price_shelf: price_books::Shelf,
    /// What policies say of access, for who asks without trying.
    pub access_books: access_checks::Books,
}

impl App {
    /// With nothing going on yet.
    #[must_use]
    pub fn new(db: Db, master_key: MasterKey, urls: Urls, enrolment: Enrolment) -> Self {
        Self {
            db,
            master_key,
            urls,
            enrolment,
            authority: OnceCell::new(),
            trusted_proxies: TrustedProxies::default(),
            policy_lease: POLICY_LEASE,
            body_timeout: BODY_TIMEOUT,
            policy_changes: policy::Changes::new(),
            signing_keys: oauth::KeyRing::default(),
            issuers: oauth::Issuers::default(),
            token_failures: oauth::Failures::default(),
            sign_ins: users::SignIns::new(),
            oauth_trail: oauth::Trail::new(),
            catalog_reports: catalog::Reports::new(),
            metrics: Metrics::new(),
            fetcher: Fetcher::new(),
            client_documents: oauth::ClientDocuments::default(),
            identity_providers: identity_providers::Discovered::default(),
            introspection_misses: oauth::Misses::default(),
            client_keys: oauth::ClientKeys::default(),
            verifiers: oauth::Verifiers::default(),
            registration_pace: oauth::RegistrationPace::default(),
            registration_policies: oauth::Policies::default(),
            price_shelf: price_books::Shelf::default(),
            access_books: access_checks::Books::default(),
        }
    }
}

/// Public base URLs, without a trailing slash. Never derived from a request's `Host`.
#[derive(Debug, Clone)]
pub struct Urls {
    /// Of the control plane.
    pub control: String,
    /// Of the data planes.
    pub data: String,
}

impl Urls {
    /// Issuer of a tenant's tokens (RFC 8414 section 2).
    #[must_use]
    pub fn issuer(&self, tenant: &str) -> String {
        format!("{}/t/{tenant}", self.control)
    }

    /// A tenant's federated endpoint: the default `resource` of a token request.
    #[must_use]
    pub fn federated(&self, tenant: &str) -> String {
        format!("{}/t/{tenant}/mcp", self.data)
    }

    /// The endpoint of one server.
    #[must_use]
    pub fn server(&self, tenant: &str, server: &str) -> String {
        format!("{}/t/{tenant}/mcp/{server}", self.data)
    }

    /// The endpoint of one toolset.
    #[must_use]
    pub fn toolset(&self, tenant: &str, toolset: &str) -> String {
        format!("{}/t/{tenant}/toolsets/{toolset}", self.data)
    }
}

/// Why a control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// An address is taken or not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The first start could not make what every installation has.
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
    /// Data planes could not be certified.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// A control plane that serves until it is stopped.
#[derive(Debug)]
pub struct ControlPlane {
    app: Arc<App>,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    ops_addr: Option<SocketAddr>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Opens the database, makes on an empty one what every installation has, and serves.
///
/// # Errors
/// When the database or an address cannot be had.
pub async fn start(config: Config) -> Result<ControlPlane, StartError> {
    let db = Db::open(&config.database_url).await?;
    let (http, http_addr) = listen(config.http_addr).await?;
    let (grpc, grpc_addr) = listen(config.grpc_addr).await?;
    let ops = match config.ops_addr {
        Some(addr) => Some(listen(addr).await?),
        None => None,
    };
    let ops_addr = ops.as_ref().map(|(_, addr)| *addr);
    let control = config.public_url.as_ref().map_or_else(|| format!("http://{http_addr}"), base);
    warn_of_plain_http(http_addr, &control);
    let stopping = CancellationToken::new();
    let tasks = TaskTracker::new();
    let urls = Urls { control, data: base(&config.public_data_url) };
    let app = App::new(db, config.master_key, urls, config.enrolment);
    let (trusted_proxies, policy_lease) = (config.trusted_proxies, config.policy_lease);
    let app = Arc::new(App { trusted_proxies, policy_lease, ..app });
    bootstrap::run(&app, config.admin_token_file.as_deref()).await?;
    let certificates = grpc::Certificates::new(authority::of(&app).await?)?;

    tasks.spawn(policy::follow_changes(Arc::clone(&app), stopping.clone()));
    tasks.spawn(policy::follow_spending(Arc::clone(&app), stopping.clone()));
    tasks.spawn(jobs::follow(Arc::clone(&app), stopping.clone()));
    tasks.spawn(catalog::Reports::keep(Arc::clone(&app), stopping.clone()));
    tasks.spawn(catalog::follow(Arc::clone(&app), stopping.clone()));
    tasks.spawn(webhooks::follow(Arc::clone(&app), stopping.clone()));
    tasks.spawn(oauth::Trail::keep(Arc::clone(&app), stopping.clone()));
    tasks.spawn(grpc::serve(Arc::clone(&app), grpc, certificates, stopping.clone()));
    tasks.spawn(listener::serve(http, router::build(Arc::clone(&app)), stopping.clone()));
    if let Some((listener, _)) = ops {
        tasks.spawn(listener::serve(listener, ops::routes(Arc::clone(&app)), stopping.clone()));
    }
    tasks.close();
    Ok(ControlPlane { app, http_addr, grpc_addr, ops_addr, stopping, tasks })
}

impl ControlPlane {
    /// What its handlers share.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where REST, OAuth and the console answer.
    #[must_use]
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where data planes connect.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where health and metrics answer, if anywhere.
    #[must_use]
    pub const fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_addr
    }

    /// Ends streams, finishes requests and closes the pool.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
        self.app.db.pool().close().await;
    }
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Secrets and tokens travel as they are where neither the listener is this machine's own nor the public URL is https.
fn warn_of_plain_http(listening: SocketAddr, public: &str) {
    if !listening.ip().to_canonical().is_loopback() && !public.starts_with("https:") {
        tracing::warn!(
            %listening, public,
            "secrets and tokens travel in the clear: put a proxy that speaks TLS in front, and give its https URL"
        );
    }
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
