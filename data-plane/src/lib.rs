//! Placeholder.

pub mod mcp;
