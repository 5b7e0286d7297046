//! Where Postgres' programs are on this machine.
//!
//! Invariant: a directory counts only when all three programs that are needed are in it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
/// How deep under `DIR/pg` a package may keep its `bin`.
const DEPTH_MAX: usize = 7;

/// A directory with Postgres' programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Every directory that has the programs, in the order of preference: `TOLLGATE_PG_BIN`, `PATH`, the usual
    /// places of Debian, Red Hat and Homebrew (newest first), then `DIR/pg`.
    pub(crate) fn candidates(dir: &Path) -> Vec<Self> {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        Self::among(&variable("TOLLGATE_PG_BIN"), &variable("PATH"), dir)
    }

    fn among(chosen: &std::ffi::OsStr, path: &std::ffi::OsStr, dir: &Path) -> Vec<Self> {
        if !chosen.is_empty() {
            return Self::complete(PathBuf::from(chosen)).into_iter().collect();
        }
        let mut found: Vec<Self> = Vec::new();
        let usual = usual_places().into_iter().chain(bins_under(&dir.join("pg"), DEPTH_MAX));
        for candidate in std::env::split_paths(path).chain(usual).filter_map(Self::complete) {
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
        found
    }

    fn complete(dir: PathBuf) -> Option<Self> {
        // The programs find their libraries relative to where they really are: follow links.
        let real = dir.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        let complete = |dir: &Path| NEEDED.iter().all(|program| dir.join(program).is_file());
        [real, dir].into_iter().find(|dir| complete(dir)).map(Self)
    }

    /// The path of a program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// Its major version.
    pub(crate) fn major(&self) -> Option<u32> {
        let output = std::process::Command::new(self.program("postgres")).arg("--version").output().ok()?;
        major_in(&String::from_utf8_lossy(&output.stdout))
    }

    /// What to say when there is none.
    pub(crate) fn missing(dir: &Path) -> Failure {
        let chosen = std::env::var("TOLLGATE_PG_BIN").unwrap_or_default();
        if !chosen.is_empty() {
            return Failure::new(format!("TOLLGATE_PG_BIN is {chosen}, where there are no Postgres programs"))
                .why("a directory with initdb, postgres and pg_ctl is needed")
                .cure("correct TOLLGATE_PG_BIN, or unset it to have the usual places searched");
        }
        let looked = format!(
            "looked in PATH, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, Homebrew's places and {}",
            dir.join("pg").display()
        );
        Failure::new("there is no PostgreSQL on this machine").why(looked).cure(
            "install it (Debian, Ubuntu: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; \
             macOS: `brew install postgresql@17`), or run scripts/setup.sh run, or set TOLLGATE_PG_BIN, or give --database-url",
        )
    }
}

fn usual_places() -> Vec<PathBuf> {
    let versioned = [
        versions_in("/usr/lib/postgresql", "", "bin"),
        versions_in("/usr", "pgsql-", "bin"),
        versions_in("/opt/homebrew/opt", "postgresql@", "bin"),
        versions_in("/usr/local/opt", "postgresql@", "bin"),
        versions_in("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ];
    versioned.concat()
}

/// `parent/prefix<number>/child` for every number there is, newest first.
fn versions_in(parent: &str, prefix: &str, child: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(child)))
        })
        .collect();
    versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn bins_under(dir: &Path, depth: usize) -> Vec<PathBuf> {
    if depth == 0 {
        return Vec::new();
    }
    let mut children: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().collect();
    children.sort_by_key(std::fs::DirEntry::file_name);
    children
        .into_iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(
            |entry| {
                if entry.file_name() == "bin" { vec![entry.path()] } else { bins_under(&entry.path(), depth - 1) }
            },
        )
        .collect()
}

/// The number in `postgres (PostgreSQL) 15.13 (Debian 15.13-0)`.
fn major_in(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(dir: &Path, programs: &[&str]) {
        std::fs::create_dir_all(dir).expect("a directory");
        for program in programs {
            std::fs::write(dir.join(program), "").expect("a file");
        }
    }

    #[test]
    fn an_incomplete_directory_is_passed_over() {
        let dir = std::env::temp_dir().join(format!("tollgate-binaries-{}", uuid::Uuid::new_v4()));
        let (half, whole) = (dir.join("half"), dir.join("pg/node_modules/@x/native/bin"));
        install(&half, &["postgres"]);
        install(&whole, &NEEDED);
        let found = Binaries::among("".as_ref(), half.as_os_str(), &dir);
        assert!(found.contains(&Binaries(whole.clone())), "{found:?}");
        assert!(!found.contains(&Binaries(half.clone())), "{found:?}");
        assert_eq!(Binaries::among(half.as_os_str(), "".as_ref(), &dir), []);
        assert_eq!(Binaries::among(whole.as_os_str(), "".as_ref(), &dir), [Binaries(whole)]);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn the_major_version_is_read_from_every_flavour() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_in("postgres"), None);
    }
}
