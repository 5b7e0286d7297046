//! The last good policy of every tenant and what it has revoked, kept on disk, so that a data plane that starts while
//! no control plane answers serves what it served before, and refuses what it refused.
//!
//! Invariant: what does not fit its digest is not believed, so nothing waits for the disk; and a tenant whose
//! revocations cannot be believed whole is not served from disk at all. A policy has secrets in it and is sealed;
//! revocations have none.

mod journal;
mod sealed;

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use tollgate_proto::{
    TenantId,
    policy::v1::{Revocations, TenantPolicy},
};

const POLICY: &str = "policy";
const REVOCATIONS: &str = "revocations";

use sealed::DiskKey;

/// The directory that holds both.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    key: DiskKey,
}

impl Shelf {
    /// Opens the directory, readable by this user only, and makes it where it is missing. Policies that were kept
    /// under another enrollment token are not found again.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: PathBuf, enrollment_token: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, key: DiskKey::derive(enrollment_token) })
    }

    /// Every policy that is whole. One that is not is left where it is, and the log says so.
    #[must_use]
    pub fn load(&self) -> Vec<TenantPolicy> {
        self.files(POLICY).filter_map(|(tenant, path)| self.read(tenant, &path)).collect()
    }

    /// What each tenant has revoked: the messages in the order in which they came, `None` where they are damaged.
    #[must_use]
    pub fn load_revocations(&self) -> Vec<(TenantId, Option<Vec<Revocations>>)> {
        let files = self.files(REVOCATIONS);
        let read = files.map(|(tenant, path)| {
            let messages = fs::read(&path).ok().and_then(|bytes| journal::read(&bytes));
            if messages.is_none() {
                tracing::error!(path = %path.display(), "revocations on disk are damaged: the tenant is not served");
            }
            (tenant, messages)
        });
        read.collect()
    }

    /// Keeps one more message about what the tenant has revoked; a complete one takes the place of all before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_revocations(&self, tenant: TenantId, message: &Revocations) -> io::Result<()> {
        let (path, entry) = (self.path(tenant, REVOCATIONS), journal::entry(message));
        if message.complete {
            return replace(&path, &entry);
        }
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(&entry)
    }

    /// Keeps a tenant's policy in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, policy: &TenantPolicy) -> io::Result<()> {
        let tenant: TenantId = policy.tenant_id.parse().map_err(io::Error::other)?;
        replace(&self.path(tenant, POLICY), &self.key.seal(tenant, policy.encode_to_vec())?)
    }

    /// Forgets a tenant's policy. What it has revoked stays.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, tenant: TenantId) -> io::Result<()> {
        remove(&self.path(tenant, POLICY))
    }

    /// Forgets what a tenant has revoked, once nothing of it lives.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_revocations(&self, tenant: TenantId) -> io::Result<()> {
        remove(&self.path(tenant, REVOCATIONS))
    }

    fn read(&self, tenant: TenantId, path: &Path) -> Option<TenantPolicy> {
        let opened = fs::read(path).ok().and_then(|bytes| self.key.open(tenant, &bytes));
        let policy = opened.and_then(|bytes| TenantPolicy::decode(bytes.as_slice()).ok());
        let whole = policy.filter(|policy| policy.digest == digest_of(policy));
        if whole.is_none() {
            let path = path.display();
            tracing::error!(%path, "a policy on disk is damaged, or of another enrollment token: it is not served");
        }
        whole
    }

    fn path(&self, tenant: TenantId, extension: &str) -> PathBuf {
        self.dir.join(tenant.to_string()).with_extension(extension)
    }

    /// The tenants that have a file of this kind.
    fn files(&self, kind: &'static str) -> impl Iterator<Item = (TenantId, PathBuf)> {
        let paths = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let of_kind = paths.filter(move |path| path.extension().is_some_and(|extension| extension == kind));
        of_kind.filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    fs::rename(new, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// As the control plane makes it: SHA-256 in hex over the message without its digest.
pub(super) fn digest_of(policy: &TenantPolicy) -> String {
    let bare = TenantPolicy { digest: String::new(), ..policy.clone() };
    digest(&SHA256, &bare.encode_to_vec()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
