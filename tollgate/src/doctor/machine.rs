//! What can be seen of this machine.

use std::path::Path;

use uuid::Uuid;

use super::Finding;
use crate::postgres::Binaries;

/// `tollgate dev` finds Postgres' programs.
pub(super) fn examine_postgres() -> Finding {
    const CHECK: &str = "PostgreSQL programs";
    match Binaries::candidates(Path::new(".tollgate")).first() {
        Some(binaries) => {
            let version = binaries.major().map_or_else(String::new, |major| format!("PostgreSQL {major} "));
            Finding::good(CHECK, format!("{version}in {}", binaries.dir().display()))
        }
        None => Finding::doubtful(
            CHECK,
            "not found; only `tollgate dev` without --database-url needs them",
            "run scripts/setup.sh run",
        ),
    }
}

/// A data plane on this machine can keep its state.
pub(super) fn examine_state_dir(dir: &Path) -> Finding {
    const CHECK: &str = "state directory";
    if !dir.exists() {
        let detail = format!("{} is not there: no data plane ran here", dir.display());
        return Finding::doubtful(CHECK, detail, "nothing, unless one should have: then give --state-dir");
    }
    let probe = dir.join(format!(".probe-{}", Uuid::new_v4().simple()));
    match std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::good(CHECK, format!("{} is writable", dir.display())),
        Err(error) => Finding::wrong(
            CHECK,
            format!("{} is not writable: {error}", dir.display()),
            "give it to the user that the data plane runs as, or free some space",
        ),
    }
}
