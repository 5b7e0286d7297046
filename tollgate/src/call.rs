//! `tollgate call`: one governed call, made as an agent, with the gateway's decision beside the tool's answer.
//!
//! Invariant: the call takes the way of every agent's call. This command has no privilege beyond asking for a token.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::{
    api_client::ClientArgs,
    failure::{Exit, Failure},
    http_client::HttpClient,
    terminal,
};

mod exchange;
mod outcome;
mod sse;
mod token;

use exchange::Reply;
use outcome::Outcome;
pub(crate) use token::metadata;

const EXAMPLES: &str = "\
Examples:
  tollgate call demo/add --arg a=2 --arg b=40
  tollgate call demo/countdown --arg from=5 --agent demo-agent
  TOLLGATE_CLIENT_ID=agt_… TOLLGATE_CLIENT_SECRET=… tollgate call demo/echo --arg text=hello

The token: with TOLLGATE_CLIENT_ID and TOLLGATE_CLIENT_SECRET the agent's own, from the token endpoint; else one that
the API token is given for --agent.
Prints the tool's result to standard output and the decision to standard error.
Exit codes: 1 the tool failed, 4 refused by policy, 5 no such server or tool, 7 something is unavailable.";

/// Call a tool through the gateway, as an agent
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which tool to call
    #[arg(value_name = "SERVER/TOOL", value_parser = parse_target)]
    target: Target,
    /// An argument; the value is JSON if it reads as JSON, else a text
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = parse_argument)]
    arguments: Vec<(String, Value)>,
    /// Agent to call as [without: the only one there is]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
    /// Seconds to wait for the end of the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 130)]
    timeout: u64,
    /// Base URL of the data plane, when there is no API token to ask for it [without: the control plane's host, port 7402]
    #[arg(long, value_name = "URL", env = "TOLLGATE_DATA_URL")]
    data_url: Option<url::Url>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Something of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) server: String,
    /// Its tool, or whatever else of it is meant.
    pub(crate) tool: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.server, self.tool)
    }
}

/// Calls the tool and prints what came of it.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let http = HttpClient::new();
    let access =
        token::obtain(&http, &args).await.map_err(|failure| failure.during("there is no token to call with"))?;
    let arguments: Map<_, _> = args.arguments.iter().cloned().collect();
    let started = Instant::now();
    let within = Duration::from_secs(args.timeout);
    let reply = exchange::call_tool(&http, &access, &args.target.tool, &arguments, within)
        .await
        .map_err(|failure| failure.during(format!("cannot call {}", args.target)))?;
    report(&args, &reply, started.elapsed())
}

fn report(args: &Args, reply: &Reply, took: Duration) -> Result<(), Failure> {
    let style = terminal::stderr_style();
    let call_id = reply.call_id.as_deref().unwrap_or("without id");
    let decision = |verdict: &str| {
        eprintln!("{verdict} · {} · call {call_id} · {} ms", args.target, took.as_millis());
    };
    match outcome::judge(reply, &args.target) {
        Outcome::Result(result) => {
            decision(&style.green("allowed"));
            print_result(&result, args.json);
            if result["isError"].as_bool().unwrap_or_default() {
                return Err(Failure::new(format!("{} reported an error", args.target)).exit(Exit::Error));
            }
            Ok(())
        }
        Outcome::ToolFailed(failure) => {
            decision(&style.green("allowed"));
            Err(failure)
        }
        Outcome::Refused { reason, failure } => {
            decision(&format!("{} ({reason})", style.red("refused")));
            Err(failure)
        }
    }
}

fn print_result(result: &Value, as_json: bool) {
    if as_json {
        terminal::print(&terminal::json(result));
    } else {
        terminal::print_data(&format!("{}\n", readable(result)));
    }
}

/// The text of a result; what is no text is named.
fn readable(result: &Value) -> String {
    let block = |block: &Value| match block["type"].as_str() {
        Some("text") => block["text"].as_str().unwrap_or_default().to_owned(),
        Some(kind) => {
            let media = block["mimeType"].as_str().or_else(|| block["uri"].as_str()).unwrap_or_default();
            format!("[{kind} {media}]")
        }
        None => block.to_string(),
    };
    let blocks: Vec<_> = result["content"].as_array().into_iter().flatten().map(block).collect();
    if blocks.is_empty() && !result["structuredContent"].is_null() {
        return format!("{:#}", result["structuredContent"]);
    }
    blocks.join("\n")
}

/// Reads `demo/add`.
pub(crate) fn parse_target(text: &str) -> Result<Target, String> {
    match text.split_once('/') {
        Some((server, tool)) if !server.is_empty() && !tool.is_empty() => {
            Ok(Target { server: server.to_owned(), tool: tool.to_owned() })
        }
        _ => Err("write the server, a slash and the tool, as in demo/add".to_owned()),
    }
}

/// Reads `a=2`.
pub(crate) fn parse_argument(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write a name, an equals sign and a value, as in a=2")?;
    if name.is_empty() {
        return Err("the name before the equals sign is empty".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_is_json_if_it_reads_as_json() {
        assert_eq!(parse_argument("a=2"), Ok(("a".into(), json!(2))));
        assert_eq!(parse_argument("a=two"), Ok(("a".into(), json!("two"))));
        assert_eq!(parse_argument("a=\"2\""), Ok(("a".into(), json!("2"))));
        assert_eq!(parse_argument("q=x=y"), Ok(("q".into(), json!("x=y"))));
        assert_eq!(parse_argument("l=[1,{\"k\":null}]"), Ok(("l".into(), json!([1, { "k": null }]))));
        assert!(parse_argument("a").is_err());
        assert!(parse_argument("=a").is_err());
    }

    #[test]
    fn a_tool_may_have_slashes_in_its_name() {
        let target = parse_target("demo/a/b").expect("a target");
        assert_eq!((target.server.as_str(), target.tool.as_str()), ("demo", "a/b"));
        assert!(parse_target("demo").is_err());
        assert!(parse_target("/add").is_err());
    }

    #[test]
    fn content_that_is_no_text_is_named() {
        let content =
            json!([{ "type": "text", "text": "42" }, { "type": "image", "mimeType": "image/png", "data": "" }]);
        assert_eq!(readable(&json!({ "content": content })), "42\n[image image/png]");
        assert_eq!(readable(&json!({ "content": [], "structuredContent": { "sum": 42 } })), "{\n  \"sum\": 42\n}");
    }
}
