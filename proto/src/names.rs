//! The names that tools and prompts have on endpoints that join several servers: `{server}__{tool}`.
//!
//! A name that clients could not use (over 64 characters, or with others than letters, digits, `_` and `-`) keeps
//! a readable stem and gets a hash of the tool's own name: `{server}__{stem}__{hash}`.
//!
//! Invariant: a federated name divides at its first `__`, since no server's name has an underscore. The rest either
//! is the tool's own name or ends like a hash, never both: an own name that ends like one is hashed itself.

#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{SHA256, digest};

use crate::Name;

/// The longest federated name, in characters, for servers with names of at most [`SERVER_CHARACTERS_MAX`].
pub const CHARACTERS_MAX: usize = 64;

/// The longest name of a server that leaves room for a hash. With a longer one a hashed name has more than
/// [`CHARACTERS_MAX`] characters, though never more than the 128 that the specification allows.
pub const SERVER_CHARACTERS_MAX: usize = CHARACTERS_MAX - 2 * SEPARATOR.len() - HASH_CHARACTERS;

const SEPARATOR: &str = "__";
/// 80 bits: two names that collide take a server 2^40 attempts, and then are its own two tools.
const HASH_CHARACTERS: usize = 16;
const HASH_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What follows the server in a federated name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest<'a> {
    /// The tool's own name.
    Plain(&'a str),
    /// A stem and a hash: the tool is the one of the server for which [`resolves`] holds.
    Hashed(&'a str),
}

/// The name of a server's tool among those of other servers. The same two names always give the same one.
#[must_use]
pub fn federated(server: &Name, tool: &str) -> String {
    let server = server.as_str();
    let room = CHARACTERS_MAX.saturating_sub(server.len() + SEPARATOR.len());
    let plain = (1..=room).contains(&tool.len()) && tool.bytes().all(is_name_byte) && !ends_with_hash(tool);
    if plain {
        return format!("{server}{SEPARATOR}{tool}");
    }
    let room = room.saturating_sub(SEPARATOR.len() + HASH_CHARACTERS);
    let clean = |character: char| if u8::try_from(character).is_ok_and(is_name_byte) { character } else { '_' };
    let stem: String = tool.chars().take(room).map(clean).collect();
    format!("{server}{SEPARATOR}{stem}{SEPARATOR}{}", hash(tool))
}

/// Divides a federated name; `None` when there is no server's name in front or nothing behind it.
#[must_use]
pub fn split(federated: &str) -> Option<(Name, Rest<'_>)> {
    let (server, rest) = federated.split_once(SEPARATOR)?;
    let server = server.parse().ok()?;
    match rest {
        "" => None,
        rest if ends_with_hash(rest) => Some((server, Rest::Hashed(rest))),
        rest => Some((server, Rest::Plain(rest))),
    }
}

/// Whether this federated name is that of the server's tool.
#[must_use]
pub fn resolves(name: &str, server: &Name, tool: &str) -> bool {
    federated(server, tool) == name
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn ends_with_hash(rest: &str) -> bool {
    let Some(start) = rest.len().checked_sub(SEPARATOR.len() + HASH_CHARACTERS) else { return false };
    let ending = rest.get(start..).and_then(|ending| ending.strip_prefix(SEPARATOR));
    ending.is_some_and(|hash| hash.bytes().all(|byte| HASH_ALPHABET.contains(&byte)))
}

/// The first 80 bits of the SHA-256, in base 32.
fn hash(tool: &str) -> String {
    let digest = digest(&SHA256, tool.as_bytes());
    let mut bits = digest.as_ref().iter().take(10).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let mut characters = [0_u8; HASH_CHARACTERS];
    for character in characters.iter_mut().rev() {
        *character = HASH_ALPHABET[usize::try_from(bits & 31).expect("five bits fit")];
        bits >>= 5;
    }
    characters.iter().map(|byte| char::from(*byte)).collect()
}
