//! Images, audio and other binary content: how many, how large, and as how many tokens they count. Pure.
//!
//! Invariant: whatever a header claims, an item counts for no more than its kind's maximum, and the base64 is not
//! read beyond the beginning where headers are.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

#[cfg(test)]
mod tests;

/// Pixels of an image for one token.
const PIXELS_PER_TOKEN: u64 = 750;
/// What an image counts for at most, because models are shown large ones smaller; and what one counts for whose size
/// cannot be told.
const IMAGE_TOKENS_MAX: u64 = 1_600;
/// What a second of audio counts for.
const AUDIO_TOKENS_PER_SECOND: u64 = 32;
/// What audio counts for whose length cannot be told: that of half a minute.
const AUDIO_TOKENS: u64 = 30 * AUDIO_TOKENS_PER_SECOND;
/// What audio counts for at most: that of an hour.
const AUDIO_TOKENS_MAX: u64 = 3_600 * AUDIO_TOKENS_PER_SECOND;
/// Within so many characters of base64 the size of a JPEG is looked for: what comes before it is at most a few segments
/// of 64 KiB. The others have theirs within the first bytes.
const HEADER_CHARACTERS_MAX: usize = 256 * 1024;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What was found of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// How many images.
    pub images: u32,
    /// How many pieces of audio.
    pub audio: u32,
    /// Bytes of them and of other binary content, decoded.
    pub bytes: u64,
    /// Tokens that images and audio count for; other binary content counts for none.
    pub tokens: u64,
}

impl Media {
    pub(super) fn image(&mut self, data: &str) {
        self.images += 1;
        self.other(data);
        let pixels = beginning(data).and_then(|bytes| size(&bytes)).map(|(width, height)| width * height);
        let tokens = pixels.filter(|pixels| *pixels > 0).map(|pixels| pixels.div_ceil(PIXELS_PER_TOKEN));
        self.tokens += tokens.unwrap_or(IMAGE_TOKENS_MAX).min(IMAGE_TOKENS_MAX);
    }

    pub(super) fn audio(&mut self, data: &str) {
        self.audio += 1;
        self.other(data);
        let tokens = beginning(data).and_then(|bytes| wav_milliseconds(&bytes, decoded_bytes(data)));
        let tokens = tokens.map(|length| (length * AUDIO_TOKENS_PER_SECOND).div_ceil(1_000).max(1));
        self.tokens += tokens.unwrap_or(AUDIO_TOKENS).min(AUDIO_TOKENS_MAX);
    }

    pub(super) fn other(&mut self, data: &str) {
        self.bytes += decoded_bytes(data);
    }

    /// Both together.
    pub(super) const fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.audio += other.audio;
        self.bytes += other.bytes;
        self.tokens += other.tokens;
    }
}

fn decoded_bytes(data: &str) -> u64 {
    data.trim_end_matches('=').len() as u64 * 3 / 4
}

/// The first bytes; `None` when it is no base64.
fn beginning(data: &str) -> Option<Vec<u8>> {
    let end = data.len().min(HEADER_CHARACTERS_MAX) / 4 * 4;
    LENIENT.decode(data.get(..end)?).ok()
}

/// Width and height of an image, as its header has them.
fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [0xff, 0xd8, ..] => jpeg(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(bytes),
        _ => None,
    }
}

/// The header chunk, which is the first (PNG, third edition, section 11.2.1).
fn png(bytes: &[u8]) -> Option<(u64, u64)> {
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    Some((u64::from(u32_be(bytes, 16)?), u64::from(u32_be(bytes, 20)?)))
}

/// The frame header, wherever it is among the segments (ITU-T T.81, B.2.2).
fn jpeg(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            // Filling, and markers without a length.
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            // Start of frame: all of this range but the tables of Huffman and of arithmetic coding, and an extension.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let (height, width) = (u16_be(bytes, at + 5)?, u16_be(bytes, at + 7)?);
                return Some((u64::from(width), u64::from(height)));
            }
            _ => at += 2 + usize::from(u16_be(bytes, at + 2)?),
        }
    }
}

/// Each of its three forms has the size elsewhere (RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1).
fn webp(bytes: &[u8]) -> Option<(u64, u64)> {
    let u24 = |at: usize| Some(u64::from(u16_le(bytes, at)?) | u64::from(*bytes.get(at + 2)?) << 16);
    match bytes.get(12..16)? {
        b"VP8X" => Some((u24(24)? + 1, u24(27)? + 1)),
        b"VP8L" => {
            let packed = u64::from(u32_le(bytes, 21)?);
            Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((u64::from(u16_le(bytes, 26)? & 0x3fff), u64::from(u16_le(bytes, 28)? & 0x3fff))),
        _ => None,
    }
}

/// How long a WAVE file plays that takes `total` bytes: it cannot play more than there is.
fn wav_milliseconds(bytes: &[u8], total: u64) -> Option<u64> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut per_second) = (12, None);
    loop {
        let (name, length) = (bytes.get(at..at + 4)?, u32_le(bytes, at + 4)?);
        match name {
            b"fmt " => per_second = u32_le(bytes, at + 16).map(u64::from).filter(|rate| *rate > 0),
            b"data" => {
                let there = total.saturating_sub(at as u64 + 8);
                return Some(u64::from(length).min(there) * 1_000 / per_second?);
            }
            _ => {}
        }
        // Chunks begin at even places.
        at = at.checked_add(8)?.checked_add(length as usize)?.checked_next_multiple_of(2)?;
    }
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
