//! Who this data plane is to its control plane: it joins with an enrollment token, and from then on with certificates
//! that it renews by itself.
//!
//! - `identity.rs` keeps key and certificate in the state directory; `link.rs` is the connection that others use;
//! - `join.rs` asks for certificates; `tls.rs` knows a control plane when it sees one.
//!
//! Invariant: the private key leaves the state directory never, and the token goes to nobody but a control plane of the
//! authority that it names, or that has proved to know it.

mod identity;
mod join;
mod link;
mod tls;

#[cfg(test)]
mod tests;

use std::{error::Error, io, path::Path, time::Duration};

use aws_lc_rs::rand;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{DataPlaneId, EnrollmentToken, enrollment};
use tonic::Status;

pub use identity::IdentityError;
use identity::{Identity, Safe};
use join::{ControlPlane, JoinError};
pub use link::Link;
use link::Publisher;

/// A machine that was suspended wakes up at another time: the clock is looked at this often.
const NAP: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// What was refused will be refused again, unless somebody does something about it.
const REFUSED_BACKOFF: Duration = Duration::from_secs(30);
/// A renewal that fails is tried again after this part of the certificate's life, but not later than [`BACKOFF_MAX`].
const RENEW_AGAIN_PARTS: u32 = 50;

/// Why a data plane cannot belong to an installation.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The state directory cannot be used.
    #[error("the identity in the state directory cannot be used: {0}")]
    Identity(#[from] IdentityError),
    /// It was sent away.
    #[error(
        "this data plane was revoked: it serves nobody. To make this machine another data plane, empty its state \
         directory and give it an enrollment token"
    )]
    Revoked,
    /// It has neither a certificate nor anything to get one with.
    #[error(
        "this data plane is not enrolled, and has no enrollment token: make one with `tollgate data-planes enroll`, and \
         give it as TOLLGATE_ENROLLMENT_TOKEN or in the file of --enrollment-token-file"
    )]
    NoToken,
    /// No address of a control plane.
    #[error("the control plane's address is unusable: {0}")]
    Address(String),
    /// The certificate or its key.
    #[error("the certificate of this data plane cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A data plane's part in an installation.
#[derive(Debug)]
pub struct Membership {
    id: DataPlaneId,
    token: Option<EnrollmentToken>,
    safe: Safe,
    control_plane: ControlPlane,
    identity: Option<Identity>,
    publisher: Publisher,
}

/// Whether a status says that this data plane was revoked.
#[must_use]
pub fn is_revocation(status: &Status) -> bool {
    status.metadata().get(enrollment::REFUSAL_KEY).is_some_and(|name| name == enrollment::REVOKED)
}

impl Membership {
    /// Takes up the identity in `dir`, if there is one of this data plane and of the authority that the token names.
    ///
    /// # Errors
    /// When there is none and no token either, or the data plane was revoked.
    pub fn open(
        dir: &Path,
        id: DataPlaneId,
        control_url: &str,
        token: Option<EnrollmentToken>,
    ) -> Result<(Self, Link), MembershipError> {
        let safe = Safe::open(dir)?;
        if safe.is_revoked() {
            return Err(MembershipError::Revoked);
        }
        let control_plane = ControlPlane::at(control_url).map_err(MembershipError::Address)?;
        let known = safe.load()?.filter(|identity| {
            let named = token.as_ref().and_then(EnrollmentToken::authority);
            let fits = identity.data_plane == id && named.is_none_or(|named| identity.trusts(named));
            if !fits {
                tracing::warn!("the certificate on disk is of another data plane or installation: enrolling anew");
            }
            fits
        });
        if known.is_none() && token.is_none() {
            return Err(MembershipError::NoToken);
        }
        let (publisher, link) = link::pair();
        let mut membership = Self { id, token, safe, control_plane, identity: None, publisher };
        if let Some(identity) = known {
            membership.take_up(identity)?;
        }
        Ok((membership, link))
    }

