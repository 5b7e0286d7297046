//! Durations as people write them: `30s`, `15m`, `1h`, `1d`.

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration: write a whole number and `s`, `m`, `h` or `d`, as in `15m`")]
pub struct DurationError(String);

/// The whole seconds that `text` means.
///
/// # Errors
/// When it is anything but a number and a unit.
pub fn seconds(text: &str) -> Result<u64, DurationError> {
    let refuse = || DurationError(text.chars().take(40).collect());
    let unit = text.chars().last().ok_or_else(refuse)?;
    let (_, unit_s) = UNITS.into_iter().find(|(known, _)| *known == unit).ok_or_else(refuse)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_s)).ok_or_else(refuse)
}

/// A length of time in words, as after “the last”: `minute`, `10 minutes`.
#[must_use]
pub fn words(seconds: u64) -> String {
    const WORDS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let fits = |(unit_s, _): &(u64, &str)| seconds >= *unit_s && seconds.is_multiple_of(*unit_s);
    let (unit_s, word) = WORDS.into_iter().find(fits).unwrap_or((1, "second"));
    match seconds / unit_s {
        1 => word.to_owned(),
        count => format!("{count} {word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, expected) in [("1s", 1), ("90s", 90), ("15m", 900), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_length_of_time_is_said_in_its_largest_whole_unit() {
        let said = [
            (1, "second"),
            (60, "minute"),
            (90, "90 seconds"),
            (600, "10 minutes"),
            (86_400, "day"),
            (7_200, "2 hours"),
        ];
        for (seconds, expected) in said {
            assert_eq!(words(seconds), expected);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "1", "1 s", "-1s", "+1s", "0s", "01s", "1.5h", "1w", "1ü", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
