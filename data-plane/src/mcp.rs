//! The Model Context Protocol without I/O: reading and writing its messages, its two eras, its headers, its event
//! streams and its names.
//!
//! Invariant: nothing in here opens a socket, reads a clock or draws a random number. Bytes come in, values or
//! typed errors go out; what is sent onward is written anew from what was read.

pub mod era;
#[cfg(test)]
mod fuzz;
pub mod header;
pub mod instructions;
pub mod json;
pub mod level;
pub mod list;
pub mod message;
pub mod method;
pub mod sse;
pub mod uris;
pub mod version;
pub mod x_header;

pub use tollgate_proto::names;
