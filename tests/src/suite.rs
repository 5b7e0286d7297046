//! The MCP conformance suite, unmodified, and what its checks say.
//!
//! Invariant: a check that passes without the gateway passes through it, or is listed with the reason in a file of
//! `tests/conformance`; an entry that is not needed any more is a failure too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use serde::Deserialize;

use crate::{
    binary,
    deployment::Folder,
    drivers::{client_modules, node, repository_root},
    process::Process,
    wait::eventually_true,
};

/// The authorization-server scenarios of the MCP conformance suite, running.
#[derive(Debug)]
pub struct Conformance(Process);

impl Conformance {
    /// Starts them.
    #[must_use]
    pub fn of_authorization_server(arguments: &[&str]) -> Self {
        let mut command = node();
        command.arg(client_modules().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
        command.arg("authorization").args(arguments).env("NO_COLOR", "1");
        Self(Process::spawn("the conformance suite", command))
    }

    /// Waits for the address that a person is to open.
    pub async fn address(&mut self) -> String {
        let line = self
            .0
            .stdout_line("the conformance suite to ask for a person", |line| line.contains("code_challenge="))
            .await;
        line.trim().to_owned()
    }

    /// Waits for its end. Returns its exit code and everything it printed.
    pub async fn verdict(mut self) -> (i32, String) {
        eventually_true("the conformance suite to end", || {
            let running = self.0.is_running();
            async move { !running }
        })
        .await;
        (self.0.exit_code(), self.0.both())
    }
}

/// What a requirement set found of a server.
#[derive(Debug)]
pub struct Findings {
    /// By scenario and check. A check that is made several times is found as it was at its worst.
    checks: BTreeMap<Check, Finding>,
    /// How many checks succeeded, repetitions among them.
    pub passed: usize,
    /// How many did not: failures and warnings.
    pub failed: usize,
}

/// One check of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Check {
    scenario: String,
    id: String,
}

/// How a check ended.
#[derive(Debug)]
struct Finding {
    succeeded: usize,
    trouble: Option<String>,
}

/// The findings through the gateway beside those without it.
#[derive(Debug)]
pub struct Comparison {
    leg: String,
    passed: usize,
    excepted: Vec<(String, String)>,
    unexpected: Vec<(String, String)>,
    stale: Vec<String>,
}

const TROUBLE_CHARS_MAX: usize = 240;
const GIVEN_UP: &str = r#"[{"id": "scenario-ends", "status": "FAILURE", "errorMessage": "the scenario was given up"}]"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reported {
    id: String,
    status: String,
    #[serde(default)]
    error_message: Option<String>,
}

