//! The vocabulary `o200k_base`, by which text is counted.
//!
//! Invariant: the time that a text takes grows with its length and no faster, whatever it says.

/// What counts, as records name it: vocabulary and implementation.
pub(super) const NAME: &str = "o200k_base/bpe-openai-0.3.2";

/// Tokens of a text. The first call reads the vocabulary, which takes a fifth of a second.
pub(super) fn count(text: &str) -> u64 {
    bpe_openai::o200k_base().count(text) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_as_many_tokens_as_openai_says() {
        // By tiktoken 0.12, o200k_base, `encode_ordinary`.
        for (text, tokens) in [
            ("", 0),
            ("hello world", 2),
            ("antidisestablishmentarianism", 6),
            ("2 + 2 = 4", 7),
            ("お誕生日おめでとう", 8),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn records_name_the_version_that_is_built_in() {
        let lock = include_str!("../../../../Cargo.lock");
        let version = NAME.rsplit('-').next().unwrap_or_default();
        assert!(lock.contains(&format!("name = \"bpe-openai\"\nversion = \"{version}\"\n")), "{NAME}");
    }
}
