//! Who may speak: data planes with a certificate that has not expired, and that were not sent away.
//!
//! Invariant: who has an [`Admitted`] was not revoked at a moment when this control plane knew of every revocation.

use std::time::Duration;

use chrono::Utc;
use tokio::{sync::watch, time::timeout};
use tollgate_proto::{
    DataPlaneId,
    enrollment::{REFUSAL_KEY, REVOKED},
};
use tonic::{Code, Request, Status, metadata::MetadataValue};
use uuid::Uuid;

use super::tls::{Peer, PeerCertificate};
use crate::{app::App, policy::Known};

/// How long a request may wait for the first look at the database.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// A data plane that may speak.
#[derive(Debug)]
pub(crate) struct Admitted {
    certificate: PeerCertificate,
    known: watch::Receiver<Known>,
}

/// Turns away who has no certificate, or an expired one, before anything of a service is reached.
pub(super) fn require_certificate(request: Request<()>) -> Result<Request<()>, Status> {
    certificate_of(&request)?;
    Ok(request)
}

/// Refuses a message that speaks for another data plane than the one that sends it.
pub(crate) fn require_own_id(data_plane: DataPlaneId, named: &str) -> Result<(), Status> {
    let named = Uuid::try_parse(named).map_err(|_| Status::invalid_argument("`data_plane_id` is no UUID"))?;
    if named == data_plane.uuid() {
        return Ok(());
    }
    Err(Status::permission_denied("`data_plane_id` is not the one that the certificate names"))
}

/// A refusal that data planes tell from others by its name.
pub(super) fn refusal(code: Code, name: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(REFUSAL_KEY, MetadataValue::from_static(name));
    status
}

impl Admitted {
    /// Who sends the request, if they may.
    ///
    /// # Errors
    /// The refusal; or that this control plane does not know yet.
    pub(crate) async fn of<T>(app: &App, request: &Request<T>) -> Result<Self, Status> {
        let certificate = certificate_of(request)?;
        let mut known = app.policy_changes.subscribe();
        let revoked = match timeout(KNOWN_WITHIN, known.wait_for(Known::is_complete)).await {
            Ok(Ok(known)) => known.is_revoked(certificate.data_plane),
            _ => return Err(Status::unavailable("this control plane has not seen its database yet; try again")),
        };
        if revoked { Err(sent_away()) } else { Ok(Self { certificate, known }) }
    }

    pub(crate) const fn data_plane(&self) -> DataPlaneId {
        self.certificate.data_plane
    }

    /// Waits until it may no longer speak, and says why.
    pub(crate) async fn ended(&mut self) -> Status {
        let data_plane = self.certificate.data_plane;
        let left = (self.certificate.expires_at - Utc::now()).to_std().unwrap_or_default();
        tokio::select! {
            revoked = self.known.wait_for(|known| known.is_revoked(data_plane)) => match revoked {
                Ok(_) => sent_away(),
                // The sender lives in the app, which has gone.
                Err(_) => Status::unavailable("the control plane stops"),
            },
            () = tokio::time::sleep(left) => expired(),
        }
    }
}

fn certificate_of<T>(request: &Request<T>) -> Result<PeerCertificate, Status> {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.certificate);
    let certificate =
        peer.ok_or_else(|| Status::unauthenticated("this needs a data plane's certificate: enrol first"))?;
    if certificate.expires_at <= Utc::now() { Err(expired()) } else { Ok(certificate) }
}

fn expired() -> Status {
    Status::unauthenticated("the certificate of this connection has expired: connect with a newer one")
}

fn sent_away() -> Status {
    refusal(Code::PermissionDenied, REVOKED, "this data plane was revoked")
}
