//! The instructions of several servers as one text within a budget.
//!
//! Invariant: no server's share depends on how much another one writes beyond its own fair share, and a text that is
//! cut says so.

use tollgate_proto::Name;

/// Bytes of all servers' instructions together, headings and notes not counted.
pub const BYTES_MAX: usize = 8 * 1024;

/// The texts in their order, each under its server's name. What short ones leave of the budget goes to longer ones.
#[must_use]
pub fn merged(opening: &str, parts: &[(Name, String)]) -> String {
    let share = share(parts.iter().map(|(_, text)| text.len()).collect());
    let mut merged = opening.to_owned();
    for (server, text) in parts {
        let shown = &text[..text.floor_char_boundary(share)];
        merged.push_str(&format!("\n\n## {server}\n\n{shown}"));
        if shown.len() < text.len() {
            merged.push_str(&format!(
                "\n\n[{} more bytes of this server's instructions are left out]",
                text.len() - shown.len()
            ));
        }
    }
    merged
}

/// The most bytes that each may have, so that together they stay within the budget.
fn share(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    let (mut left, mut count) = (BYTES_MAX, lengths.len());
    for length in lengths {
        if length * count > left {
            return left / count;
        }
        left -= length;
        count -= 1;
    }
    BYTES_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(server: &str, text: &str) -> (Name, String) {
        (server.parse().unwrap(), text.to_owned())
    }

    #[test]
    fn each_text_stands_under_its_servers_name() {
        let merged = merged("Hello.", &[part("a", "Use a."), part("b", "Use b.\nOr not.")]);
        assert_eq!(merged, "Hello.\n\n## a\n\nUse a.\n\n## b\n\nUse b.\nOr not.");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so_while_a_short_one_stays_whole() {
        let merged = merged("", &[part("long", &"x".repeat(20_000)), part("short", "Use me.")]);
        assert!(merged.contains(&format!("[{} more bytes", 20_000 - (BYTES_MAX - 7))), "{merged}");
        assert!(merged.ends_with("## short\n\nUse me."));
    }

    proptest! {
        #[test]
        fn the_budget_holds_whatever_servers_write(texts in proptest::collection::vec("[aé€😀]{0,4000}", 0..8)) {
            let parts: Vec<_> = texts.iter().map(|text| part("s", text)).collect();
            let lengths: Vec<_> = texts.iter().map(String::len).collect();
            let share = share(lengths.clone());
            prop_assert!(lengths.iter().map(|length| length.min(&share)).sum::<usize>() <= BYTES_MAX);
            if lengths.iter().sum::<usize>() <= BYTES_MAX {
                prop_assert!(lengths.iter().all(|length| *length <= share), "nothing is cut that fits");
            }
            let _ = merged("", &parts);
        }
    }
}
