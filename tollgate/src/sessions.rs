//! `tollgate sessions …`: what agents have open, and its end.
//!
//! Invariant: sessions that are not known, because a data plane did not answer, are said to be missing on standard error.

use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate sessions list
  tollgate sessions list --agent ci-bot -o json
  tollgate sessions show ses_01k5…
  tollgate sessions end ses_01k5…      the agent's next request is told to begin anew

Agents of the modern era (2026-07-28) open no sessions. Those of kind `upstream` are Tollgate's own, at servers of the
legacy era.";

const PAGE_ITEMS_MAX: &str = "500";

/// List, show or end sessions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the sessions that are open, the newest first
    List {
        /// Only those of this agent, by name or id
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Only those that reach this server, by name or id
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one session, with what it has open at servers
    Show {
        /// The session's id, as `tollgate sessions list` shows it
        id: String,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a session, here and at the servers behind
    End {
        /// The session's id, as `tollgate sessions list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { agent, server, output, client } => {
            let filters = [("agent", agent), ("server", server)];
            let found = list(&ApiClient::from_args(&client)?, &filters).await;
            let (sessions, missing) = found.map_err(|failure| failure.during("cannot list the sessions"))?;
            terminal::print_items(output, &sessions, table);
            for one in missing {
                eprintln!("some may be missing: {}", terminal::line(&one));
            }
            Ok(())
        }
        Action::Show { id, output, client } => {
            let session = ApiClient::from_args(&client)?.get(&["sessions", &id], &[]).await;
            let session = session.map_err(|failure| failure.during(format!("cannot show session {id}")))?;
            terminal::print(&match output {
                Format::Table => table(std::slice::from_ref(&session)) + "\n" + &legs(&session),
                Format::Json => terminal::json(&session),
            });
            Ok(())
        }
        Action::End { id, client } => {
            let ended = ApiClient::from_args(&client)?.delete(&["sessions", &id]).await;
            ended.map_err(|failure| failure.during(format!("cannot end session {id}")))?;
            eprintln!("ended session {id}");
            Ok(())
        }
    }
}

/// All of them, page by page, and who did not answer.
async fn list(api: &ApiClient, filters: &[(&str, Option<String>)]) -> Result<(Vec<Value>, Vec<String>), Failure> {
    let (mut sessions, mut missing) = (Vec::new(), Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE_ITEMS_MAX)];
        query.extend(filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = api.get(&["sessions"], &query).await?;
        for one in page["unanswered"].as_array().into_iter().flatten() {
            let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
            let why = format!("{}: {}", text("data_plane"), text("detail"));
            if !missing.contains(&why) {
                missing.push(why);
            }
        }
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            sessions.extend(items);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok((sessions, missing)),
        }
    }
}

fn table(sessions: &[Value]) -> String {
    const COLUMNS: [(&str, &str); 8] = [
        ("ID", "/id"),
        ("KIND", "/kind"),
        ("AGENT", "/agent"),
        ("USER", "/user"),
        ("ENDPOINT", "/endpoint/url"),
        ("CLIENT", "/client/name"),
        ("LAST USED", "/last_used_at"),
        ("ENDS", "/expires_at"),
    ];
    terminal::table_of(&COLUMNS, sessions)
}

fn legs(session: &Value) -> String {
    const COLUMNS: [(&str, &str); 5] = [
        ("SERVER", "/server"),
        ("INSTANCE", "/instance_id"),
        ("ERA", "/era"),
        ("PROTOCOL", "/protocol_version"),
        ("STATE", "/state"),
    ];
    terminal::table_of(&COLUMNS, session["legs"].as_array().map(Vec::as_slice).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_shows_whose_a_session_is_and_what_clients_say_does_no_harm() {
        let session = json!({
            "id": "ses_1", "kind": "agent", "agent": "bot", "user": null, "endpoint": { "url": "http://d/t/default/mcp" },
            "client": { "name": "\u{1b}[2Jeditor" }, "last_used_at": "2026-11-23T10:00:00Z",
            "legs": [{ "server": "files", "instance_id": "ins_1", "era": "legacy", "state": "open" }],
        });
        let shown = table(std::slice::from_ref(&session));
        assert!(shown.contains("ses_1  agent  bot    -     http://d/t/default/mcp"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(legs(&session).contains("files   ins_1     legacy  -         open"), "{}", legs(&session));
    }
}
