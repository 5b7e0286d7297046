//! One agent with any grants and any token, at an endpoint of each kind.

use std::sync::Arc;

use proptest::prelude::*;
use tollgate_proto::{
    GrantId, ServerId, TeamId,
    access::Book,
    definition::Definition,
    policy::v1::{self as wire, grant::To},
};

use super::*;
use crate::{
    mcp::json::{Bounds, parse},
    policy::{Toolset, Toolsets, UsageReports},
    stage::identify::{
        Reach,
        tests::{caller, observed},
    },
};

const NOW: i64 = 1_800_000_000;
const SERVERS: [&str; 2] = ["a", "b"];
const TOOLS: [&str; 3] = ["x", "y", "z"];
/// Two tools of one server and one of the other, each under the own name of another.
const SELECTED: [(&str, &str, &str); 3] = [("a", "x", "y"), ("a", "y", "b__x"), ("b", "x", "x")];

fn server(name: &str) -> Arc<Server> {
    let (name, display_name) = (name.parse().unwrap(), String::new());
    Arc::new(Server {
        id: ServerId::new(),
        name,
        display_name,
        era: None,
        instances: Vec::new(),
        usage_reports: UsageReports::Ignored,
    })
}

fn toolset() -> Arc<Toolset> {
    let mut toolset = Toolset::new("t".parse().unwrap(), String::new(), String::new());
    for (server, tool, name) in SELECTED {
        toolset.select(&server.parse().unwrap(), tool, name, "").unwrap();
    }
    Arc::new(toolset)
}

fn scopes(texts: &[&str]) -> Arc<[Scope]> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn grant(scopes: &[&str]) -> wire::Grant {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    wire::Grant { id: GrantId::new().to_string(), name: "some".to_owned(), scopes, ..wire::Grant::default() }
}

/// The tenant's policy as far as it is about access, with these grants to its agent.
fn policy(agent: &str, grants: &[wire::Grant]) -> wire::TenantPolicy {
    let ids = SERVERS.map(|_| ServerId::new().to_string());
    let servers = SERVERS.iter().zip(&ids);
    let servers =
        servers.map(|(name, id)| wire::Server { id: id.clone(), name: (*name).to_owned(), ..wire::Server::default() });
    let selected = SELECTED.map(|(server, tool, name)| wire::ToolsetTool {
        server_id: ids[usize::from(server == "b")].clone(),
        tool: tool.to_owned(),
        name: name.to_owned(),
        description: String::new(),
    });
    let to = Some(To::AgentId(agent.to_owned()));
    wire::TenantPolicy {
        agents: vec![wire::Agent {
            id: agent.to_owned(),
            team_id: TeamId::new().to_string(),
            ..wire::Agent::default()
        }],
        servers: servers.collect(),
        toolsets: vec![wire::Toolset { name: "t".to_owned(), tools: selected.to_vec(), ..wire::Toolset::default() }],
        grants: grants.iter().map(|grant| wire::Grant { to: to.clone(), ..grant.clone() }).collect(),
        ..wire::TenantPolicy::default()
    }
}

/// The same caller at each endpoint of its tenant.
fn everywhere(grants: &[wire::Grant], token: &[&str]) -> Vec<Caller> {
    everywhere_under(grants, token, |_| {})
}

fn everywhere_under(grants: &[wire::Grant], token: &[&str], change: fn(&mut wire::TenantPolicy)) -> Vec<Caller> {
    let toolset = toolset();
    let at = |reach| {
        caller(reach, scopes(token), |tenant, agent| {
            tenant.servers = SERVERS.iter().map(|name| (name.parse().unwrap(), server(name))).collect();
            tenant.toolsets = Toolsets::from_iter([Arc::clone(&toolset)]);
            let mut policy = policy(&agent.id.to_string(), grants);
            change(&mut policy);
            tenant.book = Book::read(&policy).unwrap();
        })
    };
    let servers = SERVERS.iter().map(|name| Reach::Server(server(name)));
    servers.chain([Reach::Everything, Reach::Toolset(Arc::clone(&toolset))]).map(at).collect()
}

