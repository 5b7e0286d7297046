use proptest::prelude::*;

use super::*;
use crate::policy::Toolset;

const NOW: i64 = 1_800_000_000;

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().expect("a scope")).collect()
}

fn grant(texts: &[&str], deny: bool, expires_at: Option<i64>) -> Grant {
    Grant { id: GrantId::new(), scopes: scopes(texts).into(), deny, expires_at }
}

fn agent(grants: Vec<Grant>) -> Agent {
    Agent {
        id: AgentId::new(),
        client_id: "https://agents.example/bot.json".to_owned(),
        name: "bot".to_owned(),
        team: Team { id: TeamId::new(), name: "team".to_owned(), cost_center: String::new() },
        active: true,
        grants,
        limits: Vec::new(),
    }
}

fn permission(agent: &Agent, token: &[&str], wanted: &str) -> Permission {
    permission_with(&Toolsets::default(), agent, token, wanted)
}

fn permission_with(toolsets: &Toolsets, agent: &Agent, token: &[&str], wanted: &str) -> Permission {
    agent.permission(toolsets, &scopes(token), &wanted.parse().expect("a scope"), NOW)
}

/// The toolset `t` with these tools, each written as its scope, under these names.
fn toolset(tools: &[(String, String)]) -> Toolsets {
    let mut toolset = Toolset::new("t".parse().unwrap(), String::new(), String::new());
    for (tool, name) in tools {
        let (server, tool) = tool.split_once(':').unwrap();
        toolset.select(&server.parse().unwrap(), tool, name, "").unwrap();
    }
    Toolsets::from_iter([Arc::new(toolset)])
}

#[test]
fn without_a_grant_nothing_is_allowed() {
    assert_eq!(permission(&agent(vec![]), &["demo:*"], "demo:echo"), Permission::NotGranted);
}

#[test]
fn grant_and_token_are_both_needed() {
    let agent = agent(vec![grant(&["demo:*"], false, None)]);
    assert_eq!(permission(&agent, &["demo:echo"], "demo:echo"), Permission::Allowed);
    assert_eq!(permission(&agent, &["demo:echo"], "demo:add"), Permission::NotInToken);
    assert_eq!(permission(&agent, &["demo:*"], "other:add"), Permission::NotGranted);
}

#[test]
fn a_deny_beats_every_allow() {
    let agent = agent(vec![grant(&["demo:*"], false, None), grant(&["demo:drop"], true, None)]);
    assert_eq!(permission(&agent, &["demo:*"], "demo:drop"), Permission::NotGranted);
    assert_eq!(permission(&agent, &["demo:*"], "demo:echo"), Permission::Allowed);
}

#[test]
fn a_grant_is_void_from_the_second_it_expires() {
    let ends = |at| agent(vec![grant(&["demo:echo"], false, Some(at))]);
    assert_eq!(permission(&ends(NOW + 1), &["demo:echo"], "demo:echo"), Permission::Allowed);
    assert_eq!(permission(&ends(NOW), &["demo:echo"], "demo:echo"), Permission::NotGranted);
}

#[test]
fn a_grant_of_a_toolset_follows_what_is_in_it() {
    let agent = agent(vec![grant(&["toolset/t"], false, None), grant(&["a:y"], false, None)]);
    let with = |tools: &[(&str, &str)]| {
        toolset(&tools.iter().map(|(tool, name)| ((*tool).to_owned(), (*name).to_owned())).collect::<Vec<_>>())
    };
    let (before, after) = (with(&[("a:x", "one"), ("b:x", "two")]), with(&[("b:x", "one")]));
    let token = ["toolset/t"];
    assert_eq!(permission_with(&before, &agent, &token, "a:x"), Permission::Allowed);
    assert_eq!(permission_with(&after, &agent, &token, "a:x"), Permission::NotGranted);
    assert_eq!(permission_with(&after, &agent, &token, "b:x"), Permission::Allowed);
    assert_eq!(permission_with(&before, &agent, &token, "a:y"), Permission::NotInToken);
    assert!(agent.knows(&before, &"b".parse().unwrap(), NOW) && !agent.knows(&before, &"c".parse().unwrap(), NOW));
}

