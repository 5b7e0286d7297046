//! The last good policy of every tenant and what it has revoked, kept on disk, so that a data plane that starts while
//! no control plane answers serves what it served before, and refuses what it refused.
//!
//! Invariant: what is not whole, or is older than what was in force before, is not believed, so nothing waits for the
//! disk; and a tenant whose revocations cannot be believed whole is not served from disk at all. A policy has
//! secrets in it and is sealed; revocations have none.

mod journal;
mod sealed;

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use prost::Message as _;
use tollgate_proto::{
    TenantId,
    policy::v1::{Revocations, TenantPolicy},
};

const POLICY: &str = "policy";
const REVOCATIONS: &str = "revocations";

use sealed::{Floor, Vault};

/// The directory that holds both.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    vault: Vault,
}

impl Shelf {
    /// Opens the directory, and the one with the key that policies are sealed with (`vault`), both readable by this user
    /// only; makes them where they are missing. Policies that were kept under another key are not found again.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(dir: PathBuf, vault: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, vault: Vault::open(vault)? })
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
        let sealed = self.vault.seal_policy(tenant, policy.encode_to_vec())?;
        replace(&self.path(tenant, POLICY), &sealed)?;
        // After the policy: one that is above its floor is believed, one below is not.
        self.vault.set_floor(tenant, &Floor { epoch: policy.epoch.clone(), revision: policy.revision })
    }

    /// When the control plane was last heard, in unix seconds; `None`: that is not known.
    #[must_use]
    pub fn heard_at(&self) -> Option<i64> {
        self.vault.heard_at()
    }

    /// Keeps when the control plane was last heard, in unix seconds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_heard_at(&self, unix_s: i64) -> io::Result<()> {
        self.vault.set_heard_at(unix_s)
    }

    /// Forgets a tenant's policy. What it has revoked stays.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, tenant: TenantId) -> io::Result<()> {
        self.vault.remove_floor(tenant)?;
        remove(&self.path(tenant, POLICY))
    }

    /// Forgets every tenant's policy, and the key that opens them. What was revoked stays.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn destroy(&self) -> io::Result<()> {
        self.vault.destroy()?;
        self.files(POLICY).try_for_each(|(tenant, _)| self.remove(tenant))
    }

    /// Forgets what a tenant has revoked, once nothing of it lives.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_revocations(&self, tenant: TenantId) -> io::Result<()> {
        remove(&self.path(tenant, REVOCATIONS))
    }

    fn read(&self, tenant: TenantId, path: &Path) -> Option<TenantPolicy> {
        let opened = fs::read(path).ok().and_then(|bytes| self.vault.open_policy(tenant, &bytes));
        // The seal says that it is whole. Its digest may be of more than this version reads of it.
        let policy = opened.and_then(|bytes| TenantPolicy::decode(bytes.as_slice()).ok());
        if policy.is_none() {
            let path = path.display();
            tracing::error!(%path, "a policy on disk is damaged, or sealed with another key: it is not served");
        }
        policy.filter(|policy| self.is_above_floor(tenant, policy))
    }

    fn is_above_floor(&self, tenant: TenantId, policy: &TenantPolicy) -> bool {
        let floor = self.vault.floor(tenant);
        let above = floor.as_ref().is_some_and(|it| it.epoch == policy.epoch && it.revision <= policy.revision);
        if !above {
            let (revision, floor) = (policy.revision, floor.map(|floor| floor.revision));
            tracing::error!(%tenant, revision, floor, "a policy on disk is older than what was in force: it is not served");
        }
        above
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

#[cfg(test)]
mod tests;
