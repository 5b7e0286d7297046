//! The role `tollgate data-plane`, and the data plane inside `tollgate dev`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) use tollgate_data_plane::DataPlane;
use tollgate_data_plane::{
    Config,
    config::{OtherMetrics, TlsFiles},
    metering::TokenCount,
    start,
};
use tollgate_proto::{EnrollmentToken, TrustedProxies};

use crate::{
    failure::{Failure, OrFail as _},
    logging,
    settings::{Args, Reader, Role, Settings},
    shutdown, terminal,
};

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let settings = Settings::load(Role::DataPlane, &args)?;
    if args.print_config {
        terminal::print(&settings.print());
        return Ok(());
    }
    let (config, log) = read(Reader::new(settings))?;
    if args.check {
        eprintln!("the settings are valid");
        return Ok(());
    }
    logging::start(&log, logging::Format::for_a_server())?;
    let plane = start(config).await.or_fail("the data plane cannot start")?;
    tracing::info!(mcp = %plane.mcp_addr(), ops = %plane.ops_addr(), "listening");
    let stop_asked = tokio::select! {
        () = plane.ready() => false,
        () = shutdown::requested() => true,
    };
    if !stop_asked {
        tracing::info!("ready");
        shutdown::requested().await;
    }
    tracing::info!("draining");
    tokio::select! {
        () = plane.stop() => {}
        () = shutdown::requested() => tracing::warn!("stopped in a hurry"),
    }
    Ok(())
}

fn read(mut reader: Reader) -> Result<(Config, String), Failure> {
    let mcp_addr = reader.parsed("data_addr");
    let ops_addr = reader.parsed("ops_addr");
    let control_grpc_url = reader.base_url("control_url");
    let enrollment_token = reader.enrollment_token();
    let redis_urls = reader.list("redis_url");
    let store_timeout = reader.duration("store_timeout");
    let state_dir = reader.path("state_dir");
    let tls = read_tls(&mut reader);
    let trusted_proxies = reader.parsed_or_default("trusted_proxies");
    let upstream_timeout = reader.duration("upstream_timeout");
    let token_count = reader.parsed("token_count");
    let drain_timeout = reader.duration("drain_timeout");
    let log = reader.required("log");
    let complete = || {
        let config = Config {
            mcp_addr: mcp_addr?,
            ops_addr: ops_addr?,
            control_grpc_url: control_grpc_url?.to_string(),
            enrollment_token,
            redis_urls,
            store_timeout: store_timeout?,
            state_dir: state_dir?,
            tls,
            trusted_proxies,
            upstream_timeout: upstream_timeout?,
            token_count: token_count?,
            drain_timeout: drain_timeout?,
            other_metrics: None,
        };
        Some((config, log?))
    };
    reader.finish(complete())
}

fn read_tls(reader: &mut Reader) -> Option<TlsFiles> {
    match (reader.path("tls_cert"), reader.path("tls_key")) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        _ => {
            reader.problem("`tls_cert` and `tls_key` belong together: give both or none".to_owned());
            None
        }
    }
}

/// What a data plane beside its control plane is told.
pub(crate) struct Local {
    pub(crate) mcp_addr: SocketAddr,
    pub(crate) ops_addr: SocketAddr,
    pub(crate) control_grpc: SocketAddr,
    pub(crate) enrollment_token: EnrollmentToken,
    pub(crate) redis_urls: Vec<String>,
    pub(crate) store_timeout: Duration,
    pub(crate) state_dir: PathBuf,
    pub(crate) upstream_timeout: Duration,
    pub(crate) token_count: TokenCount,
    pub(crate) drain_timeout: Duration,
    pub(crate) other_metrics: OtherMetrics,
}

/// Starts a data plane in the process of its control plane.
pub(crate) async fn start_local(local: Local) -> Result<DataPlane, Failure> {
    let config = Config {
        mcp_addr: local.mcp_addr,
        ops_addr: local.ops_addr,
        control_grpc_url: format!("https://{}", local.control_grpc),
        enrollment_token: Some(local.enrollment_token),
        redis_urls: local.redis_urls,
        store_timeout: local.store_timeout,
        state_dir: local.state_dir,
        tls: None,
        trusted_proxies: TrustedProxies::default(),
        upstream_timeout: local.upstream_timeout,
        token_count: local.token_count,
        drain_timeout: local.drain_timeout,
        other_metrics: Some(local.other_metrics),
    };
    start(config).await.or_fail("the data plane cannot start")
}
