use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

fn image(bytes: &[u8]) -> Media {
    let mut media = Media::default();
    media.image(&BASE64_STANDARD.encode(bytes));
    media
}

fn audio(bytes: &[u8]) -> Media {
    let mut media = Media::default();
    media.audio(&BASE64_STANDARD.encode(bytes));
    media
}

fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0]);
    bytes
}

/// With a segment of metadata before its frame header, of a length that only the largest have.
fn jpeg_of(width: u16, height: u16, metadata: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend(metadata.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(metadata) - 2, 0);
    bytes.extend([0xff, 0xff, 0xc2, 0, 17, 8]);
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes
}

fn webp_of(form: &[u8; 4], rest: &[u8]) -> Vec<u8> {
    [b"RIFF\0\0\0\0WEBP", &form[..], &[0; 4], rest].concat()
}

fn wav_of(bytes_per_second: u32, claimed: u32, there: usize) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0\x80\xbb\0\0".to_vec();
    bytes.extend(bytes_per_second.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(claimed.to_le_bytes());
    bytes.resize(bytes.len() + there, 0);
    bytes
}

#[test]
fn an_image_counts_by_its_pixels() {
    assert_eq!(image(&png_of(300, 200)).tokens, 80);
    assert_eq!(image(&png_of(1, 1)).tokens, 1);
    assert_eq!(image(&jpeg_of(301, 200, 16)).tokens, 81);
    assert_eq!(image(&jpeg_of(300, 200, 65_000)).tokens, 80);
    let vp8x = webp_of(b"VP8X", &[0, 0, 0, 0, 43, 1, 0, 199, 0, 0]);
    // Fourteen bits each: 299 and 199.
    let vp8l = webp_of(b"VP8L", &[&[0x2f][..], &(299_u32 | 199 << 14).to_le_bytes()].concat());
    let vp8 = webp_of(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 44, 1, 200, 0]);
    for webp in [vp8x, vp8l, vp8] {
        assert_eq!(image(&webp).tokens, 80, "{webp:?}");
    }
}

#[test]
fn an_image_counts_for_no_more_than_a_model_is_shown() {
    for bytes in [png_of(u32::MAX, u32::MAX), png_of(0, 10), jpeg_of(65_535, 65_535, 2), b"GIF89a".to_vec()] {
        assert_eq!(image(&bytes), Media { images: 1, audio: 0, bytes: bytes.len() as u64, tokens: 1_600 });
    }
}

#[test]
fn audio_counts_by_its_length_where_that_can_be_told() {
    // Ten seconds; half a second; longer than there is.
    for (claimed, there, tokens) in [(960_000, 960_000, 320), (48_000, 48_000, 16), (u32::MAX, 96_000, 32)] {
        assert_eq!(audio(&wav_of(96_000, claimed, there)).tokens, tokens);
    }
    assert_eq!(audio(&wav_of(1, 1_000_000, 1_000_000)).tokens, AUDIO_TOKENS_MAX);
    for bytes in [&wav_of(0, 10, 10)[..], b"ID3", b""] {
        assert_eq!(audio(bytes).tokens, AUDIO_TOKENS);
    }
}

#[test]
fn what_is_no_base64_counts_as_what_cannot_be_told() {
    let mut media = Media::default();
    media.image("iVBOR w0KGgo=\u{e4}");
    media.audio("%%%%");
    assert_eq!((media.images, media.audio, media.tokens), (1, 1, IMAGE_TOKENS_MAX + AUDIO_TOKENS));
}

proptest! {
    #[test]
    fn no_header_breaks_anything_or_counts_for_more_than_the_maximum(
        magic in prop::sample::select(vec![&b"\x89PNG"[..], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"RIFF\0\0\0\0WAVEfmt ", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [magic, &rest].concat();
        prop_assert!(image(&bytes).tokens <= IMAGE_TOKENS_MAX);
        prop_assert!(audio(&bytes).tokens <= AUDIO_TOKENS_MAX);
    }
}
