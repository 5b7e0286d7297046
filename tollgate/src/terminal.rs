//! What the terminal can show: colour, tables, and text that others wrote.
//!
//! Invariant: colour appears on a terminal only, and never when `NO_COLOR` is set (no-color.org). What a server, an agent or
//! another control plane said goes through [`line`], [`lines`], [`json`] or [`table`] before it is printed.

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::Value;
use tollgate_control_plane::invisible;

/// Paints, or leaves text as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    coloured: bool,
}

/// The style of standard output.
pub(crate) fn stdout_style() -> Style {
    Style { coloured: wants_colour(std::io::stdout().is_terminal()) }
}

/// The style of standard error.
pub(crate) fn stderr_style() -> Style {
    Style { coloured: wants_colour(std::io::stderr().is_terminal()) }
}

fn wants_colour(on_terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (on_terminal || set("CLICOLOR_FORCE"))
}

impl Style {
    /// Without colour.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { coloured: false }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31;1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes data to standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes what programs read to standard output: as it is, unless people look at it.
pub(crate) fn print_data(text: &str) {
    if std::io::stdout().is_terminal() { print(&lines(text)) } else { print(text) }
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Prints items as JSON, or as `table` writes them.
pub(crate) fn print_items(format: Format, items: &[Value], table: impl Fn(&[Value]) -> String) {
    print(&match format {
        Format::Table => table(items),
        Format::Json => json(&Value::from(items)),
    });
}

/// A table of objects: titles, and where in an object the text of that column is.
pub(crate) fn table_of(columns: &[(&str, &str)], objects: &[Value]) -> String {
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    rows.extend(objects.iter().map(|object| {
        let cell = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        columns.iter().map(|(_, pointer)| cell(pointer).to_owned()).collect()
    }));
    table(&rows)
}

/// Lines of a table whose columns are as wide as their widest cell. The first row is the head. Each cell is on one [`line`].
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// What others wrote, on one line: a name, a reason, a cell.
pub(crate) fn line(text: &str) -> String {
    invisible::visible(text, usize::MAX)
}

/// What others wrote, on lines of its own.
pub(crate) fn lines(text: &str) -> String {
    invisible::visible_lines(text)
}

/// JSON on lines of its own, the last one ended: the same for programs, and harmless for a terminal.
pub(crate) fn json(value: &Value) -> String {
    invisible::visible_json(&format!("{value:#}\n"))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A name that would clear the screen, forge a line and read backwards.
    pub(crate) const HOSTILE: &str = "pay\u{1b}[2J\u{9b}2J\ndo:  run this\u{202e}\u{200b}\r";
    /// The same on one line.
    pub(crate) const SHOWN: &str = "pay‹U+001B›[2J‹U+009B›2J‹U+000A›do:  run this‹U+202E›‹U+200B›‹U+000D›";

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let rows = [["TEAM", "CALLS"], ["platform", "3"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "TEAM      CALLS\nplatform  3\n");
    }

    #[test]
    fn what_others_wrote_neither_moves_the_cursor_nor_makes_a_line() {
        assert_eq!(line(HOSTILE), SHOWN);
        assert_eq!(lines(HOSTILE), SHOWN.replace("‹U+000A›", "\n"), "in a text the line break is its own");
        assert_eq!(table(&[vec![HOSTILE.to_owned()]]), format!("{SHOWN}\n"));
        let shown = super::json(&json!({ "name": HOSTILE }));
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{1b}']) && shown.lines().count() == 3, "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON")["name"], HOSTILE);
    }
}
