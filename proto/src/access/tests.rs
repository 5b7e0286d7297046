//! Policies as they are sent, asked as both planes ask.

mod property;
mod templates;

use super::*;
use crate::{
    GrantId, ServerId,
    policy::v1::{self as wire, condition::Test, grant::To},
};

const NOW: i64 = 1_800_000_000;
const DIGEST: [u8; 32] = [7; 32];

/// A tenant with one agent in one team, and what a test adds.
#[derive(Debug)]
struct Scene {
    policy: wire::TenantPolicy,
    agent: AgentId,
    team: TeamId,
    token: Vec<Scope>,
    role: Option<&'static str>,
    peer: Option<IpAddr>,
}

impl Scene {
    /// With a token that carries everything of `a` and `b`, which are there.
    fn new() -> Self {
        let (agent, team) = (AgentId::new(), TeamId::new());
        let sent = wire::Agent { id: agent.to_string(), team_id: team.to_string(), ..wire::Agent::default() };
        let servers = ["a", "b"].map(|name| wire::Server {
            id: ServerId::new().to_string(),
            name: name.to_owned(),
            ..wire::Server::default()
        });
        let policy =
            wire::TenantPolicy { agents: vec![sent], servers: servers.to_vec(), ..wire::TenantPolicy::default() };
        Self { policy, agent, team, token: scopes(&["a:*", "b:*"]), role: None, peer: None }
    }

    fn grant(mut self, scopes: &[&str], change: impl FnOnce(&mut wire::Grant)) -> Self {
        let mut grant = wire::Grant {
            id: GrantId::new().to_string(),
            name: format!("grant-{}", self.policy.grants.len()),
            to: Some(To::AgentId(self.agent.to_string())),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..wire::Grant::default()
        };
        change(&mut grant);
        self.policy.grants.push(grant);
        self
    }

    fn allow(self, scopes: &[&str]) -> Self {
        self.grant(scopes, |_| {})
    }

    fn deny(self, scopes: &[&str]) -> Self {
        self.grant(scopes, |grant| grant.deny = true)
    }

    fn with_token(mut self, texts: &[&str]) -> Self {
        self.token = scopes(texts);
        self
    }

    fn with_toolset(mut self, name: &str, tools: &[(&str, &str)]) -> Self {
        let id = |server: &str| self.policy.servers.iter().find(|it| it.name == server).map(|it| it.id.clone());
        let tools = tools.iter().map(|(server, tool)| wire::ToolsetTool {
            server_id: id(server).expect("the server is there"),
            tool: (*tool).to_owned(),
            ..wire::ToolsetTool::default()
        });
        let tools = tools.collect();
        self.policy.toolsets.push(wire::Toolset { name: name.to_owned(), tools, ..wire::Toolset::default() });
        self
    }

    /// Of server `a`.
    fn with_catalog(mut self, approval: wire::Approval, items: &[wire::CatalogItem]) -> Self {
        self.policy.servers[0].approval = approval.into();
        self.policy.servers[0].catalog = items.to_vec();
        self
    }

    /// Held to exact tools.
    fn held(mut self) -> Self {
        self.policy.agents[0].exact_tools = true;
        self
    }

    fn book(&self) -> Book {
        Book::read(&self.policy).expect("a good policy")
    }

    fn asker(&self) -> Asker<'_> {
        Asker { agent: self.agent, role: self.role, token: &self.token, peer: self.peer, now: NOW }
    }

    /// The outcome for an item, written as its scope, with these arguments; none: they are not known.
    fn outcome(&self, wanted: &str, arguments: Option<&str>) -> String {
        self.outcome_of(wanted, arguments, None)
    }

    fn outcome_of(&self, wanted: &str, arguments: Option<&str>, observed: Option<&[u8; 32]>) -> String {
        let (server, what) = wanted.split_once(':').expect("an item of a server");
        let (server, item) = (server.parse().expect("a name"), item(what));
        let arguments = arguments.map_or(Arguments::Unknown, |text| Arguments::Given(text.as_bytes()));
        let attempt = Attempt { asker: self.asker(), server: &server, item, arguments, observed };
        match self.book().decide(&attempt) {
            Ok(ruling) => format!("allowed by {} {}", ruling.grant.name, ruling.scope),
            Err(Refused::Denied(ruling)) => format!("denied by {} {}", ruling.grant.name, ruling.scope),
            Err(Refused::Expired(ruling)) => format!("expired {}", ruling.grant.name),
            Err(Refused::OutsideNetwork(ruling)) => format!("outside {}", ruling.grant.name),
            Err(Refused::ConditionFailed { ruling, pointer }) => format!("failed {} {pointer}", ruling.grant.name),
            Err(Refused::NotExact(ruling)) => format!("not exact {} {}", ruling.grant.name, ruling.scope),
            Err(Refused::NotGranted) => "not granted".to_owned(),
            Err(Refused::Blocked) => "blocked".to_owned(),
            Err(Refused::NotApproved) => "not approved".to_owned(),
            Err(Refused::NotInToken(_)) => "not in token".to_owned(),
        }
    }

    fn allows(&self, wanted: &str) -> bool {
        self.outcome(wanted, Some("{}")).starts_with("allowed")
    }
}

