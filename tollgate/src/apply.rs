//! `tollgate apply`: makes what a file declares true.
//!
//! Invariant: nothing is sent before the whole file was read without a mistake; what is as declared is left alone;
//! and no change of someone else is overwritten unseen: every replacement names the version it replaces.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use crate::{
    api_client::{ApiClient, ClientArgs, Precondition, Stored},
    convergence::{self, Presence},
    failure::{Failure, OrFail as _},
    manifest::{self, Object, secret},
    terminal,
};

const CONVERGENCE_TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  tollgate apply -f team.yaml
  tollgate apply -f team.yaml -f agents.yaml
  tollgate get grants -o yaml | tollgate apply -f -

A file holds documents of the kinds Team, IdentityProvider, Server, Toolset, Agent, Grant, Limit, PriceBook, Budget and
Webhook, in any order:

  apiVersion: tollgate/v1
  kind: Server
  metadata: {name: github}
  spec: {instances: [{url: https://mcp.github.example/mcp}]}

A secret, such as the `value_ref` of a server's credential, is `env:NAME` or `file:PATH`, read here and now (the path
starts at the manifest), or `literal:…`. It is sent each time; without it, the stored one stays. The signing secret of a
webhook is made by the server: `tollgate webhooks secret` prints one.

Prints a line for each object: created, updated or unchanged.";

/// Create or update what a file declares
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    client: ClientArgs,
}

/// Where objects are declared.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// YAML file; `-` reads standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
}

impl Files {
    /// Reads them, in the order of application.
    pub(crate) fn read(&self) -> Result<Vec<Object>, Failure> {
        let mut objects = Vec::new();
        for file in &self.file {
            objects.extend(read_file(file)?);
        }
        objects.sort_by_key(|object| object.kind);
        Ok(objects)
    }
}

/// What is stored under an object's name, next to what was declared.
#[derive(Debug)]
pub(crate) enum Standing {
    Absent,
    AsDeclared,
    Other(Stored),
}

/// Applies the files and waits until the data planes follow.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let objects = args.files.read()?;
    let api = ApiClient::from_args(&args.client)?;
    for line in apply_in_order(&api, &objects).await? {
        eprintln!("{}", terminal::line(&line));
    }
    Ok(())
}

/// Reads one file, or standard input for `-`.
pub(crate) fn read_file(file: &Path) -> Result<Vec<Object>, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).or_fail("cannot read standard input")?;
        let mut objects = manifest::read(&text, "standard input")?;
        secret::resolve(&mut objects, Path::new(""))?;
        return Ok(objects);
    }
    let text = std::fs::read_to_string(file).or_fail(format!("cannot read {}", file.display()))?;
    let mut objects = manifest::read(&text, &file.display().to_string())?;
    secret::resolve(&mut objects, file.parent().unwrap_or(Path::new("")))?;
    Ok(objects)
}

/// Applies objects that are in the order of application, printing what became of each; returns a line on the policy
/// of every tenant concerned.
pub(crate) async fn apply_in_order(api: &ApiClient, objects: &[Object]) -> Result<Vec<String>, Failure> {
    for object in objects {
        let done = apply_one(api, object)
            .await
            .map_err(|failure| failure.during(format!("cannot apply {}", object.title())))?;
        terminal::print(&format!("{done} {}\n", object.title()));
    }
    let tenants: BTreeSet<_> = objects.iter().map(|object| object.tenant.as_ref()).collect();
    let mut lines = Vec::new();
    for tenant in tenants {
        let api = tenant.map_or_else(|| api.clone(), |tenant| api.in_tenant(tenant.as_str()));
        lines.push(convergence::wait(&api, Presence::Unknown, CONVERGENCE_TIMEOUT).await?.sentence());
    }
    Ok(lines)
}

async fn apply_one(api: &ApiClient, object: &Object) -> Result<&'static str, Failure> {
    let (api, path) = place_of(api, object);
    let path = path.each_ref().map(String::as_str);
    let body = json!({ "labels": object.labels, "spec": object.spec });
    match standing(&api, &path, object).await? {
        Standing::Absent => api.put(&path, Precondition::Absent, &body).await.map(|_| "created"),
        Standing::AsDeclared => Ok("unchanged"),
        Standing::Other(stored) => {
            api.put(&path, Precondition::Unchanged(&stored.etag), &body).await.map(|_| "updated")
        }
    }
}

/// Compares an object with what is stored.
pub(crate) async fn compare(api: &ApiClient, object: &Object) -> Result<Standing, Failure> {
    let (api, path) = place_of(api, object);
    standing(&api, &path.each_ref().map(String::as_str), object).await
}

async fn standing(api: &ApiClient, path: &[&str], object: &Object) -> Result<Standing, Failure> {
    Ok(match api.find(path).await? {
        None => Standing::Absent,
        Some(stored) if is_as_declared(&stored, object) => Standing::AsDeclared,
        Some(stored) => Standing::Other(stored),
    })
}

/// Where an object is: its tenant, and its path there.
fn place_of(api: &ApiClient, object: &Object) -> (ApiClient, [String; 2]) {
    let api = object.tenant.as_ref().map_or_else(|| api.clone(), |tenant| api.in_tenant(tenant.as_str()));
    (api, [object.kind.collection(), object.name.to_string()])
}

fn is_as_declared(stored: &Stored, object: &Object) -> bool {
    stored.body["spec"] == object.spec && stored.body["labels"] == json!(object.labels)
}
