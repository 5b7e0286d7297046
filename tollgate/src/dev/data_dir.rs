//! The directory of one `tollgate dev`: secrets made once, and a lock that keeps a second one out.
//!
//! Invariant: what is secret is readable by its owner alone from the moment it is there.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde_json::Value;
use tollgate_control_plane::{
    seal::MasterKey,
    secret::{Purpose, generate},
};

use crate::failure::{Exit, Failure, OrFail as _};

/// An open data directory. Nobody else has it while this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, making it (mode 0700, ignored by git) when it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .or_fail(format!("cannot make {}", path.display()))?;
        }
        let path = path.canonicalize().or_fail(format!("cannot open {}", path.display()))?;
        let lock = lock(&path)?;
        let ignore = path.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").or_fail(format!("cannot write {}", ignore.display()))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key that seals secrets in the database, made at the first time.
    pub(super) fn master_key(&self) -> Result<MasterKey, Failure> {
        let path = self.path.join("master-key");
        let what = || format!("cannot use the master key in {}", path.display());
        if path.exists() {
            let text = std::fs::read_to_string(&path).or_fail(what())?;
            return MasterKey::from_base64(&text).or_fail(what());
        }
        let key = MasterKey::generate().or_fail("cannot make a master key")?;
        write_secret(&path, &format!("{}\n", *key.to_base64()))?;
        Ok(key)
    }

    /// What the data plane joins with, made at the first time.
    pub(super) fn enrollment_token(&self) -> Result<SecretString, Failure> {
        let path = self.path.join("enrollment-token");
        if path.exists() {
            let text = std::fs::read_to_string(&path).or_fail(format!("cannot read {}", path.display()))?;
            return Ok(SecretString::from(text.trim().to_owned()));
        }
        let token = generate(Purpose::EnrollmentToken).text;
        write_secret(&path, &format!("{}\n", *token))?;
        Ok(SecretString::from(token.to_string()))
    }

    /// Where the control plane leaves the administrator's token at its first start.
    pub(super) fn admin_token_file(&self) -> PathBuf {
        self.path.join("admin-token")
    }

    /// The administrator's token.
    pub(super) fn admin_token(&self) -> Result<SecretString, Failure> {
        let path = self.admin_token_file();
        let token = std::fs::read_to_string(&path)
            .or_fail(format!("there is no administrator's token in {}", path.display()))
            .map_err(|failure| {
                failure.exit(Exit::Auth).cure("the database was set up elsewhere: put its administrator's token there")
            })?;
        Ok(token.trim().into())
    }

    /// Where the demo server listened the last time.
    pub(super) fn demo_addr(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.path.join("demo-addr")).ok()?.trim().parse().ok()
    }

    /// Notes where the demo server listens.
    pub(super) fn keep_demo_addr(&self, addr: SocketAddr) -> Result<(), Failure> {
        let path = self.path.join("demo-addr");
        std::fs::write(&path, format!("{addr}\n")).or_fail(format!("cannot write {}", path.display()))
    }

    /// What was written to `demo.json`, when it is there and whole.
    pub(super) fn demo(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.path.join("demo.json")).ok()?).ok()
    }

    /// Writes `demo.json`.
    pub(super) fn keep_demo(&self, demo: &Value) -> Result<(), Failure> {
        write_secret(&self.path.join("demo.json"), &format!("{demo:#}\n"))
    }

    /// Whether a step of the first run was done, by its name.
    pub(super) fn is_done(&self, step: &str) -> bool {
        self.path.join(format!(".{step}")).exists()
    }

    /// Notes that a step of the first run was done.
    pub(super) fn note_done(&self, step: &str) -> Result<(), Failure> {
        let path = self.path.join(format!(".{step}"));
        std::fs::write(&path, "").or_fail(format!("cannot write {}", path.display()))
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = path.join("lock");
    let what = || format!("cannot lock {}", path.display());
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file).or_fail(what())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Failure::new(format!("another `tollgate dev` uses {}", path.display()))
            .exit(Exit::Conflict)
            .cure("stop that one, or choose another directory with --data-dir")),
        Err(TryLockError::Error(error)) => Err(error).or_fail(what()),
    }
}

/// Writes a file of mode 0600 as a whole: under another name first, then renamed.
fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let what = || format!("cannot write {}", path.display());
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished).or_fail(what())?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).or_fail(what())?;
    std::fs::rename(&unfinished, path).or_fail(what())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-dir-{}", uuid::Uuid::new_v4()))
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_made_once_and_are_the_owners_alone() {
        let path = scratch();
        let first = DataDir::open(&path).expect("opens");
        let key = first.master_key().expect("makes a key");
        first.keep_demo(&serde_json::json!({ "client_secret": "s" })).expect("writes");
        assert_eq!((mode(&path), mode(&path.join("master-key")), mode(&path.join("demo.json"))), (0o700, 0o600, 0o600));
        assert_eq!(std::fs::read_to_string(path.join(".gitignore")).expect("is there"), "*\n");
        drop(first);
        let second = DataDir::open(&path).expect("opens again");
        assert_eq!(*second.master_key().expect("reads the key").to_base64(), *key.to_base64());
        std::fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let path = scratch();
        let _first = DataDir::open(&path).expect("opens");
        let failure = DataDir::open(&path).expect_err("is locked");
        assert_eq!(failure.code(), Exit::Conflict);
        std::fs::remove_dir_all(path).expect("removed");
    }
}
