//! The stories of Tollgate, told end to end: real binary, real Postgres, real Redis, real clients.
//!
//! One module per theme; `scene.rs` holds the setting that many of them share.

mod scene;

mod access;
mod audit_log;
mod authorization;
mod bad_registrations;
mod bad_requests;
mod bad_servers;
mod bad_tokens;
mod batches;
mod bridge_to_legacy;
mod can_i;
mod catalog;
mod command_line;
mod compatibility;
mod conformance;
mod console;
mod conversations;
mod credentials;
mod differential;
mod discovery;
mod enrolment;
mod event_links;
mod federated_streams;
mod federation;
mod first_five_minutes;
mod fleet;
mod harness;
mod instances;
mod ledgers;
mod legacy_at_modern;
mod legacy_listening;
mod limits;
mod mirrored_headers;
mod modern_statuses;
mod outages;
mod policy;
mod proxies;
mod real_clients;
mod real_conversations;
mod real_questions;
mod real_servers;
mod revocation;
mod revocation_bound;
mod revoke_command;
mod sessions;
mod signing_keys;
mod staleness;
mod tasks;
mod telemetry;
mod tls;
mod toolsets;
mod two_admins;
mod upstream;
