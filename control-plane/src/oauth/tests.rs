//! The endpoints as clients meet them, on real Postgres.

mod assertion;
mod authorization_code;
mod authorize;
mod bodies;
mod client_auth;
mod client_document;
mod documents;
mod interrupted;
mod introspect;
mod liveness;
mod metadata;
mod observed;
mod operator;
mod races;
mod refresh_token;
mod register;
mod revoke;
mod round_trips;
mod scopes;
mod tenant_rules;
mod token;
mod toolsets;
