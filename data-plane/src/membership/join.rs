//! Asking a control plane for certificates.
//!
//! Invariant: every certificate is for a key that was made here for it.

use std::time::Duration;

use aws_lc_rs::{error::Unspecified, rand};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;
use tollgate_proto::{
    DataPlaneId, EnrollmentToken, FINGERPRINT_LEN,
    enrollment::v1::{
        Certificate, EnrollRequest, IntroduceRequest, RenewRequest, enrollment_service_client::EnrollmentServiceClient,
    },
    introduction::{self, NONCE_LEN},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{
    identity::{Identity, fingerprint_of},
    tls::{Trust, connector},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    /// There is nobody, or somebody who is no control plane of ours.
    #[error("no control plane of this installation can be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// Try again.
    #[error("{}", .0.message())]
    Failed(Status),
    /// Somebody has to do something about it; the message says what.
    #[error("{}", .0.message())]
    Refused(Status),
    /// It answers, and does not know our token.
    #[error("{0}")]
    Stranger(&'static str),
    /// There is no token.
    #[error(
        "the certificate of this data plane has expired: make an enrollment token with `tollgate data-planes enroll`, give \
         it as TOLLGATE_ENROLLMENT_TOKEN, and start it again"
    )]
    Expired,
    /// Nobody could use what was issued.
    #[error("a new certificate has expired already: set the clocks of both planes")]
    Clock,
    /// The TLS library.
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// No key could be made, or the request for it not be signed.
    #[error("no key can be made: {0}")]
    Key(#[from] rcgen::Error),
}

/// Where control planes answer.
#[derive(Debug)]
pub(super) struct ControlPlane {
    endpoint: Endpoint,
    /// Enrolling is repeated with the same key, so that an answer which was lost costs no second use of the token.
    first_key: Mutex<Option<KeyPair>>,
}

impl ControlPlane {
    /// At `https://host:port`.
    pub(super) fn at(url: &str) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
        if endpoint.uri().scheme_str() != Some("https") {
            return Err(format!("control planes speak TLS only: write `https://…` instead of `{url}`"));
        }
        Ok(Self { endpoint: endpoint.connect_timeout(CONNECT_TIMEOUT), first_key: Mutex::default() })
    }

    /// A channel that connects when it is used, and as often as it has to.
    pub(super) fn channel(&self, identity: &Identity) -> Result<Channel, rustls::Error> {
        let trust = Trust::Authorities(identity.authorities.clone());
        Ok(self.endpoint.connect_with_connector_lazy(connector(trust, Some(identity))?))
    }

    /// The first certificate, for a token.
    pub(super) async fn enrol(&self, token: &EnrollmentToken, data_plane: DataPlaneId) -> Result<Identity, JoinError> {
        let authority = match token.authority() {
            Some(authority) => *authority,
            None => self.introduce(token).await?,
        };
        let mut first_key = self.first_key.lock().await;
        let key = match first_key.take() {
            Some(key) => key,
            None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        };
        let request = EnrollRequest {
            token: token.secret().to_owned(),
            data_plane_id: data_plane.uuid().to_string(),
            signing_request: signing_request(&key)?,
        };
        let key = first_key.insert(key);
        let mut client = self.stranger(Trust::Fingerprint(authority)).await?;
        let issued = answered(client.enroll(request)).await?;
        Ok(identity(data_plane, key, issued))
    }

    /// The next certificate, for the one that `channel` has.
    pub(super) async fn renew(&self, channel: Channel, data_plane: DataPlaneId) -> Result<Identity, JoinError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = RenewRequest { signing_request: signing_request(&key)? };
        let issued = answered(EnrollmentServiceClient::new(channel).renew(request)).await?;
        Ok(identity(data_plane, &key, issued))
    }

    /// The fingerprint of the authority of whoever proves to know the token. Nothing is told to them that they could use.
    async fn introduce(&self, token: &EnrollmentToken) -> Result<[u8; FINGERPRINT_LEN], JoinError> {
        let mut nonce = vec![0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|Unspecified| rcgen::Error::RingUnspecified)?;
        let mut client = self.stranger(Trust::Anybody).await?;
        let met = answered(client.introduce(IntroduceRequest { nonce: nonce.clone() })).await?;
        let authority = met.authorities.first().ok_or(JoinError::Stranger("the control plane has no authority"))?;
        if !introduction::verify(token.secret(), &nonce, authority, &met.proof) {
            return Err(JoinError::Stranger(
                "who answers at the control plane's address does not know this enrollment token: check the address, and \
                 that both planes were given the same token",
            ));
        }
        Ok(fingerprint_of(authority))
    }

    async fn stranger(&self, trust: Trust) -> Result<EnrollmentServiceClient<Channel>, JoinError> {
        let channel = self.endpoint.connect_with_connector(connector(trust, None)?).await?;
        Ok(EnrollmentServiceClient::new(channel))
    }
}

fn signing_request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

fn identity(data_plane: DataPlaneId, key: &KeyPair, issued: Certificate) -> Identity {
    Identity {
        data_plane,
        key: key.serialize_der().into(),
        certificate: issued.certificate.into(),
        authorities: issued.authorities.into_iter().map(CertificateDer::from).collect(),
        issued_at: issued.issued_at,
        expires_at: issued.expires_at,
    }
}

async fn answered<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, JoinError> {
    let timed_out = || Status::deadline_exceeded("the control plane did not answer in time");
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, call).await.unwrap_or_else(|_| Err(timed_out()));
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::PermissionDenied | Code::AlreadyExists | Code::InvalidArgument | Code::FailedPrecondition => {
            JoinError::Refused(status)
        }
        _ => JoinError::Failed(status),
    })
}
