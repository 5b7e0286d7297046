//! Where a role gets its settings: flags, then `TOLLGATE_…` variables, then a TOML file, then defaults.
//!
//! One table ([`SETTINGS`]) names every setting once; its flag, its variable, its key in the file, its line of help
//! and its line in `--print-config` all come from there. Both roles take all of them, so that one environment or
//! file serves both; each shows in its help what it uses.
//!
//! Invariant: every mistake is reported, not only the first, and no secret is ever printed.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::{Exit, Failure, OrFail as _};

mod reader;
mod table;

pub(crate) use reader::{Reader, duration};
use table::{SETTINGS, Setting};

pub(crate) const CONTROL_PLANE_EXAMPLES: &str = "\
Examples:
  openssl rand -base64 32 > master-key; chmod 600 master-key
  tollgate control-plane --database-url postgres://tollgate@db/tollgate --master-key-file master-key \\
    --public-data-url http://127.0.0.1:7402 --admin-token-file admin-token
  tollgate control-plane --config tollgate.toml --print-config

Every setting can also be a variable (TOLLGATE_DATABASE_URL) or a key of the TOML file (database_url).";

pub(crate) const DATA_PLANE_EXAMPLES: &str = "\
Examples:
  TOLLGATE_ENROLLMENT_TOKEN=$(tollgate data-planes enroll | jq -r .enrollment_token) \\
    tollgate data-plane --control-url https://127.0.0.1:7401 --redis-url redis://127.0.0.1:6379
  tollgate data-plane --config tollgate.toml --check

Every setting can also be a variable (TOLLGATE_CONTROL_URL) or a key of the TOML file (control_url).
Redis Cluster: give several URLs, separated by commas or as a list in the file.";

/// A role that is configured here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    ControlPlane,
    DataPlane,
}

impl Role {
    const fn command(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::DataPlane => "data-plane",
        }
    }
}

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    config: Option<PathBuf>,
    pub(crate) print_config: bool,
    pub(crate) check: bool,
    flags: BTreeMap<&'static str, String>,
}

impl clap::FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &Setting| {
            let values: Vec<_> = matches.get_many::<String>(setting.key)?.map(String::as_str).collect();
            Some((setting.key, values.join(",")))
        };
        Ok(Self {
            config: matches.get_one("config").cloned(),
            print_config: matches.get_flag("print_config"),
            check: matches.get_flag("check"),
            flags: SETTINGS.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("TOLLGATE_CONFIG")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings");
        let print = Arg::new("print_config")
            .long("print-config")
            .action(ArgAction::SetTrue)
            .help("Print the effective settings and where each comes from, secrets hidden, and exit");
        let check = Arg::new("check").long("check").action(ArgAction::SetTrue).help("Check the settings and exit");
        SETTINGS.iter().fold(command.args([config, print, check]), |command, setting| command.arg(setting.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Leaves out of each role's help the settings that only the other one uses.
pub(crate) fn hide_other_roles(command: Command) -> Command {
    [Role::ControlPlane, Role::DataPlane].into_iter().fold(command, |command, role| {
        command.mut_subcommand(role.command(), |subcommand| {
            let foreign = SETTINGS.iter().filter(|setting| !setting.is_used_by(role));
            foreign.fold(subcommand, |subcommand, setting| subcommand.mut_arg(setting.key, |arg| arg.hide(true)))
        })
    })
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Flag,
    Variable(String),
    File(PathBuf),
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The effective value of every setting that has one.
pub(crate) struct Settings {
    role: Role,
    values: BTreeMap<&'static str, (String, Source)>,
    problems: Vec<String>,
}

impl Settings {
    /// Reads the file and the environment of this process.
    pub(crate) fn load(role: Role, args: &Args) -> Result<Self, Failure> {
        let file = match &args.config {
            Some(path) => Some((path.clone(), read_file(path)?)),
            None => None,
        };
        Ok(Self::merge(role, &args.flags, |name| std::env::var(name).ok(), file))
    }

    fn merge(
        role: Role,
        flags: &BTreeMap<&'static str, String>,
        variable: impl Fn(&str) -> Option<String>,
        file: Option<(PathBuf, toml::Table)>,
    ) -> Self {
        let (path, table) = file.unwrap_or_default();
        let mut problems = Vec::new();
        let known = |key: &String| SETTINGS.iter().any(|setting| setting.key == key);
        problems.extend(
            table.keys().filter(|key| !known(key)).map(|key| format!("{}: unknown key `{key}`", path.display())),
        );
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let name = setting.variable();
            let in_file = table.get(setting.key).and_then(|value| match text_of(value) {
                Some(text) => Some((text, Source::File(path.clone()))),
                None => {
                    problems.push(format!("{}: `{}` must be a text or a list of texts", path.display(), setting.key));
                    None
                }
            });
            let value = None
                .or_else(|| flags.get(setting.key).map(|value| (value.clone(), Source::Flag)))
                .or_else(|| {
                    variable(&name).filter(|value| !value.is_empty()).map(|value| (value, Source::Variable(name)))
                })
                .or(in_file)
                .or_else(|| setting.default.map(|value| (value.to_owned(), Source::Default)));
            values.extend(value.map(|value| (setting.key, value)));
        }
        Self { role, values, problems }
    }

    /// The effective settings of the role as a TOML file, each with its source; secrets are hidden.
    pub(crate) fn print(&self) -> String {
        let lines = SETTINGS.iter().filter(|setting| setting.is_used_by(self.role)).map(|setting| {
            match self.values.get(setting.key) {
                Some((value, source)) => {
                    // A JSON string is a TOML basic string.
                    let shown = serde_json::Value::from(setting.shown(value));
                    format!("{} = {shown}  # {source}\n", setting.key)
                }
                None => format!("# {} is not set\n", setting.key),
            }
        });
        lines.collect()
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.print())
    }
}

fn read_file(path: &PathBuf) -> Result<toml::Table, Failure> {
    let what = || format!("cannot read the settings in {}", path.display());
    let text = std::fs::read_to_string(path).or_fail(what()).map_err(|failure| failure.exit(Exit::Usage))?;
    text.parse().or_fail(what()).map_err(|failure| failure.exit(Exit::Usage))
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
