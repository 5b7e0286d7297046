//! `tollgate doctor`: looks at everything that a call needs and says what to do about what is wrong.
//!
//! Invariant: it only looks. Nothing is changed but a file made and removed to see whether a directory is writable.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};
use url::Url;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    http_client::HttpClient,
    terminal::{self, Style},
};

mod control;
mod data;
mod machine;

const EXAMPLES: &str = "\
Examples:
  tollgate doctor
  tollgate doctor -o json
  tollgate doctor --url https://tollgate.example.com --ops-url http://10.0.0.7:7403

Exit code 1 when something is wrong (✗).";

/// Check the planes, the token, the metadata and this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Base URL of a data plane's health port
    #[arg(long, value_name = "URL", env = "TOLLGATE_OPS_URL", default_value = "http://127.0.0.1:7403")]
    ops_url: Url,
    /// Directory where a data plane on this machine keeps its state
    #[arg(long, value_name = "DIR", env = "TOLLGATE_STATE_DIR", default_value = ".tollgate/data-plane")]
    state_dir: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Worth a look, and no obstacle.
    Doubtful,
    Wrong,
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    fix: Option<String>,
}

impl Finding {
    fn good(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, detail: detail.into(), fix: None }
    }

    fn doubtful(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Doubtful, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn wrong(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Wrong, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn line(&self, style: Style) -> String {
        let mark = match self.verdict {
            Verdict::Good => style.green("✓"),
            Verdict::Doubtful => style.yellow("!"),
            Verdict::Wrong => style.red("✗"),
        };
        let fix = self.fix.as_ref().map(|fix| format!("\n    {} {}", style.dim("do:"), terminal::line(fix)));
        format!("{mark} {}: {}{}\n", self.check, terminal::line(&self.detail), fix.unwrap_or_default())
    }

    fn json(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Doubtful => "warning",
            Verdict::Wrong => "error",
        };
        json!({ "check": self.check, "verdict": verdict, "detail": self.detail, "fix": self.fix })
    }
}

/// Prints the report; fails when something is wrong.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let findings = examine(&args).await?;
    let text = match args.output {
        Output::Text => findings.iter().map(|finding| finding.line(terminal::stdout_style())).collect(),
        Output::Json => terminal::json(&Value::Array(findings.iter().map(Finding::json).collect())),
    };
    terminal::print(&text);
    match findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::new("1 check failed").exit(Exit::Error)),
        several => Err(Failure::new(format!("{several} checks failed")).exit(Exit::Error)),
    }
}

async fn examine(args: &Args) -> Result<Vec<Finding>, Failure> {
    let http = HttpClient::new();
    let mut findings = control::examine(&http, &args.client.url).await;
    let token = args.client.token()?;
    let (finding, tenant) = match token {
        Some(token) => {
            let api = ApiClient::new(args.client.url.clone(), token, args.client.tenant.clone());
            control::examine_token(&api, &args.client.tenant).await
        }
        None => (control::no_token(), None),
    };
    findings.push(finding);
    findings.push(data::examine(&http, &args.ops_url).await);
    if let Some(tenant) = tenant {
        findings.push(data::examine_policy(&tenant));
        findings.push(control::examine_metadata(&http, &tenant).await);
        findings.push(data::examine_metadata(&http, &tenant).await);
    }
    findings.push(machine::examine_postgres());
    findings.push(machine::examine_state_dir(&args.state_dir));
    Ok(findings)
}
