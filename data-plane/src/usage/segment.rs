//! The files of the spool: `<first position>.seg`, 20 digits.
//!
//! Invariant: what follows an entry that cannot be read is not read, and the positions that are read ascend.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::entry::{self, Entry};

const EXTENSION: &str = "seg";

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

/// The first positions of all segments, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            firsts.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

pub(super) fn create(dir: &Path, first: u64) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(path(dir, first))
}

/// Appends all bytes with one `write(2)` or none: a part that was written is cut off again. An error of the kind
/// `Other` says that it could not be cut off, so that the file must not be appended to.
pub(super) fn append(file: &File, bytes: &[u8], bytes_before: u64) -> io::Result<()> {
    let mut writer = file;
    let failure = loop {
        match writer.write(bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => break io::Error::from(io::ErrorKind::StorageFull),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    match file.set_len(bytes_before) {
        Ok(()) => Err(failure),
        Err(_) => Err(io::Error::other(failure)),
    }
}

/// Reads the segment from its beginning, hands over every sound entry and returns how many bytes they take.
pub(super) fn scan(path: &Path, mut visit: impl FnMut(Entry)) -> io::Result<Scanned> {
    let bytes = fs::read(path)?;
    let mut sound_bytes = 0;
    let mut last_position = 0;
    while let Some((entry, length)) = entry::read(&bytes[sound_bytes..]) {
        if entry.position <= last_position {
            break;
        }
        last_position = entry.position;
        sound_bytes += length;
        visit(entry);
    }
    Ok(Scanned { sound_bytes: sound_bytes as u64, torn_bytes: (bytes.len() - sound_bytes) as u64 })
}

/// How much of a segment could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned {
    pub sound_bytes: u64,
    pub torn_bytes: u64,
}
