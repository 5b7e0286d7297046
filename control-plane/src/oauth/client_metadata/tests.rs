#![allow(clippy::needless_pass_by_value, reason = "what `json!` makes is handed over as it is")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::oauth::redirect_uri::PrivateUseSchemes;

const CALLBACK: &str = "https://app.example/callback";

fn read_as(source: Source, document: &Value) -> Result<ClientMetadata, MetadataFault> {
    ClientMetadata::read(document, source, &PrivateUseSchemes::Allow)
}

fn register(document: Value) -> Result<ClientMetadata, MetadataFault> {
    read_as(Source::Registration, &document)
}

/// The metadata of a public client, with these members put in their places.
fn public(changes: Value) -> Value {
    let mut document = json!({
        "client_name": "Claude Code",
        "redirect_uris": ["http://localhost:7777/callback", "http://127.0.0.1:7777/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    let members = document.as_object_mut().expect("an object");
    members.extend(changes.as_object().expect("an object").clone());
    document
}

fn code(document: Value) -> &'static str {
    register(document.clone()).map_err(|fault| fault.code()).expect_err(&document.to_string())
}

#[test]
fn defaults_are_those_of_the_standard() {
    let read = register(json!({ "redirect_uris": [CALLBACK] })).expect("accepted");
    assert_eq!(read.auth_method, AuthMethod::ClientSecretBasic);
    assert_eq!(
        Value::Object(read.to_json()),
        json!({
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "application_type": "web",
        })
    );
}

#[test]
fn members_that_are_not_known_and_members_that_are_null_are_ignored() {
    let document = public(json!({
        "resource": "https://gw/t/acme/mcp", "client_name#de": "Klient", "x": { "y": [1] },
        "logo_uri": null, "jwks": null, "scope": null, "contacts": null,
    }));
    assert_eq!(register(document), register(public(json!({}))));
}

#[test]
fn every_member_that_is_registered_is_echoed() {
    let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "1" }] });
    let document = json!({
        "redirect_uris": [CALLBACK, CALLBACK],
        "client_name": "Größe <b>",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "EdDSA",
        "grant_types": ["refresh_token", "authorization_code", "client_credentials", "implicit"],
        "response_types": ["code", "token"],
        "application_type": "web",
        "jwks": jwks,
        "scope": "openid demo:echo offline_access a:b demo:echo",
        "contacts": ["a@app.example"],
        "client_uri": "https://app.example/", "logo_uri": "https://app.example/logo.png",
        "tos_uri": "https://app.example/tos", "policy_uri": "https://app.example/policy",
        "software_id": "s", "software_version": "1",
    });
    let expected = json!({
        "redirect_uris": [CALLBACK],
        "client_name": "Größe <b>",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "EdDSA",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "web",
        "jwks": jwks,
        "scope": "a:b demo:echo",
        "contacts": ["a@app.example"],
        "client_uri": "https://app.example/", "logo_uri": "https://app.example/logo.png",
        "tos_uri": "https://app.example/tos", "policy_uri": "https://app.example/policy",
        "software_id": "s", "software_version": "1",
    });
    assert_eq!(Value::Object(register(document).expect("accepted").to_json()), expected);
}

#[test]
fn redirect_uris_that_lead_astray_are_refused_by_their_own_code() {
    for uris in [
        json!(null),
        json!([]),
        json!(["https://app.example/#fragment"]),
        json!(["http://app.example/callback"]),
        json!(["javascript:alert(1)"]),
        json!(["data:text/html,x"]),
        json!(["file:///etc/passwd"]),
        json!(["vbscript:x"]),
        json!(["blob:https://app.example/x"]),
        json!(["/callback"]),
        json!(["https://*.example/callback"]),
        json!(["https://user@app.example/callback"]),
        json!(["https://com/callback"]),
        json!(["https://co.uk/callback"]),
        json!([CALLBACK, "https://github.io/callback"]),
        json!([CALLBACK, "http://evil.example/"]),
    ] {
        assert_eq!(code(public(json!({ "redirect_uris": uris }))), "invalid_redirect_uri", "{uris}");
    }
    let fault = register(public(json!({ "redirect_uris": [CALLBACK, "http://evil.example/"] }))).expect_err("refused");
    assert!(fault.to_string().starts_with("redirect URI 1: "), "{fault}");
}