/// At the endpoint of every server.
fn federated(grants: &[wire::Grant], token: &[&str]) -> Caller {
    everywhere(grants, token).swap_remove(2)
}

fn tool(server: &str, tool: &str) -> Needs {
    used(server, Kind::Tool, tool, "{}")
}

fn used(server: &str, kind: Kind, name: &str, arguments: &str) -> Needs {
    let arguments = crate::mcp::json::parse(&arguments.to_owned().into(), &crate::mcp::json::Bounds::AGENT).unwrap();
    Needs::Use(Use::of(&server.parse().unwrap(), kind, name, Some(arguments)))
}

fn any_scope() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a:*",
        "a:x",
        "a:y",
        "a:z",
        "b:*",
        "b:x",
        "a:*x",
        "a:@prompt/x",
        "toolset/t",
        "toolset/gone",
    ])
}

fn any_grants() -> impl Strategy<Value = Vec<wire::Grant>> {
    let any_grant = (prop::collection::vec(any_scope(), 1..3), prop::bool::weighted(0.2))
        .prop_map(|(scopes, deny)| wire::Grant { deny, ..grant(&scopes) });
    prop::collection::vec(any_grant, 0..4)
}

proptest! {
    #[test]
    fn a_list_shows_what_a_call_would_be_allowed_and_every_endpoint_decides_alike(
        grants in any_grants(),
        token in prop::collection::vec(any_scope(), 0..3),
    ) {
        for (slug, name) in SERVERS.iter().flat_map(|slug| TOOLS.iter().map(move |tool| (slug, tool))) {
            let server = server(slug);
            let needs = tool(slug, name);
            let mut decisions = Vec::new();
            for caller in everywhere(&grants, &token) {
                let view = View { caller: caller.clone(), now: NOW };
                let decided = permit(&caller, &needs, NOW);
                let shown = view.shows(ListKind::Tools, &server.name, name);
                prop_assert_eq!(shown, decided.is_ok(), "{}:{} at {:?}", slug, name, caller.reach().target());
                prop_assert!(!shown || view.knows(&server), "the server is asked for what it may show");
                match decided.map_err(|refusal| refusal.facts().reason) {
                    Err("tool_unknown") => prop_assert!(!caller.reach().has_tool(&server.name, name)),
                    decision => decisions.push(decision),
                }
            }
            prop_assert!(decisions.windows(2).all(|pair| pair[0] == pair[1]), "{}:{} {:?}", slug, name, decisions);
        }
    }

    #[test]
    fn a_server_is_asked_for_a_toolset_only_if_one_of_its_tools_there_may_be_used(
        grants in any_grants(),
        token in prop::collection::vec(any_scope(), 0..3),
    ) {
        let caller = everywhere(&grants, &token).pop().unwrap();
        let view = View { caller, now: NOW };
        for server in SERVERS.map(server) {
            let any = TOOLS.iter().any(|tool| view.shows(ListKind::Tools, &server.name, tool));
            prop_assert_eq!(view.knows(&server), any);
            prop_assert!(!view.deals_in(ListKind::Prompts, &server) && !view.deals_in(ListKind::Resources, &server));
        }
    }
}

#[test]
fn what_is_missing_is_named_as_one_tool_of_a_server() {
    let at_toolset = |grants: &[wire::Grant], token: &[&str]| {
        let caller = everywhere(grants, token).pop().unwrap();
        permit(&caller, &tool("a", "x"), NOW).unwrap_err()
    };
    let Refusal::ScopeInsufficient { scope, challenge } = at_toolset(&[grant(&["toolset/t"])], &["b:x"]) else {
        panic!("a token with the scope would do")
    };
    assert_eq!((scope.to_string().as_str(), challenge.scope), ("a:x", Some(scope.clone())));
    assert!(challenge.resource_metadata.ends_with("/.well-known/oauth-protected-resource/t/acme/toolsets/t"));
    let Refusal::NotGranted { scope, challenge, .. } = at_toolset(&[grant(&["b:x"])], &["toolset/t"]) else {
        panic!("only a grant would do")
    };
    assert_eq!((scope.to_string().as_str(), challenge.scope), ("a:x", None), "the agent is a stranger to that server");
}

