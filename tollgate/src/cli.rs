//! The command line: which commands there are, and what they share.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    agents, alerts, apply, audit, authorizations, call, can_i, catalog, control_plane, data_plane, data_planes,
    demo_server, dev, doctor, enrollment_tokens, export,
    failure::{Exit, Failure},
    get, initial_access_tokens, keys, limits, plan, report, revoke, sessions, settings, sign_in_link, statements,
    tenant, usage, users, webhooks,
};

const ABOUT: &str = "An MCP gateway: agents call tools through it, and every call is authorised, limited and recorded.";

const MORE: &str = "\
Start here:
  tollgate dev                                  everything on this machine, with a demo server
  tollgate call demo/add --arg a=2 --arg b=40   a governed call

Exit codes: 0 done, 1 error, 2 a plan has changes, 3 usage, 4 not authorised, 5 not found, 6 conflict,
7 unavailable, 130 interrupted.
NO_COLOR turns colour off.";

#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about = ABOUT, after_help = MORE, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Everything that `tollgate` can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(dev::Args),
    /// Run a control plane: REST, console, authorization server, policy stream
    #[command(after_help = settings::CONTROL_PLANE_EXAMPLES)]
    ControlPlane(settings::Args),
    /// Run a data plane: the MCP endpoints that agents call
    #[command(after_help = settings::DATA_PLANE_EXAMPLES)]
    DataPlane(settings::Args),
    DemoServer(demo_server::Args),
    Plan(plan::Args),
    Apply(apply::Args),
    Export(export::Args),
    Get(get::Args),
    Tenant(tenant::Args),
    Users(users::Args),
    Agents(agents::Args),
    Authorizations(authorizations::Args),
    InitialAccessTokens(initial_access_tokens::Args),
    Revoke(revoke::Args),
    Keys(keys::Args),
    Catalog(catalog::Args),
    Sessions(sessions::Args),
    Limits(limits::Args),
    DataPlanes(data_planes::Args),
    EnrollmentTokens(enrollment_tokens::Args),
    Call(call::Args),
    CanI(can_i::Args),
    Usage(usage::Args),
    Report(report::Args),
    Statements(statements::Args),
    Alerts(alerts::Args),
    Webhooks(webhooks::Args),
    Audit(audit::Args),
    SignInLink(sign_in_link::Args),
    Doctor(doctor::Args),
}

/// Reads the command line of this process.
pub(crate) fn parse() -> Result<Command, clap::Error> {
    let mut command = settings::hide_other_roles(Cli::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(cli.command)
}

/// Does what was asked.
pub(crate) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Dev(args) => dev::run(args).await,
        Command::ControlPlane(args) => control_plane::run(args).await,
        Command::DataPlane(args) => data_plane::run(args).await,
        Command::DemoServer(args) => demo_server::run(args).await,
        Command::Plan(args) => return plan::run(args).await,
        Command::Apply(args) => apply::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Tenant(args) => tenant::run(args).await,
        Command::Users(args) => users::run(args).await,
        Command::Agents(args) => agents::run(args).await,
        Command::Authorizations(args) => authorizations::run(args).await,
        Command::InitialAccessTokens(args) => initial_access_tokens::run(args).await,
        Command::Revoke(args) => revoke::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Catalog(args) => catalog::run(args).await,
        Command::Sessions(args) => sessions::run(args).await,
        Command::Limits(args) => limits::run(args).await,
        Command::DataPlanes(args) => data_planes::run(args).await,
        Command::EnrollmentTokens(args) => enrollment_tokens::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::CanI(args) => can_i::run(args).await,
        Command::Usage(args) => usage::run(args).await,
        Command::Report(args) => report::run(args).await,
        Command::Statements(args) => statements::run(args).await,
        Command::Alerts(args) => alerts::run(args).await,
        Command::Webhooks(args) => webhooks::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::SignInLink(args) => sign_in_link::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
    }
    .map(|()| Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        settings::hide_other_roles(Cli::command()).debug_assert();
    }

    #[test]
    fn a_key_may_have_an_id_that_begins_with_a_hyphen() {
        for kid in ["-o9K0kQYqk_7yU1bV0n3JcDqRzQ2mHf5gE8wXaLtPbI", "--K0kQYqk_7yU1bV0n3JcDqRzQ2mHf5gE8wXaLtPbIs"] {
            for command in ["keys revoke", "revoke key"] {
                let words = ["tollgate"].into_iter().chain(command.split(' ')).chain([kid, "--url", "http://c"]);
                Cli::try_parse_from(words).unwrap_or_else(|refusal| panic!("{command} {kid}: {refusal}"));
            }
        }
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
        }
    }
}
