//! The connection to the control plane, as those see it who use it.
//!
//! Invariant: a channel that is handed out has a certificate which was good when it was published; when a newer one
//! takes its place, those who hold streams over the old one are told.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// A way to the control plane, once there is one. Clones share it.
#[derive(Debug, Clone)]
pub struct Link {
    channel: watch::Receiver<Option<Channel>>,
    standing: Standing,
}

/// Who replaces the channel.
#[derive(Debug)]
pub(super) struct Publisher {
    channel: watch::Sender<Option<Channel>>,
    standing: Standing,
}

#[derive(Debug, Clone, Default)]
struct Standing {
    revoked: CancellationToken,
    /// Unix seconds; zero while there is no certificate.
    expires_at: Arc<AtomicI64>,
}

/// Both ends, without a channel.
pub(super) fn pair() -> (Publisher, Link) {
    let (channel, link) = watch::channel(None);
    let standing = Standing::default();
    (Publisher { channel, standing: standing.clone() }, Link { channel: link, standing })
}

impl Link {
    /// Over this channel, for ever.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { channel: watch::channel(Some(channel)).1, standing: Standing::default() }
    }

    /// The channel, if there is one by now.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        self.channel.borrow().clone()
    }

    /// Waits until there is a channel other than the one seen before.
    pub async fn replaced(&mut self) {
        if self.channel.changed().await.is_err() {
            // Nobody replaces it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Tells everyone that the control plane has revoked this data plane.
    pub fn revoke(&self) {
        self.standing.revoked.cancel();
    }

    /// Waits until this data plane has been revoked.
    pub async fn revoked(&self) {
        self.standing.revoked.cancelled().await;
    }

    /// When the certificate ends, in unix seconds; none while there is none.
    #[must_use]
    pub fn certificate_expires_at(&self) -> Option<i64> {
        Some(self.standing.expires_at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}

impl Publisher {
    pub(super) fn publish(&self, channel: Channel, expires_at: i64) {
        self.standing.expires_at.store(expires_at, Ordering::Relaxed);
        self.channel.send_replace(Some(channel));
    }

    /// There is no way to the control plane any more.
    pub(super) fn withdraw(&self) {
        self.standing.revoked.cancel();
        self.standing.expires_at.store(0, Ordering::Relaxed);
        self.channel.send_replace(None);
    }

    pub(super) fn channel(&self) -> Option<Channel> {
        self.channel.borrow().clone()
    }

    pub(super) fn revoked(&self) -> CancellationToken {
        self.standing.revoked.clone()
    }
}
