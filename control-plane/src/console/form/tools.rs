//! Rows of a form in which tools are picked: the server, the tool, and what agents see of it.
//!
//! Invariant: a row in which nothing is entered means nothing, so that a form without a script always has some to spare.

use super::{Choice, Entries};

/// How many empty rows there are below those that are filled.
const SPARE: usize = 4;
/// More than a toolset may hold, so that one too many is refused and not lost.
const ROWS_MAX: usize = 240;

/// The rows of one field.
#[derive(Debug)]
pub(in crate::console) struct Tools {
    pub(in crate::console) servers: Vec<Choice>,
    pub(in crate::console) rows: Vec<Tool>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::console) struct Tool {
    pub(in crate::console) server: String,
    pub(in crate::console) tool: String,
    pub(in crate::console) name: String,
    pub(in crate::console) description: String,
}

impl Tools {
    /// Rows for tools of these servers, to be filled.
    pub(in crate::console) fn of(servers: &[String]) -> Self {
        Self { servers: Choice::none_or("Choose a server", servers), rows: Vec::new() }
    }

    /// Fills the rows of the field called `field` with what was entered, and adds empty ones.
    pub(in crate::console) fn fill(&mut self, entries: &Entries, field: &str) {
        self.rows = entered(entries, field);
        self.rows.extend(std::iter::repeat_n(Tool::default(), SPARE));
    }
}

/// The rows that are not empty, in their order.
pub(in crate::console) fn entered(entries: &Entries, field: &str) -> Vec<Tool> {
    let rows = (0..ROWS_MAX).map(|index| {
        let part = |part: &str| entries.get(&format!("{field}-{index}-{part}")).replace("\r\n", "\n");
        Tool { server: part("server"), tool: part("tool"), name: part("name"), description: part("description") }
    });
    rows.filter(|row| *row != Tool::default()).collect()
}

/// The entries with these rows.
pub(in crate::console) fn with_rows(entries: Entries, field: &str, rows: impl IntoIterator<Item = Tool>) -> Entries {
    rows.into_iter().enumerate().fold(entries, |entries, (index, row)| {
        let name = |part: &str| format!("{field}-{index}-{part}");
        entries
            .with(&name("server"), row.server)
            .with(&name("tool"), row.tool)
            .with(&name("name"), row.name)
            .with(&name("description"), row.description)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, tool: &str) -> Tool {
        Tool { server: server.to_owned(), tool: tool.to_owned(), ..Tool::default() }
    }

    #[test]
    fn rows_that_were_emptied_are_gone_and_some_are_always_to_spare() {
        let rows = [row("a", "x"), Tool::default(), row("b", "y")];
        let entries = with_rows(Entries::default(), "tools", rows);
        assert_eq!(entered(&entries, "tools"), [row("a", "x"), row("b", "y")]);
        let mut tools = Tools::of(&["a".to_owned()]);
        tools.fill(&entries, "tools");
        assert_eq!((tools.rows.len(), &tools.rows[1]), (2 + SPARE, &row("b", "y")));
    }

    #[test]
    fn line_breaks_are_those_of_the_object_and_not_of_the_form() {
        let entries = Entries::default().with("tools-0-description", "One.\r\nTwo.");
        assert_eq!(entered(&entries, "tools")[0].description, "One.\nTwo.");
    }
}