#[test]
fn metadata_that_makes_no_sense_is_refused() {
    let many: Vec<String> = (0..11).map(|number| format!("https://app.example/{number}")).collect();
    let public_key = json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" });
    let private_key = json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "d": "c" });
    for changes in [
        json!({ "grant_types": ["authorization_code"], "response_types": ["token"] }),
        json!({ "grant_types": ["client_credentials"] }),
        json!({ "grant_types": ["refresh_token"] }),
        json!({ "grant_types": ["implicit"], "response_types": ["code"] }),
        json!({ "grant_types": "authorization_code" }),
        json!({ "response_types": [] }),
        json!({ "response_types": [1] }),
        json!({ "jwks": { "keys": [public_key] }, "jwks_uri": "https://app.example/jwks" }),
        json!({ "jwks": { "keys": [private_key] } }),
        json!({ "jwks": { "keys": [{ "kty": "oct", "k": "a" }] } }),
        json!({ "jwks": { "keys": [] } }),
        json!({ "jwks": { "keys": ["a"] } }),
        json!({ "jwks": "a" }),
        json!({ "jwks_uri": "http://app.example/jwks" }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
        json!({ "token_endpoint_auth_method": "tls_client_auth" }),
        json!({ "token_endpoint_auth_method": 1 }),
        json!({ "token_endpoint_auth_signing_alg": "none" }),
        json!({ "token_endpoint_auth_signing_alg": "HS256" }),
        json!({ "application_type": "desktop" }),
        json!({ "client_uri": "http://app.example/" }),
        json!({ "client_uri": "javascript:alert(1)" }),
        json!({ "logo_uri": "data:image/png;base64,AA" }),
        json!({ "tos_uri": "nothing" }),
        json!({ "policy_uri": "https://user:pass@app.example/" }),
        json!({ "client_name": "a".repeat(129) }),
        json!({ "client_name": ["a"] }),
        json!({ "client_name": "a\0b" }),
        json!({ "redirect_uris": many }),
        json!({ "redirect_uris": CALLBACK }),
        json!({ "redirect_uris": [1] }),
        json!({ "contacts": "a@app.example" }),
        json!({ "scope": ["demo:echo"] }),
        json!({ "scope": "demo:echo\n" }),
        json!({ "software_id": "a".repeat(2_049) }),
    ] {
        assert_eq!(code(public(changes.clone())), "invalid_client_metadata", "{changes}");
    }
    for document in [json!(null), json!([]), json!("{}"), json!(1)] {
        assert_eq!(code(document), "invalid_client_metadata");
    }
}

#[test]
fn an_application_type_binds_the_redirect_uris() {
    let of = |kind: &str, uri: &str| register(public(json!({ "application_type": kind, "redirect_uris": [uri] })));
    of("web", CALLBACK).expect("https from the web");
    for uri in ["http://localhost:1/cb", "http://127.0.0.1/cb", "cursor://anysphere.cursor-mcp/cb"] {
        of("native", uri).expect("native");
        assert_eq!(of("web", uri).map_err(|fault| fault.code()), Err("invalid_redirect_uri"), "{uri}");
        let inferred = register(public(json!({ "redirect_uris": [uri] }))).expect("accepted");
        assert_eq!(inferred.application_type, ApplicationType::Native, "{uri}");
    }
    of("native", CALLBACK).expect("a claimed https URI");
}

#[test]
fn a_tenant_may_refuse_schemes_of_apps() {
    let document = public(json!({ "redirect_uris": ["cursor://cb/"] }));
    let read = |schemes| ClientMetadata::read(&document, Source::Registration, &schemes);
    assert!(read(PrivateUseSchemes::List(vec!["cursor".to_owned()])).is_ok());
    assert!(read(PrivateUseSchemes::List(vec!["vscode".to_owned()])).is_err());
    assert!(read(PrivateUseSchemes::Deny).is_err());
}

