//! Ports for the processes under test.
//!
//! Invariant: one port is given out once in this process, and lies below the range from which the kernel takes the
//! ports of outgoing connections, so that nothing else grabs it between choosing and listening. The bus of a Redis
//! Cluster listens 10,000 above the port of a node: none of those is given out either.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 22_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback port that nobody listens on.
///
/// # Panics
/// When thousands of ports in a row are taken.
#[must_use]
pub fn free_port() -> u16 {
    let span = HIGHEST - LOWEST;
    // Test runs side by side start at different places.
    let start = u16::try_from(std::process::id() % u32::from(span)).expect("a remainder below a u16");
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % span;
        let port = LOWEST + (start.wrapping_mul(7) % span + step) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {LOWEST} and {HIGHEST}");
}
