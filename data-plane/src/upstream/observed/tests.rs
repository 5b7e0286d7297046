use futures_util::FutureExt as _;
use tollgate_proto::{Name, access::Book, policy::v1 as wire};

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

/// What the policy knows of one server, whose tools need approval: these have it.
struct Approved {
    book: Book,
    name: Name,
}

impl Approved {
    fn of(items: &[&Raw]) -> Self {
        Self::under(wire::Approval::Pinned, items)
    }

    fn under(approval: wire::Approval, items: &[&Raw]) -> Self {
        let item = |item: &&Raw| wire::CatalogItem {
            kind: TOOL.into(),
            name: name(TOOL, item).into(),
            approved_digest: digest_of(item).0.to_vec(),
            ..wire::CatalogItem::default()
        };
        let server = wire::Server {
            id: ServerId::new().to_string(),
            name: "files".to_owned(),
            approval: approval.into(),
            catalog: items.iter().map(item).collect(),
            ..wire::Server::default()
        };
        let book = Book::read(&wire::TenantPolicy { servers: vec![server], ..wire::TenantPolicy::default() }).unwrap();
        Self { book, name: "files".parse().unwrap() }
    }

    fn section(&self) -> Section<'_> {
        self.book.section(&self.name, Kind::Tool)
    }

    fn note(&self, observed: &Observed, server: ServerId, items: &[&Raw]) -> bool {
        let items: Vec<_> = items.iter().map(|item| (*item).clone()).collect();
        observed.note(server, TOOL, &items, &self.section()).is_news
    }

    /// Takes these for the whole list, as it is read now.
    fn read(&self, observed: &Observed, server: ServerId, items: &[&Raw]) -> (Fingerprint, Option<Fingerprint>) {
        self.end_reading(&begin_reading(observed, server), items)
    }

    fn end_reading(&self, reading: &Reading, items: &[&Raw]) -> (Fingerprint, Option<Fingerprint>) {
        let items: Vec<_> = items.iter().map(|item| (*item).clone()).collect();
        reading.note_whole(TOOL, &items, &self.section())
    }

    /// Whether what was last seen of it is something else.
    fn is_held(&self, observed: &Observed, server: ServerId, tool: &str) -> bool {
        seen(observed, server, tool).is_some_and(|seen| self.section().holds(tool, &seen))
    }
}

fn begin_reading(observed: &Observed, server: ServerId) -> Reading {
    observed.begin_reading(server).now_or_never().expect("nobody else reads it")
}

fn seen(observed: &Observed, server: ServerId, tool: &str) -> Option<[u8; 32]> {
    observed.glance(server, Kind::Tool).digest(tool)
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
    approved.read(&observed, server, &[&good]);
    assert!(!approved.is_held(&observed, server, "t"));
}

#[test]
fn what_was_seen_since_a_reading_began_is_not_lifted_by_its_end() {
    let (good, bad) = (tool("t", "reads"), tool("t", "lies"));
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    for read in [&[&good][..], &[]] {
        let reading = begin_reading(&observed, server);
        approved.note(&observed, server, &[&bad]);
        approved.end_reading(&reading, read);
        assert!(approved.is_held(&observed, server, "t"), "the reading is older, whatever it says: {read:?}");
    }
    approved.read(&observed, server, &[&good]);
    assert!(!approved.is_held(&observed, server, "t"));
}

#[test]
fn a_reading_that_finds_something_else_counts_whatever_agents_were_listed_meanwhile() {
    let (good, bad) = (tool("t", "reads"), tool("t", "lies"));
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    let reading = begin_reading(&observed, server);
    approved.note(&observed, server, &[&good]);
    approved.end_reading(&reading, &[&bad]);
    assert!(approved.is_held(&observed, server, "t"));
}

#[test]
fn whatever_the_policy_knows_is_remembered_however_much_else_a_server_lists() {
    let (good, bad) = (tool("t", "reads"), tool("t", "lies"));
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    let others: Vec<Raw> = (0..=REMEMBERED_MAX).map(|number| tool(&format!("other-{number}"), "")).collect();
    approved.note(&observed, server, &others.iter().collect::<Vec<_>>());
    assert_eq!(seen(&observed, server, &format!("other-{REMEMBERED_MAX}")), None, "there is no room");
    approved.note(&observed, server, &[&bad]);
    assert!(approved.is_held(&observed, server, "t"));
}

#[test]
fn another_spelling_is_no_other_definition() {
    let spelled = parse(&r#"{ "description" : "reads", "n\u0061me" : "t", "_meta": {} }"#.into(), &Bounds::UPSTREAM);
    let good = tool("t", "reads");
    let (observed, server, approved) = (Observed::default(), ServerId::new(), Approved::of(&[&good]));
    approved.read(&observed, server, &[&good]);
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
    let nothing = Approved::under(wire::Approval::Unspecified, &[]);
    let (observed, server) = (Observed::default(), ServerId::new());
    let (a, b) = (tool("a", ""), tool("b", ""));
    assert!(!nothing.note(&observed, server, &[&a]), "nothing is known yet");
    nothing.read(&observed, server, &[&a]);
    assert!(!nothing.note(&observed, server, &[&a]));
    assert!(nothing.note(&observed, server, &[&a, &b]));
}

#[test]
fn what_nobody_looks_after_is_left_alone_unless_it_needs_approval() {
    let (observed, server) = (Observed::default(), ServerId::new());
    let nothing = Approved::under(wire::Approval::Notify, &[]);
    for description in ["a", "b"] {
        assert!(!nothing.note(&observed, server, &[&tool("t", description)]));
    }
    assert_eq!(seen(&observed, server, "t"), None);
    assert!(Approved::of(&[]).note(&observed, server, &[&tool("t", "a")]));
    assert!(seen(&observed, server, "t").is_some());
}

#[test]
fn a_whole_list_is_the_same_in_any_order_and_another_with_any_change() {
    let (observed, server) = (Observed::default(), ServerId::new());
    let (a, b) = (tool("a", ""), tool("b", ""));
    let nothing = Approved::of(&[]);
    let read = |items: &[&Raw]| nothing.read(&observed, server, items);
    let (first, before) = read(&[&a, &b]);
    assert_eq!(before, None, "nothing was known");
    assert_eq!(read(&[&b, &a]), (first, Some(first)));
    let (described, _) = read(&[&tool("a", "x"), &b]);
    let (shorter, _) = read(&[&a]);
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
    Approved::of(&[]).read(&observed, server, &[&tool("a", "")]);
    observed.retain(|_| false);
    assert!(!observed.has_read(server));
}