#[test]
fn a_software_statement_is_a_jwt_or_refused_and_never_believed() {
    // {"alg":"none"} . {"client_name":"Trusted"} . x
    let jwt = "eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IlRydXN0ZWQifQ.eA";
    let read = register(public(json!({ "software_statement": jwt }))).expect("accepted");
    assert_eq!(read.client_name.as_deref(), Some("Claude Code"));
    for statement in [json!("a.b.c"), json!("x"), json!(1), json!({}), json!("eyJhbGciOiJub25lIn0.e30.")] {
        assert_eq!(code(public(json!({ "software_statement": statement }))), "invalid_software_statement");
    }
}

#[test]
fn a_document_has_a_name_and_no_secret() {
    let read = |changes| read_as(Source::Document, &public(changes));
    assert!(read(json!({})).is_ok());
    for changes in [
        json!({ "client_name": null }),
        json!({ "client_name": "" }),
        json!({ "client_secret": "s" }),
        json!({ "client_secret": null }),
        json!({ "client_secret_expires_at": 0 }),
        json!({ "token_endpoint_auth_method": "client_secret_basic" }),
        json!({ "token_endpoint_auth_method": "client_secret_post" }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
        json!({ "redirect_uris": null }),
        json!({ "redirect_uris": [] }),
    ] {
        assert!(read(changes.clone()).is_err(), "{changes}");
    }
}

#[test]
fn only_a_document_with_keys_asks_to_act_for_itself() {
    let signing = |grant_types: Value| {
        public(json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks",
                       "redirect_uris": [CALLBACK], "grant_types": grant_types }))
    };
    let document = |grant_types| read_as(Source::Document, &signing(grant_types)).expect("accepted");
    let both = document(json!(["client_credentials", "authorization_code"]));
    assert_eq!(both.grant_types, ["authorization_code", "client_credentials"]);
    let alone = document(json!(["client_credentials", "refresh_token"]));
    assert_eq!(alone.grant_types, ["client_credentials"], "nothing is there to be refreshed");
    assert_eq!(alone.to_json()["response_types"], json!([]));
    assert_ne!(both.digest(), alone.digest());

    let registered = register(signing(json!(["client_credentials", "authorization_code"]))).expect("accepted");
    assert_eq!(registered.grant_types, ["authorization_code"], "who registers cannot");
    assert_eq!(code(signing(json!(["client_credentials"]))), "invalid_client_metadata");
    let keyless = public(json!({ "grant_types": ["authorization_code", "client_credentials"] }));
    assert_eq!(read_as(Source::Document, &keyless).expect("accepted").grant_types, ["authorization_code"]);
}

