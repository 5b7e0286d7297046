//! What makes a policy on disk worthless to others, and an old one worthless altogether: a key of this data plane's own,
//! for each tenant the revision below which nothing is believed, and when the control plane was last heard.
//!
//! They lie in a directory of their own, beside the certificate: a copy of the policies is no copy of the tenants'
//! secrets, and an older file put in the place of a newer one is not served. Who can write into both directories can put
//! back both.
//!
//! Invariant: a file opens for its own tenant and its own use only, and only whole. Layout:
//! `nonce (12) | AES-256-GCM | tag (16)`.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use tollgate_proto::TenantId;

use super::{remove, replace};

const KEY_FILE: &str = "policy-key";
const KEY_LEN: usize = 32;
const FLOOR: &str = "floor";
const HEARD_FILE: &str = "policy-heard";
/// Of a revision, and of a moment.
const NUMBER_LEN: usize = 8;

/// What a sealed value is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Policy(TenantId),
    Floor(TenantId),
    Heard,
}

/// The directory with the key and the floors.
pub(super) struct Vault {
    dir: PathBuf,
    key: LessSafeKey,
}

/// Below what nothing is believed of a tenant. Revisions of different epochs do not compare: of another epoch nothing is
/// believed at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) epoch: String,
    pub(super) revision: u64,
}

impl Vault {
    /// Opens the directory, readable by this user only; makes it, and the key, at the first time.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let path = dir.join(KEY_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path)?,
            Err(error) => return Err(error),
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| io::Error::other(format!("{} holds no key: remove it", path.display())))?;
        Ok(Self { dir, key: LessSafeKey::new(key) })
    }

    /// # Errors
    /// When the system's random generator fails.
    pub(super) fn seal_policy(&self, tenant: TenantId, policy: Vec<u8>) -> io::Result<Vec<u8>> {
        self.seal(Use::Policy(tenant), policy)
    }

    /// `None` when it is damaged, another tenant's, or sealed with another key.
    pub(super) fn open_policy(&self, tenant: TenantId, sealed: &[u8]) -> Option<Vec<u8>> {
        self.unseal(Use::Policy(tenant), sealed)
    }

    /// The tenant's floor. Without one nothing is believed of the tenant.
    pub(super) fn floor(&self, tenant: TenantId) -> Option<Floor> {
        let bytes = self.unseal(Use::Floor(tenant), &fs::read(self.floor_path(tenant)).ok()?)?;
        let (revision, epoch) = bytes.split_first_chunk::<NUMBER_LEN>()?;
        Some(Floor { epoch: String::from_utf8(epoch.to_vec()).ok()?, revision: u64::from_be_bytes(*revision) })
    }

    /// Puts the tenant's floor where it is to be.
    pub(super) fn set_floor(&self, tenant: TenantId, floor: &Floor) -> io::Result<()> {
        let bytes = [&floor.revision.to_be_bytes(), floor.epoch.as_bytes()].concat();
        replace(&self.floor_path(tenant), &self.seal(Use::Floor(tenant), bytes)?)
    }

    /// When the control plane was last heard, in unix seconds.
    pub(super) fn heard_at(&self) -> Option<i64> {
        let bytes = self.unseal(Use::Heard, &fs::read(self.dir.join(HEARD_FILE)).ok()?)?;
        Some(i64::from_be_bytes(<[u8; NUMBER_LEN]>::try_from(bytes).ok()?))
    }

    /// Notes when the control plane was heard.
    pub(super) fn set_heard_at(&self, unix_s: i64) -> io::Result<()> {
        replace(&self.dir.join(HEARD_FILE), &self.seal(Use::Heard, unix_s.to_be_bytes().to_vec())?)
    }

    /// Believes nothing of the tenant that is on disk.
    pub(super) fn remove_floor(&self, tenant: TenantId) -> io::Result<()> {
        remove(&self.floor_path(tenant))
    }

    /// Makes everything that was sealed worthless.
    pub(super) fn destroy(&self) -> io::Result<()> {
        remove(&self.dir.join(KEY_FILE))
    }

    fn seal(&self, r#use: Use, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        let failed = |_| io::Error::other("the policy cannot be sealed");
        let mut random = [0; NONCE_LEN];
        rand::fill(&mut random).map_err(failed)?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(random), plain);
        self.key.seal_in_place_append_tag(nonce, place(r#use), &mut text).map_err(failed)?;
        Ok([random.as_slice(), &text].concat())
    }

    fn unseal(&self, r#use: Use, sealed: &[u8]) -> Option<Vec<u8>> {
        let (random, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(*random), text.to_vec());
        let length = self.key.open_in_place(nonce, place(r#use), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn floor_path(&self, tenant: TenantId) -> PathBuf {
        self.dir.join(tenant.to_string()).with_extension(FLOOR)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn make_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_LEN];
    rand::fill(&mut key).map_err(|_| io::Error::other("no key can be made"))?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

fn place(r#use: Use) -> Aad<Vec<u8>> {
    Aad::from(match r#use {
        Use::Policy(tenant) => [b"policy|".as_slice(), tenant.uuid().as_bytes()].concat(),
        Use::Floor(tenant) => [b"floor|".as_slice(), tenant.uuid().as_bytes()].concat(),
        Use::Heard => b"heard".to_vec(),
    })
}
