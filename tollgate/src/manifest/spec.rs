//! The shape of every kind's `spec`, to find a misspelt field before anything is sent.
//!
//! Invariant: these shapes only refuse. What is sent is what was written, not what was read into them.

#![expect(dead_code, reason = "reading into the fields is the check")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tollgate_proto::{Name, Scope};
use url::Url;

use super::Kind;

/// Says what is wrong with a spec.
pub(super) fn check(kind: Kind, spec: &Value) -> Result<(), String> {
    let read = match kind {
        Kind::Team => Team::deserialize(spec).map(drop),
        Kind::IdentityProvider => IdentityProvider::deserialize(spec).map(drop),
        Kind::Server => Server::deserialize(spec).map(drop),
        Kind::Toolset => Toolset::deserialize(spec).map(drop),
        Kind::Agent => Agent::deserialize(spec).map(drop),
        Kind::Grant => Grant::deserialize(spec).map(drop),
        Kind::Limit => Limit::deserialize(spec).map(drop),
        Kind::PriceBook => PriceBook::deserialize(spec).map(drop),
        Kind::Budget => Budget::deserialize(spec).map(drop),
        Kind::Webhook => Webhook::deserialize(spec).map(drop),
    };
    read.map_err(|error| error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Team {
    display_name: Option<String>,
    cost_center: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityProvider {
    display_name: Option<String>,
    issuer: Address,
    client_id: String,
    client_secret: Option<String>,
    scopes: Option<Vec<String>>,
    groups_claim: Option<String>,
    role_mapping: Option<Vec<RoleMapping>>,
    team_mapping: Option<Vec<TeamMapping>>,
    default_role: Option<String>,
    create_users: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleMapping {
    group: String,
    role: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamMapping {
    group: String,
    team: Name,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    instances: Vec<Instance>,
    transport: Option<String>,
    era: Option<String>,
    team: Option<Name>,
    credential: Option<Map<String, Value>>,
    passed_headers: Option<Vec<String>>,
    catalog: Option<Map<String, Value>>,
    reported_usage: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instance {
    url: Address,
    draining: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toolset {
    display_name: Option<String>,
    description: Option<String>,
    tools: Vec<ToolsetTool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolsetTool {
    server: Name,
    tool: String,
    name: Option<String>,
    description: Option<String>,
}

/// An absolute URL.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Address(Url);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("`{text}` is no URL: {error}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    team: Name,
    #[serde(rename = "type")]
    kind: String,
    display_name: Option<String>,
    redirect_uris: Option<Vec<Address>>,
    auth_method: Option<String>,
    jwks: Option<Map<String, Value>>,
    jwks_uri: Option<Address>,
    signing_alg: Option<String>,
    exact_tools: Option<bool>,
    introspect: Option<Introspection>,
}

/// All endpoints or none, or these.
#[derive(Deserialize)]
#[serde(untagged)]
enum Introspection {
    Every(bool),
    Of(Vec<Address>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    to: Map<String, Value>,
    scopes: Vec<Scope>,
    deny: Option<bool>,
    expires_at: Option<String>,
    conditions: Option<Vec<Condition>>,
    networks: Option<Vec<String>>,
    deny_as: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    pointer: String,
    equals: Option<Value>,
    r#in: Option<Vec<Value>>,
    prefix: Option<String>,
    matches: Option<String>,
    range: Option<Range>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    to: Map<String, Value>,
    requests: Option<Rate>,
    tokens: Option<Rate>,
    concurrency: Option<u64>,
    on_store_outage: Option<String>,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    count: u64,
    per: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    types: Option<Vec<String>>,
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceBook {
    effective_from: String,
    currency: String,
    teams: Option<Vec<Name>>,
    prices: Vec<Price>,
    outcome_factors: Option<BTreeMap<String, Amount>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    r#match: String,
    per_call: Option<Amount>,
    per_1k_input_tokens: Option<Amount>,
    per_1k_output_tokens: Option<Amount>,
    per_second: Option<Amount>,
    per_mib: Option<Amount>,
    server_reported: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    to: Map<String, Value>,
    period: String,
    amount: Amount,
    currency: Option<String>,
    soft: Option<Vec<Amount>>,
    hard: Option<String>,
    on_store_outage: Option<String>,
}

/// A decimal number as text: one without quotes has become a float by now.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Amount;

impl TryFrom<Value> for Amount {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(_) => Ok(Self),
            other => Err(format!("the amount {other} is not exact: write it in quotes, as in \"0.0125\"")),
        }
    }
}
