//! `tollgate dev`: everything on this machine, in one process and one directory.
//!
//! Started in the order in which each needs the one before: Postgres, control plane, demo server, data plane; then
//! what a newcomer needs is put in over the REST API, as anyone could. Stopped in the opposite order.
//!
//! Invariant: a stop leaves nothing running and nothing half written; a start after it finds everything again.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tollgate_control_plane::{Config, ControlPlane, Enrolment, POLICY_LEASE, authority};
use tollgate_data_plane::metering::TokenCount;
use tollgate_proto::{EnrollmentToken, TrustedProxies};
use url::Url;

use crate::{
    api_client::ApiClient,
    apply,
    convergence::{self, Presence},
    data_plane::{self, DataPlane},
    demo_server::DemoServer,
    failure::{Exit, Failure, OrFail as _},
    logging,
    postgres::EmbeddedPostgres,
    settings, shutdown,
    sign_in_link::{self, ADMINISTRATOR},
    terminal,
};

mod data_dir;
mod first_run;
mod welcome;

use data_dir::DataDir;
use first_run::Demo;

const TENANT: &str = "default";
const DEFAULT_DATA_DIR: &str = ".tollgate";
const DEFAULT_CONTROL_URL: &str = "http://127.0.0.1:7400";
/// After a longer sleep the data plane is enrolled anew, which it does by itself.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3_600);
const POLICY_TIMEOUT: Duration = Duration::from_secs(20);
/// Someone at a terminal waits for this, not a load balancer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  tollgate dev
  tollgate dev --apply team.yaml
  tollgate dev --data-dir /tmp/try --data-addr 127.0.0.1:9402 --no-demo

Everything is kept in the data directory: the database, the keys, the administrator's token (admin-token) and the
demo agent's credential (demo.json). Ctrl-C stops in order, a second Ctrl-C at once; the next start goes on.";

/// Run both planes, a database and a demo server on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// Where REST, console and OAuth listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    control_addr: SocketAddr,
    /// Where the control plane speaks to data planes
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    grpc_addr: SocketAddr,
    /// Where agents connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7402")]
    data_addr: SocketAddr,
    /// Where /healthz, /readyz and /metrics of the data plane listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7403")]
    ops_addr: SocketAddr,
    /// Postgres to use [without: a private one in the data directory]
    #[arg(long, value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Redis to use; several for Redis Cluster [without: sessions and counters in this process]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    redis_url: Vec<String>,
    /// How long Redis may take before a call is refused
    #[arg(long, value_name = "DURATION", env = "TOLLGATE_STORE_TIMEOUT", default_value = "50ms", value_parser = settings::duration)]
    store_timeout: Duration,
    /// How long a server may take to begin its answer
    #[arg(long, value_name = "DURATION", env = "TOLLGATE_UPSTREAM_TIMEOUT", default_value = "30s", value_parser = settings::duration)]
    upstream_timeout: Duration,
    /// How tokens are counted: exact, estimate or off
    #[arg(long, value_name = "HOW", env = "TOLLGATE_TOKEN_COUNT", default_value = TokenCount::DEFAULT.as_str())]
    token_count: TokenCount,
    /// File to apply at the start, as `tollgate apply` does
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
    /// Leave out the demo server and its agent
    #[arg(long)]
    no_demo: bool,
    /// What to log: error, warn, info, debug, trace, or directives as in RUST_LOG, which wins
    #[arg(long, value_name = "FILTER", default_value = "warn,rmcp=error")]
    log: String,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    logging::start(&args.log, logging::Format::Text)?;
    let objects = args.apply.as_deref().map(apply::read_file).transpose()?;
    let addresses = Addresses::check(&args)?;
    let dir = DataDir::open(&args.data_dir)?;
    let mut stack = Stack::default();
    // A signal during the start stops what has been started so far.
    let started = tokio::select! {
        started = start(&args, &addresses, &dir, &mut stack, objects.as_deref()) => started,
        () = shutdown::requested() => Ok(()),
    };
    if started.is_ok() && stack.is_ready {
        shutdown::requested().await;
        eprintln!("\nstopping (Ctrl-C again hurries)");
    }
    stack.stop().await;
    started
}