    /// Enrols if need be and renews in time, until `stopping` or until this data plane is revoked.
    pub async fn keep(mut self, stopping: CancellationToken) {
        let revoked = self.publisher.revoked();
        tokio::select! {
            () = self.keep_certified() => {}
            () = revoked.cancelled() => {}
            () = stopping.cancelled() => return,
        }
        self.publisher.withdraw();
        if let Err(error) = self.safe.retire() {
            tracing::error!(%error, "this data plane was revoked, and its key is still on disk");
        }
    }

    /// Ends when this data plane was revoked.
    async fn keep_certified(&mut self) {
        let mut retry = Retry::default();
        loop {
            let now = chrono::Utc::now().timestamp();
            let wanted = match &self.identity {
                Some(identity) if !identity.is_expired(now) => {
                    let left = identity.until_renewal(now, retry.jitter);
                    tokio::time::sleep(left.min(NAP)).await;
                    if left > NAP {
                        continue;
                    }
                    self.renew().await
                }
                _ => self.enrol().await,
            };
            let now = chrono::Utc::now().timestamp();
            match wanted {
                Ok(identity) if identity.is_expired(now) => {
                    retry.wait(&JoinError::Clock, self.identity.as_ref()).await;
                }
                Ok(identity) => {
                    if let Err(error) = self.safe.save(&identity) {
                        tracing::error!(%error, "the certificate could not be kept: a restart needs a new enrollment token");
                    }
                    if let Err(error) = self.take_up(identity) {
                        tracing::error!(%error, "the certificate cannot be used");
                    }
                    retry = Retry::default();
                }
                Err(JoinError::Refused(status)) if is_revocation(&status) => return,
                Err(error) => retry.wait(&error, self.identity.as_ref()).await,
            }
        }
    }

    async fn enrol(&self) -> Result<Identity, JoinError> {
        let token = self.token.as_ref().ok_or(JoinError::Expired)?;
        self.control_plane.enrol(token, self.id).await
    }

    async fn renew(&self) -> Result<Identity, JoinError> {
        let channel = self.publisher.channel().ok_or(JoinError::Expired)?;
        self.control_plane.renew(channel, self.id).await
    }

    /// Uses the certificate for every request from now on, unless it has expired.
    fn take_up(&mut self, identity: Identity) -> Result<(), MembershipError> {
        if !identity.is_expired(chrono::Utc::now().timestamp()) {
            let channel = self.control_plane.channel(&identity)?;
            self.publisher.publish(channel, identity.expires_at);
            tracing::info!(data_plane = %self.id, expires_at = identity.expires_at, "certified as a data plane");
        }
        self.identity = Some(identity);
        Ok(())
    }
}

/// How often something has failed, and what was said about it.
#[derive(Debug)]
struct Retry {
    backoff: Duration,
    said: String,
    /// Of 256: spreads data planes that were enrolled together.
    jitter: u8,
}

impl Default for Retry {
    fn default() -> Self {
        let mut byte = [0];
        // Without randomness there is no jitter, which is no harm.
        let _random = rand::fill(&mut byte);
        Self { backoff: BACKOFF_FIRST, said: String::new(), jitter: byte[0] }
    }
}

impl Retry {
    /// Says what is wrong once, and waits before the next try.
    async fn wait(&mut self, error: &JoinError, identity: Option<&Identity>) {
        let refused =
            matches!(error, JoinError::Refused(_) | JoinError::Stranger(_) | JoinError::Expired | JoinError::Clock);
        let reason = chain(error);
        if reason != self.said {
            if refused {
                tracing::error!(reason, "the control plane does not certify this data plane");
            } else {
                tracing::warn!(reason, "the control plane cannot be asked for a certificate; trying on");
            }
            self.said = reason;
        }
        let pause = match identity.map(Identity::life) {
            Some(life) if !refused => (life / RENEW_AGAIN_PARTS).min(BACKOFF_MAX),
            _ if refused => REFUSED_BACKOFF,
            _ => self.backoff,
        };
        tokio::time::sleep(pause).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

/// An error with what is behind it: a failed handshake is told only there.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<io::Error> for MembershipError {
    fn from(error: io::Error) -> Self {
        Self::Identity(error.into())
    }
}
