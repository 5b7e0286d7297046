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
    runtime::{Builder, Runtime},
    task::{JoinHandle, JoinSet},
};

use crate::ports::free_port;

/// The wire.
#[derive(Debug)]
pub struct Relay {
    /// Its own: while a story waits for a process to end, its thread does nothing else.
    runtime: Option<Runtime>,
    port: u16,
    target: Mutex<SocketAddr>,
    carrying: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Lays a wire to `target`.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
        let relay =
            Self { runtime: Some(runtime), port: free_port(), target: target.into(), carrying: Mutex::default() };
        relay.mend();
        relay
    }

    /// Where it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it; returns when nobody listens any more.
    pub async fn cut(&self) {
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
    pub fn mend(&self) {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("the port is ours");
        listener.set_nonblocking(true).expect("a listener need not block");
        let target = *self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = self.runtime.as_ref().expect("it runs until the relay is dropped");
        let carrying = runtime.spawn(async move {
            carry(TcpListener::from_std(listener).expect("a listener that does not block"), target).await;
        });
        *self.carrying.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrying);
    }

    /// Mends it with another end.
    ///
    /// # Panics
    /// As [`Relay::mend`].
    pub fn mend_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.mend();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
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
