//! How fast the authorization server is on one core, next to what it cannot be faster than: one ES256 signature, one
//! SQL round trip, one committed transaction, all measured in the same run.
//!
//! The control plane is the real binary, pinned to the first core; this program and whatever else runs has the others.
//! `TOLLGATE_BENCH_SECONDS` is how long each measurement takes, 5 unless told.
//!
//! Invariant: an answer that is not the expected one ends the run, so that no figure counts refusals.

mod assertion;
mod client;
mod floor;
mod measure;
mod report;

use std::time::Duration;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, InteractiveAgent, Person};

use self::{assertion::Signer, client::Client, measure::Measurement};

/// Requests that are under way at a time.
const WORKERS: usize = 16;
const SCOPE: &str = "bench:*";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = std::env::var("TOLLGATE_BENCH_SECONDS").map_or(5, |text| text.parse().expect("a number of seconds"));
    let time = Duration::from_secs(seconds);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Children inherit the core.
    stay_on(0..1);
    let tollgate = Deployment::separate(1).start().await;
    if cores > 1 {
        stay_on(1..cores);
    }
    let floors = floor::measure(time).await;
    let rows = endpoints(&tollgate, time).await;
    report::print(&floors, &rows);
    report::write(&floors, &rows);
}

fn stay_on(cores: std::ops::Range<usize>) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core).expect("few enough cores");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("a process may stay where it is allowed to be");
}

async fn endpoints(tollgate: &Deployment, time: Duration) -> Vec<Measurement> {
    let client = &Client::new(&tollgate.issuer());
    let control_plane = tollgate.process_id("tollgate control-plane");
    // Nobody calls it: it is there to be granted.
    tollgate.put("servers/bench", json!({"spec": {"instances": [{"url": "https://mcp.example.com/mcp"}]}})).await;
    let secret = tollgate.agent("with-secret").grant(SCOPE).create().await;
    let signer = &Signer::new(&tollgate.issuer());
    let signing = &signing_agent(tollgate, signer).await;
    let grant = "grant_type=client_credentials";

    let by_secret = &format!("{grant}&client_id={}&client_secret={}", secret.client_id, secret.client_secret);
    let ask = || async move || drop(client.post("token", by_secret).await);
    let mut rows =
        vec![measure::run("client credentials, secret", time, control_plane, (0..WORKERS).map(|_| ask())).await];

    let ask = || async move || drop(client.post("token", &format!("{grant}&{}", signer.assertion(signing))).await);
    rows.push(measure::run("client credentials, assertion", time, control_plane, (0..WORKERS).map(|_| ask())).await);

    let app = &tollgate.interactive_agent("app").grant(SCOPE).create().await;
    let tokens = refresh_tokens(tollgate, app).await;
    let refresh = |mut token: String| {
        async move || {
            let form = format!("grant_type=refresh_token&client_id={}&refresh_token={token}", app.client_id);
            let answer = client.post("token", &form).await;
            token = answer["refresh_token"].as_str().expect("a successor").to_owned();
        }
    };
    rows.push(measure::run("refresh", time, control_plane, tokens.into_iter().map(refresh)).await);
    rows.push(introspection(client, &secret, time, control_plane).await);
    rows
}

async fn introspection(client: &Client, agent: &Agent, time: Duration, control_plane: u32) -> Measurement {
    let credentials = format!("client_id={}&client_secret={}", agent.client_id, agent.client_secret);
    let issued = client.post("token", &format!("grant_type=client_credentials&{credentials}")).await;
    let token = issued["access_token"].as_str().expect("a token");
    let form = &format!("token={token}&{credentials}");
    let ask = || async move || assert_eq!(client.post("introspect", form).await["active"], true);
    measure::run("introspection", time, control_plane, (0..WORKERS).map(|_| ask())).await
}

/// An agent that signs; answers its `client_id`.
async fn signing_agent(tollgate: &Deployment, signer: &Signer) -> String {
    let spec =
        json!({"team": "stories", "type": "autonomous", "auth_method": "private_key_jwt", "jwks": signer.jwks()});
    let agent: Value = tollgate.put("agents/signs", json!({"spec": spec})).await;
    tollgate.put("grants/signs", json!({"spec": {"to": {"agent": "signs"}, "scopes": [SCOPE]}})).await;
    agent["id"].as_str().expect("an agent has an id").to_owned()
}

/// One for each worker, of as many consents.
async fn refresh_tokens(tollgate: &Deployment, app: &InteractiveAgent) -> Vec<String> {
    let mut person = Person::owner(tollgate).await;
    let mut tokens = Vec::new();
    for _ in 0..WORKERS {
        tokens.push(app.tokens(&mut person, &tollgate.federated_url()).await.refresh_token);
    }
    tokens
}
