//! Every setting of every role, once.

use clap::{Arg, ArgAction};
use tollgate_data_plane::metering::TokenCount;
use url::Url;

use super::Role;

/// What a setting holds, as far as printing it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// May be shown.
    Plain,
    /// Is never shown.
    Secret,
    /// One or more URLs, separated by commas, whose passwords are never shown.
    UrlWithPassword,
}

/// One setting. Its flag is the key with hyphens, its variable the key in capitals after `TOLLGATE_`.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    value_name: &'static str,
    help: &'static str,
    pub(super) default: Option<&'static str>,
    kind: Kind,
    roles: &'static [Role],
}

const CONTROL: &[Role] = &[Role::ControlPlane];
const DATA: &[Role] = &[Role::DataPlane];
const BOTH: &[Role] = &[Role::ControlPlane, Role::DataPlane];

const fn setting(
    key: &'static str,
    value_name: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    roles: &'static [Role],
    help: &'static str,
) -> Setting {
    Setting { key, value_name, help, default, kind, roles }
}

/// The table.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    setting("database_url", "URL", None, Kind::UrlWithPassword, CONTROL,
        "Postgres: postgres://USER@HOST/DATABASE; the user owns the schema and migrates it"),
    setting("control_addr", "ADDR", Some("127.0.0.1:7400"), Kind::Plain, CONTROL,
        "Where REST, console and OAuth listen"),
    setting("grpc_addr", "ADDR", Some("127.0.0.1:7401"), Kind::Plain, CONTROL,
        "Where data planes connect"),
    setting("control_ops_addr", "ADDR", Some("127.0.0.1:7404"), Kind::Plain, CONTROL,
        "Where /healthz, /readyz and /metrics of the control plane listen"),
    setting("public_control_url", "URL", None, Kind::Plain, CONTROL,
        "Base URL under which people and agents reach the control plane [without: its listening address]"),
    setting("public_data_url", "URL", Some("http://127.0.0.1:7402"), Kind::Plain, CONTROL,
        "Base URL under which agents reach the data planes"),
    setting("master_key_file", "FILE", None, Kind::Plain, CONTROL,
        "File with the key that seals secrets in the database: 32 bytes in base64 on one line"),
    setting("admin_token_file", "FILE", None, Kind::Plain, CONTROL,
        "Where the first start on an empty database writes the administrator's token (mode 0600)"),
    setting("certificate_life", "DURATION", Some("24h"), Kind::Plain, CONTROL,
        "How long a data plane's certificate is good; it is renewed when two thirds have passed"),
    setting("policy_lease", "DURATION", Some("10s"), Kind::Plain, CONTROL,
        "How long a data plane that hears nothing more may take its policy for current; 2s at least"),
    setting("control_url", "URL", Some("https://127.0.0.1:7401"), Kind::Plain, DATA,
        "gRPC address of the control plane, https always"),
    setting("data_addr", "ADDR", Some("127.0.0.1:7402"), Kind::Plain, DATA,
        "Where agents connect"),
    setting("ops_addr", "ADDR", Some("127.0.0.1:7403"), Kind::Plain, DATA,
        "Where /healthz, /readyz and /metrics listen"),
    setting("redis_url", "URL", None, Kind::UrlWithPassword, DATA,
        "Redis for sessions and counters; several for Redis Cluster [without: in process, for one data plane only]"),
    setting("store_timeout", "DURATION", Some("50ms"), Kind::Plain, DATA,
        "How long Redis may take before a call is refused as `store_unavailable`"),
    setting("state_dir", "DIR", Some(".tollgate/data-plane"), Kind::Plain, DATA,
        "Where usage waits until it is delivered, and the last policy, the key and the certificate are kept"),
    setting("upstream_timeout", "DURATION", Some("30s"), Kind::Plain, DATA,
        "How long a server may take to begin its answer (a stream that began may pause for five minutes)"),
    setting("token_count", "HOW", Some(TokenCount::DEFAULT.as_str()), Kind::Plain, DATA,
        "How tokens are counted: exact (o200k_base), estimate (from the bytes of each text) or off (from those of the whole)"),
    setting("drain_timeout", "DURATION", Some("130s"), Kind::Plain, DATA,
        "How long running calls may go on after a stop was asked for"),
    setting("tls_cert", "FILE", None, Kind::Plain, DATA,
        "Certificate chain (PEM) to serve agents over TLS"),
    setting("tls_key", "FILE", None, Kind::Plain, DATA,
        "Private key (PEM) of the certificate"),
    setting("enrollment_token", "TOKEN", None, Kind::Secret, BOTH,
        "What a data plane joins with, once. Given to a control plane: a token that any data plane may join with, beside \
         those of `tollgate data-planes enroll` (flags are visible to other users: prefer the variable or the file)"),
    setting("enrollment_token_file", "FILE", None, Kind::Plain, BOTH,
        "File with that token"),
    setting("trusted_proxies", "NETWORKS", None, Kind::Plain, BOTH,
        "Networks of proxies whose X-Forwarded-For or Forwarded is believed, separated by commas [without: nobody's]"),
    setting("log", "FILTER", Some("info"), Kind::Plain, BOTH,
        "What to log: error, warn, info, debug, trace, or directives as in RUST_LOG, which wins"),
];

impl Setting {
    pub(super) fn is_used_by(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub(super) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    pub(super) fn variable(&self) -> String {
        format!("TOLLGATE_{}", self.key.to_ascii_uppercase())
    }

    /// Its flag. Environment and default are merged later, where sources are known.
    pub(super) fn arg(&self) -> Arg {
        let mut help = format!("{} [env: {}]", self.help, self.variable());
        if let Some(default) = self.default {
            help = format!("{help} [default: {default}]");
        }
        Arg::new(self.key).long(self.flag()).value_name(self.value_name).action(ArgAction::Append).help(help)
    }

    /// The value as it may be printed.
    pub(super) fn shown(&self, value: &str) -> String {
        match self.kind {
            Kind::Plain => value.to_owned(),
            Kind::Secret => "(hidden)".to_owned(),
            Kind::UrlWithPassword => value.split(',').map(without_password).collect::<Vec<_>>().join(","),
        }
    }
}

/// The setting of a key.
///
/// # Panics
/// When there is none, because keys are written in this crate only.
pub(super) fn find(key: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.key == key).expect("the key is in the table")
}

/// A URL's password may also hide in its query (`?password=`); what cannot be read is hidden as a whole.
fn without_password(url: &str) -> String {
    let Ok(mut url) = Url::parse(url.trim()) else { return "(hidden: not a URL)".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(hidden)".to_owned();
    }
    if url.query().is_some_and(|query| query.contains("password")) {
        url.set_query(Some("***"));
    }
    url.to_string()
}
