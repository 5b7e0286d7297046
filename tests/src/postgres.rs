//! A database of one's own on the cluster that the test run was given, or on a server of its own (`instance.rs`).
//!
//! Invariant: a [`Database`] is empty when it is made, and dropped with whoever made it.

mod instance;

use std::net::{Ipv4Addr, SocketAddr};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::net::lookup_host;
use url::Url;
use uuid::Uuid;

use self::instance::Instance;
use crate::relay::Relay;

/// Names the variable with the URL of a superuser on a running Postgres.
const CLUSTER: &str = "TOLLGATE_TEST_DATABASE_URL";

/// An empty database.
#[derive(Debug)]
pub struct Database {
    cluster: Url,
    name: String,
    instance: Option<Instance>,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// When no cluster was named, or it is away.
    pub async fn create() -> Self {
        let cluster = std::env::var(CLUSTER)
            .unwrap_or_else(|_| panic!("{CLUSTER} is not set: run `make test`, or name a Postgres superuser's URL"));
        let cluster = Url::parse(&cluster).unwrap_or_else(|error| panic!("{CLUSTER} is no URL: {error}"));
        Self::on(cluster, None).await
    }

    /// Makes one on a server of its own.
    ///
    /// # Panics
    /// When Postgres is not installed.
    pub(crate) async fn alone() -> Self {
        let instance = Instance::start().await;
        Self::on(instance.url(), Some(instance)).await
    }

    async fn on(cluster: Url, instance: Option<Instance>) -> Self {
        let name = format!("story_{}", Uuid::new_v4().simple());
        execute(&cluster, format!("CREATE DATABASE {name}")).await.expect("the cluster makes databases");
        Self { cluster, name, instance }
    }

    /// `kill -9` of its own server.
    pub(crate) fn crash(&mut self) {
        self.instance.as_mut().expect("it has a server of its own").crash();
    }

    /// Starts its own server again, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.instance.as_mut().expect("it has a server of its own").restart().await;
    }

    /// How to connect to it.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.cluster.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// How to connect to it through a wire, where there is one.
    pub(crate) fn url_through(&self, wire: Option<&Relay>) -> String {
        let mut url = Url::parse(&self.url()).expect("a database has a URL");
        if let Some(wire) = wire {
            url.set_ip_host(Ipv4Addr::LOCALHOST.into()).expect("a Postgres URL has a host");
            url.set_port(Some(wire.port())).expect("a Postgres URL has a port");
        }
        url.into()
    }

    /// Where its cluster listens.
    pub(crate) async fn address(&self) -> SocketAddr {
        let host = self.cluster.host_str().expect("the cluster has a host");
        let mut found =
            lookup_host((host, self.cluster.port().unwrap_or(5432))).await.expect("the cluster's host exists");
        found.next().expect("a host has an address")
    }

    /// Runs a statement as the superuser and returns the first column of every row, as text.
    pub(crate) async fn query(&self, statement: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.url()).await.expect("the cluster takes connections");
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
        rows.iter().map(|row| row.try_get_unchecked::<String, _>(0).expect("the first column is text")).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.instance.is_some() {
            return;
        }
        let (cluster, statement) = (self.cluster.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        // `drop` cannot wait for a future, and may itself run inside a runtime: hence a thread with its own.
        let dropping = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map(|runtime| runtime.block_on(execute(&cluster, statement)))
        });
        if !matches!(dropping.join(), Ok(Ok(Ok(())))) {
            eprintln!("the database {} was left behind", self.name);
        }
    }
}

async fn execute(cluster: &Url, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(cluster.as_str()).await?;
    // The only variable part is a name that this module made.
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}
