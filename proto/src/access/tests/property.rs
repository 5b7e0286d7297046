//! One agent under any grants.

use proptest::{prelude::*, sample::select};

use super::*;

const SCOPES: [&str; 14] = [
    "a:*",
    "a:x",
    "a:y",
    "a:x*",
    "a:*y",
    "a:@read",
    "a:@prompt/*",
    "a:@prompt/x",
    "a:@resource/x*",
    "b:*",
    "b:x",
    "b:@read",
    "toolset/t",
    "toolset/gone",
];
const ITEMS: [&str; 10] = [
    "a:x",
    "a:y",
    "a:xy",
    "a:@prompt/x",
    "a:@prompt/y",
    "a:@resource/x1",
    "a:@template/{n}1",
    "a:@other",
    "b:x",
    "b:y",
];
const ARGUMENTS: [&str; 3] = ["{}", r#"{"p":"x"}"#, r#"{"p":"y"}"#];

fn any_grant() -> impl Strategy<Value = wire::Grant> {
    let scopes = prop::collection::vec(select(&SCOPES[..]).prop_map(str::to_owned), 1..3);
    let condition = prop::option::weighted(0.3, select(&["x", "y"][..]).prop_map(|text| prefix("/p", text)));
    let network = prop::option::weighted(0.2, select(&["192.0.2.0/24", "::/0"][..]).prop_map(str::to_owned));
    let expires_at = prop_oneof![4 => Just(0), 1 => Just(NOW), 1 => Just(NOW + 1)];
    let to = select(&["agent", "team", "role"][..]);
    (scopes, prop::bool::weighted(0.25), condition, network, expires_at, to).prop_map(
        |(scopes, deny, condition, network, expires_at, to)| wire::Grant {
            scopes,
            deny,
            expires_at,
            conditions: Vec::from_iter(condition),
            networks: Vec::from_iter(network),
            // Whom it is for is filled in where they are known.
            to: Some(To::Role(to.to_owned())),
            ..wire::Grant::default()
        },
    )
}

fn any_item() -> impl Strategy<Value = wire::CatalogItem> {
    use wire::ItemKind as Is;
    let named = select(vec![
        (Is::Tool, "x"),
        (Is::Tool, "y"),
        (Is::Prompt, "x"),
        (Is::Resource, "x1"),
        (Is::ResourceTemplate, "{n}1"),
    ]);
    (named, any::<bool>(), prop::bool::weighted(0.15), any::<bool>()).prop_map(
        |((kind, name), is_approved, blocked, read_only)| wire::CatalogItem {
            blocked,
            read_only,
            ..catalogued(kind, name, is_approved)
        },
    )
}

prop_compose! {
    fn any_scene()(
        grants in prop::collection::vec(any_grant(), 0..5),
        token in prop::collection::vec(select(&SCOPES[..]), 0..4),
        is_pinned in any::<bool>(),
        items in prop::collection::vec(any_item(), 0..5),
        is_here in any::<bool>(),
        role in prop::option::of(Just("role")),
        is_held in any::<bool>(),
    ) -> Scene {
        let approval = if is_pinned { wire::Approval::Pinned } else { wire::Approval::Notify };
        let scene = Scene::new().with_toolset("t", &[("a", "x"), ("b", "x")]).with_catalog(approval, &items);
        let peer = if is_here { "192.0.2.1" } else { "198.51.100.1" };
        let scene = if is_held { scene.held() } else { scene };
        let scene = Scene { role, peer: peer.parse().ok(), ..scene.with_token(&token) };
        grants.into_iter().fold(scene, add)
    }
}

fn add(scene: Scene, grant: wire::Grant) -> Scene {
    let to = match grant.to {
        Some(To::Role(to)) if to == "agent" => To::AgentId(scene.agent.to_string()),
        Some(To::Role(to)) if to == "team" => To::TeamId(scene.team.to_string()),
        to => to.expect("somebody"),
    };
    let of_any = grant.scopes.clone();
    let of_any: Vec<&str> = of_any.iter().map(String::as_str).collect();
    scene.grant(&of_any, |sent| {
        *sent = wire::Grant { id: sent.id.clone(), name: sent.name.clone(), to: Some(to), ..grant };
    })
}

/// The grant that an outcome names.
fn named<'a>(scene: &'a mut Scene, outcome: &str) -> &'a mut wire::Grant {
    let name = outcome.split(' ').find(|word| word.starts_with("grant-")).expect("a grant is named");
    scene.policy.grants.iter_mut().find(|grant| grant.name == name).expect("the grant is there")
}

/// How far a refusal is from an allowance.
fn stage(outcome: &str) -> usize {
    let order = [
        "denied",
        "not granted",
        "expired",
        "outside",
        "failed",
        "not exact",
        "blocked",
        "not approved",
        "not in token",
        "allowed",
    ];
    order.iter().position(|start| outcome.starts_with(start)).expect("an outcome")
}

