//! The last good policy of every tenant, kept on disk, so that a data plane that starts while no control plane answers
//! serves what it served before.
//!
//! Invariant: a file is replaced whole, and one whose digest does not fit its content is not believed: so nothing waits for the disk.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use tollgate_proto::{TenantId, policy::v1::TenantPolicy};

const EXTENSION: &str = "policy";

/// The directory that holds the policies.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// Opens the directory, readable by this user only, and makes it where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir })
    }

    /// Every policy that is whole. One that is not is left where it is, and the log says so.
    #[must_use]
    pub fn load(&self) -> Vec<TenantPolicy> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let policies = paths.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        policies.filter_map(|path| read(&path)).collect()
    }

    /// Keeps a tenant's policy in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, policy: &TenantPolicy) -> io::Result<()> {
        let tenant: TenantId = policy.tenant_id.parse().map_err(io::Error::other)?;
        let (path, new) = (self.path(tenant), self.path(tenant).with_extension("new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&policy.encode_to_vec())?;
        fs::rename(new, path)
    }

    /// Forgets a tenant's policy.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, tenant: TenantId) -> io::Result<()> {
        match fs::remove_file(self.path(tenant)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, tenant: TenantId) -> PathBuf {
        self.dir.join(tenant.to_string()).with_extension(EXTENSION)
    }
}

fn read(path: &Path) -> Option<TenantPolicy> {
    let policy = fs::read(path).ok().and_then(|bytes| TenantPolicy::decode(bytes.as_slice()).ok());
    let whole = policy.filter(|policy| policy.digest == digest_of(policy));
    if whole.is_none() {
        tracing::error!(path = %path.display(), "a policy on disk is damaged: it is not served");
    }
    whole
}

/// As the control plane makes it: SHA-256 in hex over the message without its digest.
fn digest_of(policy: &TenantPolicy) -> String {
    let bare = TenantPolicy { digest: String::new(), ..policy.clone() };
    digest(&SHA256, &bare.encode_to_vec()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(name: &str) -> Shelf {
        let dir = std::env::temp_dir().join(format!("tollgate-shelf-{name}-{}", uuid::Uuid::now_v7()));
        Shelf::open(dir).unwrap()
    }

    fn policy(revision: u64) -> TenantPolicy {
        let mut policy = TenantPolicy { tenant_id: TenantId::new().to_string(), revision, ..TenantPolicy::default() };
        policy.digest = digest_of(&policy);
        policy
    }

    #[test]
    fn what_is_put_is_found_after_a_restart_until_it_is_removed() {
        let shelf = shelf("found");
        let (first, second) = (policy(1), policy(2));
        shelf.put(&first).unwrap();
        shelf.put(&second).unwrap();
        let again = Shelf::open(shelf.dir.clone()).unwrap();
        assert_eq!(again.load().len(), 2);
        again.remove(first.tenant_id.parse().unwrap()).unwrap();
        again.remove(first.tenant_id.parse().unwrap()).unwrap();
        assert_eq!(again.load(), [second]);
        fs::remove_dir_all(shelf.dir).unwrap();
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_not_believed() {
        let shelf = shelf("damaged");
        let kept = policy(7);
        shelf.put(&kept).unwrap();
        let path = shelf.path(kept.tenant_id.parse().unwrap());
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(shelf.load().is_empty(), "byte {index}");
            fs::write(&path, &whole[..index]).unwrap();
            assert!(shelf.load().is_empty(), "cut at {index}");
        }
        fs::remove_dir_all(shelf.dir).unwrap();
    }
}