#[test]
fn a_token_for_a_tool_that_only_reads_is_asked_for_as_it_is_granted() {
    let callers = everywhere_under(&[grant(&["a:@read"])], &["b:x"], |policy| {
        policy.servers[0].catalog.push(wire::CatalogItem {
            kind: wire::ItemKind::Tool.into(),
            name: "x".to_owned(),
            approved_digest: vec![7; 32],
            read_only: true,
            ..wire::CatalogItem::default()
        });
    });
    let Err(Refusal::ScopeInsufficient { scope, challenge }) = permit(&callers[0], &tool("a", "x"), NOW) else {
        panic!("a token with the scope would do")
    };
    assert_eq!((scope.to_string().as_str(), challenge.scope), ("a:x", Some("a:@read".parse().unwrap())));
}

#[test]
fn prompts_and_resources_are_granted_by_name() {
    let caller = federated(&[grant(&["a:@prompt/re*", "a:@resource/file:///docs/*"])], &["a:*"]);
    let view = View { caller: caller.clone(), now: NOW };
    let a = server("a");
    for (list, kind, name, is_allowed) in [
        (ListKind::Prompts, Kind::Prompt, "review", true),
        (ListKind::Prompts, Kind::Prompt, "plan", false),
        (ListKind::Resources, Kind::Resource, "file:///docs/x", true),
        (ListKind::Resources, Kind::Resource, "file:///etc/x", false),
        (ListKind::Tools, Kind::Tool, "review", false),
        (ListKind::Skills, Kind::Other, "review", false),
    ] {
        assert_eq!(permit(&caller, &used("a", kind, name, "{}"), NOW).is_ok(), is_allowed, "{kind:?} {name}");
        assert_eq!(view.shows(list, &a.name, name), is_allowed, "{kind:?} {name}");
    }
    assert!(view.deals_in(ListKind::Prompts, &a) && view.deals_in(ListKind::ResourceTemplates, &a) && view.knows(&a));
    assert!(!view.deals_in(ListKind::Tools, &a) && !view.deals_in(ListKind::Skills, &a) && !view.knows(&server("b")));
    let refused = permit(&caller, &used("a", Kind::Prompt, "plan", "{}"), NOW).unwrap_err();
    assert_eq!(refused.data()["required_scope"], "a:@prompt/plan");
}

