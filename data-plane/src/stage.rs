//! The ten stages of a call, one module each; `pipeline.rs` has their order, `listener.rs` is the first.
//!
//! Invariant: a stage demands the evidence of the one before it, and only the stage that gives evidence can make
//! it: a stage that is skipped or moved does not compile.

pub mod admit;
pub mod authorize;
pub mod currency;
pub mod forward;
pub mod identify;
pub mod read;
pub mod record;
pub mod relay;
pub mod route;
pub mod settle;
