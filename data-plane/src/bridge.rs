//! Translation between the two eras: what a message of one era is in the other.
//!
//! `to_legacy` serves a modern agent from a legacy server, `to_modern` a legacy agent from a modern server.
//!
//! Invariant: nothing in here does I/O, reads a clock or draws a random number: messages come in, messages go out.

#[cfg(test)]
mod testing;
pub mod to_legacy;
pub mod to_modern;
