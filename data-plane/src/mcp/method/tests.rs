use super::*;

#[test]
fn every_method_and_notice_reads_back_from_its_name() {
    for method in METHODS {
        assert_eq!(Method::parse(method.as_str()), Some(method));
        assert_eq!(Notice::parse(method.as_str()), None);
    }
    for notice in NOTICES {
        assert_eq!(Notice::parse(notice.as_str()), Some(notice));
        assert_eq!(Method::parse(notice.as_str()), None);
    }
}

#[test]
fn the_modern_wire_does_not_know_what_2026_07_28_removed() {
    for gone in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    ] {
        assert_eq!(Method::parse_in(Era::Modern, gone), None, "{gone}");
        assert!(Method::parse_in(Era::Legacy, gone).is_some(), "{gone}");
    }
    for new in ["server/discover", "subscriptions/listen", "tasks/update"] {
        assert!(Method::parse_in(Era::Modern, new).is_some(), "{new}");
        assert_eq!(Method::parse_in(Era::Legacy, new), None, "{new}");
    }
}

#[test]
fn near_misses_are_no_methods() {
    for text in ["Tools/Call", "tools/call ", "tools//call", "tools/calls", "", "tasks/update/all", "rpc.discover"] {
        assert_eq!(Method::parse(text), None, "{text}");
    }
}

#[test]
fn what_hands_something_out_executes_and_nothing_else_does() {
    let executing: Vec<_> = METHODS.into_iter().filter(|method| method.is_executing()).map(Method::as_str).collect();
    let expected = [
        "tools/call",
        "prompts/get",
        "resources/read",
        "completion/complete",
        "skills/get",
        "resources/directory/read",
    ];
    assert_eq!(executing, expected);
}

#[test]
fn only_what_names_something_is_mirrored_in_a_header() {
    for method in METHODS {
        let names = matches!(
            method.carries(),
            Carries::ToolName | Carries::PromptName | Carries::ResourceUri | Carries::TaskId
        );
        assert!(names || !method.has_name_header(), "{method:?}");
    }
    let mirrored: Vec<_> = METHODS.into_iter().filter(|method| method.has_name_header()).map(Method::as_str).collect();
    let expected = ["tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel"];
    assert_eq!(mirrored, expected);
}
