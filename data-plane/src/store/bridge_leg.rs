//! What a modern agent's calls at a legacy server share: the upstream session, and the marks of calls that wait for
//! their agent's answers.
//!
//! Invariant: one upstream session is never shared by two owners, and a round of answers is taken once.

use super::Leg;
use crate::mcp::level::Level;

/// An upstream session that serves a modern agent.
#[derive(Clone, PartialEq, Eq)]
pub struct BridgeLeg {
    /// Where it leads.
    pub leg: Leg,
    /// The server's result of `initialize`, as JSON text.
    pub initialized: String,
    /// The least severe log message that the server was asked for.
    pub level: Option<Level>,
}

impl std::fmt::Debug for BridgeLeg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BridgeLeg").field("leg", &self.leg).field("level", &self.level).finish_non_exhaustive()
    }
}
