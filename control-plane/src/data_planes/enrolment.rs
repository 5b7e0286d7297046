//! How a data plane gets its certificates: the first one for an enrollment token, every other for the one before.
//!
//! Invariant: an id belongs to whom it was certified for first, until that certificate has expired unrenewed: a copied
//! state directory, or a stranger with a token, does not take it over. An id that was revoked is nobody's any more.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use tollgate_proto::DataPlaneId;

use super::sql;
use crate::{
    app::App,
    audit,
    authority::{self, AuthorityError, Issued, RequestError, SigningRequest},
    db::TenantTx,
    enrollment_tokens::{self, TokenRefusal},
    tenants,
};

/// Why no certificate was issued. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    #[error("this data plane was revoked: empty its state directory, and enrol it as a new one")]
    Revoked,
    #[error(
        "this id is that of another data plane, whose certificate is good until {0}: if the state directory was copied, \
         empty this one"
    )]
    Taken(DateTime<Utc>),
    #[error("{0}")]
    Storage(#[from] sqlx::Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// A key that is to be a data plane's.
pub(super) struct Certified<'a> {
    pub(super) data_plane: DataPlaneId,
    pub(super) key_digest: &'a [u8],
    pub(super) issued: &'a Issued,
}

/// Certifies a data plane that shows a token.
pub(crate) async fn enrol(
    app: &App,
    token: &str,
    data_plane: DataPlaneId,
    request: &[u8],
) -> Result<Issued, EnrolmentError> {
    let request = SigningRequest::read(request)?;
    let authority = authority::of(app).await?;
    let key_digest = request.key_digest();
    let mut tx = app.db.platform().await?;
    let admission = enrollment_tokens::consume(app, &mut tx, token, data_plane, &key_digest).await?;
    let issued = authority.certify(data_plane, &request, Utc::now(), app.enrolment.certificate_life)?;
    let certified = Certified { data_plane, key_digest: &key_digest, issued: &issued };
    if !sql::enrol(&mut tx, &certified, admission.id).await? {
        return Err(why_not(&mut tx, data_plane).await?);
    }
    let Some(first) = tenants::first(&mut tx).await? else {
        // Nobody is there yet who could read what is audited.
        tx.commit().await?;
        return Ok(issued);
    };
    let mut tx = TenantTx::within(tx, first).await?;
    let actor = format!("enrollment-token:{}", admission.id.map_or(admission.name.clone(), |id| id.to_string()));
    let id = data_plane.to_string();
    let event = audit::Event {
        actor: &actor,
        action: "data_plane.enrol",
        object_kind: "data_plane",
        object_id: &id,
        object_name: &id,
        detail: json!({ "token": admission.name, "serial": issued.serial, "expires_at": issued.expires_at }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    tracing::info!(%data_plane, token = admission.name, serial = issued.serial, "a data plane was enrolled");
    Ok(issued)
}

/// Certifies a data plane anew that came with a certificate which is good.
pub(crate) async fn renew(app: &App, data_plane: DataPlaneId, request: &[u8]) -> Result<Issued, EnrolmentError> {
    let request = SigningRequest::read(request)?;
    let authority = authority::of(app).await?;
    let issued = authority.certify(data_plane, &request, Utc::now(), app.enrolment.certificate_life)?;
    let key_digest = request.key_digest();
    let mut tx = app.db.platform().await?;
    if !sql::renew(&mut tx, &Certified { data_plane, key_digest: &key_digest, issued: &issued }).await? {
        return Err(EnrolmentError::Revoked);
    }
    tx.commit().await?;
    tracing::info!(%data_plane, serial = issued.serial, "a data plane's certificate was renewed");
    Ok(issued)
}

async fn why_not(connection: &mut PgConnection, data_plane: DataPlaneId) -> Result<EnrolmentError, sqlx::Error> {
    let held = sql::certificate(connection, data_plane).await?;
    Ok(match held.and_then(|held| held.expires_at.filter(|_| !held.revoked)) {
        Some(expires_at) => EnrolmentError::Taken(expires_at),
        None => EnrolmentError::Revoked,
    })
}