/// Written as in a scope, with `@template/` for templates and `@other` for the rest, and without encoding.
fn item(what: &str) -> Item<'_> {
    let kinds = [("@prompt/", Kind::Prompt), ("@resource/", Kind::Resource), ("@template/", Kind::Template)];
    let labelled = kinds.into_iter().find_map(|(label, kind)| Some(Item { kind, name: what.strip_prefix(label)? }));
    labelled.unwrap_or(Item { kind: if what == "@other" { Kind::Other } else { Kind::Tool }, name: what })
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().expect("a scope")).collect()
}

fn prefix(pointer: &str, prefix: &str) -> wire::Condition {
    wire::Condition { pointer: pointer.to_owned(), test: Some(Test::Prefix(prefix.to_owned())) }
}

fn catalogued(kind: wire::ItemKind, name: &str, is_approved: bool) -> wire::CatalogItem {
    let approved_digest = if is_approved { DIGEST.to_vec() } else { Vec::new() };
    wire::CatalogItem { kind: kind.into(), name: name.to_owned(), approved_digest, ..wire::CatalogItem::default() }
}

fn tool(name: &str, is_approved: bool) -> wire::CatalogItem {
    catalogued(wire::ItemKind::Tool, name, is_approved)
}

#[test]
fn without_a_grant_nothing_is_allowed() {
    assert_eq!(Scene::new().outcome("a:x", None), "not granted");
    let mut stranger = Scene::new().allow(&["a:*"]);
    stranger.agent = AgentId::new();
    assert_eq!(stranger.outcome("a:x", None), "not granted");
}

#[test]
fn each_form_of_scope_lets_in_what_it_names() {
    for (granted, wanted, is_allowed) in [
        ("a:x", "a:x", true),
        ("a:x", "a:y", false),
        ("a:x", "b:x", false),
        ("a:x", "a:@prompt/x", false),
        ("a:get_*", "a:get_issue", true),
        ("a:get_*", "a:set_issue", false),
        ("a:*", "a:@prompt/p", true),
        ("a:*", "a:@resource/file:///x", true),
        ("a:*", "a:@template/file:///{x}", true),
        ("a:*", "a:@other", true),
        ("a:*", "b:x", false),
        ("a:@prompt/re*", "a:@prompt/review", true),
        ("a:@prompt/re*", "a:@prompt/plan", false),
        ("a:@prompt/*", "a:x", false),
        ("a:@prompt/*", "a:@other", false),
        ("a:@resource/file:///docs/*", "a:@resource/file:///docs/x", true),
        ("a:@resource/file:///docs/*", "a:@resource/file:///etc/x", false),
        ("a:@resource/file:///docs/*", "a:@template/file:///{+path}", true),
        ("a:@resource/file:///docs/*", "a:@template/file:///etc/{name}", false),
        ("a:%40read", "a:@read", true),
        ("a:%2A", "a:x", false),
    ] {
        assert_eq!(Scene::new().allow(&[granted]).allows(wanted), is_allowed, "{granted} {wanted}");
        // The token is read as grants are.
        let carried = Scene::new().allow(&["a:*", "b:*"]).with_token(&[granted]).allows(wanted);
        assert_eq!(carried, is_allowed, "{granted} {wanted}");
        let denied = !Scene::new().allow(&["a:*"]).deny(&[granted]).allows(wanted);
        let is_part_of_template = wanted.contains("@template/file:///{");
        let of_b = wanted.starts_with("b:");
        assert_eq!(denied, of_b || (is_allowed && (!is_part_of_template || granted == "a:*")), "{granted} {wanted}");
    }
}

