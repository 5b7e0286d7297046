//! The connection to Redis: dialled in the background, again and again, and shared by all calls.
//!
//! A multiplexed connection that hangs (a partition, a stopped process) never errs, so that the crate's own
//! reconnection does not see it. Therefore the breaker asks for a new one here.
//!
//! Invariant: the task ends when the last [`Links`] is dropped.

use std::{sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult, aio::MultiplexedConnection,
    cluster::ClusterClient, cluster_async::ClusterConnection,
};
use tokio::sync::{Notify, watch};

use crate::store::StoreError;

const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Callers give up by deadlines of their own, of which that of a large message is the longest.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts; also the least time that a connection is given to prove itself.
const DIAL_PAUSE: Duration = Duration::from_millis(100);
/// Requests that may wait to be written; beyond it, callers wait (and run into their deadline).
const PIPELINE_MAX: usize = 1_024;

/// The newest connection, once there is one.
#[derive(Debug)]
pub(super) struct Links {
    newest: watch::Receiver<Option<Link>>,
    renew: Arc<Notify>,
}

/// A connection that many calls use at once.
#[derive(Clone)]
pub(super) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

enum Dialler {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

impl Links {
    /// Starts to dial.
    pub(super) fn open(urls: &[String]) -> Result<Self, StoreError> {
        let dialler = Dialler::new(urls).map_err(|error| StoreError::Address(error.to_string()))?;
        let (publish, newest) = watch::channel(None);
        let renew = Arc::new(Notify::new());
        tokio::spawn(keep_connected(dialler, publish, Arc::clone(&renew)));
        Ok(Self { newest, renew })
    }

    /// The newest connection; waits for the first one.
    pub(super) async fn get(&self) -> Link {
        let mut newest = self.newest.clone();
        loop {
            if let Some(link) = newest.borrow_and_update().as_ref() {
                return link.clone();
            }
            if newest.changed().await.is_err() {
                // The dialling task ends only with the runtime; the caller's deadline ends this.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The newest connection does not answer: dial another.
    pub(super) fn renew(&self) {
        self.renew.notify_one();
    }
}

impl Link {
    pub(super) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Dialler {
    fn new(urls: &[String]) -> RedisResult<Self> {
        match urls {
            [url] => Client::open(url.as_str()).map(Box::new).map(Self::Single),
            _ => ClusterClient::builder(urls.iter().map(String::as_str))
                .connection_timeout(DIAL_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT)
                .build()
                .map(Box::new)
                .map(Self::Cluster),
        }
    }

    async fn dial(&self) -> RedisResult<Link> {
        match self {
            Self::Single(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(DIAL_TIMEOUT))
                    .set_response_timeout(None)
                    .set_pipeline_buffer_size(PIPELINE_MAX);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Link::Single)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }
}

async fn keep_connected(dialler: Dialler, publish: watch::Sender<Option<Link>>, renew: Arc<Notify>) {
    let mut failing = false;
    loop {
        // A server that takes the connection and stays silent would hold the attempt for ever.
        let dialled = tokio::time::timeout(DIAL_TIMEOUT, dialler.dial()).await;
        match dialled {
            Ok(Ok(link)) => {
                tracing::info!("connected to the store");
                failing = false;
                publish.send_replace(Some(link));
                tokio::select! {
                    () = renew.notified() => {}
                    () = publish.closed() => return,
                }
            }
            Ok(Err(error)) if !failing => {
                tracing::warn!(%error, "cannot connect to the store; trying on");
                failing = true;
            }
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(DIAL_PAUSE) => {}
            () = publish.closed() => return,
        }
    }
}
