//! From one definition to another, line by line, for people.
//!
//! Invariant: what is shown is what is there: an invisible character is its JSON escape, and no number is rounded.

use serde::Serialize;
use utoipa::ToSchema;

use crate::invisible;

/// Above, lines are not matched: everything went, everything came.
const CELLS_MAX: usize = 1_000_000;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is in both.
    Same,
    /// It went.
    Removed,
    /// It came.
    Added,
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Line {
    /// What became of it.
    pub change: Change,
    /// The line, with its indentation.
    pub text: String,
}

/// The lines of both; none when they are the same. Where nothing was before, everything came.
pub(super) fn between(before: Option<&str>, now: &str) -> Vec<Line> {
    if before == Some(now) {
        return Vec::new();
    }
    let (before, now) = (before.map(lines).unwrap_or_default(), lines(now));
    let start = before.iter().zip(&now).take_while(|(one, other)| one == other).count();
    let (old, new) = (&before[start..], &now[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let same = |lines: &[String]| lines.iter().map(|text| Line::new(Change::Same, text)).collect::<Vec<_>>();
    let mut difference = same(&before[..start]);
    difference.extend(middle(old, new));
    difference.extend(same(&before[before.len() - end..]));
    difference
}

/// A definition in its canonical form, on lines of its own.
pub(super) fn lines(canonical: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut chars = canonical.chars().peekable();
    let begin = |lines: &mut Vec<String>, depth: usize| lines.push("  ".repeat(depth));
    while let Some(char) = chars.next() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if in_string {
            invisible::push_json(line, char);
            (in_string, escaped) = (escaped || char != '"', !escaped && char == '\\');
            continue;
        }
        match char {
            '{' | '[' => {
                line.push(char);
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    line.push(close);
                } else {
                    depth += 1;
                    begin(&mut lines, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                begin(&mut lines, depth);
                lines.last_mut().expect("one was pushed").push(char);
            }
            ',' => {
                line.push(char);
                begin(&mut lines, depth);
            }
            ':' => line.push_str(": "),
            other => {
                line.push(other);
                in_string = other == '"';
            }
        }
    }
    lines
}

/// By a longest common subsequence.
fn middle(old: &[String], new: &[String]) -> Vec<Line> {
    let width = new.len() + 1;
    let matched = (old.len() + 1).saturating_mul(width) <= CELLS_MAX;
    // At `row * width + column`: how many lines the rests of both have in common.
    let mut common = vec![0_u32; if matched { (old.len() + 1) * width } else { 0 }];
    if matched {
        for row in (0..old.len()).rev() {
            for column in (0..new.len()).rev() {
                common[row * width + column] = if old[row] == new[column] {
                    common[(row + 1) * width + column + 1] + 1
                } else {
                    common[(row + 1) * width + column].max(common[row * width + column + 1])
                };
            }
        }
    }
    let (mut row, mut column, mut lines) = (0, 0, Vec::new());
    while row < old.len() || column < new.len() {
        let both = row < old.len() && column < new.len();
        if matched && both && old[row] == new[column] {
            lines.push(Line::new(Change::Same, &old[row]));
            (row, column) = (row + 1, column + 1);
        } else if row < old.len()
            && (!matched || !both || common[(row + 1) * width + column] >= common[row * width + column + 1])
        {
            lines.push(Line::new(Change::Removed, &old[row]));
            row += 1;
        } else {
            lines.push(Line::new(Change::Added, &new[column]));
            column += 1;
        }
    }
    lines
}

impl Line {
    fn new(change: Change, text: &str) -> Self {
        Self { change, text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: Option<&str>, now: &str) -> Vec<String> {
        let sign = |change| match change {
            Change::Same => ' ',
            Change::Removed => '-',
            Change::Added => '+',
        };
        between(before, now).iter().map(|line| format!("{}{}", sign(line.change), line.text)).collect()
    }

    #[test]
    fn a_definition_is_shown_line_by_line_as_it_is() {
        let canonical = r#"{"a":[],"b":{"c":"x,\"y\\","n":12345678901234567890},"d":[1,{}]}"#;
        let expected = [
            "{",
            r#"  "a": [],"#,
            r#"  "b": {"#,
            r#"    "c": "x,\"y\\","#,
            r#"    "n": 12345678901234567890"#,
            "  },",
            r#"  "d": ["#,
            "    1,",
            "    {}",
            "  ]",
            "}",
        ];
        assert_eq!(lines(canonical), expected);
        assert_eq!(lines("{\"a\":\"x\u{202e}\u{e0041}\"}")[1], r#"  "a": "x\u202e\udb40\udc41""#);
    }

    #[test]
    fn what_changed_stands_between_what_did_not() {
        let before = r#"{"description":"Echoes.","name":"echo","title":"Echo"}"#;
        let now = r#"{"description":"Echoes. Really.","name":"echo"}"#;
        let expected = [
            " {",
            "-  \"description\": \"Echoes.\",",
            "-  \"name\": \"echo\",",
            "-  \"title\": \"Echo\"",
            "+  \"description\": \"Echoes. Really.\",",
            "+  \"name\": \"echo\"",
            " }",
        ];
        assert_eq!(shown(Some(before), now), expected);
        assert_eq!(shown(Some(now), now), [""; 0]);
        assert_eq!(shown(None, r#"{"name":"echo"}"#), ["+{", "+  \"name\": \"echo\"", "+}"]);
    }

    #[test]
    fn what_is_too_long_to_be_matched_went_and_came() {
        let long = |first: &str| format!("[{first}{}]", ",1".repeat(1_200) + first);
        let shown = shown(Some(&long("2")), &long("3"));
        let removed = shown.iter().filter(|line| line.starts_with('-')).count();
        assert_eq!((removed, shown.len()), (1_201, 2 * 1_201 + 2));
    }

    proptest::proptest! {
        #[test]
        fn both_can_be_read_off_the_difference(old in "[abc]{0,12}", new in "[abc]{0,12}") {
            let json = |text: &str| format!("[{}]", text.chars().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(","));
            let (old, new) = (json(&old), json(&new));
            proptest::prop_assume!(old != new);
            let side = |change| {
                let lines = between(Some(&old), &new).into_iter().filter(move |line| [Change::Same, change].contains(&line.change));
                lines.map(|line| line.text).collect::<Vec<_>>()
            };
            proptest::prop_assert_eq!(side(Change::Removed), lines(&old));
            proptest::prop_assert_eq!(side(Change::Added), lines(&new));
        }
    }
}
