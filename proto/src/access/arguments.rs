//! What something is used with.
//!
//! Invariant: what takes no arguments has none, so that whether it is listed or used they are the same.

use super::{Kind, json::Json};

/// What something is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments<'a> {
    /// That is not known yet, as while listing, or was looked at when it was begun: it could be anything.
    Unknown,
    /// Nothing.
    None,
    /// This object, as JSON without white space around it.
    Given(&'a [u8]),
}

/// Arguments while a decision is made: what conditions ask about is read once.
#[derive(Debug)]
pub(super) enum Reading<'a> {
    Unknown,
    Known(Json<'a>),
}

impl<'a> Reading<'a> {
    /// Of an item of this kind.
    pub(super) fn of(kind: Kind, arguments: Arguments<'a>) -> Self {
        match arguments {
            Arguments::Unknown if kind.takes_arguments() => Self::Unknown,
            Arguments::Given(text) if kind.takes_arguments() => {
                Self::Known(Json::new(str::from_utf8(text).unwrap_or_default()))
            }
            // What would be given there is given to nobody.
            Arguments::Unknown | Arguments::None | Arguments::Given(_) => Self::Known(Json::new("{}")),
        }
    }
}

impl Kind {
    /// Whether it is used with arguments: everything else is only asked for.
    #[must_use]
    pub const fn takes_arguments(self) -> bool {
        matches!(self, Self::Tool | Self::Prompt)
    }
}
