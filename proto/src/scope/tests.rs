use proptest::prelude::*;

use super::*;

fn any_name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().expect("a name"))
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    "([*]|[a-z@/:]|%2[5A]|%C3%A4){1,6}".prop_filter_map("two stars", |text| text.parse().ok())
}

/// Often about a server that is called like the prefix of a toolset's scope.
fn any_scope() -> impl Strategy<Value = Scope> {
    let server = || prop_oneof![any_name(), Just("toolset".parse().expect("a name"))];
    let globs = any_pattern().prop_filter_map("no star, or nothing else", |pattern| {
        (pattern.to_string() != "*").then(|| pattern.into_literal().err()).flatten()
    });
    prop_oneof![
        (server(), prop_oneof!["[*@a-z/:% ]{1,6}", ".{1,40}"])
            .prop_map(|(server, tool)| Scope::Tool { server, tool: tool.into() }),
        (server(), globs).prop_map(|(server, pattern)| Scope::Tools { server, pattern }),
        server().prop_map(|server| Scope::ReadOnly { server }),
        (server(), any_pattern()).prop_map(|(server, pattern)| Scope::Prompts { server, pattern }),
        (server(), ".{1,40}").prop_map(|(server, uri)| Scope::resource(&server, &uri)),
        (server(), any_pattern()).prop_map(|(server, pattern)| Scope::Resources { server, pattern: pattern.of_uris() }),
        server().prop_map(|server| Scope::Server { server }),
        any_name().prop_map(|name| Scope::Toolset { name }),
    ]
}

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

#[test]
fn everything_of_a_server_covers_all_that_is_of_it_only() {
    for of_demo in ["demo:echo", "demo:*", "demo:e*", "demo:@read", "demo:@prompt/x", "demo:@resource/file:///*"] {
        assert!(scope("demo:*").covers(&scope(of_demo)), "{of_demo}");
        assert!(!scope("other:*").covers(&scope(of_demo)), "{of_demo}");
        assert_eq!(scope(of_demo).covers(&scope("demo:*")), of_demo == "demo:*", "{of_demo}");
    }
}

#[test]
fn a_pattern_covers_what_it_matches_of_its_kind_and_server() {
    for (held, wanted, covers) in [
        ("demo:get_*", "demo:get_issue", true),
        ("demo:get_*", "demo:get_issue_*", true),
        ("demo:get_issue_*", "demo:get_*", false),
        ("demo:get_*", "other:get_issue", false),
        ("demo:get_*", "demo:get%2A", false),
        ("demo:get_*", "demo:get_%2A", true),
        ("demo:get_*", "demo:@prompt/get_issue", false),
        ("demo:get_*", "demo:@read", false),
        ("demo:@read", "demo:@read", true),
        ("demo:@read", "demo:get_issue", false),
        ("demo:@prompt/*", "demo:@prompt/review", true),
        ("demo:@prompt/*", "demo:review", false),
        ("demo:@prompt/*", "demo:@resource/review", false),
        ("demo:@resource/file:///docs/*", "demo:@resource/file:///docs/a/*", true),
        ("demo:@resource/file:///docs/*", "demo:@resource/file:///etc", false),
    ] {
        assert_eq!(scope(held).covers(&scope(wanted)), covers, "{held} {wanted}");
    }
}

#[test]
fn any_tool_name_survives_the_round_trip() {
    let server: Name = "demo".parse().expect("a name");
    for tool in ["echo", "*", "a*", "@read", "@prompt/x", "a b", "ä", "100%", "a:b", "\"", "\\", "%2A"] {
        for scope in [Scope::tool(&server, tool), Scope::prompt(&server, tool), Scope::resource(&server, tool)] {
            let text = scope.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{text}");
            assert_eq!(text.parse(), Ok(scope), "{text}");
        }
    }
}

#[test]
fn broken_scopes_are_refused() {
    for text in ["", "demo", ":echo", "demo:", "Demo:echo", "demo:a b", "demo:%4", "demo:%zz", "demo:**", "demo:a**"] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
    for text in ["demo:@reads", "demo:@write", "demo:@prompt", "demo:@prompt/", "demo:@resource/", "demo:@*", "demo:@"]
    {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
    for text in ["toolset/", "toolset/A", "toolset/a/b", "toolset/a:b", "toolset/*", "toolset", "tools/a", "/a"] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}

#[test]
fn a_toolsets_scope_covers_itself_alone_and_is_covered_by_no_servers() {
    assert!(scope("toolset/triage").covers(&scope("toolset/triage")));
    for other in ["toolset/other", "triage:*", "triage:echo", "toolset:*"] {
        assert!(!scope("toolset/triage").covers(&scope(other)), "{other}");
        assert!(!scope(other).covers(&scope("toolset/triage")), "{other}");
    }
}

#[test]
fn what_may_let_in_something_new_names_nothing_exactly() {
    for exact in ["demo:echo", "demo:@prompt/x", "demo:@resource/file:///x", "toolset/t", "demo:a%2A"] {
        assert!(scope(exact).is_exact(), "{exact}");
    }
    for wide in ["demo:*", "demo:e*", "demo:@read", "demo:@prompt/*", "demo:@resource/file:///*"] {
        assert!(!scope(wide).is_exact(), "{wide}");
    }
}

proptest! {
    #[test]
    fn every_scope_is_a_scope_token_and_survives_the_round_trip(scope in any_scope()) {
        let text = scope.to_string();
        prop_assert!(text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{}", text);
        prop_assert_eq!(text.parse(), Ok(scope));
    }

    #[test]
    fn a_text_that_is_read_as_a_scope_is_one_scope_only(one in any_scope(), two in any_scope()) {
        prop_assert_eq!(one == two, one.to_string() == two.to_string());
    }

    #[test]
    fn no_text_is_too_strange_to_be_read(
        text in any::<String>(),
        shaped in "(toolset/)?[a-z0-9:*@%/ -]{0,20}",
        labelled in "[a-z]:@(read|prompt/|resource/)[a-z0-9:*@%/ -]{0,12}",
    ) {
        for text in [text, shaped, labelled] {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
    }
}
