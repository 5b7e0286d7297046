//! How a command fails: what, why, what to do, and the exit code that scripts go by.
//!
//! Invariant: no secret is ever put into a failure.

use std::{error::Error, fmt};

use crate::terminal::{self, Style};

/// Exit codes; 130 is an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Anything without a code of its own.
    Error = 1,
    /// Of a plan: applied, it would change something.
    Changes = 2,
    /// The command line is wrong.
    Usage = 3,
    /// No valid credential, or not permitted.
    Auth = 4,
    /// What was named does not exist.
    NotFound = 5,
    /// Someone else changed it first, or it is in the way.
    Conflict = 6,
    /// Something that must answer does not.
    Unavailable = 7,
}

/// One failed command, ready to be printed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    why: Vec<String>,
    cure: Option<String>,
    request_id: Option<String>,
}

impl Failure {
    /// A failure with exit code 1 that says only what failed.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { exit: Exit::Error, what: what.into(), why: Vec::new(), cure: None, request_id: None }
    }

    /// Sets the exit code.
    pub(crate) const fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a line that says why.
    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Says what to do about it.
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Names the request, so that it can be found in the log of who answered.
    pub(crate) fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// Puts what was attempted in front; what failed becomes the first reason.
    pub(crate) fn during(mut self, what: impl Into<String>) -> Self {
        let cause = std::mem::replace(&mut self.what, what.into());
        self.why.insert(0, cause);
        self
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> Exit {
        self.exit
    }

    /// Prints it to standard error.
    pub(crate) fn print(&self) {
        eprint!("{}", self.text(terminal::stderr_style()));
    }

    /// What has several lines is indented, so that it cannot be taken for a line of another sort.
    fn text(&self, style: Style) -> String {
        let shown = |text: &str| terminal::lines(text).replace('\n', "\n       ");
        let mut text = format!("{} {}\n", style.red("error:"), shown(&self.what));
        let reasons = self.why.iter().map(|why| ("why:", why));
        let rest =
            self.cure.iter().map(|cure| ("do: ", cure)).chain(self.request_id.iter().map(|id| ("request id:", id)));
        for (label, said) in reasons.chain(rest) {
            text += &format!("  {} {}\n", style.dim(label), shown(said));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.why.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}

/// Turns an error of another layer into a [`Failure`].
pub(crate) trait OrFail<T> {
    /// Says what failed; the error and its sources say why.
    fn or_fail(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what).why(chain(&error)))
    }
}

/// An error and its sources on one line; a source that its parent already quotes is not repeated.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let source_text = source.to_string();
        if !text.contains(&source_text) {
            text = format!("{text}: {source_text}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_attempted_stands_before_its_reasons() {
        let inner = Failure::new("the port is taken").why("EADDRINUSE").exit(Exit::Conflict);
        let failure = inner.during("cannot start");
        assert_eq!(failure.to_string(), "cannot start: the port is taken: EADDRINUSE");
        assert_eq!(failure.code(), Exit::Conflict);
    }

    #[test]
    fn nothing_that_a_failure_quotes_can_be_taken_for_a_line_of_ours() {
        let failure = Failure::new("cannot\u{1b}[2J").why("one\ndo:  two\u{9b}").cure("look\u{202e}");
        let expected = "error: cannot‹U+001B›[2J\n  why: one\n       do:  two‹U+009B›\n  do:  look‹U+202E›\n";
        assert_eq!(failure.text(Style::plain()), expected);
    }

    #[test]
    fn a_source_that_is_quoted_already_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open: {0}")]
        struct Quoting(#[source] std::io::Error);
        assert_eq!(chain(&Quoting(std::io::Error::other("gone"))), "cannot open: gone");
    }
}
