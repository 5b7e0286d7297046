use proptest::prelude::*;

use super::*;

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
    agent.permission(&scopes(token), &wanted.parse().expect("a scope"), NOW)
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
}
