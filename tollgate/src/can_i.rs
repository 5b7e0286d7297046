//! `tollgate can-i`: whether an agent could use something, and why, without trying.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    call::{self, Target},
    failure::{Exit, Failure},
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate can-i ci-bot call demo/add --arg a=2 --arg b=40
  tollgate can-i editor call files/read --arg path=/etc/passwd --user ada@example.com --from 10.20.0.7
  tollgate can-i ci-bot prompt demo/tour
  tollgate can-i ci-bot read files/file:///srv/readme.md -o json

Asks the rules of the data planes on the policy that they were last sent; nothing is called. Without --from it is enough
that a request from some network would be let through.
Prints the answer to standard output.
Exit codes: 0 allowed, 4 refused (as for `tollgate call`), 5 no such agent or user.";

/// Ask whether an agent could call a tool, get a prompt or read a resource
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The agent's name or id
    agent: String,
    /// What it would do
    #[arg(value_enum)]
    action: Action,
    /// With what: a tool, a prompt, or the URI of a resource
    #[arg(value_name = "SERVER/NAME", value_parser = call::parse_target)]
    target: Target,
    /// An argument; the value is JSON if it reads as JSON, else a text
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = call::parse_argument)]
    arguments: Vec<(String, Value)>,
    /// User that it would act for, by e-mail address or id [without: it acts for itself]
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// Address that the request would come from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Scope that the token would carry, as often as needed [without: all that it could]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Call a tool
    Call,
    /// Get a prompt
    Prompt,
    /// Read a resource
    Read,
}

/// Asks, and prints the answer.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let answer = ApiClient::from_args(&args.client)?.post(&["access-checks"], &question(&args)).await;
    let answer = answer.map_err(|failure| failure.during(format!("cannot ask about agent {}", args.agent)))?;
    terminal::print(&match args.output {
        Format::Table => in_words(&answer),
        Format::Json => terminal::json(&answer),
    });
    if answer["decision"] == "allowed" {
        return Ok(());
    }
    Err(Failure::new(format!("{} may not use {}", args.agent, args.target)).exit(Exit::Auth))
}

fn question(args: &Args) -> Value {
    let item = match args.action {
        Action::Call => "tool",
        Action::Prompt => "prompt",
        Action::Read => "resource",
    };
    let mut question = json!({ "agent": args.agent, "server": args.target.server, item: args.target.tool });
    // A call without arguments is one with none, not one with any.
    if !matches!(args.action, Action::Read) {
        question["arguments"] = args.arguments.iter().cloned().collect::<Map<_, _>>().into();
    }
    for (field, value) in [("user", json!(args.user)), ("from", json!(args.from))] {
        if !value.is_null() {
            question[field] = value;
        }
    }
    if !args.scopes.is_empty() {
        question["scopes"] = json!(args.scopes);
    }
    question
}

fn in_words(answer: &Value) -> String {
    let text = |field: &str| terminal::line(answer[field].as_str().unwrap_or("-"));
    let verdict = match answer["reason"].as_str() {
        Some(reason) => format!("{} ({})", text("decision"), terminal::line(reason)),
        None => text("decision"),
    };
    let (explanation, grant, scope) = (text("explanation"), text("grant"), text("scope"));
    format!("{verdict}: {explanation}\ngrant {grant} · scope {scope} · policy revision {}\n", answer["revision"])
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::terminal::tests::{HOSTILE, SHOWN};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &str) -> Value {
        let line = Line::try_parse_from(std::iter::once("can-i").chain(line.split(' '))).expect("a command line");
        question(&line.args)
    }

    #[test]
    fn what_is_written_is_what_is_asked() {
        let call = asked("bot call demo/add --arg a=2 --arg b=two --user ada@acme.test --from ::1 --scope demo:*");
        let expected = json!({
            "agent": "bot", "server": "demo", "tool": "add", "arguments": { "a": 2, "b": "two" },
            "user": "ada@acme.test", "from": "::1", "scopes": ["demo:*"],
        });
        assert_eq!(call, expected);
        let prompt = json!({ "agent": "bot", "server": "demo", "prompt": "tour", "arguments": {} });
        assert_eq!(asked("bot prompt demo/tour"), prompt);
        let read = json!({ "agent": "bot", "server": "demo", "resource": "file:///a" });
        assert_eq!(asked("bot read demo/file:///a"), read);
    }

    #[test]
    fn the_name_of_a_tool_stays_in_its_sentence() {
        let answer =
            json!({ "decision": "refused", "reason": "tool_blocked", "explanation": HOSTILE, "scope": HOSTILE });
        let words = in_words(&answer);
        assert!(words.starts_with(&format!("refused (tool_blocked): {SHOWN}\ngrant - · scope {SHOWN} ·")), "{words}");
    }

    #[test]
    fn an_answer_says_why_and_by_which_grant() {
        let refused = json!({
            "decision": "refused", "reason": "tool_not_granted", "grant": null, "scope": "demo:drop", "revision": 7,
            "explanation": "no grant speaks of `demo:drop`",
        });
        let words = "refused (tool_not_granted): no grant speaks of `demo:drop`\n\
                     grant - · scope demo:drop · policy revision 7\n";
        assert_eq!(in_words(&refused), words);
    }
}
