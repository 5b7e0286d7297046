//! The identity in the state directory: private key, certificate, and the authorities to trust, in one file.
//!
//! Invariant: whoever looks sees the old identity or the whole new one; only this user may read it; and a directory
//! whose data plane was revoked never has one again.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tollgate_proto::{DataPlaneId, FINGERPRINT_LEN};

const FILE: &str = "identity.json";
const REVOKED: &str = "revoked";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is there and is none.
    #[error("{} is damaged: remove it, and enrol this data plane anew", .0.display())]
    Damaged(PathBuf),
}

/// What makes a process this data plane.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) data_plane: DataPlaneId,
    pub(super) key: PrivatePkcs8KeyDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Unix seconds, as the next one.
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
}

/// As it is written; what is binary in base64.
#[derive(Serialize, Deserialize)]
struct Stored {
    data_plane: DataPlaneId,
    private_key: String,
    certificate: String,
    authorities: Vec<String>,
    issued_at: i64,
    expires_at: i64,
}

impl Identity {
    pub(super) const fn is_expired(&self, now: i64) -> bool {
        now >= self.expires_at
    }

    /// Whether the authority with this fingerprint is one of those to trust.
    pub(super) fn trusts(&self, fingerprint: &[u8; FINGERPRINT_LEN]) -> bool {
        self.authorities.iter().any(|authority| fingerprint_of(authority) == *fingerprint)
    }

    pub(super) fn life(&self) -> Duration {
        Duration::from_secs((self.expires_at - self.issued_at).unsigned_abs())
    }

    /// The time left until two thirds of the life have passed, less up to a tenth of it by `jitter`.
    pub(super) fn until_renewal(&self, now: i64, jitter: u8) -> Duration {
        let due = self.life() * 2 / 3 - self.life() * u32::from(jitter) / 2_560;
        let passed = u64::try_from(now - self.issued_at).unwrap_or_default();
        due.saturating_sub(Duration::from_secs(passed))
    }
}

/// SHA-256 of a certificate in DER.
pub(super) fn fingerprint_of(certificate: &[u8]) -> [u8; FINGERPRINT_LEN] {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().try_into().expect("SHA-256 has as many bytes as a fingerprint")
}

/// The directory that holds the identity.
#[derive(Debug)]
pub(super) struct Safe(PathBuf);

impl Safe {
    /// Opens the directory, readable by this user only, and makes it where it is missing.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self(dir.to_owned()))
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.0.join(REVOKED).exists()
    }

    pub(super) fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let path = self.0.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stored: Option<Stored> = serde_json::from_slice(&text).ok();
        stored.and_then(read).map(Some).ok_or(IdentityError::Damaged(path))
    }

    pub(super) fn save(&self, identity: &Identity) -> Result<(), IdentityError> {
        let stored = Stored {
            data_plane: identity.data_plane,
            private_key: STANDARD.encode(identity.key.secret_pkcs8_der()),
            certificate: STANDARD.encode(&identity.certificate),
            authorities: identity.authorities.iter().map(|authority| STANDARD.encode(authority)).collect(),
            issued_at: identity.issued_at,
            expires_at: identity.expires_at,
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(io::Error::other)?;
        Ok(self.write(FILE, &text)?)
    }

    /// Notes that the data plane was revoked, and removes its key.
    pub(super) fn retire(&self) -> io::Result<()> {
        self.write(REVOKED, b"")?;
        match fs::remove_file(self.0.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(new, path)
    }
}

fn read(stored: Stored) -> Option<Identity> {
    let authorities: Result<Vec<_>, _> = stored.authorities.iter().map(|text| STANDARD.decode(text)).collect();
    Some(Identity {
        data_plane: stored.data_plane,
        key: STANDARD.decode(stored.private_key).ok()?.into(),
        certificate: STANDARD.decode(stored.certificate).ok()?.into(),
        authorities: authorities.ok()?.into_iter().map(CertificateDer::from).collect(),
        issued_at: stored.issued_at,
        expires_at: stored.expires_at,
    })
}
