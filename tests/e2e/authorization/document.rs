//! `docs/oauth-conformance.md` against the sources: every test that it names exists and is run, and no section is empty.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use tollgate_tests::repository_root;

const DOCUMENT: &str = "docs/oauth-conformance.md";
/// Every specification that has something to say about us.
const SPECIFICATIONS: [&str; 19] = [
    "OAuth 2.1",
    "RFC 6750",
    "RFC 7009",
    "RFC 7523",
    "RFC 7591",
    "RFC 7592",
    "RFC 7636",
    "RFC 7662",
    "RFC 8252",
    "RFC 8414",
    "RFC 8707",
    "RFC 9068",
    "RFC 9207",
    "RFC 9700",
    "RFC 9728",
    "Client ID Metadata Document",
    "OpenID Connect Back-Channel Logout",
    "MCP 2026-07-28",
    "Checklist",
];

#[test]
fn every_test_that_the_document_names_exists() {
    let text = read(DOCUMENT);
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    for section in sections(&text) {
        let mut rows = 0;
        for row in section.rows() {
            rows += 1;
            if row.proof.starts_with("does not apply: ") {
                continue;
            }
            let tests: Vec<&str> = row.proof.split('`').skip(1).step_by(2).collect();
            if tests.is_empty() {
                faults.push(format!("{}: no test proves: {}", section.title, row.requirement));
            }
            named.extend(tests);
        }
        if rows == 0 {
            faults.push(format!("{} is empty", section.title));
        }
    }
    let missing = named.iter().filter(|test| !exists(test)).map(|test| format!("there is no test {test}"));
    faults.extend(missing);
    assert!(faults.is_empty(), "{DOCUMENT}:\n{}", faults.join("\n"));
}

#[test]
fn every_specification_has_its_section() {
    let text = read(DOCUMENT);
    let titles: Vec<&str> = sections(&text).map(|section| section.title).collect();
    for specification in SPECIFICATIONS {
        let found = titles.iter().filter(|title| title.contains(specification)).count();
        assert_eq!(found, 1, "{specification} among {titles:?}");
    }
}

#[test]
fn the_check_knows_a_test_from_what_is_none() {
    let own = "tests/e2e/authorization/document.rs::every_specification_has_its_section";
    assert!(exists(own));
    assert!(!exists("tests/e2e/authorization/document.rs::no_such_test"));
    assert!(!exists("tests/e2e/authorization/document.rs::sections"), "a function is no test");
    assert!(!exists("tests/e2e/nowhere.rs::every_specification_has_its_section"));
    assert!(is_included(Path::new("tests/e2e/authorization/oracle/clients.rs")), "by way of three files");
    assert!(!is_included(Path::new("tests/e2e/authorization/nowhere.rs")), "nobody names it");
    assert!(runs("#[test]\nfn one() {", "one"));
    assert!(!runs("#[test]\n#[ignore = \"slow\"]\nfn one() {", "one"), "it is left out");
    let section = Section { title: "x", body: "| a | b |\n|---|---|\n| must | `p::t` |\n" };
    let rows: Vec<_> = section.rows().map(|row| (row.requirement, row.proof)).collect();
    assert_eq!(rows, [("must", "`p::t`")]);
}

struct Section<'a> {
    title: &'a str,
    body: &'a str,
}

struct Row<'a> {
    requirement: &'a str,
    proof: &'a str,
}

impl<'a> Section<'a> {
    /// The rows of its tables, without their heads.
    fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        let lines = self.body.lines().filter(|line| line.starts_with('|'));
        lines.skip_while(|line| !line.starts_with("|---")).skip(1).filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let (first, last) = (cells.first()?, cells.last()?);
            Some(Row { requirement: first, proof: last })
        })
    }
}

fn sections(text: &str) -> impl Iterator<Item = Section<'_>> {
    text.split("\n## ").skip(1).map(|section| {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        Section { title, body }
    })
}

/// Whether `path::name` is a test that is run: a function of that name below an attribute that makes it one and none that
/// leaves it out, in a file that belongs to its crate.
fn exists(test: &str) -> bool {
    let Some((path, name)) = test.split_once("::") else { return false };
    let Ok(source) = fs::read_to_string(absolute(Path::new(path))) else { return false };
    is_included(Path::new(path)) && runs(&source, name)
}

/// Whether a source file is a crate's root, or is named as a module by the file above it, up to the root.
fn is_included(path: &Path) -> bool {
    let (Some(stem), Some(folder)) = (path.file_stem().and_then(OsStr::to_str), path.parent()) else { return false };
    if ["lib", "main"].contains(&stem) {
        return true;
    }
    let above = [folder.with_extension("rs"), folder.join("lib.rs"), folder.join("main.rs")];
    let names_it = |file: &PathBuf| {
        let source = fs::read_to_string(absolute(file)).unwrap_or_default();
        let line = format!("mod {stem};");
        source
            .lines()
            .map(str::trim)
            .any(|text| text == line || text.starts_with("pub") && text.ends_with(&format!(" {line}")))
    };
    above.iter().any(|file| file != path && names_it(file) && is_included(file))
}

fn runs(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    lines.iter().enumerate().any(|(at, line)| {
        let is_head = heads.iter().any(|head| line.starts_with(head));
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let attributes: Vec<_> = above.filter(|line| line.starts_with("#[")).collect();
        let left_out = attributes.iter().any(|line| line.starts_with("#[ignore"));
        is_head && !left_out && attributes.iter().any(|line| line.contains("test"))
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(absolute(Path::new(path))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn absolute(path: &Path) -> PathBuf {
    repository_root().join(path)
}
