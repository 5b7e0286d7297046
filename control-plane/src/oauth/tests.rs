//! The endpoints as clients meet them, on real Postgres.

mod authorization_code;
mod assertion;
mod authorize;
mod client_auth;
mod client_document;
mod documents;
mod metadata;
mod introspect;
mod observed;
mod operator;
mod races;
mod refresh_token;
mod register;
mod revoke;
mod round_trips;
mod token;
