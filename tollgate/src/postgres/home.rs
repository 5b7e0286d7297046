//! Where the private Postgres lives: `DIR/postgres`, with its data, its socket and its log.
//!
//! Root's Postgres runs as somebody else, who must be able to reach its home. Where `DIR` lies below a directory that
//! only root may enter (`/root`, for one), the home is made under `/var/lib/tollgate` and `DIR/postgres` is a link.
//!
//! Invariant: data and socket are in directories of mode 0700; the socket needs no password because of that.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Owner, make_dir, tail};
use crate::failure::{Failure, OrFail as _};

const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// The longest path of a Unix socket on Linux; other systems have less (unix(7): 108 with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;
const ELSEWHERE: &str = "/var/lib/tollgate";

/// The directories of one private Postgres.
#[derive(Debug)]
pub(crate) struct Home {
    root: PathBuf,
    socket_dir: PathBuf,
    socket_dir_is_temporary: bool,
}

impl Home {
    /// Finds or makes the home under `dir` (or where `dir/postgres` leads).
    pub(crate) async fn open(dir: &Path, owner: &Owner) -> Result<Self, Failure> {
        let link = dir.join("postgres");
        if !link.exists() {
            place(dir, &link, owner).await?;
        }
        let root = link.canonicalize().or_fail(format!("cannot find {}", link.display()))?;
        if root.parent() == dir.canonicalize().ok().as_deref() {
            owner.let_through(dir)?;
        }
        owner.take(&root)?;
        if !owner.can_enter(&root).await {
            return Err(unreachable(&root, owner));
        }
        let (socket_dir, socket_dir_is_temporary) = socket_dir(&root)?;
        owner.take(&socket_dir)?;
        Ok(Self { root, socket_dir, socket_dir_is_temporary })
    }

    /// Where the cluster's files are.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where the socket is.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The log, to append to; begun anew when it has grown large.
    pub(crate) fn log_file(&self) -> Result<File, Failure> {
        let path = self.log_path();
        let large = path.metadata().is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX);
        let mut options = OpenOptions::new();
        let options = if large { options.write(true).truncate(true) } else { options.append(true) };
        options.create(true).open(&path).or_fail(format!("cannot write {}", path.display()))
    }

    /// The end of the log, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let path = self.log_path();
        let text = std::fs::read(&path).unwrap_or_default();
        format!("{} ends with: {}", path.display(), tail(&String::from_utf8_lossy(&text)))
    }

    /// Removes what is of no use without a running server.
    pub(crate) fn close(&self) {
        if self.socket_dir_is_temporary {
            // Only tidiness: the next start makes another one.
            let _ = std::fs::remove_dir_all(&self.socket_dir);
        }
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }
}

/// Makes the home at `link`, or elsewhere with `link` leading to it.
async fn place(dir: &Path, link: &Path, owner: &Owner) -> Result<(), Failure> {
    // A link whose end is gone has lost its data with it.
    if link.is_symlink() {
        return Err(Failure::new(format!("{} leads to a directory that is gone", link.display()))
            .cure(format!("bring it back, or remove {} to begin anew", dir.display())));
    }
    make_dir(link)?;
    owner.let_through(dir)?;
    owner.take(link)?;
    if owner.can_enter(link).await {
        return Ok(());
    }
    std::fs::remove_dir(link).or_fail(format!("cannot remove {}", link.display()))?;
    let elsewhere = make_dir(&Path::new(ELSEWHERE).join(Uuid::new_v4().to_string()))?;
    owner.take(&elsewhere)?;
    if !owner.can_enter(&elsewhere).await {
        return Err(unreachable(link, owner));
    }
    eprintln!("the database is kept in {}: its user cannot enter {}", elsewhere.display(), dir.display());
    std::os::unix::fs::symlink(&elsewhere, link).or_fail(format!("cannot make the link {}", link.display()))
}

fn unreachable(dir: &Path, owner: &Owner) -> Failure {
    let name = match owner {
        Owner::Ourselves => "its user",
        Owner::Other { name, .. } => name,
    };
    Failure::new(format!("Postgres, which runs as {name}, cannot enter {}", dir.display()))
        .why("one of the directories above it is closed to that user")
        .cure("choose another place with --data-dir, or give --database-url")
}

fn socket_dir(root: &Path) -> Result<(PathBuf, bool), Failure> {
    let inside = root.join("run");
    if inside.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((make_dir(&inside)?, false));
    }
    Ok((make_dir(&Path::new("/tmp").join(format!("tollgate-{}", Uuid::new_v4().simple())))?, true))
}
