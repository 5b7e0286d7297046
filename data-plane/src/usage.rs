//! The first half of the ledger: what a call was and what became of it, on this host until the control plane has it.
//!
//! An intent is on disk before its call is forwarded, a completion after; both outlive `kill -9`. The control plane
//! stores a record once per `call_id`, so that sending one twice is harmless and losing one is not possible while
//! the disk lives.
//!
//! Invariant: positions ascend and are never used twice, and records are sent in their order. The control plane
//! skips what lies at or below its mark, so that a position out of order would be a record lost.

mod entry;
mod identity;
mod segment;
pub mod ship;
pub mod spool;

#[cfg(test)]
mod tests;

pub use ship::Shipping;
pub use spool::{Intent, Spool, SpoolError};
