//! What is to be started.
//!
//! Invariant: starting returns when everything is ready, and every port, folder and database is this deployment's own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use super::{Deployment, Folder, Secrets, Service, free_address, wires::Wires};
use crate::{
    authority::Authority, balancer::Balancer, front::Front, http::Http, postgres::Database, redis::Redis, relay::Relay,
    spans::SpanReceiver,
};

/// The draft of a [`Deployment`].
#[derive(Debug)]
pub struct Plan {
    /// None: `tollgate dev`.
    data_planes: Option<usize>,
    second_control_plane: bool,
    redis: Stores,
    embedded_postgres: bool,
    database_alone: bool,
    database_on_a_wire: bool,
    data_planes_on_wires: bool,
    front: Option<Front>,
    balancer: Option<Balancer>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// Where sessions and counters are kept; in none, the process keeps them.
#[derive(Debug, Clone, Copy)]
enum Stores {
    None,
    One,
    Cluster,
    Replicated,
    ReplicatedCluster,
}

impl Plan {
    pub(super) fn dev() -> Self {
        Self {
            data_planes: None,
            second_control_plane: false,
            redis: Stores::None,
            embedded_postgres: false,
            database_alone: false,
            database_on_a_wire: false,
            data_planes_on_wires: false,
            front: None,
            balancer: None,
            // Tests share two cores: a Redis that waits for one of them is not away.
            environment: vec![("TOLLGATE_STORE_TIMEOUT".to_owned(), "10s".to_owned())],
            arguments: Vec::new(),
        }
    }

    pub(super) fn separate(data_planes: usize) -> Self {
        let plan = Self { data_planes: Some(data_planes), redis: Stores::One, ..Self::dev() };
        // Nor is a control plane away whose heartbeat waits for a core.
        plan.env("TOLLGATE_POLICY_LEASE", "60s")
    }

    /// Keeps sessions and counters in a Redis.
    #[must_use]
    pub fn with_redis(mut self) -> Self {
        self.redis = Stores::One;
        self
    }

    /// Keeps sessions and counters in a Redis Cluster of three nodes.
    #[must_use]
    pub fn on_redis_cluster(mut self) -> Self {
        self.redis = Stores::Cluster;
        self
    }

    /// Gives the Redis a replica that can take over.
    #[must_use]
    pub fn on_replicated_redis(mut self) -> Self {
        self.redis = Stores::Replicated;
        self
    }

    /// Keeps sessions and counters in a Redis Cluster of three nodes, each with a replica that can take over.
    #[must_use]
    pub fn on_replicated_redis_cluster(mut self) -> Self {
        self.redis = Stores::ReplicatedCluster;
        self
    }

    /// Runs a second control plane on the same database; every other data plane follows that one.
    #[must_use]
    pub fn with_second_control_plane(mut self) -> Self {
        self.second_control_plane = true;
        self
    }

    /// Lets `dev` run a Postgres of its own.
    #[must_use]
    pub fn embedded_postgres(mut self) -> Self {
        self.embedded_postgres = true;
        self
    }

    /// Runs a Postgres for this deployment alone, which keeps what it has committed when it is killed.
    #[must_use]
    pub fn with_own_postgres(mut self) -> Self {
        self.database_alone = true;
        self
    }

    /// Lets the story take Postgres away and give it back.
    #[must_use]
    pub fn with_losable_database(mut self) -> Self {
        self.database_on_a_wire = true;
        self
    }

    /// Lets the story cut each data plane off from its control plane, and from Redis.
    #[must_use]
    pub fn with_wires(mut self) -> Self {
        self.data_planes_on_wires = true;
        self
    }

    /// Puts a proxy in front of the control plane, which has separate processes then.
    #[must_use]
    pub fn behind(mut self, front: &Front) -> Self {
        self.front = Some(front.clone());
        self
    }

    /// Puts a load balancer before the data planes, which have separate processes then; its URL is theirs.
    #[must_use]
    pub fn balanced_by(mut self, balancer: &Balancer) -> Self {
        self.balancer = Some(balancer.clone());
        self
    }

