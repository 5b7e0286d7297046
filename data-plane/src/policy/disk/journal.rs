//! The file of one tenant's revocations: one entry for each message, the oldest first.
//!
//! Invariant: an entry is the SHA-256 of its message, then the message behind its length; entries are only ever added
//! at the end.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use prost::Message as _;
use tollgate_proto::policy::v1::Revocations;

/// What a message is written as.
pub(super) fn entry(message: &Revocations) -> Vec<u8> {
    let framed = message.encode_length_delimited_to_vec();
    [digest(&SHA256, &framed).as_ref(), &framed].concat()
}

/// The messages of a file; `None` when it is not whole.
pub(super) fn read(mut file: &[u8]) -> Option<Vec<Revocations>> {
    let mut messages = Vec::new();
    while !file.is_empty() {
        let (expected, rest) = file.split_at_checked(SHA256_OUTPUT_LEN)?;
        let mut behind = rest;
        let message = Revocations::decode_length_delimited(&mut behind).ok()?;
        let framed = &rest[..rest.len() - behind.len()];
        if digest(&SHA256, framed).as_ref() != expected {
            return None;
        }
        messages.push(message);
        file = behind;
    }
    Some(messages)
}