/// What runs; each part is there from its start to its stop.
#[derive(Debug, Default)]
struct Stack {
    postgres: Option<EmbeddedPostgres>,
    control: Option<ControlPlane>,
    demo: Option<DemoServer>,
    data: Option<DataPlane>,
    is_ready: bool,
}

impl Stack {
    /// Stops in order, each part when nobody needs it any more; a signal meanwhile hurries.
    async fn stop(mut self) {
        let (data, demo, control) = (self.data.take(), self.demo.take(), self.control.take());
        let in_order = async {
            if let Some(data) = data {
                data.stop().await;
            }
            if let Some(demo) = demo {
                demo.stop().await;
            }
            if let Some(control) = control {
                control.stop().await;
            }
            if let Some(postgres) = &mut self.postgres {
                postgres.stop().await;
            }
        };
        let hurried = tokio::select! {
            () = in_order => false,
            () = shutdown::requested() => true,
        };
        if hurried && let Some(postgres) = &mut self.postgres {
            postgres.stop_at_once().await;
        }
    }
}

async fn start(
    args: &Args,
    addresses: &Addresses,
    dir: &DataDir,
    stack: &mut Stack,
    objects: Option<&[crate::manifest::Object]>,
) -> Result<(), Failure> {
    let database_url = match &args.database_url {
        Some(url) => url.clone(),
        None => {
            eprintln!("starting PostgreSQL in {}", dir.path().display());
            stack.postgres.insert(EmbeddedPostgres::start(dir.path()).await?).url().to_owned()
        }
    };
    eprintln!("starting Tollgate");
    let enrollment_token = dir.enrollment_token()?;
    let control = start_control_plane(addresses, dir, database_url.into(), enrollment_token.clone()).await?;
    let (control_grpc, app) = (control.grpc_addr(), Arc::clone(control.app()));
    stack.control = Some(control);
    if !args.no_demo {
        stack.demo = Some(start_demo_server(dir).await?);
    }
    // With the authority's name: a data plane that was enrolled on another database is enrolled anew.
    let authority = authority::of(&app).await.or_fail("the data plane cannot be enrolled")?.fingerprint();
    let enrollment_token = EnrollmentToken::write(enrollment_token.expose_secret(), &authority);
    let enrollment_token = EnrollmentToken::read(&enrollment_token).or_fail("the enrollment token cannot be used")?;
    let settings = data_plane::Local {
        mcp_addr: addresses.data,
        ops_addr: addresses.ops,
        control_grpc,
        enrollment_token,
        redis_urls: args.redis_url.clone(),
        state_dir: dir.path().join("data-plane"),
        store_timeout: args.store_timeout,
        upstream_timeout: args.upstream_timeout,
        token_count: args.token_count,
        drain_timeout: DRAIN_TIMEOUT,
        other_metrics: Arc::new(move || app.metrics.render(app.db.pool(), app.policy_changes.connected())),
    };
    let data = stack.data.insert(data_plane::start_local(settings).await?);

    let api = ApiClient::new(addresses.control_url(), dir.admin_token()?, TENANT.to_owned());
    first_run::allow_private_networks(&api, dir).await?;
    let demo = match &stack.demo {
        Some(server) => Some(first_run::provide_demo(&api, dir, server).await?),
        None => None,
    };
    if let Some(objects) = objects {
        apply::apply_in_order(&api, objects).await?;
    }
    if tokio::time::timeout(POLICY_TIMEOUT, data.ready()).await.is_err() {
        return Err(Failure::new("the data plane got no policy").why("the control plane did not send it in time"));
    }
    let policy = convergence::wait(&api, Presence::Certain, POLICY_TIMEOUT).await?;
    if !matches!(policy, convergence::Convergence::InStep { .. }) {
        return Err(Failure::new("the data plane does not follow the policy").why(policy.sentence()));
    }
    welcome(&api, args, addresses, dir, demo.as_ref()).await?;
    stack.is_ready = true;
    Ok(())
}

