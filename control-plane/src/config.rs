//! What a control plane is told at its start.
//!
//! Invariant: a [`Config`] is complete and valid; where its values come from (flags, environment, file) is the
//! binary's business.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use tollgate_proto::TrustedProxies;
use url::Url;

use crate::seal::MasterKey;

/// How long a policy is current without another heartbeat, unless told.
pub const POLICY_LEASE: Duration = Duration::from_secs(10);

/// Settings of one control-plane process.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://…`; the role it names owns the schema and runs the migrations.
    pub database_url: SecretString,
    /// Where REST, OAuth and the console listen.
    pub http_addr: SocketAddr,
    /// Where data planes connect.
    pub grpc_addr: SocketAddr,
    /// Where health and metrics answer; nowhere when absent.
    pub ops_addr: Option<SocketAddr>,
    /// Base URL under which people and agents reach the HTTP listener; `http://{http_addr}` when absent.
    pub public_url: Option<Url>,
    /// Base URL under which agents reach the data planes.
    pub public_data_url: Url,
    /// Seals what must not be read from the database.
    pub master_key: MasterKey,
    /// How data planes join.
    pub enrolment: Enrolment,
    /// How long a data plane may take its policy for current without another heartbeat.
    pub policy_lease: Duration,
    /// Proxies in front of the HTTP listener, whose word on where a request is from is taken.
    pub trusted_proxies: TrustedProxies,
    /// Where the first start writes the administrator's token (mode 0600).
    pub admin_token_file: Option<PathBuf>,
}

/// How data planes join.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// A token that any number of data planes may join with for as long as it is set, beside those that were made for
    /// one or some.
    pub shared_token: Option<SecretString>,
    /// How long a data plane's certificate is good. It renews it when two thirds have passed.
    pub certificate_life: Duration,
}
