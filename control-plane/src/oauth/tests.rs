//! The endpoints as clients meet them, on real Postgres.

mod authorize;
mod client_auth;
mod client_document;
mod documents;
mod observed;
mod operator;
mod register;
mod token;