fn any_tool() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["x", "y", "z"]))
        .prop_map(|(server, tool)| format!("{server}:{tool}"))
}

fn any_scope_or_toolset() -> impl Strategy<Value = String> {
    prop_oneof![any_scope(), any_tool(), Just("toolset/t".to_owned()), Just("toolset/gone".to_owned())]
}

/// The scopes with each of the toolset's tools in the place of the toolset.
fn spelled_out(scopes: &[String], tools: &[String]) -> Vec<String> {
    let spell = |scope: &String| match scope.as_str() {
        "toolset/t" => tools.to_vec(),
        "toolset/gone" => Vec::new(),
        _ => vec![scope.clone()],
    };
    scopes.iter().flat_map(spell).collect()
}

fn parsed(scopes: &[String]) -> Vec<Scope> {
    scopes.iter().map(|scope| scope.parse().unwrap()).collect()
}

fn built(grants: &[(Vec<String>, bool)]) -> Agent {
    let built =
        |(scopes, deny): &(Vec<String>, bool)| Grant { scopes: parsed(scopes).into(), ..grant(&[], *deny, None) };
    agent(grants.iter().map(built).collect())
}

fn any_scope() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["*", "x", "y"]))
        .prop_map(|(server, tool)| format!("{server}:{tool}"))
}

fn any_grants() -> impl Strategy<Value = Vec<(Vec<String>, bool)>> {
    prop::collection::vec((prop::collection::vec(any_scope(), 1..3), any::<bool>()), 0..5)
}

proptest! {
    #[test]
    fn adding_a_deny_never_allows(grants in any_grants(), token in prop::collection::vec(any_scope(), 0..3),
                                  wanted in any_scope(), denied in any_scope()) {
        let built: Vec<Grant> = grants.iter()
            .map(|(texts, deny)| grant(&texts.iter().map(String::as_str).collect::<Vec<_>>(), *deny, None))
            .collect();
        let token: Vec<&str> = token.iter().map(String::as_str).collect();
        let before = permission(&agent(built.clone()), &token, &wanted);
        let mut more = built;
        more.push(grant(&[&denied], true, None));
        let after = permission(&agent(more), &token, &wanted);
        prop_assert!(before == Permission::Allowed || after != Permission::Allowed);
    }
    /// Whether it is granted, denied or carried by a token, and whatever its tools are called there.
    #[test]
    fn a_toolset_means_what_its_tools_would_mean_one_by_one(
        grants in prop::collection::vec((prop::collection::vec(any_scope_or_toolset(), 1..3), any::<bool>()), 0..5),
        token in prop::collection::vec(any_scope_or_toolset(), 0..3),
        tools in prop::collection::btree_set(any_tool(), 0..4),
        shift in 0_usize..4,
        wanted in prop_oneof![any_scope(), any_tool()],
    ) {
        let tools = Vec::from_iter(tools);
        // Each is called by the own name of one of them.
        let names = tools.iter().cycle().skip(shift).map(|tool| tool.replace(':', "__"));
        let named: Vec<(String, String)> = tools.iter().cloned().zip(names).collect();
        let wanted: Scope = wanted.parse().unwrap();
        let by_toolset = built(&grants).permission(&toolset(&named), &parsed(&token), &wanted, NOW);
        let plain: Vec<_> = grants.iter().map(|(scopes, deny)| (spelled_out(scopes, &tools), *deny)).collect();
        let one_by_one =
            built(&plain).permission(&Toolsets::default(), &parsed(&spelled_out(&token, &tools)), &wanted, NOW);
        prop_assert_eq!(by_toolset, one_by_one);
    }
}
