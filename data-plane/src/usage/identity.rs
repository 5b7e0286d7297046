//! The small files beside the segments: whose spool it is, and how far it was acknowledged.
//!
//! Invariant: a file is replaced as a whole, never written in place, so that a crash leaves the old or the new text.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use tollgate_proto::DataPlaneId;

use super::spool::SpoolError;

const ID_FILE: &str = "data-plane-id";
const ACKNOWLEDGED_FILE: &str = "acknowledged";

/// The id that belongs to this directory; made when there is none.
pub(super) fn data_plane_id(dir: &Path) -> Result<DataPlaneId, SpoolError> {
    match fs::read_to_string(dir.join(ID_FILE)) {
        Ok(text) => text.trim().parse().map_err(|_| SpoolError::Identity),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = DataPlaneId::new();
            replace(dir, ID_FILE, &format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(error.into()),
    }
}

/// The last position that the control plane is known to have; zero when that is not known, which only means that
/// some records are sent again.
pub(super) fn acknowledged(dir: &Path) -> u64 {
    fs::read_to_string(dir.join(ACKNOWLEDGED_FILE)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

pub(super) fn set_acknowledged(dir: &Path, position: u64) -> io::Result<()> {
    // Not synced: losing it costs a repetition.
    write_aside(dir, ACKNOWLEDGED_FILE, &format!("{position}\n"))?;
    Ok(())
}

fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    write_aside(dir, name, text)?.sync_all()?;
    File::open(dir)?.sync_all()
}

fn write_aside(dir: &Path, name: &str, text: &str) -> io::Result<File> {
    let aside = dir.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&aside, dir.join(name))?;
    Ok(file)
}
