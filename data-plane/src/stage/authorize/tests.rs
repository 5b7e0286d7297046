//! One agent with any grants and any token, at an endpoint of each kind.

use std::sync::Arc;

use proptest::prelude::*;
use tollgate_proto::{GrantId, ServerId};

use super::*;
use crate::{
    policy::{Toolset, Toolsets, snapshot::Grant},
    stage::identify::{Reach, tests::caller},
};

const NOW: i64 = 1_800_000_000;
const SERVERS: [&str; 2] = ["a", "b"];
const TOOLS: [&str; 3] = ["x", "y", "z"];

fn server(name: &str) -> Arc<Server> {
    let (name, display_name) = (name.parse().unwrap(), String::new());
    Arc::new(Server { id: ServerId::new(), name, display_name, era: None, instances: Vec::new() })
}

/// Two tools of one server and one of the other, each under the own name of another.
fn toolset() -> Arc<Toolset> {
    let mut toolset = Toolset::new("t".parse().unwrap(), String::new(), String::new());
    for (server, tool, name) in [("a", "x", "y"), ("a", "y", "b__x"), ("b", "x", "x")] {
        toolset.select(&server.parse().unwrap(), tool, name, "").unwrap();
    }
    Arc::new(toolset)
}

fn scopes(texts: &[&str]) -> Arc<[Scope]> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The same caller at each endpoint of its tenant.
fn everywhere(grants: &[(Vec<&str>, bool)], token: &[&str]) -> Vec<Caller> {
    let toolset = toolset();
    let grant = |(texts, deny): &(Vec<&str>, bool)| Grant {
        id: GrantId::new(),
        scopes: scopes(texts),
        deny: *deny,
        expires_at: None,
    };
    let at = |reach| {
        caller(reach, scopes(token), |tenant, agent| {
            tenant.servers = SERVERS.iter().map(|name| (name.parse().unwrap(), server(name))).collect();
            tenant.toolsets = Toolsets::from_iter([Arc::clone(&toolset)]);
            agent.grants = grants.iter().map(grant).collect();
        })
    };
    let servers = SERVERS.iter().map(|name| Reach::Server(server(name)));
    servers.chain([Reach::Everything, Reach::Toolset(Arc::clone(&toolset))]).map(at).collect()
}

fn any_scope() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a:*", "a:x", "a:y", "a:z", "b:*", "b:x", "toolset/t", "toolset/gone"])
}

fn any_grants() -> impl Strategy<Value = Vec<(Vec<&'static str>, bool)>> {
    prop::collection::vec((prop::collection::vec(any_scope(), 1..3), prop::bool::weighted(0.2)), 0..4)
}

proptest! {
    #[test]
    fn a_list_shows_what_a_call_would_be_allowed_and_every_endpoint_decides_alike(
        grants in any_grants(),
        token in prop::collection::vec(any_scope(), 0..3),
    ) {
        for (slug, tool) in SERVERS.iter().flat_map(|slug| TOOLS.iter().map(move |tool| (slug, tool))) {
            let server = server(slug);
            let needs = Needs::Scope(Scope::tool(&server.name, tool));
            let mut decisions = Vec::new();
            for caller in everywhere(&grants, &token) {
                let view = View { caller: caller.clone(), now: NOW };
                let decided = permit(&caller, &needs, NOW);
                let shown = view.shows(ListKind::Tools, &server.name, tool);
                prop_assert_eq!(shown, decided.is_ok(), "{}:{} at {:?}", slug, tool, caller.reach().target());
                prop_assert!(!shown || view.knows(&server), "the server is asked for what it may show");
                match decided.map_err(|refusal| refusal.facts().reason) {
                    Err("tool_unknown") => prop_assert!(!caller.reach().has_tool(&server.name, tool)),
                    decision => decisions.push(decision),
                }
            }
            prop_assert!(decisions.windows(2).all(|pair| pair[0] == pair[1]), "{}:{} {:?}", slug, tool, decisions);
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
    let at_toolset = |grants: &[(Vec<&str>, bool)], token: &[&str]| {
        let caller = everywhere(grants, token).pop().unwrap();
        permit(&caller, &Needs::Scope("a:x".parse().unwrap()), NOW).unwrap_err()
    };
    let Refusal::ScopeInsufficient { scope, challenge } = at_toolset(&[(vec!["toolset/t"], false)], &["b:x"]) else {
        panic!("a token with the scope would do")
    };
    assert_eq!((scope.to_string().as_str(), challenge.scope), ("a:x", Some(scope.clone())));
    assert!(challenge.resource_metadata.ends_with("/.well-known/oauth-protected-resource/t/acme/toolsets/t"));
    let Refusal::NotGranted { scope, challenge, .. } = at_toolset(&[(vec!["b:x"], false)], &["toolset/t"]) else {
        panic!("only a grant would do")
    };
    assert_eq!((scope.to_string().as_str(), challenge.scope), ("a:x", None), "the agent is a stranger to that server");
}
