//! Comma-separated values (RFC 4180) for spreadsheets.
//!
//! Invariant: no text that came from outside is a formula where the file is opened.

/// What spreadsheets take for the beginning of a formula, or skip before one.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A cell that shows `text`: with an apostrophe before what would be a formula, in quotes where it needs them.
pub(crate) fn text(text: &str) -> String {
    let apostrophe = if text.starts_with(FORMULA_STARTS) { "'" } else { "" };
    let shown = format!("{apostrophe}{text}");
    if shown.contains([',', '"', '\r', '\n']) { format!("\"{}\"", shown.replace('"', "\"\"")) } else { shown }
}

/// A line of cells, with its end.
pub(crate) fn line(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut line = String::new();
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        line.push_str(cell.as_ref());
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_a_formula_is_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        assert_eq!(text("\r=1"), "\"'\r=1\"");
        assert_eq!(text("=HYPERLINK(\"http://x\",\"y\")"), "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        assert_eq!(text("plain-name"), "plain-name");
    }

    #[test]
    fn a_line_has_its_cells_and_ends() {
        assert_eq!(line(["a", &text("b,c"), &text("d\"e")]), "a,\"b,c\",\"d\"\"e\"\r\n");
    }
}
