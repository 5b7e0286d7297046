use proptest::prelude::*;

use super::*;

fn server(name: &str) -> Name {
    name.parse().unwrap()
}

fn is_usable(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte)
}

/// Names as servers give them, with many that are near the limits or look federated.
fn any_tool() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_-]{1,12}",
        "[a-zA-Z0-9_.-]{50,70}",
        "[a-z_]{0,3}__[a-z2-7]{16}",
        "(a|_|__){1,4}",
        any::<String>(),
    ]
}

fn any_server() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?".prop_map(|name| server(&name))
}

#[test]
fn short_and_clean_names_are_joined_as_they_are() {
    assert_eq!(federated(&server("github"), "create_issue"), "github__create_issue");
    assert_eq!(federated(&server("a"), "__x"), "a____x");
    assert_eq!(split("a____x"), Some((server("a"), Rest::Plain("__x"))));
    let longest = "x".repeat(64 - "github__".len());
    assert_eq!(federated(&server("github"), &longest), format!("github__{longest}"));
}

#[test]
fn other_names_keep_a_stem_and_get_a_hash_that_never_changes() {
    assert_eq!(federated(&server("files"), "fs.read"), "files__fs_read__ib2lyasxkui6emvf");
    let long = federated(&server("github"), &"x".repeat(57));
    assert_eq!(long.len(), 64);
    assert!(long.starts_with("github__xxxxx"));
    assert!(matches!(split(&long), Some((_, Rest::Hashed(_)))));
    assert!(is_usable(&federated(&server("a"), "")));
}

#[test]
fn names_that_differ_only_in_what_is_cleaned_stay_apart() {
    let names = ["fs.read", "fs/read", "fs read", "fs_read", "fs．read", "fs\u{200b}read", "Fs.read"];
    let federated: std::collections::HashSet<_> = names.iter().map(|tool| federated(&server("s"), tool)).collect();
    assert_eq!(federated.len(), names.len());
}

#[test]
fn a_tool_cannot_take_the_name_of_a_hashed_one() {
    let taken = federated(&server("files"), "fs.read");
    let (_, Rest::Hashed(rest)) = split(&taken).unwrap() else { panic!("{taken}") };
    let forged = federated(&server("files"), rest);
    assert_ne!(forged, taken);
    assert!(matches!(split(&forged), Some((_, Rest::Hashed(_)))));
    assert!(resolves(&taken, &server("files"), "fs.read") && !resolves(&taken, &server("files"), rest));
}

#[test]
fn what_is_not_joined_does_not_divide() {
    for text in ["", "tool", "a_b", "__tool", "a__", "A__tool", "a b__tool", "-a__tool"] {
        assert_eq!(split(text), None, "{text}");
    }
}

#[test]
fn the_longest_server_name_leaves_room_for_the_hash() {
    const { assert!(SERVER_CHARACTERS_MAX >= 40) };
    let longest = server(&"s".repeat(SERVER_CHARACTERS_MAX));
    assert_eq!(federated(&longest, "no.room").len(), 64);
    assert!(federated(&server(&"s".repeat(63)), &"x".repeat(128)).len() <= 128);
}

proptest! {
    #[test]
    fn two_tools_never_share_a_name(one in (any_server(), any_tool()), two in (any_server(), any_tool())) {
        prop_assert_eq!(one == two, federated(&one.0, &one.1) == federated(&two.0, &two.1));
        // One server is where names could meet.
        prop_assert_eq!(one.1 == two.1, federated(&one.0, &one.1) == federated(&one.0, &two.1));
    }

    #[test]
    fn a_name_divides_into_what_it_was_joined_from(server in any_server(), tool in any_tool()) {
        let joined = federated(&server, &tool);
        prop_assert!(is_usable(&joined), "{}", joined);
        let prefix = format!("{server}__");
        prop_assert!(joined.starts_with(&prefix));
        prop_assert!(resolves(&joined, &server, &tool));
        match split(&joined) {
            Some((own, Rest::Plain(rest))) => prop_assert_eq!((own, rest), (server, tool.as_str())),
            Some((own, Rest::Hashed(rest))) => {
                prop_assert_eq!(&own, &server);
                prop_assert!(!resolves(&joined, &server, rest));
            }
            None => prop_assert!(false, "{} does not divide", joined),
        }
    }
}
