//! The installation's own certificate authority: it says which process is a control plane and which is a data plane.
//!
//! It is made once, by whichever control plane needs it first, and lies in the database with its private key sealed. A
//! second one may stand beside it one day: the newest signs, all are trusted, and data planes learn of both with every
//! certificate, so that a rotation is an insert, a day of waiting and a delete.
//!
//! Invariant: a certificate is for one role alone. What a data plane holds never passes for a control plane, and of a
//! signing request nothing is taken but its key.

use std::{fmt, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::Unspecified,
    rand,
};
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKey,
    PublicKeyData as _, SerialNumber,
};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::OffsetDateTime;
use tollgate_proto::{DataPlaneId, FINGERPRINT_LEN, enrollment::CONTROL_PLANE_NAME};
use uuid::Uuid;

use crate::{
    app::App,
    seal::{MasterKey, SealError},
};

mod sql;
#[cfg(test)]
mod tests;

const LIFE: TimeDelta = TimeDelta::days(3_650);
const CONTROL_PLANE_LIFE: TimeDelta = TimeDelta::days(7);
/// So that clocks which differ a little agree that a certificate has begun.
const BACKDATED: TimeDelta = TimeDelta::minutes(5);
const SERIAL_LEN: usize = 16;
/// A request for a key on P-256 has some 250 bytes.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// What signs, and what is trusted.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The one that signs comes first.
    certificates: Vec<CertificateDer<'static>>,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Postgres is away.
    #[error("cannot read or store the certificate authority: {0}")]
    Storage(#[from] sqlx::Error),
    /// The stored key was sealed with another master key, or is damaged.
    #[error("cannot seal or open the certificate authority's key: {0}")]
    Seal(#[from] SealError),
    /// What is stored is no certificate and key.
    #[error("the certificate authority cannot sign: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library does not take what was made.
    #[error("the certificate authority's certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a signing request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No PKCS #10, or not signed by its own key.
    #[error("`signing_request` is no PKCS #10 that its own key has signed")]
    Malformed,
    /// Another kind of key.
    #[error("`signing_request` must be for an ECDSA key on P-256, signed with SHA-256")]
    Algorithm,
}

/// A public key whose owner has proved to hold the private one.
#[derive(Debug)]
pub struct SigningRequest(PublicKey);

/// A certificate for a data plane.
#[derive(Debug, Clone)]
pub struct Issued {
    /// In DER.
    pub certificate: Vec<u8>,
    /// In hex.
    pub serial: String,
    /// When it begins.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl SigningRequest {
    /// Reads a request and verifies its signature.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::Malformed);
        }
        let request =
            CertificateSigningRequestParams::from_der(&der.into()).map_err(|_| RequestError::Malformed)?.public_key;
        if request.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(RequestError::Algorithm);
        }
        Ok(Self(request))
    }

    /// SHA-256 of the public key (`SubjectPublicKeyInfo` in DER).
    #[must_use]
    pub fn key_digest(&self) -> Vec<u8> {
        digest(&SHA256, &self.0.subject_public_key_info()).as_ref().to_vec()
    }
}

/// The installation's authority, made when there is none yet.
///
/// # Errors
/// When Postgres is away, or the key was sealed with another master key.
pub async fn of(app: &App) -> Result<&Authority, AuthorityError> {
    app.authority.get_or_try_init(|| load(app)).await
}

async fn load(app: &App) -> Result<Authority, AuthorityError> {
    let mut tx = app.db.platform().await?;
    let mut stored = sql::all(&mut tx).await?;
    if stored.is_empty() {
        // Of two control planes that both find none, the second one waits here and finds the first one's.
        sql::lock(&mut tx).await?;
        stored = sql::all(&mut tx).await?;
    }
    if stored.is_empty() {
        let made = make(&app.master_key)?;
        sql::insert(&mut tx, &made).await?;
        tracing::info!(authority = %made.id, "made the certificate authority of this installation");
        stored.push(made);
    }
    tx.commit().await?;
    Authority::open(&stored, &app.master_key)
}

fn make(master_key: &MasterKey) -> Result<sql::Stored, AuthorityError> {
    let (id, now) = (Uuid::now_v7(), Utc::now());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let expires_at = now + LIFE;
    let mut params = params(&format!("Tollgate {id}"), now, expires_at)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.der().to_vec();
    let private_key_sealed = master_key.seal(&place(id), key.serialized_der())?;
    Ok(sql::Stored { id, certificate, private_key_sealed, expires_at })
}

impl Authority {
    fn open(stored: &[sql::Stored], master_key: &MasterKey) -> Result<Self, AuthorityError> {
        let newest = stored.first().ok_or(sqlx::Error::RowNotFound)?;
        let key = master_key.open(&place(newest.id), &newest.private_key_sealed)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.as_slice().into(), &PKCS_ECDSA_P256_SHA256)?;
        let certificates: Vec<_> = stored.iter().map(|stored| stored.certificate.clone().into()).collect();
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificates[0], key)?, certificates })
    }

    /// The certificates to trust, in DER; the one that signs comes first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// SHA-256 of the certificate that signs: what enrollment tokens carry.
    ///
    /// # Panics
    /// Never: SHA-256 has as many bytes as a fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; FINGERPRINT_LEN] {
        let hash = digest(&SHA256, &self.certificates[0]);
        hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// What certificates are verified against.
    ///
    /// # Errors
    /// When the TLS library does not take a stored certificate.
    pub fn roots(&self) -> Result<RootCertStore, AuthorityError> {
        let mut roots = RootCertStore::empty();
        self.certificates.iter().cloned().try_for_each(|certificate| roots.add(certificate))?;
        Ok(roots)
    }

    /// Certifies that the key is this data plane's, from `now` on for `life`.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn certify(
        &self,
        data_plane: DataPlaneId,
        request: &SigningRequest,
        now: DateTime<Utc>,
        life: Duration,
    ) -> Result<Issued, AuthorityError> {
        let expires_at = now + TimeDelta::from_std(life).unwrap_or(LIFE);
        let mut params = params(&data_plane.to_string(), now, expires_at)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
        let certificate = params.signed_by(&request.0, &self.issuer)?.der().to_vec();
        Ok(Issued { certificate, serial: hex(&serial), issued_at: now, expires_at })
    }

    /// A key of its own for this process and the certificate that makes it a control plane, with its chain; and when to
    /// ask for the next.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn certify_control_plane(&self, now: DateTime<Utc>) -> Result<(CertifiedKey, DateTime<Utc>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(CONTROL_PLANE_NAME, now, now + CONTROL_PLANE_LIFE)?;
        params.subject_alt_names = CertificateParams::new([CONTROL_PLANE_NAME.to_owned()])?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer)?.der().clone();
        // The authority goes along for data planes that know nothing but its fingerprint.
        let chain = vec![leaf, self.certificates[0].clone()];
        let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?;
        Ok((CertifiedKey::new(chain, key), now + CONTROL_PLANE_LIFE / 2))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &hex(&self.fingerprint())).finish_non_exhaustive()
    }
}

/// What all certificates have in common: a name, a life and a serial number that nobody can foresee.
fn params(name: &str, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; SERIAL_LEN];
    rand::fill(&mut serial).map_err(|Unspecified| SealError::Cipher)?;
    // Positive and of full length, whatever was drawn (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(now - BACKDATED);
    params.not_after = date(expires_at);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Certificates know whole seconds.
fn date(at: DateTime<Utc>) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.timestamp()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the sealed key is bound to.
fn place(id: Uuid) -> String {
    format!("deployment|certificate_authorities|private_key_sealed|{id}")
}
