//! What a server says of one thing that it offers, in the one spelling that is compared: its canonical form, and the
//! SHA-256 of that.
//!
//! The form is that of RFC 8785 (no white space, members sorted by UTF-16 code units, one way to write each string and
//! number) of the whole definition. Of its `_meta`, which is about the definition, only what names a user interface is
//! part of it: `ui` and whatever begins with `ui/` (MCP Apps, SEP-1865). In one point it says more than
//! the RFC, which has no numbers that a double does not hold: an integer that is too large for one keeps its digits, so
//! that two that differ stay different.
//!
//! Invariant: two spellings of the same definition have the same digest, and definitions that differ in anything else
//! have not. What readers of JSON disagree about (a member twice, half a surrogate pair) has no form at all.

mod form;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::value::RawValue;

use crate::policy::v1::ItemKind;

/// Bytes of one definition as its server spells it.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Arrays and objects inside each other, the definition itself among them.
pub const DEFINITION_DEPTH_MAX: usize = 64;

/// What a definition says of itself, and of nothing else about the thing, but for its user interface.
const META: &str = "_meta";
/// The user interface of a tool or resource: which resource it is, and what that may do (MCP Apps, SEP-1865).
const USER_INTERFACE: &str = "ui";
/// Characters of a server's text that an error may have.
const SHOWN_CHARS_MAX: usize = 64;

/// A definition that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    name: String,
    canonical: String,
    digest: DefinitionDigest,
}

/// SHA-256 of a definition's canonical form; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionDigest(pub [u8; 32]);

/// Why something is no definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// More than [`DEFINITION_BYTES_MAX`].
    #[error("it has {0} bytes, more than {DEFINITION_BYTES_MAX}")]
    TooLarge(usize),
    /// More than [`DEFINITION_DEPTH_MAX`] levels.
    #[error("it has more than {DEFINITION_DEPTH_MAX} levels")]
    TooDeep,
    /// The text says what is wrong, and quotes nothing.
    #[error("it is no JSON: {0}")]
    NotJson(String),
    /// Another JSON value.
    #[error("it is no JSON object")]
    NotObject,
    /// Readers disagree about which of the two counts.
    #[error("it has a member twice: `{0}`")]
    DuplicateMember(String),
    /// Infinite as a double.
    #[error("it has a number that is out of range")]
    NumberOutOfRange,
    /// Nothing that it is known by.
    #[error("it has no `{0}`")]
    NoName(&'static str),
}

impl Definition {
    /// Reads a definition as a server spells it.
    ///
    /// # Errors
    /// When it is not one, has no name of this kind, or is larger or deeper than definitions may be.
    pub fn read(kind: ItemKind, json: &[u8]) -> Result<Self, DefinitionError> {
        if json.len() > DEFINITION_BYTES_MAX {
            return Err(DefinitionError::TooLarge(json.len()));
        }
        let whole: &RawValue = serde_json::from_slice(json).map_err(|error| not_json(&error))?;
        if !whole.get().starts_with('{') {
            return Err(DefinitionError::NotObject);
        }
        let mut members = form::members(whole)?;
        let interface = user_interface(&members)?;
        members.retain_mut(|(key, value)| {
            let is_meta = key == META;
            if is_meta && let Some(interface) = &interface {
                *value = interface;
            }
            !is_meta || interface.is_some()
        });
        let name = name(kind, &members)?;
        let mut canonical = String::with_capacity(json.len());
        form::write_object(&mut canonical, &members, DEFINITION_DEPTH_MAX - 1)?;
        let digest = DefinitionDigest::of(canonical.as_bytes());
        Ok(Self { name, canonical, digest })
    }

    /// What the thing is known by: name of a tool or prompt, URI of a resource, URI template.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The canonical form: JSON on one line.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The digest of the canonical form.
    #[must_use]
    pub const fn digest(&self) -> DefinitionDigest {
        self.digest
    }
}

impl DefinitionDigest {
    fn of(canonical: &[u8]) -> Self {
        let hash = digest(&SHA256, canonical);
        Self(*hash.as_ref().first_chunk().expect("a SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for DefinitionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The member that things of this kind are known by.
#[must_use]
pub const fn name_member(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Unspecified | ItemKind::Tool | ItemKind::Prompt => "name",
        ItemKind::Resource => "uri",
        ItemKind::ResourceTemplate => "uriTemplate",
    }
}

/// What counts of the definition's `_meta`; nothing where it names no user interface.
fn user_interface(members: &[(String, &RawValue)]) -> Result<Option<Box<RawValue>>, DefinitionError> {
    let Some((_, meta)) = members.iter().find(|(key, value)| key == META && value.get().starts_with('{')) else {
        return Ok(None);
    };
    let mut counted = form::members(meta)?;
    counted.retain(|(key, _)| {
        key.strip_prefix(USER_INTERFACE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if counted.is_empty() {
        return Ok(None);
    }
    let counted: BTreeMap<String, &RawValue> = counted.into_iter().collect();
    serde_json::value::to_raw_value(&counted).map(Some).map_err(|error| not_json(&error))
}

fn name(kind: ItemKind, members: &[(String, &RawValue)]) -> Result<String, DefinitionError> {
    let member = name_member(kind);
    let value = members.iter().find(|(key, _)| key == member).map(|(_, value)| value.get());
    let name = value.and_then(|value| serde_json::from_str::<String>(value).ok());
    name.filter(|name| !name.is_empty()).ok_or(DefinitionError::NoName(member))
}

fn not_json(error: &serde_json::Error) -> DefinitionError {
    DefinitionError::NotJson(error.to_string())
}

/// A text of a server as an error may have it.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}