async fn start_control_plane(
    addresses: &Addresses,
    dir: &DataDir,
    database_url: SecretString,
    enrollment_token: SecretString,
) -> Result<ControlPlane, Failure> {
    let config = Config {
        database_url,
        http_addr: addresses.control,
        grpc_addr: addresses.grpc,
        ops_addr: None,
        public_url: Some(addresses.control_url()),
        public_data_url: addresses.data_url(),
        master_key: dir.master_key()?,
        enrolment: Enrolment { shared_token: Some(enrollment_token), certificate_life: CERTIFICATE_LIFE },
        policy_lease: POLICY_LEASE,
        trusted_proxies: TrustedProxies::default(),
        admin_token_file: Some(dir.admin_token_file()),
    };
    tollgate_control_plane::start(config).await.or_fail("the control plane cannot start")
}

/// On the port of the last time when it is free, so that what was noted elsewhere stays true.
async fn start_demo_server(dir: &DataDir) -> Result<DemoServer, Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = match dir.demo_addr() {
        Some(last) => match DemoServer::start(last).await {
            Ok(server) => server,
            Err(_) => DemoServer::start(any).await?,
        },
        None => DemoServer::start(any).await?,
    };
    dir.keep_demo_addr(server.addr())?;
    Ok(server)
}

async fn welcome(
    api: &ApiClient,
    args: &Args,
    addresses: &Addresses,
    dir: &DataDir,
    demo: Option<&Demo>,
) -> Result<(), Failure> {
    let link = sign_in_link::make(api, ADMINISTRATOR).await?;
    let program = std::env::args().next().unwrap_or_else(|| "tollgate".to_owned());
    let control_url = addresses.control_url();
    let control_url = control_url.as_str().trim_end_matches('/');
    let block = welcome::block(&welcome::Facts {
        link: &link,
        control_url,
        command: (&program, &client_options(args, dir, control_url)),
        ops_addr: addresses.ops,
        data_dir: dir.path(),
        demo,
    });
    terminal::print(&block);
    Ok(())
}

/// What a client command must be told beyond its defaults to find this installation from the same directory.
fn client_options(args: &Args, dir: &DataDir, control_url: &str) -> String {
    let mut options = String::new();
    if control_url != DEFAULT_CONTROL_URL {
        options.push_str(&format!(" --url {control_url}"));
    }
    if args.data_dir != Path::new(DEFAULT_DATA_DIR) {
        options.push_str(&format!(" --token-file {}", dir.admin_token_file().display()));
    }
    options
}

/// The four addresses, none of them taken, with the ports that were left open chosen.
#[derive(Debug)]
struct Addresses {
    control: SocketAddr,
    grpc: SocketAddr,
    data: SocketAddr,
    ops: SocketAddr,
}

impl Addresses {
    fn check(args: &Args) -> Result<Self, Failure> {
        let mut taken = Vec::new();
        // Kept open until all are found, so that no port is chosen twice.
        let mut listeners = Vec::new();
        let mut find = |flag: &str, addr: SocketAddr| match std::net::TcpListener::bind(addr) {
            Ok(listener) => {
                let addr = listener.local_addr().unwrap_or(addr);
                listeners.push(listener);
                addr
            }
            Err(error) => {
                taken.push(format!("{addr}: {error}: choose another with {flag}"));
                addr
            }
        };
        let addresses = Self {
            control: find("--control-addr", args.control_addr),
            grpc: find("--grpc-addr", args.grpc_addr),
            data: find("--data-addr", args.data_addr),
            ops: find("--ops-addr", args.ops_addr),
        };
        if taken.is_empty() {
            return Ok(addresses);
        }
        let failure = Failure::new("cannot listen everywhere").exit(Exit::Conflict);
        Err(taken.into_iter().fold(failure, Failure::why).cure("is another `tollgate dev` running?"))
    }

    fn control_url(&self) -> Url {
        url_of(self.control)
    }

    fn data_url(&self) -> Url {
        url_of(self.data)
    }
}

/// How this machine reaches a listener: one on every address is reached on loopback.
fn url_of(mut addr: SocketAddr) -> Url {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Url::parse(&format!("http://{addr}")).expect("an address makes a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        assert_eq!(url_of(([0, 0, 0, 0], 7400).into()).as_str(), "http://127.0.0.1:7400/");
        assert_eq!(url_of((Ipv6Addr::UNSPECIFIED, 7400).into()).as_str(), "http://[::1]:7400/");
    }
}