/// Changes the one thing that a refusal names, and nothing else.
fn lift(scene: &mut Scene, wanted: &str, outcome: &str) {
    let (server, what) = wanted.split_once(':').expect("an item of a server");
    let scope = item(what).scope(&server.parse().expect("a name")).to_string();
    let kind = match item(what).kind {
        Kind::Tool => wire::ItemKind::Tool,
        Kind::Prompt => wire::ItemKind::Prompt,
        Kind::Resource => wire::ItemKind::Resource,
        Kind::Template | Kind::Other => wire::ItemKind::ResourceTemplate,
    };
    let name = item(what).name;
    match outcome.split(' ').next().expect("a word") {
        "denied" => {
            let name = named(scene, outcome).name.clone();
            scene.policy.grants.retain(|grant| grant.name != name);
        }
        "expired" => named(scene, outcome).expires_at = 0,
        "outside" => named(scene, outcome).networks.clear(),
        "failed" => named(scene, outcome).conditions.clear(),
        "blocked" => scene.policy.servers[0].catalog.iter_mut().for_each(|item| item.blocked = false),
        _ if outcome == "not granted" || outcome.starts_with("not exact") => {
            let agent = scene.agent.to_string();
            scene.policy.grants.push(wire::Grant {
                id: GrantId::new().to_string(),
                name: "grant-new".to_owned(),
                to: Some(To::AgentId(agent)),
                scopes: vec![scope],
                ..wire::Grant::default()
            });
        }
        _ if outcome == "not approved" => {
            let catalog = &mut scene.policy.servers[0].catalog;
            catalog.retain(|item| item.kind != i32::from(kind) || item.name != name);
            catalog.push(catalogued(kind, name, true));
        }
        _ => scene.token.push(scope.parse().expect("a scope")),
    }
}

proptest! {
    #[test]
    fn who_is_held_to_exact_tools_may_use_nothing_more(scene in any_scene()) {
        let allowed = |scene: &Scene| ITEMS.map(|wanted| scene.outcome(wanted, Some("{}")).starts_with("allowed"));
        let mut scene = scene;
        scene.policy.agents[0].exact_tools = false;
        let before = allowed(&scene);
        let after = allowed(&scene.held());
        prop_assert!(after.iter().zip(before).all(|(after, before)| before || !after));
    }

    #[test]
    fn adding_a_deny_never_allows(scene in any_scene(), deny in any_grant()) {
        let before = ITEMS.map(|wanted| ARGUMENTS.map(|with| scene.outcome(wanted, Some(with)).starts_with("allowed")));
        let scene = add(scene, wire::Grant { deny: true, ..deny });
        for (wanted, before) in ITEMS.into_iter().zip(before) {
            for (with, before) in ARGUMENTS.into_iter().zip(before) {
                prop_assert!(before || !scene.outcome(wanted, Some(with)).starts_with("allowed"), "{} {}", wanted, with);
            }
        }
    }

    #[test]
    fn a_list_shows_what_some_call_would_be_allowed_and_its_server_is_asked_for_it(scene in any_scene()) {
        let unconditional = scene.policy.grants.iter().all(|grant| grant.conditions.is_empty());
        let book = scene.book();
        for wanted in ITEMS {
            let (server, what) = wanted.split_once(':').expect("an item of a server");
            let shown = scene.outcome(wanted, None).starts_with("allowed");
            for with in ARGUMENTS {
                let called = scene.outcome(wanted, Some(with)).starts_with("allowed");
                prop_assert!(shown || !called, "{} {} is hidden", wanted, with);
                let may_differ = item(what).kind.takes_arguments() && !unconditional;
                prop_assert!(called || !shown || may_differ, "{} is shown in vain", wanted);
            }
            let (server, kind) = (server.parse().expect("a name"), item(what).kind);
            let desk = book.desk(scene.asker(), &server);
            prop_assert!(!shown || (desk.deals_in(kind) && desk.deals()), "{} is not asked for", wanted);
            prop_assert!(!shown || desk.knows(), "{} is of a stranger", wanted);
        }
    }

    #[test]
    fn every_refusal_names_what_alone_would_lift_it_or_lead_to_the_next(scene in any_scene(), wanted in select(&ITEMS[..])) {
        let mut scene = scene;
        // Of several denies, and of several conditions on one grant, each is met in its turn.
        let mut denies = scene.policy.grants.iter().filter(|grant| grant.deny).count();
        let mut outcome = scene.outcome(wanted, Some("{}"));
        while !outcome.starts_with("allowed") {
            lift(&mut scene, wanted, &outcome);
            let next = scene.outcome(wanted, Some("{}"));
            let is_another_deny = outcome.starts_with("denied") && next.starts_with("denied") && denies > 1;
            denies -= usize::from(outcome.starts_with("denied"));
            prop_assert!(is_another_deny || stage(&next) > stage(&outcome), "{}: {} then {}", wanted, outcome, next);
            outcome = next;
        }
    }

    // What a deny speaks of keeps its name: under another one it would be something else, which nothing denies.
    #[test]
    fn a_new_name_never_widens(scene in any_scene(), which in 0_usize..3) {
        let named = ["a:", "toolset/t", "nothing"][which];
        prop_assume!(!scene.policy.grants.iter().any(|it| it.deny && it.scopes.iter().any(|scope| scope.starts_with(named))));
        let before = ITEMS.map(|wanted| scene.outcome(wanted, Some("{}")).starts_with("allowed"));
        let mut scene = scene;
        match which {
            0 => scene.policy.servers[0].name = "renamed".to_owned(),
            1 => scene.policy.toolsets[0].name = "renamed".to_owned(),
            _ => scene.policy.agents[0].name = "renamed".to_owned(),
        }
        for (wanted, before) in ITEMS.into_iter().zip(before) {
            let renamed = if which == 0 { wanted.replacen("a:", "renamed:", 1) } else { wanted.to_owned() };
            for name in [wanted, &renamed] {
                let after = scene.outcome(name, Some("{}")).starts_with("allowed");
                prop_assert!(before || !after, "{} as {}", wanted, name);
            }
        }
    }
}
