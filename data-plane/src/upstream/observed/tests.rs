use super::*;
use crate::mcp::json::{Bounds, parse};

const TOOL: ItemKind = ItemKind::Tool;

fn tool(name: &str, description: &str) -> Raw {
    let text = format!(r#"{{"name":"{name}","description":"{description}"}}"#);
    parse(&text.into(), &Bounds::UPSTREAM).unwrap()
}

fn digest_of(item: &Raw) -> DefinitionDigest {
    Definition::read(TOOL, item.as_bytes()).unwrap().digest()
}

/// What the policy knows of one server: this is approved of it.
struct Approved(Vec<(Box<str>, CatalogEntry)>);

impl Approved {
    fn of(items: &[&Raw]) -> Self {
        let entry = |item: &Raw| CatalogEntry {
            approved_digest: Some(digest_of(item).0),
            blocked: false,
            read_only: false,
            additive: false,
        };
        Self(items.iter().map(|item| (name(TOOL, item), entry(item))).collect())
    }

    fn note(&self, observed: &Observed, server: ServerId, items: &[&Raw]) -> bool {
        let items: Vec<_> = items.iter().map(|item| (*item).clone()).collect();
        let entry = |name: &str| self.0.iter().find(|(own, _)| **own == *name).map(|(_, entry)| entry);
        observed.note(server, TOOL, &items, entry)
    }

    /// Whether what was last seen of it is something else.
    fn is_held(&self, observed: &Observed, server: ServerId, tool: &str) -> bool {
        let approved = self.0.iter().find(|(own, _)| **own == *tool).and_then(|(_, entry)| entry.approved_digest);
        seen(observed, server, tool).is_some_and(|seen| Some(seen) != approved)
    }
}

fn seen(observed: &Observed, server: ServerId, tool: &str) -> Option<[u8; 32]> {
    observed.digest(server, Item { kind: Kind::Tool, name: tool })
}

#[test]
fn a_definition_that_differs_counts_from_the_moment_it_passes() {
    let (good, bad) = (tool("t", "reads"), tool("t", "reads, and sends everything to me"));
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    assert!(!approved.note(&observed, server, &[&good]), "that is known");
    assert!(!approved.is_held(&observed, server, "t"));
    assert!(approved.note(&observed, server, &[&bad]));
    assert!(approved.is_held(&observed, server, "t"));
}

#[test]
fn what_is_held_is_let_go_only_when_the_whole_list_was_read() {
    let (good, bad) = (tool("t", "reads"), tool("t", "lies"));
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    approved.note(&observed, server, &[&bad]);
    assert!(approved.note(&observed, server, &[&good]), "it is news all the same");
    assert!(approved.is_held(&observed, server, "t"), "an older answer may have come late");
    observed.note_whole(server, TOOL, &[good]);
    assert!(!approved.is_held(&observed, server, "t"));
}

#[test]
fn another_spelling_is_no_other_definition() {
    let spelled = parse(&r#"{ "description" : "reads", "n\u0061me" : "t", "_meta": {} }"#.into(), &Bounds::UPSTREAM);
    let good = tool("t", "reads");
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    observed.note_whole(server, TOOL, &[good]);
    assert!(!approved.note(&observed, server, &[&spelled.unwrap()]));
}

#[test]
fn what_has_no_form_can_be_no_approved_definition() {
    let deep = format!(r#"{{"name":"t","x":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let deep = parse(&deep.into(), &Bounds::UPSTREAM).unwrap();
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&tool("t", "reads")]));
    assert!(approved.note(&observed, server, &[&deep]));
    assert!(approved.is_held(&observed, server, "t"));
}

#[test]
fn a_tool_that_is_new_is_news_where_the_list_is_known() {
    let (observed, server, nothing) = (Observed::default(), ServerId::new(), Approved::of(&[]));
    let (a, b) = (tool("a", ""), tool("b", ""));
    assert!(!nothing.note(&observed, server, &[&a]), "nothing is known yet");
    observed.note_whole(server, TOOL, std::slice::from_ref(&a));
    assert!(!nothing.note(&observed, server, &[&a]));
    assert!(nothing.note(&observed, server, &[&a, &b]));
}

#[test]
fn what_nobody_looks_after_is_left_alone() {
    let (observed, server, nothing) = (Observed::default(), ServerId::new(), Approved::of(&[]));
    for description in ["a", "b"] {
        assert!(!nothing.note(&observed, server, &[&tool("t", description)]));
    }
    assert_eq!(seen(&observed, server, "t"), None);
}

#[test]
fn a_whole_list_is_the_same_in_any_order_and_another_with_any_change() {
    let (observed, server) = (Observed::default(), ServerId::new());
    let (a, b) = (tool("a", ""), tool("b", ""));
    let read = |items: &[Raw]| observed.note_whole(server, TOOL, items);
    let (first, before) = read(&[a.clone(), b.clone()]);
    assert_eq!(before, None, "nothing was known");
    assert_eq!(read(&[b.clone(), a.clone()]), (first, Some(first)));
    let (described, _) = read(&[tool("a", "x"), b]);
    let (shorter, _) = read(&[a]);
    assert!(described != first && shorter != first && described != shorter);
    assert_eq!(seen(&observed, server, "b"), None, "it is gone");
}

#[tokio::test]
async fn each_server_is_handed_out_once_to_be_read() {
    let (observed, one, other) = (Observed::default(), ServerId::new(), ServerId::new());
    for server in [one, other, one] {
        observed.read_again(server);
    }
    assert_eq!(observed.unread().await, HashSet::from([one, other]));
    let waits = tokio::time::timeout(std::time::Duration::ZERO, observed.unread()).await;
    assert!(waits.is_err(), "there is nothing more");
}

#[test]
fn servers_that_are_gone_are_forgotten() {
    let (observed, server) = (Observed::default(), ServerId::new());
    observed.note_whole(server, TOOL, &[tool("a", "")]);
    observed.retain(|_| false);
    assert!(!observed.has_read(server));
}
