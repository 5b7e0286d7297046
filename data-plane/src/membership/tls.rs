//! TLS to control planes: whom to take for one.
//!
//! What counts is who signed the certificate and that it is a control plane's, not the host that it answers on: the
//! installation's authority signs for control planes alone under that name, so that addresses may change.
//!
//! Invariant: TLS 1.3 always; no session is resumed, so that a certificate is looked at with every connection.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::TLS13,
};
use tollgate_proto::{FINGERPRINT_LEN, enrollment::CONTROL_PLANE_NAME};

use super::identity::{Identity, fingerprint_of};

/// Whom to believe.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Control planes that one of these authorities has signed for.
    Authorities(Vec<CertificateDer<'static>>),
    /// Control planes of the authority with this fingerprint, which they send along.
    Fingerprint([u8; FINGERPRINT_LEN]),
    /// Anybody: for asking who they are, and telling them nothing.
    Anybody,
}

/// Connects over TLS to whom `trust` believes, as `identity` if there is one.
pub(super) fn connector(trust: Trust, identity: Option<&Identity>) -> Result<HttpsConnector<HttpConnector>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier { trust, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(identity.key.clone_key());
            config.with_client_auth_cert(vec![identity.certificate.clone()], key)?
        }
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http2().wrap_connector(tcp))
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Those to verify against; `None`: there is nothing to verify.
    fn authorities(&self, sent: &[CertificateDer<'_>]) -> Result<Option<RootCertStore>, Error> {
        let mut roots = RootCertStore::empty();
        match &self.trust {
            Trust::Anybody => return Ok(None),
            Trust::Authorities(authorities) => authorities.iter().cloned().try_for_each(|known| roots.add(known))?,
            Trust::Fingerprint(fingerprint) => sent
                .iter()
                .filter(|sent| fingerprint_of(sent) == *fingerprint)
                .try_for_each(|named| roots.add(named.clone().into_owned()))?,
        }
        if roots.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        Ok(Some(roots))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = self.authorities(intermediates)? else { return Ok(ServerCertVerified::assertion()) };
        let role = ServerName::try_from(CONTROL_PLANE_NAME).expect("the name is a DNS name");
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, &role, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