#[test]
fn a_refusal_names_the_grant_and_the_argument_or_that_it_is_the_network() {
    let conditional = |test| wire::Grant {
        conditions: vec![wire::Condition { pointer: "/path".to_owned(), test: Some(test) }],
        ..grant(&["a:x"])
    };
    let docs = conditional(wire::condition::Test::Prefix("/docs/".to_owned()));
    let caller = federated(&[docs], &["a:*"]);
    permit(&caller, &used("a", Kind::Tool, "x", r#"{"path":"/docs/x"}"#), NOW).unwrap();
    assert!(View::new(&caller, NOW).shows(ListKind::Tools, &"a".parse().unwrap(), "x"));
    let refused = permit(&caller, &used("a", Kind::Tool, "x", r#"{"path":"/etc/x"}"#), NOW).unwrap_err();
    assert_eq!((refused.facts().reason, &refused.data()["pointer"]), ("argument_not_allowed", &"/path".into()));
    assert_eq!(refused.data()["grant"], "some");

    let elsewhere = wire::Grant { networks: vec!["198.51.100.0/24".to_owned()], ..grant(&["a:x"]) };
    let caller = federated(&[elsewhere], &["a:*"]);
    let refused = permit(&caller, &tool("a", "x"), NOW).unwrap_err();
    assert_eq!((refused.facts().reason, &refused.data()["grant"]), ("network_not_allowed", &"some".into()));
    assert!(!View::new(&caller, NOW).shows(ListKind::Tools, &"a".parse().unwrap(), "x"));
}

#[test]
fn an_agent_that_is_held_to_exact_tools_is_told_which_scope_to_ask_for() {
    let callers = everywhere_under(&[grant(&["a:*"])], &["a:*"], |policy| {
        policy.agents[0].exact_tools = true;
        policy.grants[0].to = Some(To::TeamId(policy.agents[0].team_id.clone()));
    });
    let refused = permit(&callers[2], &tool("a", "x"), NOW).unwrap_err();
    assert_eq!((refused.facts().reason, &refused.data()["grant"]), ("held_to_exact_tools", &"some".into()));
    assert_eq!(refused.data()["required_scope"], "a:x");
    assert!(!View::new(&callers[2], NOW).shows(ListKind::Tools, &"a".parse().unwrap(), "x"));
}

#[test]
fn what_waits_for_approval_is_neither_shown_nor_called() {
    let at =
        |change: fn(&mut wire::TenantPolicy)| everywhere_under(&[grant(&["a:*"])], &["a:*"], change).swap_remove(2);
    let held = at(|policy| policy.servers[0].approval = wire::Approval::Pinned.into());
    let blocked = at(|policy| {
        policy.servers[0].catalog.push(wire::CatalogItem {
            kind: wire::ItemKind::Tool.into(),
            name: "x".to_owned(),
            blocked: true,
            ..wire::CatalogItem::default()
        });
    });
    for (caller, reason) in [(held, "tool_not_approved"), (blocked, "tool_blocked")] {
        let refused = permit(&caller, &tool("a", "x"), NOW).unwrap_err();
        assert_eq!(refused.facts().reason, reason);
        assert!(!View::new(&caller, NOW).shows(ListKind::Tools, &"a".parse().unwrap(), "x"));
    }
}

#[test]
fn each_part_of_what_is_needed_must_be_allowed() {
    let caller = federated(&[grant(&["a:x"])], &["a:*"]);
    let any = |kind| Needs::AnythingOf("a".parse().unwrap(), kind);
    permit(&caller, &Needs::All(vec![any(None), any(Some(Kind::Tool)), tool("a", "x")]), NOW).unwrap();
    for needs in [any(Some(Kind::Prompt)), tool("a", "y"), Needs::AnythingOf("b".parse().unwrap(), None)] {
        let refused = permit(&caller, &Needs::All(vec![any(None), needs.clone()]), NOW).unwrap_err();
        assert_eq!(refused.facts().reason, "tool_not_granted", "{needs:?}");
    }
}

#[test]
fn what_changed_between_list_and_call_is_neither_shown_nor_used_from_the_moment_it_was_read() {
    let spelled = |description: &str| {
        let tool = format!(r#"{{"name":"x","description":"{description}"}}"#);
        parse(&tool.into(), &Bounds::UPSTREAM).unwrap()
    };
    let pinned = |policy: &mut wire::TenantPolicy| {
        let approved = Definition::read(wire::ItemKind::Tool, br#"{"name":"x","description":"reads"}"#).unwrap();
        policy.servers[0].approval = wire::Approval::Pinned.into();
        policy.servers[0].catalog = vec![wire::CatalogItem {
            kind: wire::ItemKind::Tool.into(),
            name: "x".to_owned(),
            approved_digest: approved.digest().0.to_vec(),
            ..wire::CatalogItem::default()
        }];
    };
    let a = "a".parse().unwrap();
    for caller in everywhere_under(&[grant(&["a:*"])], &["a:*"], pinned) {
        if !caller.reach().has_tool(&a, "x") {
            continue;
        }
        let tenant = Arc::clone(caller.tenant());
        let note = |description: &str| {
            let section = tenant.book.section(&a, Kind::Tool);
            let listed = [spelled(description)];
            observed(&caller).note(tenant.servers[&a].id, wire::ItemKind::Tool, &listed, &section).is_news
        };
        let shown = || View::new(&caller, NOW).shows(ListKind::Tools, &a, "x");
        let used = || permit(&caller, &tool("a", "x"), NOW);
        assert!(shown() && used().is_ok(), "nothing was seen yet");
        assert!(!note("reads") && shown() && used().is_ok(), "it is as approved");
        assert!(note("reads, and tells me"), "that is news");
        assert!(!shown());
        assert!(matches!(used(), Err(Refusal::ToolNotApproved { .. })), "{:?}", used());
    }
}
