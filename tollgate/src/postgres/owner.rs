//! The system user that Postgres runs as: ourselves, or, because Postgres refuses root, somebody without rights.

use std::{
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Stdio,
};

use nix::unistd::{User, geteuid};
use tokio::process::Command;

use crate::failure::{Failure, OrFail as _};

/// Users to run as in place of root, the first that exists. A bare number will not do: `initdb` asks for the name.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who owns the data and runs the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whoever runs Tollgate.
    Ourselves,
    /// Somebody else, because Tollgate runs as root.
    Other { name: String, uid: u32, gid: u32 },
}

impl Owner {
    pub(crate) fn choose() -> Result<Self, Failure> {
        if !geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let user = UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or_else(|| {
            Failure::new("Postgres refuses to run as root, and there is no other user to run it as")
                .why(format!("looked for the users {}", UNPRIVILEGED.join(" and ")))
                .cure("run Tollgate as another user, make one of those, or give --database-url")
        })?;
        Ok(Self::Other { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// A command of this user, with nothing of our environment but where libraries are.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        for kept in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes a directory this user's alone.
    pub(crate) fn take(&self, dir: &Path) -> Result<(), Failure> {
        if let Self::Other { name, uid, gid } = self {
            chown(dir, Some(*uid), Some(*gid)).or_fail(format!("cannot give {} to {name}", dir.display()))?;
        }
        set_mode(dir, 0o700)
    }

    /// Lets this user pass through a directory of ours, and see nothing in it.
    pub(crate) fn let_through(&self, dir: &Path) -> Result<(), Failure> {
        let Self::Other { name, gid, .. } = self else { return Ok(()) };
        chown(dir, None, Some(*gid)).or_fail(format!("cannot let {name} through {}", dir.display()))?;
        set_mode(dir, 0o710)
    }

    /// Whether this user can go into a directory, whatever its parents allow.
    pub(crate) async fn can_enter(&self, dir: &Path) -> bool {
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", "cd -- \"$1\"", "sh"]).arg(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }
}

fn set_mode(dir: &Path, mode: u32) -> Result<(), Failure> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
        .or_fail(format!("cannot set the permissions of {}", dir.display()))
}
