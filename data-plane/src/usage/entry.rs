//! One entry of the spool as bytes: `length u32 | crc32 u32 | position u64 | SpoolEntry`, big-endian. The length is
//! that of the `SpoolEntry`; the checksum covers everything after itself.
//!
//! Invariant: bytes that were cut off or changed never decode to an entry.

use prost::Message as _;
use tollgate_proto::usage::v1::{SpoolEntry, UsageRecord, spool_entry};

/// Bytes before the message.
pub(super) const HEADER_BYTES: usize = 16;
/// Longest message of an intent or a refusal.
pub(super) const OPENING_BYTES_MAX: usize = 64 * 1024;
/// Longest message that is believed when read: a completion says what its intent said and a little more.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 * OPENING_BYTES_MAX;

/// What happened to a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// It is about to be forwarded.
    Intent(UsageRecord),
    /// It is over.
    Completion(UsageRecord),
}

/// An event at its place in the spool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub position: u64,
    pub event: Event,
}

/// The message of an event, to be framed once its position is known.
pub(super) fn message(event: Event) -> Vec<u8> {
    let entry = match event {
        Event::Intent(record) => spool_entry::Entry::Intent(record),
        Event::Completion(record) => spool_entry::Entry::Completion(record),
    };
    SpoolEntry { entry: Some(entry) }.encode_to_vec()
}

/// The bytes of an entry. The message must not be longer than [`MESSAGE_BYTES_MAX`].
pub(super) fn frame(position: u64, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + message.len());
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&position.to_be_bytes());
    bytes.extend_from_slice(message);
    let checksum = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The entry at the beginning of `bytes` and how many of them it takes; `None` when there is no whole, sound one.
pub(super) fn read(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, _) = rest.split_first_chunk()?;
    let (position, message) = rest.get(4..)?.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return None;
    }
    let message = message.get(..length)?;
    let bytes_read = HEADER_BYTES + length;
    if crc32fast::hash(&bytes[8..bytes_read]) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let event = match SpoolEntry::decode(message).ok()?.entry? {
        spool_entry::Entry::Intent(record) => Event::Intent(record),
        spool_entry::Entry::Completion(record) => Event::Completion(record),
    };
    Some((Entry { position: u64::from_be_bytes(*position), event }, bytes_read))
}
