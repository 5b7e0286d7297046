use proptest::prelude::*;

use super::*;

const NATIVE: Registration<'static> =
    Registration { application_type: None, public: true, private_use_schemes: &PrivateUseSchemes::Allow };

fn parse(text: &str) -> Result<RedirectUri, RedirectFault> {
    RedirectUri::parse(text, &NATIVE)
}

fn accepted(text: &str) -> RedirectUri {
    parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn what_shipped_clients_register_is_accepted() {
    for text in [
        "https://claude.ai/api/mcp/auth_callback",
        "https://chatgpt.com/connector/oauth/abc123",
        "http://localhost:6274/oauth/callback",
        "http://localhost/callback",
        "http://127.0.0.1:33418/",
        "http://127.0.0.1:33418",
        "http://127.0.0.1:80/cb",
        "http://[::1]:8080/cb",
        "https://vscode.dev/redirect",
        "https://example.com/cb?tenant=acme&x=1",
        "https://localhost:8443/cb",
        "https://ada.github.io/cb",
        "https://bbc.co.uk/cb",
        "https://www.ck/cb",
        "https://tools.corp.internal/cb",
        "https://gateway.internal/cb",
        "https://192.0.2.1/cb",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.app:/oauth2redirect",
    ] {
        assert_eq!(accepted(text).as_str(), text);
    }
}

#[test]
fn what_could_be_abused_is_refused_at_registration() {
    use RedirectFault as Fault;
    let dangerous = |scheme: &str| Fault::Dangerous(scheme.to_owned());
    for (text, fault) in [
        ("", Fault::Malformed),
        ("/cb", Fault::Malformed),
        ("example.com/cb", Fault::Malformed),
        ("https://exa mple.com/cb", Fault::Malformed),
        ("https://example.com/\n", Fault::Malformed),
        ("https://example.com\\@evil.com/", Fault::Malformed),
        ("https://ex\u{e4}mple.com/cb", Fault::Malformed),
        ("https:///cb", Fault::NotNormal("https://cb/".to_owned())),
        ("https:example.com/cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("https://example.com/cb#", Fault::Fragment),
        ("https://example.com/cb#a", Fault::Fragment),
        ("https://*.example.com/cb", Fault::Wildcard),
        ("https://example.com/*", Fault::Wildcard),
        ("https://user@example.com/cb", Fault::UserInformation),
        ("https://user:pass@example.com/cb", Fault::UserInformation),
        ("https://@example.com/cb", Fault::UserInformation),
        ("cursor://user@host/cb", Fault::UserInformation),
        ("https://Example.com/cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("https://%65xample.com/cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("https://example.com:443/cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("https://example.com/a/../cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("https://example.com/a/%2e%2e/cb", Fault::NotNormal("https://example.com/cb".to_owned())),
        ("http://127.1/cb", Fault::NotNormal("http://127.0.0.1/cb".to_owned())),
        ("http://2130706433/cb", Fault::NotNormal("http://127.0.0.1/cb".to_owned())),
        ("https://com/", Fault::NoSite),
        ("https://com./", Fault::NoSite),
        ("https://co.uk/cb", Fault::NoSite),
        ("https://co.uk./cb", Fault::NoSite),
        ("https://co.uk:8443/cb", Fault::NoSite),
        ("https://github.io/cb", Fault::NoSite),
        ("https://xn--55qx5d.cn/cb", Fault::NoSite),
        ("https://anything.ck/cb", Fault::NoSite),
        ("http://example.com/cb", Fault::Cleartext),
        ("http://localhost.evil/cb", Fault::Cleartext),
        ("http://127.0.0.1.nip.io/cb", Fault::Cleartext),
        ("http://127.0.0.2/cb", Fault::Cleartext),
        ("http://10.0.0.1/cb", Fault::Cleartext),
        ("javascript:alert(1)", dangerous("javascript")),
        ("JavaScript://x/%0aalert(1)", dangerous("javascript")),
        ("data:text/html,x", dangerous("data")),
        ("file:///etc/passwd", dangerous("file")),
        ("vbscript:x", dangerous("vbscript")),
        ("blob:https://example.com/x", dangerous("blob")),
        ("urn:ietf:wg:oauth:2.0:oob", dangerous("urn")),
        ("myapp:callback", Fault::Malformed),
    ] {
        assert_eq!(parse(text), Err(fault), "{text}");
    }
    assert_eq!(parse(&format!("https://example.com/{}", "a".repeat(LEN_MAX))), Err(Fault::Malformed));
}

#[test]
fn every_dangerous_scheme_is_refused_whatever_the_tenant_allows() {
    for scheme in DANGEROUS {
        let listed = PrivateUseSchemes::List(vec![scheme.to_owned()]);
        for private_use_schemes in [&PrivateUseSchemes::Allow, &listed] {
            let registration = Registration { private_use_schemes, ..NATIVE };
            let refused = RedirectUri::parse(&format!("{scheme}://host/path"), &registration);
            assert!(matches!(refused, Err(RedirectFault::Dangerous(_))), "{scheme}: {refused:?}");
        }
    }
}

#[test]
fn the_kind_of_application_decides_where_it_may_go() {
    let parse_as = |text, application_type| {
        RedirectUri::parse(text, &Registration { application_type: Some(application_type), ..NATIVE })
    };
    for text in ["http://localhost:1/cb", "cursor://x/cb"] {
        assert_eq!(parse_as(text, ApplicationType::Web), Err(RedirectFault::NotForWeb), "{text}");
        assert!(parse_as(text, ApplicationType::Native).is_ok(), "{text}");
    }
    assert!(parse_as("https://example.com/cb", ApplicationType::Web).is_ok());
    assert!(parse_as("https://example.com/cb", ApplicationType::Native).is_ok());
}

#[test]
fn a_scheme_of_an_apps_own_is_for_public_clients_where_the_tenant_takes_it() {
    let parse_under = |public, private_use_schemes: &PrivateUseSchemes| {
        RedirectUri::parse("cursor://x/cb", &Registration { public, private_use_schemes, ..NATIVE }).map(drop)
    };
    let not_allowed = Err(RedirectFault::SchemeNotAllowed("cursor".to_owned()));
    let list = |scheme: &str| PrivateUseSchemes::List(vec![scheme.to_owned()]);
    assert_eq!(parse_under(true, &PrivateUseSchemes::Allow), Ok(()));
    assert_eq!(parse_under(false, &PrivateUseSchemes::Allow), Err(RedirectFault::NotPublic));
    assert_eq!(parse_under(true, &PrivateUseSchemes::Deny), not_allowed);
    assert_eq!(parse_under(true, &list("cursor")), Ok(()));
    assert_eq!(parse_under(true, &list("vscode")), not_allowed);
}

#[test]
fn only_the_port_of_a_loopback_address_may_differ() {
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        for registered in [format!("http://{host}/cb?x=1"), format!("http://{host}:6274/cb?x=1")] {
            let uri = accepted(&registered);
            for port in ["", ":1", ":80", ":443", ":65535"] {
                assert!(uri.matches(&format!("http://{host}{port}/cb?x=1")), "{registered} at {port}");
            }
            for other in [
                format!("http://{host}:1/cb"),
                format!("http://{host}:1/CB?x=1"),
                format!("http://{host}:1/cb/?x=1"),
                format!("http://{host}:1/cb?x=1&y"),
                format!("http://{host}:1/cb?x=1#"),
                format!("https://{host}:1/cb?x=1"),
                format!("http://{host}:/cb?x=1"),
                format!("http://{host}:01/cb?x=1"),
                format!("http://{host}:65536/cb?x=1"),
                format!("http://{host}:1@evil.com/cb?x=1"),
                format!("http://{host}.evil.com/cb?x=1"),
                format!("http://{host}evil.com/cb?x=1"),
                format!("http://user@{host}:1/cb?x=1"),
                format!("HTTP://{host}:1/cb?x=1"),
            ] {
                assert!(!uri.matches(&other), "{registered} and {other}");
            }
        }
    }
}

#[test]
fn one_loopback_address_is_not_another() {
    let uri = accepted("http://127.0.0.1/cb");
    for other in ["http://localhost/cb", "http://[::1]/cb", "http://127.1/cb", "http://127.0.0.1.nip.io/cb"] {
        assert!(!uri.matches(other), "{other}");
    }
}

#[test]
fn every_other_uri_matches_itself_alone() {
    let uri = accepted("https://client.example/cb");
    assert!(uri.matches("https://client.example/cb"));
    for other in [
        "https://client.example/CB",
        "https://Client.example/cb",
        "https://client.example/cb/",
        "https://client.example/cb?x=1",
        "https://client.example/cb#",
        "https://client.example/cb/../cb",
        "https://client.example/%63b",
        "https://client.example/cb%2e",
        "https://client.example:443/cb",
        "https://client.example:8443/cb",
        "https://user@client.example/cb",
        "https://sub.client.example/cb",
        "https://client.example.evil/cb",
        "https://cl\u{456}ent.example/cb",
        "http://client.example/cb",
        "",
    ] {
        assert!(!uri.matches(other), "{other}");
    }
    let app = accepted("cursor://app/cb");
    assert!(!app.matches("cursor://app:1/cb"));
}

#[test]
fn people_are_shown_the_host_or_the_scheme() {
    assert_eq!(accepted("https://client.example:8443/cb").shown_host(), "client.example");
    assert_eq!(accepted("http://[::1]:1/cb").shown_host(), "[::1]");
    assert_eq!(accepted("cursor://claude.ai/cb").shown_host(), "cursor:");
    assert!(accepted("cursor://claude.ai/cb").is_private_use());
    assert!(accepted("http://localhost:1").is_loopback());
}

#[test]
fn a_client_that_listens_elsewhere_at_every_start_registers_the_same() {
    assert_eq!(accepted("http://localhost:1234/cb").portless(), accepted("http://localhost:99/cb").portless());
    assert_eq!(accepted("https://client.example:8443/cb").portless(), "https://client.example:8443/cb");
}

fn some_uri() -> impl Strategy<Value = String> {
    prop_oneof![
        "https://[a-z]{1,8}\\.example(:[1-9][0-9]{3})?/[a-z/]{0,10}(\\?[a-z]=[0-9])?",
        "http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:[1-9][0-9]{0,3})?/[a-z]{0,10}(\\?[a-z]=[0-9])?",
        "[a-z]{3,8}app://[a-z]{1,8}/[a-z]{0,10}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_accepted_uri_matches_itself_and_no_mutation_of_it(
        text in some_uri(), at in any::<prop::sample::Index>(), put in "[ -~]", remove in any::<bool>(),
    ) {
        let Ok(uri) = parse(&text) else { return Ok(()) };
        prop_assert!(uri.matches(&text));
        let mut mutated: Vec<char> = text.chars().collect();
        let at = at.index(mutated.len());
        if remove {
            mutated.remove(at);
        } else {
            mutated.insert(at, put.chars().next().expect("one character"));
        }
        let mutated: String = mutated.into_iter().collect();
        if uri.matches(&mutated) {
            let (was, is) = (Url::parse(&text).expect("accepted"), Url::parse(&mutated).expect("matched"));
            prop_assert!(uri.is_loopback(), "{mutated}");
            prop_assert_eq!(was.host(), is.host());
            prop_assert_eq!((was.path(), was.query(), was.fragment()), (is.path(), is.query(), is.fragment()));
            prop_assert_eq!((is.scheme(), is.username()), ("http", ""));
        }
    }

    #[test]
    fn no_text_makes_the_rules_panic_and_what_they_accept_is_what_a_browser_opens(text in "[ -~]{0,40}|https?://[ -~]{0,30}") {
        if let Ok(uri) = parse(&text) {
            let url = Url::parse(uri.as_str()).expect("accepted");
            prop_assert!(url.username().is_empty() && url.fragment().is_none());
            prop_assert!(url.scheme() != "http" || uri.is_loopback());
        }
    }
}
