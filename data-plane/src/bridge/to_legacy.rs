//! A modern agent (2026-07-28) and a legacy server (up to 2025-11-25): what the agent's request becomes on its way to
//! the server, and what comes back becomes for the agent.
//!
//! - `capabilities.rs`: what the agent says in every request is what the server hears once, at the handshake.
//! - `request.rs` and `outcome.rs`: requests one way, results and errors the other.
//! - `question.rs`: what a server asks in the middle of a call becomes an `input_required` result, and the answers that
//!   a retry brings become responses to the server. `state.rs` is what the gateway hands to the agent in between.
//! - `notice.rs`: progress and log messages; `listen.rs`: a GET stream and subscriptions as `subscriptions/listen`.
//! - `discover.rs`: the handshake's result as that of `server/discover`.
//!
//! Invariant: the agent sees no id, token, session or error code that only its server's era knows, and the server is
//! told of no capability that the agent did not declare in the request at hand.

pub mod capabilities;
pub mod discover;
pub mod listen;
pub mod notice;
pub mod outcome;
pub mod question;
pub mod request;
pub mod state;

pub use capabilities::Capabilities;
pub use outcome::Outcome;
pub use question::{Heard, Kind};
pub use state::State;

#[cfg(test)]
mod tests;
