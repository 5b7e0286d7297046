//! What the terminal can show: colour, and tables.
//!
//! Invariant: colour appears on a terminal only, and never when `NO_COLOR` is set (no-color.org).

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::Value;

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
        Format::Json => format!("{:#}\n", Value::from(items)),
    });
}

/// A table of objects: titles, and where in an object the text of that column is.
pub(crate) fn table_of(columns: &[(&str, &str)], objects: &[Value]) -> String {
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    rows.extend(objects.iter().map(|object| {
        let cell = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        columns.iter().map(|(_, pointer)| harmless(cell(pointer))).collect()
    }));
    table(&rows)
}

/// Lines of a table whose columns are as wide as their widest cell. The first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
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

/// Text that a server chose, made harmless for a terminal: control characters other than line breaks and tabs are
/// shown, not sent.
pub(crate) fn harmless(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => character.to_string(),
        _ if character.is_control() => character.escape_default().to_string(),
        _ => character.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let rows = [["TEAM", "CALLS"], ["platform", "3"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "TEAM      CALLS\nplatform  3\n");
    }

    #[test]
    fn escape_sequences_of_a_server_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\x1b[31mb\nc"), "a\\u{1b}[31mb\nc");
    }
}
