//! A legacy agent (up to 2025-11-25) and a modern server (2026-07-28): what the agent's request becomes on its way to
//! the server, and what comes back becomes for the agent.
//!
//! - `introduction.rs`: what the agent said once, at its handshake, is said to the server in every request.
//! - `discover.rs`: what the server says of itself, as the result of that handshake.
//! - `request.rs` and `outcome.rs`: requests one way, results and errors the other.
//! - `question.rs`: what an `input_required` result asks becomes requests to the agent, whose answers go into a retry;
//!   `round.rs` collects them.
//! - `listen.rs`: a GET stream and subscriptions as `subscriptions/listen`.
//!
//! Invariant: the agent sees no result type, cache hint, subscription id or error code that only the modern era knows,
//! and is asked only what it declared that it can answer.

pub mod discover;
pub mod introduction;
pub mod listen;
pub mod outcome;
pub mod question;
pub mod request;
pub mod round;

pub use introduction::Introduction;
pub use outcome::Outcome;
pub use round::{Round, Taken};

#[cfg(test)]
mod tests;