impl Findings {
    /// Runs the server scenarios of a requirement set, those that are never scored among them.
    ///
    /// # Panics
    /// When the suite itself fails.
    pub async fn of(url: &str, requirements: &str) -> Self {
        let results = Folder::create();
        let mut command = node();
        command.arg(client_modules().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
        command.args(["server", "--url", url, "--requirements", requirements, "--output-dir"]);
        command.arg(results.path()).env("NO_COLOR", "1");
        let output = binary::run(command, Vec::new()).await;
        let findings = Self::read(results.path());
        assert!(!findings.checks.is_empty(), "the suite found nothing:\n{}\n{}", output.stdout, output.stderr);
        findings
    }

    fn read(results: &Path) -> Self {
        let mut findings = Self { checks: BTreeMap::new(), passed: 0, failed: 0 };
        for folder in std::fs::read_dir(results).expect("the suite keeps its results").flatten() {
            let name = folder.file_name().to_string_lossy().into_owned();
            let scenario = scenario_of(&name).unwrap_or_else(|| panic!("{name} names no scenario"));
            // A scenario that was given up, because it took too long for instance, leaves none.
            let checks = std::fs::read(folder.path().join("checks.json")).unwrap_or_else(|_| GIVEN_UP.into());
            let checks: Vec<Reported> = serde_json::from_slice(&checks).expect("checks are JSON");
            for check in checks {
                findings.add(scenario, check);
            }
        }
        findings
    }

    fn add(&mut self, scenario: &str, check: Reported) {
        let key = Check { scenario: scenario.to_owned(), id: check.id };
        let finding = self.checks.entry(key).or_insert(Finding { succeeded: 0, trouble: None });
        match check.status.as_str() {
            "SUCCESS" => {
                finding.succeeded += 1;
                self.passed += 1;
            }
            "FAILURE" | "WARNING" => {
                finding.trouble = Some(check.error_message.unwrap_or(check.status));
                self.failed += 1;
            }
            // What is skipped or only said is neither.
            _ => {}
        }
    }

    /// The line that `scripts/conformance.sh` adds up.
    #[must_use]
    pub fn summary(&self, leg: &str) -> String {
        line(leg, self.passed, 0, self.failed)
    }

    /// What is wrong here that was right in `reference`, beside what `tests/conformance/{leg}.yml` lists.
    ///
    /// # Panics
    /// When that file is missing, or an entry has no reason.
    #[must_use]
    pub fn compared_to(&self, reference: &Self, leg: &str) -> Comparison {
        let listed = exceptions(leg);
        let mut used = BTreeSet::new();
        let mut comparison = Comparison {
            leg: leg.to_owned(),
            passed: self.passed,
            excepted: vec![],
            unexpected: vec![],
            stale: vec![],
        };
        let every: BTreeSet<&Check> = self.checks.keys().chain(reference.checks.keys()).collect();
        for check in every {
            let Some(trouble) = self.trouble(check, reference) else { continue };
            let entry = listed.keys().find(|entry| **entry == check.scenario || **entry == check.to_string());
            match entry {
                Some(entry) => {
                    used.insert(entry.clone());
                    comparison.excepted.push((check.to_string(), listed[entry].clone()));
                }
                None => comparison.unexpected.push((check.to_string(), trouble)),
            }
        }
        comparison.stale = listed.into_keys().filter(|entry| !used.contains(entry)).collect();
        comparison
    }

    fn trouble(&self, check: &Check, reference: &Self) -> Option<String> {
        let wanted = reference.checks.get(check).map_or(0, |finding| finding.succeeded);
        match self.checks.get(check) {
            Some(Finding { trouble: Some(trouble), .. }) => Some(trouble.clone()),
            Some(Finding { succeeded, .. }) if *succeeded >= wanted => None,
            _ => (wanted > 0).then(|| "succeeds without the gateway, and was not made through it".to_owned()),
        }
    }
}

impl Comparison {
    /// Whether everything is as it is expected.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.unexpected.is_empty() && self.stale.is_empty()
    }
}

/// The line that `scripts/conformance.sh` adds up, and what is behind it.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.unexpected.len() + self.stale.len();
        writeln!(f, "{}", line(&self.leg, self.passed, self.excepted.len(), failed))?;
        for (check, trouble) in &self.unexpected {
            let trouble: String = trouble.lines().next().unwrap_or_default().chars().take(TROUBLE_CHARS_MAX).collect();
            writeln!(f, "  FAILED    {check}: {trouble}")?;
        }
        for entry in &self.stale {
            writeln!(f, "  STALE     {entry}: passes now, take it out of tests/conformance/{}.yml", self.leg)?;
        }
        for (check, reason) in &self.excepted {
            writeln!(f, "  excepted  {check}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scenario, self.id)
    }
}

fn line(leg: &str, passed: usize, excepted: usize, failed: usize) -> String {
    format!("conformance | {leg:<12} | {passed:>4} passed | {excepted:>3} excepted | {failed:>3} failed")
}

/// `server-{scenario}-{time}` is how the suite names the folder of a scenario's results.
fn scenario_of(folder: &str) -> Option<&str> {
    const TIME: usize = "-2026-11-22T23-48-48-826Z".len();
    folder.strip_prefix("server-")?.get(..folder.len().checked_sub("server-".len() + TIME)?)
}

/// The entries of an expected-failures file, in the suite's own format, each with the comment that stands behind it.
fn exceptions(leg: &str) -> BTreeMap<String, String> {
    let file = repository_root().join(format!("tests/conformance/{leg}.yml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let entries = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    entries
        .map(|entry| {
            let (name, reason) = entry.split_once(" # ").unwrap_or_else(|| panic!("{entry} has no reason ({leg}.yml)"));
            (name.trim().to_owned(), reason.trim().to_owned())
        })
        .collect()
}
