//! Names for agents that have none of their own: an RFC 1123 label out of what they call themselves.
//!
//! Invariant: what comes out is a [`tollgate_proto::Name`].

const SLUG_LEN_MAX: usize = 40;
const FALLBACK: &str = "client";

/// The part of `text` that a name can hold: `Claude Code (laptop)` becomes `claude-code-laptop`.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for char in text.chars() {
        if slug.len() == SLUG_LEN_MAX {
            break;
        }
        if char.is_ascii_alphanumeric() {
            slug.push(char.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { FALLBACK.to_owned() } else { slug.to_owned() }
}

/// The slug of `text` itself, or the first of `slug-2`, `slug-3` … that is not in `taken`.
pub(super) fn free(text: &str, taken: &[String]) -> String {
    let slug = slug(text);
    let is_free = |name: &String| !taken.contains(name);
    let numbered = (2_u64..).map(|number| format!("{slug}-{number}"));
    std::iter::once(slug.clone()).chain(numbered).find(is_free).expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_proto::Name;

    use super::*;

    #[test]
    fn a_name_is_what_is_left_of_how_a_client_calls_itself() {
        for (text, expected) in [
            ("Claude Code (laptop)", "claude-code-laptop"),
            ("vscode.dev", "vscode-dev"),
            ("  --Ünïcode!! ", "n-code"),
            ("你好", "client"),
            ("", "client"),
        ] {
            assert_eq!(slug(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(free("Claude", &[]), "claude");
        let taken = ["claude", "claude-2", "claude-code"].map(str::to_owned);
        assert_eq!(free("Claude", &taken), "claude-3");
    }

    proptest! {
        #[test]
        fn every_text_makes_a_name(text in "\\PC*", taken in 0_usize..4) {
            let mut names = Vec::new();
            for _ in 0..=taken {
                let name = free(&text, &names);
                prop_assert!(name.parse::<Name>().is_ok(), "{}", name);
                prop_assert!(!names.contains(&name));
                names.push(name);
            }
        }
    }
}
