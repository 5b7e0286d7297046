use proptest::prelude::*;

use super::*;

fn server(name: &str) -> Name {
    name.parse().unwrap()
}

fn leads(uri: &str) -> Option<(String, String)> {
    unwrapped(uri).map(|(server, own)| (server.to_string(), own))
}

fn to(server: &str, own: &str) -> Option<(String, String)> {
    Some((server.to_owned(), own.to_owned()))
}

/// URIs as servers give them, with many that look wrapped.
fn any_uri() -> impl Strategy<Value = String> {
    prop_oneof![
        "(skill|[a-z]{1,6})://[a-zA-Z0-9/._%~?#&=-]{1,20}",
        "(ui|tollgate)://(tollgate/)?[a-z]{1,3}/(~/)?[a-z%/:]{0,10}",
        "[^\u{0}]{1,20}",
    ]
}

fn any_server() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?".prop_map(|name| server(&name))
}

#[test]
fn a_uri_is_encoded_behind_its_server() {
    let wrapped = wrapped(&server("files"), "file:///tmp/a b.txt?x=1#é");
    assert_eq!(wrapped, "tollgate://files/file%3A%2F%2F%2Ftmp%2Fa%20b.txt%3Fx%3D1%23%C3%A9");
    assert_eq!(leads(&wrapped), to("files", "file:///tmp/a b.txt?x=1#é"));
}

#[test]
fn the_scheme_of_user_interfaces_is_kept() {
    let wrapped = wrapped(&server("maps"), "ui://map/view.html");
    assert_eq!(wrapped, "ui://tollgate/maps/ui%3A%2F%2Fmap%2Fview.html");
    assert_eq!(leads(&wrapped), to("maps", "ui://map/view.html"));
    assert_eq!(leads("ui://map/view.html"), None, "what is not wrapped is of nobody");
}

#[test]
fn the_files_of_a_skill_lead_to_each_other() {
    let manual = wrapped(&server("docs"), "skill://house/style/SKILL.md");
    assert_eq!(manual, "tollgate://docs/~/skill://house/style/SKILL.md");
    assert_eq!(leads(&manual), to("docs", "skill://house/style/SKILL.md"));
    let neighbour = manual.replace("SKILL.md", "marks/carets.md");
    assert_eq!(leads(&neighbour), to("docs", "skill://house/style/marks/carets.md"));
    assert_eq!(leads("tollgate://docs/skill%3A%2F%2Fhouse%2Fstyle%2FSKILL.md"), None, "one resource has one name");
}

#[test]
fn what_a_client_puts_into_a_template_reaches_the_server_as_it_wrote_it() {
    let wrapped = wrapped_template(&server("files"), "file:///{+path}{?line}");
    assert_eq!(wrapped, "tollgate://files/~/file:///{+path}{?line}");
    assert_eq!(leads(&wrapped), to("files", "file:///{+path}{?line}"));
    let expanded = wrapped.replace("{+path}", "a/b%20c").replace("{?line}", "?line=1%2F2");
    assert_eq!(leads(&expanded), to("files", "file:///a/b%20c?line=1%2F2"));
}

#[test]
fn a_template_may_begin_with_an_expression() {
    let wrapped = wrapped_template(&server("any"), "{scheme}://x");
    assert_eq!(leads(&wrapped.replace("{scheme}", "ui")), to("any", "ui://x"));
}

#[test]
fn a_resource_has_one_name_only() {
    for other in [
        "tollgate://files/file%3a%2F%2F%2Fx",
        "tollgate://files/file:%2F%2F%2Fx",
        "tollgate://files/%66ile%3A%2F%2F%2Fx",
        "tollgate://files/ui%3A%2F%2Fx",
        "ui://tollgate/files/file%3A%2F%2F%2Fx",
        "tollgate://files/a%00b",
        "tollgate://files/%FF",
        "tollgate://files/",
        "tollgate://files/~/",
        "tollgate://files",
        "tollgate://Files/x",
        "TOLLGATE://files/x",
        "file:///x",
        "https://example.com/",
        "",
    ] {
        assert_eq!(leads(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn what_was_wrapped_leads_back(server in any_server(), uri in any_uri()) {
        let wrapped = wrapped(&server, &uri);
        prop_assert!(wrapped.is_ascii());
        prop_assert_eq!(unwrapped(&wrapped), Some((server.clone(), uri.clone())));
        prop_assert_eq!(unwrapped(&wrapped_template(&server, &uri)), Some((server, uri)));
    }

    #[test]
    fn two_resources_never_share_a_uri(one in (any_server(), any_uri()), two in (any_server(), any_uri())) {
        prop_assert_eq!(one == two, wrapped(&one.0, &one.1) == wrapped(&two.0, &two.1));
    }

    #[test]
    fn whatever_leads_somewhere_is_what_would_be_written(text in any_uri()) {
        if let Some((server, own)) = unwrapped(&text) {
            let is_template = text.contains("/~/");
            prop_assert!(is_template || wrapped(&server, &own) == text);
        }
    }
}
