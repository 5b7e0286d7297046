//! The role `tollgate control-plane`.

use std::time::Duration;

use secrecy::SecretString;
use tollgate_control_plane::{Config, Enrolment, seal::MasterKey, start};

use crate::{
    failure::{Failure, OrFail as _},
    logging,
    settings::{Args, Reader, Role, Settings},
    shutdown, terminal,
};

/// Heartbeats come every second, and one may be late.
const POLICY_LEASE_MIN: Duration = Duration::from_secs(2);

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let settings = Settings::load(Role::ControlPlane, &args)?;
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
    let plane = start(config).await.or_fail("the control plane cannot start")?;
    tracing::info!(http = %plane.http_addr(), grpc = %plane.grpc_addr(), "ready");
    shutdown::requested().await;
    tracing::info!("stopping");
    tokio::select! {
        () = plane.stop() => {}
        () = shutdown::requested() => tracing::warn!("stopped in a hurry"),
    }
    Ok(())
}

fn read(mut reader: Reader) -> Result<(Config, String), Failure> {
    let database_url = reader.required("database_url").map(SecretString::from);
    let http_addr = reader.parsed("control_addr");
    let grpc_addr = reader.parsed("grpc_addr");
    let ops_addr = reader.parsed("control_ops_addr");
    let public_url = reader.base_url("public_control_url");
    let public_data_url = reader.base_url("public_data_url");
    let master_key = read_master_key(&mut reader);
    let shared_token = reader.enrollment_token().map(|token| SecretString::from(token.secret()));
    let certificate_life = reader.duration("certificate_life");
    let policy_lease = read_policy_lease(&mut reader);
    let trusted_proxies = reader.parsed_or_default("trusted_proxies");
    let admin_token_file = reader.path("admin_token_file");
    let log = reader.required("log");
    let complete = || {
        let config = Config {
            database_url: database_url?,
            http_addr: http_addr?,
            grpc_addr: grpc_addr?,
            ops_addr: Some(ops_addr?),
            public_url,
            public_data_url: public_data_url?,
            master_key: master_key?,
            enrolment: Enrolment { shared_token, certificate_life: certificate_life? },
            policy_lease: policy_lease?,
            trusted_proxies,
            admin_token_file,
        };
        Some((config, log?))
    };
    reader.finish(complete())
}

fn read_policy_lease(reader: &mut Reader) -> Option<Duration> {
    let lease = reader.duration("policy_lease")?;
    if lease < POLICY_LEASE_MIN {
        reader.problem("`policy_lease` must be `2s` at least: heartbeats come every second".to_owned());
        return None;
    }
    Some(lease)
}

fn read_master_key(reader: &mut Reader) -> Option<MasterKey> {
    let file = reader.required("master_key_file")?.into();
    let text = reader.read_file("master_key_file", &file)?;
    match MasterKey::from_base64(&text) {
        Ok(key) => Some(key),
        Err(error) => {
            reader.problem(format!("`master_key_file`: {}: {error}", file.display()));
            None
        }
    }
}
