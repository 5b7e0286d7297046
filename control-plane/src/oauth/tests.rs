//! The endpoints as clients meet them, on real Postgres.

mod client_auth;
mod documents;
mod observed;
mod operator;
mod token;