    /// Trusts the certificates of an authority, and no others.
    #[must_use]
    pub fn trusting(self, authority: &Authority) -> Self {
        self.env("SSL_CERT_FILE", &authority.certificate().display().to_string())
    }

    /// Sets a variable for every process.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument to `dev`, or to every data plane.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Exports spans, at once, to a receiver of the test.
    #[must_use]
    pub fn spans_to(self, receiver: &SpanReceiver) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
    }

    /// Starts it and waits until everything answers.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(self) -> Deployment {
        let database = match (self.embedded_postgres, self.database_alone) {
            (true, _) => None,
            (false, true) => Some(Database::alone().await),
            (false, false) => Some(Database::create().await),
        };
        let database_wire = match &database {
            Some(database) if self.database_on_a_wire => Some(Relay::to(database.address().await)),
            _ => None,
        };
        let database_url = database.as_ref().map(|database| database.url_through(database_wire.as_ref()));
        let redis = match self.redis {
            Stores::None => None,
            Stores::One => Some(Redis::start().await),
            Stores::Cluster => Some(Redis::cluster().await),
            Stores::Replicated => Some(Redis::replicated().await),
            Stores::ReplicatedCluster => Some(Redis::replicated_cluster().await),
        };
        let folder = Folder::create();
        let (mut services, control_url, data_url) = match self.data_planes {
            None => self.dev_service(&folder, database_url, redis.as_ref()),
            Some(count) => self.separate_services(count, &folder, database_url, redis.as_ref()),
        };
        let wires = if self.data_planes_on_wires { Wires::lay(&mut services) } else { Wires::default() };
        for service in &mut services {
            service.start().await;
        }
        let admin_token = std::fs::read_to_string(folder.0.join("admin-token")).expect("the first start writes it");
        let deployment = Deployment {
            services,
            control_url,
            data_url,
            admin_token: admin_token.trim().to_owned(),
            folder,
            secrets: Secrets::default(),
            tolerated: Vec::new().into(),
            http: Http::default(),
            _balancer: self.balancer,
            database_wire,
            wires,
            redis,
            database,
        };
        deployment.remember_secret(deployment.admin_token());
        deployment.policy_in_force().await;
        deployment
    }

    fn dev_service(
        &self,
        folder: &Folder,
        database_url: Option<String>,
        redis: Option<&Redis>,
    ) -> (Vec<Service>, String, String) {
        let (control_url, control) = free_address();
        let (_, grpc) = free_address();
        let (data_url, data) = free_address();
        let (ops_url, ops) = free_address();
        let folder = folder.0.display().to_string();
        let mut arguments: Vec<String> =
            ["dev", "--data-dir", &folder, "--control-addr", &control, "--grpc-addr", &grpc]
                .into_iter()
                .chain(["--data-addr", &data, "--ops-addr", &ops])
                .map(str::to_owned)
                .collect();
        arguments.extend(database_url.into_iter().flat_map(|url| ["--database-url".to_owned(), url]));
        arguments.extend(redis.into_iter().flat_map(|redis| ["--redis-url".to_owned(), redis.url()]));
        arguments.extend(self.arguments.clone());
        let service = Service {
            name: "tollgate dev".to_owned(),
            arguments,
            environment: self.environment.clone(),
            ops_url,
            mcp_url: Some(data_url.clone()),
            process: None,
            log: String::new(),
        };
        (vec![service], control_url, data_url)
    }

    fn separate_services(
        &self,
        data_planes: usize,
        folder: &Folder,
        database_url: Option<String>,
        redis: Option<&Redis>,
    ) -> (Vec<Service>, String, String) {
        let (grpc_url, grpc) = free_grpc_address();
        let (ops_url, control) = free_address();
        let control_url = self.front.as_ref().map_or(&ops_url, |front| &front.url).clone();
        if let Some(front) = &self.front {
            front.forward_to(&ops_url);
        }
        let planes: Vec<_> = (0..data_planes).map(|_| free_address()).collect();
        let data_url = self.public_data_url(planes.iter().map(|(url, _)| url.clone()).collect());
        let mut shared = self.environment.clone();
        shared.extend(
            [
                ("TOLLGATE_ENROLLMENT_TOKEN", format!("tge_{}", Uuid::new_v4().simple())),
                ("TOLLGATE_PUBLIC_CONTROL_URL", control_url.clone()),
                ("TOLLGATE_PUBLIC_DATA_URL", data_url.clone()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let master_key = folder.0.join("master-key");
        let key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        std::fs::write(&master_key, STANDARD.encode(key)).expect("the folder is writable");
        let (ops_url, ops) = free_address();
        let control_plane = Service {
            name: "tollgate control-plane".to_owned(),
            arguments: vec!["control-plane".to_owned()],
            environment: with(
                &shared,
                [
                    ("TOLLGATE_CONTROL_ADDR", control),
                    ("TOLLGATE_CONTROL_OPS_ADDR", ops),
                    ("TOLLGATE_GRPC_ADDR", grpc),
                    ("TOLLGATE_DATABASE_URL", database_url.unwrap_or_default()),
                    ("TOLLGATE_MASTER_KEY_FILE", master_key.display().to_string()),
                    ("TOLLGATE_ADMIN_TOKEN_FILE", folder.0.join("admin-token").display().to_string()),
                ],
            ),
            ops_url,
            mcp_url: None,
            process: None,
            log: String::new(),
        };
        let mut grpc_urls = vec![grpc_url];
        let mut services = vec![control_plane];
        if self.second_control_plane {
            let (second, grpc_url) = another(&services[0]);
            services.push(second);
            grpc_urls.push(grpc_url);
        }
        for (index, (mcp_url, data)) in planes.into_iter().enumerate() {
            let (ops_url, ops) = free_address();
            let data_dir = folder.0.join(format!("data-plane-{index}")).display().to_string();
            services.push(Service {
                name: format!("tollgate data-plane {index}"),
                arguments: [vec!["data-plane".to_owned()], self.arguments.clone()].concat(),
                environment: with(
                    &shared,
                    [
                        ("TOLLGATE_DATA_ADDR", data),
                        ("TOLLGATE_OPS_ADDR", ops),
                        ("TOLLGATE_CONTROL_URL", grpc_urls[index % grpc_urls.len()].clone()),
                        ("TOLLGATE_REDIS_URL", redis.map(Redis::url).unwrap_or_default()),
                        ("TOLLGATE_STATE_DIR", data_dir),
                    ],
                ),
                ops_url,
                mcp_url: Some(mcp_url),
                process: None,
                log: String::new(),
            });
        }
        (services, control_url, data_url)
    }

    /// The load balancer's, or else the first data plane's own.
    fn public_data_url(&self, planes: Vec<String>) -> String {
        match &self.balancer {
            Some(balancer) => {
                balancer.lead_to(planes);
                balancer.url().to_owned()
            }
            None => planes.into_iter().next().expect("a deployment has a data plane"),
        }
    }
}

/// A control plane beside `first`, and its gRPC address. People and agents know both by the first one's URL.
fn another(first: &Service) -> (Service, String) {
    let (_, control) = free_address();
    let (grpc_url, grpc) = free_grpc_address();
    let (ops_url, ops) = free_address();
    let own = [("TOLLGATE_CONTROL_ADDR", control), ("TOLLGATE_CONTROL_OPS_ADDR", ops), ("TOLLGATE_GRPC_ADDR", grpc)];
    let second = Service {
        name: "tollgate control-plane 1".to_owned(),
        arguments: first.arguments.clone(),
        environment: with(&first.environment, own),
        ops_url,
        mcp_url: None,
        process: None,
        log: String::new(),
    };
    (second, grpc_url)
}

/// Data planes speak TLS to control planes.
fn free_grpc_address() -> (String, String) {
    let (_, address) = free_address();
    (format!("https://{address}"), address)
}

fn with<const N: usize>(shared: &[(String, String)], more: [(&str, String); N]) -> Vec<(String, String)> {
    shared.iter().cloned().chain(more.map(|(name, value)| (name.to_owned(), value))).collect()
}
