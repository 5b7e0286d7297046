use bytes::Bytes;
use tollgate_proto::{AgentId, InstanceId};

use super::*;
use crate::{
    mcp::json::{self, Bounds},
    policy::{Instance, Transport, UsageReports},
};

fn owner(tenant: TenantId) -> Owner {
    Owner { tenant, agent: AgentId::new(), user: None }
}

fn server() -> Server {
    let instance = Instance {
        id: InstanceId::new(),
        url: http::Uri::from_static("http://a/mcp"),
        transport: Transport::default(),
        draining: false,
        access: Arc::default(),
    };
    Server {
        id: ServerId::new(),
        name: "files".parse().unwrap(),
        display_name: String::new(),
        era: None,
        instances: vec![Arc::new(instance)],
        usage_reports: UsageReports::Ignored,
    }
}

fn result(text: &str) -> Raw {
    json::parse(&Bytes::copy_from_slice(text.as_bytes()), &Bounds::UPSTREAM).unwrap()
}

fn asked(owner: Owner, server: &Server) -> Question {
    Question::new(owner, server, Method::ToolsList, None)
}

const PRIVATE: &str = r#"{"tools":[],"resultType":"complete","ttlMs":60000,"cacheScope":"private"}"#;
const PUBLIC: &str = r#"{"tools":[],"resultType":"complete","ttlMs":60000,"cacheScope":"public"}"#;

#[test]
fn only_what_is_public_is_given_to_another_agent() {
    let (offers, server, tenant) = (Offers::default(), server(), TenantId::new());
    let (one, two) = (owner(tenant), owner(tenant));
    offers.keep(&asked(one, &server), &result(PRIVATE), offers.moment());
    assert!(offers.get(&asked(one, &server)).is_some());
    assert!(offers.get(&asked(two, &server)).is_none());
    offers.keep(&asked(one, &server), &result(PUBLIC), offers.moment());
    assert!(offers.get(&asked(two, &server)).is_some());
    assert!(offers.get(&asked(owner(TenantId::new()), &server)).is_none(), "not to another tenant");
}

#[test]
fn nothing_is_kept_that_does_not_say_for_how_long() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    for text in [
        r#"{"tools":[]}"#,
        r#"{"tools":[],"ttlMs":0,"cacheScope":"public"}"#,
        r#"{"tools":[],"ttlMs":-1,"cacheScope":"public"}"#,
        r#"{"resultType":"input_required","ttlMs":1000,"cacheScope":"public"}"#,
    ] {
        assert!(offers.keep(&asked(owner, &server), &result(text), offers.moment()).is_zero(), "{text}");
        assert!(offers.get(&asked(owner, &server)).is_none(), "{text}");
    }
}

#[test]
fn nothing_is_kept_for_longer_than_an_hour() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    let forever = result(r#"{"tools":[],"ttlMs":18446744073709551615,"cacheScope":"private"}"#);
    assert_eq!(offers.keep(&asked(owner, &server), &forever, offers.moment()), KEPT_MAX);
}

#[test]
fn a_change_of_one_list_is_forgotten_with_that_list_alone() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    let prompts = Question::new(owner, &server, Method::PromptsList, None);
    let second_page = Question::new(owner, &server, Method::ToolsList, Some("2"));
    for question in [&asked(owner, &server), &second_page, &prompts] {
        offers.keep(question, &result(PRIVATE), offers.moment());
    }
    let (tenant, list) = (owner.tenant, ChangedList::Tools);
    offers.heard(&Announcement::ListChanged { tenant, server: server.id, list, told: None });
    assert!(offers.get(&asked(owner, &server)).is_none() && offers.get(&second_page).is_none());
    assert!(offers.get(&prompts).is_some());
    offers.heard(&Announcement::Missed);
    assert!(offers.get(&prompts).is_none());
}

#[test]
fn an_answer_that_was_under_way_when_the_list_changed_is_not_kept() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    let before = offers.moment();
    offers.heard(&Announcement::Missed);
    offers.keep(&asked(owner, &server), &result(PRIVATE), before);
    assert!(offers.get(&asked(owner, &server)).is_none());
}

#[test]
fn a_server_that_is_registered_anew_is_asked_anew() {
    let (offers, mut server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    offers.keep(&asked(owner, &server), &result(PUBLIC), offers.moment());
    let elsewhere = Instance {
        id: InstanceId::new(),
        url: http::Uri::from_static("http://b/mcp"),
        transport: Transport::default(),
        draining: false,
        access: Arc::default(),
    };
    server.instances = vec![Arc::new(elsewhere)];
    assert!(offers.get(&asked(owner, &server)).is_none());
}

#[test]
fn entries_and_bytes_are_bounded() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    let padding = "x".repeat(BYTES_MAX / 100);
    let large = result(&format!(r#"{{"tools":["{padding}"],"ttlMs":60000,"cacheScope":"private"}}"#));
    let page = |page: usize| Question::new(owner, &server, Method::ToolsList, Some(&page.to_string()));
    for number in 0..150 {
        offers.keep(&page(number), &large, offers.moment());
    }
    assert!(offers.kept().bytes <= BYTES_MAX);
    assert!(offers.get(&page(149)).is_some(), "what came last is kept");
    for number in 0..ENTRIES_MAX + 100 {
        offers.keep(&page(number), &result(PRIVATE), offers.moment());
    }
    let kept = offers.kept();
    assert!(kept.answers.len() <= ENTRIES_MAX);
    assert_eq!(kept.bytes, kept.answers.values().map(|answer| answer.result.as_bytes().len()).sum::<usize>());
}

#[test]
fn questions_that_nobody_asks_any_more_take_no_room() {
    let (offers, server, owner) = (Offers::default(), server(), owner(TenantId::new()));
    for page in 0..100 {
        drop(offers.flight(&Question::new(owner, &server, Method::ToolsList, Some(&page.to_string()))));
    }
    let held = offers.flight(&asked(owner, &server));
    assert!(Arc::ptr_eq(&held, &offers.flight(&asked(owner, &server))));
    assert_eq!(offers.flights.lock().unwrap().len(), 1);
}