#[test]
fn a_document_may_offer_several_methods_and_grant_types() {
    let read = |changes| read_as(Source::Document, &public(changes)).map(|read| read.auth_method);
    let offers = |methods: Value| {
        json!({ "token_endpoint_auth_method": null, "token_endpoint_auth_methods_supported": methods,
                "jwks_uri": "https://app.example/jwks" })
    };
    assert_eq!(read(offers(json!(["none", "private_key_jwt", "tls_client_auth"]))), Ok(AuthMethod::PrivateKeyJwt));
    assert_eq!(read(offers(json!(["client_secret_basic", "none"]))), Ok(AuthMethod::None));
    assert_eq!(read(offers(json!(null))), Ok(AuthMethod::None));
    assert!(read(offers(json!(["client_secret_basic"]))).is_err());
    // As ChatGPT's document has it: the one method that it names counts.
    let named = json!({
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "RS256",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks_uri": "https://app.example/jwks",
    });
    assert_eq!(read(named), Ok(AuthMethod::PrivateKeyJwt));

    let grants = |grant_types: Value| {
        read_as(Source::Document, &public(json!({ "grant_types": grant_types }))).map(|read| read.grant_types)
    };
    let filtered = grants(json!(["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]));
    assert_eq!(filtered, Ok(vec!["authorization_code"]));
    assert!(grants(json!(["urn:ietf:params:oauth:grant-type:device_code"])).is_err(), "nothing usable remains");
}

#[test]
fn order_and_loopback_ports_make_no_other_client_but_everything_else_does() {
    let digest = |changes| {
        *register(public(changes)).expect("accepted").digest().as_bytes().first_chunk::<32>().expect("32 bytes")
    };
    let same = digest(json!({}));
    assert_eq!(
        same,
        digest(json!({ "redirect_uris": ["http://127.0.0.1:1/callback", "http://localhost:2/callback"] }))
    );
    assert_eq!(same, digest(json!({ "grant_types": ["refresh_token", "authorization_code"] })));
    assert_eq!(same, digest(json!({ "x": "ignored" })));
    for changes in [
        json!({ "client_name": "Claude code" }),
        json!({ "redirect_uris": ["http://127.0.0.1:7777/callback"] }),
        json!({ "redirect_uris": ["http://localhost:7777/callback", "http://127.0.0.1:7777/callback/"] }),
        json!({ "grant_types": ["authorization_code"] }),
        json!({ "client_uri": "https://app.example/" }),
        json!({ "software_version": "2" }),
    ] {
        assert_ne!(same, digest(changes.clone()), "{changes}");
    }
}

#[test]
fn names_are_kept_raw_and_shown_without_what_cannot_be_seen() {
    let name = "Cla\u{202e}ude\u{200b} \u{7}<script>alert(1)</script>\u{e0041}";
    assert_eq!(register(public(json!({ "client_name": name }))).expect("accepted").client_name.as_deref(), Some(name));
    assert_eq!(shown_name(name), "Claude <script>alert(1)</script>");
    assert_eq!(shown_name(&"x".repeat(100)).len(), 64);
    assert_eq!(shown_name("\u{200b}\u{3164}"), "");
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,8}".prop_map(String::from),
        prop::sample::select(vec![
            CALLBACK,
            "http://localhost:1/cb",
            "cursor://cb/",
            "javascript:x",
            "none",
            "private_key_jwt",
            "code",
            "client_secret_basic",
            "client_secret_post",
            "authorization_code",
            "refresh_token",
            "web",
            "native",
            "ES256",
            "none",
            "https://app.example/jwks",
            "demo:echo openid",
            "EC",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,6}", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn any_metadata() -> impl Strategy<Value = Value> {
    let member = prop::sample::select(vec![
        "redirect_uris",
        "client_name",
        "token_endpoint_auth_method",
        "grant_types",
        "response_types",
        "jwks",
        "jwks_uri",
        "application_type",
        "scope",
        "contacts",
        "logo_uri",
        "software_statement",
        "token_endpoint_auth_signing_alg",
        "token_endpoint_auth_methods_supported",
        "client_secret",
        "unknown",
    ]);
    let members = prop::collection::vec((member, any_json()), 0..8);
    (any::<bool>(), members).prop_map(|(sensible, members)| {
        let mut document = if sensible { public(json!({})) } else { json!({}) };
        let object = document.as_object_mut().expect("an object");
        object.extend(members.into_iter().map(|(member, value)| (member.to_owned(), value)));
        document
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_accepted_keeps_the_rules(
        document in prop_oneof![any_json(), any_metadata()],
        source in prop::sample::select(vec![Source::Registration, Source::Document]),
    ) {
        let Ok(read) = read_as(source, &document) else { return Ok(()) };
        prop_assert!((1..=REDIRECT_URIS_MAX).contains(&read.redirect_uris.len()));
        for uri in &read.redirect_uris {
            prop_assert!(uri.as_str().starts_with("https://") || uri.is_loopback() || uri.is_private_use());
            prop_assert!(!uri.as_str().contains('#') && !uri.as_str().starts_with("javascript:"));
            prop_assert!(!uri.is_private_use() || read.is_public());
        }
        prop_assert!(read.grant_types.contains(&"authorization_code") && !read.grant_types.contains(&"client_credentials"));
        prop_assert!(!(read.jwks().is_some() && read.jwks_uri().is_some()));
        prop_assert!(read.auth_method != AuthMethod::PrivateKeyJwt || read.keys.is_some());
        if source == Source::Document {
            prop_assert!(matches!(read.auth_method, AuthMethod::None | AuthMethod::PrivateKeyJwt));
            prop_assert!(read.client_name.as_ref().is_some_and(|name| !name.is_empty()));
        }
        // What is stored reads as what was accepted.
        let again = register(Value::Object(read.to_json())).expect("accepted again");
        prop_assert!(again.digest().matches(read.digest().as_bytes()));
        prop_assert_eq!(again, read);
    }
}