#[test]
fn of_several_that_allow_the_agents_own_decides_then_its_teams_then_the_roles_and_of_those_the_first() {
    let to = |to: To| move |grant: &mut wire::Grant| grant.to = Some(to);
    let mut scene = Scene::new();
    let (agent, team) = (To::AgentId(scene.agent.to_string()), To::TeamId(scene.team.to_string()));
    for (recipient, decides) in [(To::Role("viewer".to_owned()), 0), (team, 1), (agent.clone(), 2), (agent, 2)] {
        scene = scene.grant(&["a:*"], to(recipient));
        scene.role = Some("viewer");
        assert_eq!(scene.outcome("a:x", Some("{}")), format!("allowed by grant-{decides} a:*"));
    }
}

#[test]
fn a_deny_beats_every_allow_and_the_grant_that_decided_is_named() {
    let scene = Scene::new().allow(&["b:*", "a:*"]).deny(&["a:drop*"]);
    assert_eq!(scene.outcome("a:drop_all", None), "denied by grant-1 a:drop*");
    assert_eq!(scene.outcome("a:echo", None), "allowed by grant-0 a:*");
}

#[test]
fn a_team_and_the_users_role_are_let_in_as_the_agent_is() {
    let scene = Scene::new();
    let team = scene.team.to_string();
    let scene = scene
        .grant(&["a:team"], |grant| grant.to = Some(To::TeamId(team)))
        .grant(&["a:stranger"], |grant| grant.to = Some(To::TeamId(TeamId::new().to_string())))
        .grant(&["a:role"], |grant| grant.to = Some(To::Role("operator".to_owned())));
    assert!(scene.allows("a:team") && !scene.allows("a:stranger"));
    assert!(!scene.allows("a:role"), "the agent acts for itself");
    assert!(Scene { role: Some("operator"), ..scene }.allows("a:role"));
    let viewer = Scene { role: Some("viewer"), ..Scene::new() };
    assert!(!viewer.grant(&["a:role"], |grant| grant.to = Some(To::Role("operator".to_owned()))).allows("a:role"));
}

#[test]
fn who_is_held_to_exact_tools_gets_of_others_grants_what_they_name_and_of_its_own_everything() {
    for (granted, wanted, is_exact) in [
        ("a:*", "a:x", false),
        ("a:x*", "a:x", false),
        ("a:@read", "a:x", false),
        ("a:@prompt/*", "a:@prompt/x", false),
        ("a:@resource/*", "a:@resource/x:y", false),
        ("a:@resource/*", "a:@template/x:{y}", false),
        ("a:*", "a:@other", false),
        ("a:x", "a:x", true),
        ("a:@prompt/x", "a:@prompt/x", true),
        ("a:@resource/x:y", "a:@resource/x:y", true),
        ("toolset/t", "a:x", true),
    ] {
        let scene = |own: bool| {
            let reads = wire::CatalogItem { read_only: true, ..tool("x", true) };
            let scene = Scene::new().with_catalog(wire::Approval::Unspecified, &[reads]);
            let scene = scene.with_toolset("t", &[("a", "x")]).held();
            let to = if own { To::AgentId(scene.agent.to_string()) } else { To::TeamId(scene.team.to_string()) };
            scene.grant(&[granted], |grant| grant.to = Some(to))
        };
        let allowed = format!("allowed by grant-0 {granted}");
        assert_eq!(scene(true).outcome(wanted, None), allowed, "{granted} {wanted}");
        let held = format!("not exact grant-0 {granted}");
        let others = scene(false);
        assert_eq!(others.outcome(wanted, None), if is_exact { allowed } else { held }, "{granted} {wanted}");
        let a = "a".parse().expect("a name");
        let (book, kind) = (others.book(), item(wanted.split_once(':').expect("an item").1).kind);
        let desk = book.desk(others.asker(), &a);
        assert_eq!((desk.knows(), desk.deals_in(kind)), (is_exact, is_exact), "{granted} {wanted}");
    }
}

#[test]
fn who_is_held_to_exact_tools_is_denied_by_every_grant_and_is_let_in_by_a_role_as_by_a_team() {
    let scene = Scene { role: Some("operator"), ..Scene::new().held() };
    let scene = scene
        .grant(&["a:*"], |grant| grant.to = Some(To::Role("operator".to_owned())))
        .grant(&["a:y"], |grant| grant.to = Some(To::Role("operator".to_owned())));
    assert_eq!(scene.outcome("a:x", None), "not exact grant-0 a:*");
    assert_eq!(scene.outcome("a:y", None), "allowed by grant-1 a:y");
    let team = scene.team.to_string();
    let scene = scene.grant(&["a:*"], |grant| (grant.deny, grant.to) = (true, Some(To::TeamId(team))));
    assert_eq!(scene.outcome("a:y", None), "denied by grant-2 a:*");
}

