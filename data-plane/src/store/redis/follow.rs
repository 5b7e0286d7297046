//! Follows the channels of announcements and wake-ups, on a connection of its own that is dialled again and again.
//!
//! Invariant: whoever listens is told of every gap, and the task ends when the store is dropped.

use std::{sync::Arc, time::Duration};

use ::redis::{Client, RedisResult, aio::PubSub};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::mail::{ANNOUNCEMENT_CHANNEL, Heard, MAIL_CHANNEL};
use crate::store::StoreError;

const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
const DIAL_PAUSE: Duration = Duration::from_millis(100);
/// A connection that hangs never errs: so often it is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the channels can be followed: any node will do.
pub(super) fn nodes(urls: &[String]) -> Result<Vec<Client>, StoreError> {
    let open = |url: &String| Client::open(url.as_str()).map_err(|error| StoreError::Address(error.to_string()));
    urls.iter().map(open).collect()
}

/// Follows the channels until `stopped`.
pub(super) async fn follow(nodes: Vec<Client>, heard: Arc<Heard>, stopped: CancellationToken) {
    let _stopped = stopped.run_until_cancelled(follow_on(&nodes, &heard)).await;
}

async fn follow_on(nodes: &[Client], heard: &Heard) {
    for node in nodes.iter().cycle() {
        if let Ok(Ok(channels)) = timeout(DIAL_TIMEOUT, subscribe(node)).await {
            heard.missed();
            listen(channels, heard).await;
        }
        tokio::time::sleep(DIAL_PAUSE).await;
    }
}

async fn subscribe(node: &Client) -> RedisResult<PubSub> {
    let mut channels = node.get_async_pubsub().await?;
    channels.subscribe(&[MAIL_CHANNEL, ANNOUNCEMENT_CHANNEL]).await?;
    Ok(channels)
}

/// Listens until the connection ends or hangs.
async fn listen(channels: PubSub, heard: &Heard) {
    let (mut sink, mut messages) = channels.split();
    let mut pings = tokio::time::interval(PING_EVERY);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => {
                    if let Ok(payload) = message.get_payload::<String>() {
                        heard.hear(message.get_channel_name(), &payload);
                    }
                }
                None => return,
            },
            _ = pings.tick() => {
                if !matches!(timeout(PING_TIMEOUT, sink.ping::<()>()).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}
