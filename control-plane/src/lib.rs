//! Tollgate's control plane: the authorization server of every tenant, the REST API and the console, the publisher
//! of policy and the intake of usage, over one Postgres.
//!
//! Where things are:
//!
//! - [`start`] (in `app.rs`) builds everything once and serves its listeners: HTTP (`router.rs`: REST, OAuth, console),
//!   gRPC (`grpc.rs`: enrolment, policy stream, usage intake) and `ops.rs` (health, metrics). `jobs.rs` is what runs by itself.
//! - One slice per noun: `teams.rs` has its types, rules and operations, `teams/api.rs` its JSON handlers,
//!   `teams/sql.rs` every query. The console's pages are in `console/`, the authorization server in `oauth/`.
//! - `resource.rs` is the envelope that all objects share and, in `resource/operations.rs`, how any of them is listed,
//!   created, replaced, patched and removed; a slice says what its spec means. `caller.rs` is who asks, `error.rs` what
//!   they are told when it cannot be done.
//! - `db.rs` hands out [`db::TenantTx`], the only way to a tenant's rows: Postgres' row-level security is told the
//!   tenant when it is made.
//!
//! Invariant: a change that data planes must see bumps its tenant's policy revision in the same transaction
//! (`policy::bump`), and every change by a caller writes its audit event there too (`audit::record`).

pub mod access_checks;
pub mod agents;
pub mod alerts;
pub mod amount;
pub mod answers;
pub mod api_keys;
pub mod app;
pub mod audit;
pub mod authority;
pub mod bootstrap;
pub mod budgets;
pub mod calendar;
pub mod caller;
pub mod catalog;
pub mod chargeback;
pub mod client_address;
pub mod config;
pub mod console;
pub mod data_planes;
pub mod db;
pub mod duration;
pub mod enrollment_tokens;
pub mod error;
pub mod fetch;
pub mod grants;
pub mod grpc;
pub mod identity_providers;
pub mod initial_access_tokens;
pub mod instance_health;
pub mod invisible;
pub mod jobs;
pub mod limits;
pub mod listener;
pub mod oauth;
pub mod ops;
pub mod page;
pub mod policy;
pub mod price_books;
pub mod request;
pub mod request_id;
pub mod resource;
pub mod revocations;
pub mod router;
pub mod seal;
pub mod sealing_keys;
pub mod secret;
pub mod servers;
pub mod sessions;
pub mod statements;
pub mod teams;
pub mod telemetry;
pub mod tenants;
#[cfg(test)]
pub(crate) mod testing;
pub mod toolsets;
pub mod usage;
pub mod users;
pub mod webhooks;

pub use app::{App, ControlPlane, StartError, start};
pub use config::{Config, Enrolment, POLICY_LEASE};
