//! Tollgate's data plane: the path of every governed call.

pub mod mcp;
pub mod store;
pub mod usage;