#[test]
fn a_grant_is_void_from_the_second_it_expires() {
    let ends = |at| Scene::new().grant(&["a:x"], |grant| grant.expires_at = at);
    assert_eq!(ends(NOW + 1).outcome("a:x", None), "allowed by grant-0 a:x");
    assert_eq!(ends(NOW).outcome("a:x", None), "expired grant-0");
    let denied = Scene::new().allow(&["a:x"]).grant(&["a:x"], |grant| (grant.deny, grant.expires_at) = (true, NOW));
    assert!(denied.allows("a:x"));
}

#[test]
fn a_network_is_compared_with_where_the_request_comes_from() {
    let from = |peer: Option<&str>| {
        let scene = Scene::new().grant(&["a:x"], |grant| {
            grant.networks = ["192.0.2.0/24", "2001:db8::/32", "::ffff:203.0.113.0/120"].map(str::to_owned).to_vec();
        });
        Scene { peer: peer.map(|peer| peer.parse().expect("an address")), ..scene }.outcome("a:x", Some("{}"))
    };
    for inside in ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1", "203.0.113.9", "::ffff:203.0.113.9"] {
        assert_eq!(from(Some(inside)), "allowed by grant-0 a:x", "{inside}");
    }
    assert_eq!(from(None), "allowed by grant-0 a:x");
    for outside in ["192.0.3.1", "203.0.112.9", "2001:db9::1", "::1"] {
        assert_eq!(from(Some(outside)), "outside grant-0", "{outside}");
    }
}

