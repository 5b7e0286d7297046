//! A wire that can be cut: what is behind it is away then, as when it was stopped.
//!
//! Invariant: while it is cut, connections are refused and none is open.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::ports::free_port;

/// The wire.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    target: SocketAddr,
    carrying: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Lays a wire to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let relay = Self { port: free_port(), target, carrying: Mutex::default() };
        relay.mend().await;
        relay
    }

    /// Where it begins.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it; returns when nobody listens any more.
    pub(crate) async fn cut(&self) {
        let carrying = self.carrying.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(carrying) = carrying {
            carrying.abort();
            let _aborted = carrying.await;
        }
    }

    /// Mends it.
    ///
    /// # Panics
    /// When somebody else took its port meanwhile.
    pub(crate) async fn mend(&self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.expect("the port is ours");
        let carrying = tokio::spawn(carry(listener, self.target));
        *self.carrying.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrying);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(carrying) = self.carrying.lock().unwrap_or_else(PoisonError::into_inner).take() {
            carrying.abort();
        }
    }
}

async fn carry(listener: TcpListener, target: SocketAddr) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(target).await {
                let _either_end_closed = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
