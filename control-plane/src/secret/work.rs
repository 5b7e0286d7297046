//! What a thread has done with secrets, so that a test can tell that two requests cost the same.

use std::cell::Cell;

thread_local! {
    static DONE: Cell<Work> = const { Cell::new(Work { hashed: 0, compared: 0 }) };
}

/// How often a thread worked with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// Texts of which a digest was taken.
    pub(crate) hashed: usize,
    /// Digests that were compared in constant time.
    pub(crate) compared: usize,
}

pub(super) fn hashed() {
    DONE.set(Work { hashed: DONE.get().hashed + 1, ..DONE.get() });
}

pub(super) fn compared() {
    DONE.set(Work { compared: DONE.get().compared + 1, ..DONE.get() });
}

/// What was done since the last time that this was asked, on this thread.
pub(crate) fn take() -> Work {
    DONE.replace(Work { hashed: 0, compared: 0 })
}