#[test]
fn all_conditions_must_hold_and_the_one_that_does_not_is_named() {
    let scene = Scene::new()
        .grant(&["a:read"], |grant| grant.conditions = vec![prefix("/path", "/srv/"), prefix("/mode", "r")]);
    let outcome = |arguments| scene.outcome("a:read", Some(arguments));
    assert_eq!(outcome(r#"{"path":"/srv/x","mode":"ro"}"#), "allowed by grant-0 a:read");
    assert_eq!(outcome(r#"{"path":"/srv/x","mode":"w"}"#), "failed grant-0 /mode");
    assert_eq!(outcome(r#"{"path":"/etc/x","mode":"w"}"#), "failed grant-0 /path");
    assert_eq!(outcome("{}"), "failed grant-0 /path");
    assert_eq!(scene.outcome("a:read", None), "allowed by grant-0 a:read", "a list shows what might be allowed");
}

#[test]
fn a_list_hides_what_is_denied_whatever_the_arguments_alone() {
    let scene = Scene::new()
        .allow(&["a:*"])
        .grant(&["a:read"], |grant| (grant.deny, grant.conditions) = (true, vec![prefix("/path", "/etc/")]));
    assert!(scene.outcome("a:read", None).starts_with("allowed"));
    assert!(scene.outcome("a:read", Some(r#"{"path":"/srv"}"#)).starts_with("allowed"));
    assert_eq!(scene.outcome("a:read", Some(r#"{"path":"/etc/passwd"}"#)), "denied by grant-1 a:read");
    assert_eq!(scene.deny(&["a:read"]).outcome("a:read", None), "denied by grant-2 a:read");
}

#[test]
fn what_takes_no_arguments_is_decided_without_any_whether_it_is_listed_or_used() {
    let conditional = |deny| {
        let change = |grant: &mut wire::Grant| (grant.deny, grant.conditions) = (deny, vec![prefix("/p", "x")]);
        Scene::new().grant(&["a:*"], change)
    };
    for wanted in ["a:@resource/file:///x", "a:@template/file:///{x}", "a:@other"] {
        for given in [None, Some("{}"), Some(r#"{"p":"x"}"#)] {
            assert_eq!(conditional(false).outcome(wanted, given), "failed grant-0 /p", "{wanted} {given:?}");
            let outcome = conditional(true).allow(&["a:*"]).outcome(wanted, given);
            assert_eq!(outcome, "allowed by grant-1 a:*", "{wanted} {given:?}");
        }
    }
    let a = "a".parse().expect("a name");
    let (scene, book) = (conditional(false), conditional(false).book());
    let scene = Scene { agent: *book.agents.keys().next().expect("an agent"), ..scene };
    let desk = book.desk(scene.asker(), &a);
    for kind in [Kind::Tool, Kind::Prompt, Kind::Resource, Kind::Template, Kind::Other] {
        assert_eq!(desk.deals_in(kind), kind.takes_arguments(), "{kind:?}");
        assert_eq!(desk.seen(kind).is_some(), kind.takes_arguments(), "{kind:?}");
    }
}

#[test]
fn of_several_grants_that_do_not_hold_the_nearest_is_named() {
    let mut scene = Scene::new()
        .grant(&["a:x"], |grant| grant.networks = vec!["192.0.2.0/24".to_owned()])
        .grant(&["a:x"], |grant| grant.conditions = vec![prefix("/p", "x")])
        .grant(&["a:x"], |grant| grant.expires_at = NOW);
    scene.peer = Some("::1".parse().expect("an address"));
    assert_eq!(scene.outcome("a:x", Some("{}")), "failed grant-1 /p");
    scene.policy.grants.remove(1);
    assert_eq!(scene.outcome("a:x", Some("{}")), "outside grant-0");
    scene.policy.grants.remove(0);
    assert_eq!(scene.outcome("a:x", Some("{}")), "expired grant-2");
}

#[test]
fn a_toolset_stands_for_its_tools_in_grants_and_tokens() {
    let scene = Scene::new().with_toolset("t", &[("a", "x"), ("b", "y")]).allow(&["toolset/t"]);
    for (wanted, is_allowed) in [("a:x", true), ("b:y", true), ("a:y", false), ("a:@prompt/x", false)] {
        assert_eq!(scene.allows(wanted), is_allowed, "{wanted}");
    }
    let carried = Scene::new().with_toolset("t", &[("a", "x")]).allow(&["a:*"]).with_token(&["toolset/t"]);
    assert!(carried.allows("a:x"));
    assert_eq!(carried.outcome("a:y", None), "not in token");
    assert!(!Scene::new().allow(&["toolset/gone"]).allows("a:x"));
}

#[test]
fn what_only_reads_is_what_was_approved_as_that() {
    let reads = |name, is_approved, read_only| wire::CatalogItem { read_only, ..tool(name, is_approved) };
    let items = [reads("get", true, true), reads("changed", false, true), reads("set", true, false)];
    let scene = Scene::new().with_catalog(wire::Approval::Unspecified, &items).allow(&["a:@read"]);
    assert!(scene.allows("a:get"));
    for other in ["a:changed", "a:set", "a:unknown", "a:@prompt/get", "b:get"] {
        assert!(!scene.allows(other), "{other}");
    }
    assert_eq!(scene.outcome_of("a:get", None, Some(&DIGEST)), "allowed by grant-0 a:@read");
    assert_eq!(scene.outcome_of("a:get", None, Some(&[8; 32])), "not granted", "it is not what was approved");
    let denied = Scene::new().with_catalog(wire::Approval::Unspecified, &items).allow(&["a:*"]).deny(&["a:@read"]);
    for (changed, observed) in [("a:get", Some(&[8; 32])), ("a:changed", None)] {
        let outcome = denied.outcome_of(changed, None, observed);
        assert_eq!(outcome, "denied by grant-1 a:@read", "nothing is let in by a change");
    }
}

#[test]
fn a_pinned_server_lets_use_what_was_approved_and_is_still_that() {
    let items = [tool("x", true), tool("new", false)];
    let pinned = Scene::new().with_catalog(wire::Approval::Pinned, &items).allow(&["a:*", "b:*"]);
    assert!(pinned.allows("a:x") && pinned.allows("a:@other") && pinned.allows("b:x"));
    for held in ["a:new", "a:unknown", "a:@prompt/x"] {
        assert_eq!(pinned.outcome(held, None), "not approved", "{held}");
    }
    assert!(pinned.outcome_of("a:x", None, Some(&DIGEST)).starts_with("allowed"));
    assert_eq!(pinned.outcome_of("a:x", None, Some(&[8; 32])), "not approved");
    let mut later = Scene::new().with_catalog(wire::Approval::Notify, &items).allow(&["a:*"]);
    later.policy.servers[0].approval = i32::MAX;
    assert_eq!(later.outcome("a:new", None), "not approved", "by a mode of a later version");
    for approval in [wire::Approval::Unspecified, wire::Approval::Notify] {
        let open = Scene::new().with_catalog(approval, &items).allow(&["a:*"]);
        assert!(open.allows("a:new") && open.allows("a:unknown"));
    }
}

#[test]
fn a_resource_is_what_its_template_is_unless_it_is_listed_itself() {
    use wire::ItemKind::{Resource, ResourceTemplate};
    let blocked = |item| wire::CatalogItem { blocked: true, ..item };
    let items = [
        catalogued(ResourceTemplate, "docs:/{name}", true),
        catalogued(ResourceTemplate, "new:/{name}", false),
        blocked(catalogued(ResourceTemplate, "secret:/{name}", true)),
        catalogued(Resource, "docs:/held", false),
        catalogued(Resource, "secret:/open", true),
    ];
    let pinned = Scene::new().with_catalog(wire::Approval::Pinned, &items).allow(&["a:*"]);
    for (wanted, outcome) in [
        ("a:@resource/docs:/x", "allowed by grant-0 a:*"),
        ("a:@resource/docs:/held", "not approved"),
        ("a:@resource/new:/x", "not approved"),
        ("a:@resource/other:/x", "allowed by grant-0 a:*"),
        ("a:@resource/secret:/x", "blocked"),
        ("a:@resource/secret:/open", "allowed by grant-0 a:*"),
        ("a:@template/secret:/{name}", "blocked"),
    ] {
        assert_eq!(pinned.outcome(wanted, None), outcome, "{wanted}");
    }
    assert_eq!(pinned.outcome_of("a:@resource/other:/x", None, Some(&DIGEST)), "not approved", "a list has it by now");
}

#[test]
fn what_is_blocked_is_blocked_whatever_else_holds_and_strangers_do_not_learn_of_it() {
    let items = [wire::CatalogItem { blocked: true, ..tool("x", true) }];
    for approval in [wire::Approval::Unspecified, wire::Approval::Notify, wire::Approval::Pinned] {
        assert_eq!(Scene::new().with_catalog(approval, &items).allow(&["a:x"]).outcome("a:x", None), "blocked");
        assert_eq!(Scene::new().with_catalog(approval, &items).outcome("a:x", None), "not granted");
    }
}

#[test]
fn a_policy_with_one_fault_is_refused_whole() {
    let fault = |change: fn(&mut wire::Grant)| {
        Book::read(&Scene::new().grant(&["a:x"], change).policy).map(|_| ()).expect_err("a fault").to_string()
    };
    assert_eq!(fault(|grant| grant.to = None), "grant `grant-0` names nobody");
    assert_eq!(
        fault(|grant| grant.networks = vec!["x".to_owned()]),
        "grant `grant-0`: `x` is no network in CIDR notation"
    );
    assert!(fault(|grant| grant.scopes.push("a".to_owned())).starts_with("grant `grant-0`: `a` is no scope"));
    let unknown = "grant `grant-0`: its test is none that this version knows";
    assert_eq!(fault(|grant| grant.conditions.push(wire::Condition::default())), unknown);
    fault(|grant| grant.id = "x".to_owned());
    fault(|grant| grant.to = Some(To::TeamId("x".to_owned())));
    let short = wire::CatalogItem { approved_digest: vec![1], ..tool("x", true) };
    let digest = Book::read(&Scene::new().with_catalog(wire::Approval::Unspecified, &[short]).policy);
    assert_eq!(digest.map(|_| ()), Err(BookError::Digest("x".to_owned())));
}

#[test]
fn what_is_seen_differs_where_a_list_might() {
    let a: Name = "a".parse().expect("a name");
    let seen = |scene: &Scene| scene.book().desk(scene.asker(), &a).seen(Kind::Tool);
    let of_tools = |tools: &[(&str, &str)]| Scene::new().with_toolset("t", tools).allow(&["a:x", "toolset/t"]);
    let base = || of_tools(&[("a", "x")]);
    assert_eq!(seen(&Scene::new()), None);
    assert_eq!(seen(&base().allow(&["b:*", "a:@prompt/x"])), seen(&base()), "that is of another list");
    let conditional = base().grant(&["a:y"], |grant| (grant.deny, grant.conditions) = (true, vec![prefix("/p", "x")]));
    assert_eq!(seen(&conditional), seen(&base()), "no list shows that");
    let others = [
        of_tools(&[("a", "x"), ("a", "z")]),
        base().allow(&["a:y"]),
        base().deny(&["a:y"]),
        base().with_token(&["a:x"]),
        base().with_catalog(wire::Approval::Pinned, &[]),
        base().with_catalog(wire::Approval::Unspecified, &[tool("x", true)]),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(seen(other), seen(&base()), "{index}");
    }
}
