//! What clients say about themselves, right and wrong, to both: in a registration (RFC 7591), and in a metadata document.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Authority, Http, Site};

use super::{Difference, Peer, REDIRECT_URI, ask_authorize, ask_authorize_as, both, both_reading, differs, judge};

const CALLBACK: &str = "https://client.example/callback";
/// What is wrong with a redirect URI that the oracle takes.
const BAD_URI: &str = "400 invalid_redirect_uri";
/// What is wrong with anything else.
const BAD_METADATA: &str = "400 invalid_client_metadata";
const CLEAR_TEXT: Option<Difference> =
    differs(BAD_URI, "OAuth 2.1 section 1.5: clear text is for the user's own device alone");
const NOT_A_TEXT: Option<Difference> =
    differs(BAD_METADATA, "RFC 7591 section 3.2.2: no redirect URI is wrong, the member is of another type");
const NO_METADATA: Option<Difference> =
    differs(BAD_METADATA, "RFC 7591 section 3.2.2 has one code for what is no metadata, and no `invalid_request`");
const BOUND: Option<Difference> = differs(BAD_METADATA, "RFC 7591 section 5: who registers does not fill our tables");

/// Metadata: its name, what is changed in metadata that is right (`null` leaves out), and why the answers differ.
type Case = (&'static str, Value, Option<Difference>);

/// A body that is no metadata: its name, its media type and itself.
const BODIES: &[(&str, &str, &str, Option<Difference>)] = &[
    ("half an object", "application/json", "{", NO_METADATA),
    ("an array", "application/json", "[]", NO_METADATA),
    ("a text", "application/json", "\"client\"", NO_METADATA),
    ("nothing", "application/json", "", NO_METADATA),
    ("a form", "application/x-www-form-urlencoded", "redirect_uris=https%3A%2F%2Fclient.example%2F", None),
];

#[tokio::test]
async fn registrations_are_answered_as_the_oracle_does() {
    let (tollgate, oracle, _running) = both().await;
    let mut faults = Vec::new();
    for (name, changes, difference) in registrations() {
        let body = changed(&right(), &changes).to_string();
        let ours = register(&tollgate, "application/json", &body).await;
        let theirs = register(&oracle, "application/json", &body).await;
        judge(name, difference, &ours, &theirs, &mut faults);
    }
    for (name, media_type, body, difference) in BODIES {
        let ours = register(&tollgate, media_type, body).await;
        let theirs = register(&oracle, media_type, body).await;
        judge(name, *difference, &ours, &theirs, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn documents_are_taken_and_refused_as_by_the_oracle() {
    let authority = Authority::create();
    let site = Site::start(&authority).await;
    // A document that was never seen is read for who is signed in.
    let (tollgate, oracle, (office, _provider)) = both_reading(Some(&authority)).await;
    let mut faults = Vec::new();
    for (number, (name, changes, difference)) in documents().into_iter().enumerate() {
        let path = format!("/{number}.json");
        let document = json!({ "client_id": site.url(&path), "client_name": "Client", "redirect_uris": [REDIRECT_URI],
                               "grant_types": ["authorization_code"], "token_endpoint_auth_method": "none",
                               "application_type": "native" });
        site.publish(&path, &changed(&document, &changes));
        let url = site.url(&path);
        let asked = [("client_id", url.as_str())];
        let ours = ask_authorize_as(&office.owner, &tollgate, &asked).await;
        let theirs = ask_authorize(&oracle, &asked).await;
        assert!(number > 0 || ours == "goes on", "a document that is right is taken: {ours}");
        judge(name, difference, &ours, &theirs, &mut faults);
    }
    for (name, path, status, headers, body) in ANSWERS {
        site.publish_raw(path, *status, headers, body);
        let url = site.url(path);
        let asked = [("client_id", url.as_str())];
        let ours = ask_authorize_as(&office.owner, &tollgate, &asked).await;
        let theirs = ask_authorize(&oracle, &asked).await;
        judge(name, None, &ours, &theirs, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a site may answer in the place of a document.
type SiteAnswer = (&'static str, &'static str, u16, &'static [(&'static str, &'static str)], &'static str);

const ANSWERS: &[SiteAnswer] = &[
    ("no document", "/none.json", 404, &[], "{}"),
    ("a redirect", "/moved.json", 302, &[("location", "/0.json")], ""),
    ("no JSON", "/text.json", 200, &[("content-type", "application/json")], "client"),
    ("an array for a document", "/array.json", 200, &[("content-type", "application/json")], "[]"),
];

fn right() -> Value {
    json!({ "client_name": "Client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"] })
}

fn changed(metadata: &Value, changes: &Value) -> Value {
    let mut metadata = metadata.clone();
    let members = metadata.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    metadata
}

/// Status and error code, or how a client that was taken proves who it is.
async fn register(peer: &Peer, media_type: &str, body: &str) -> String {
    let headers = [("content-type", media_type)];
    let answer = Http::default().send(Method::POST, &peer.register_url, &headers, body.to_owned()).await;
    let answer = answer.expect("the server answers");
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = body["error"].as_str().or(body["token_endpoint_auth_method"].as_str());
    format!("{} {}", answer.status, said.unwrap_or_default())
}

fn registrations() -> Vec<Case> {
    [kinds_of_clients(), redirect_uris(), methods_and_grant_types(), keys(), other_members()].concat()
}

fn kinds_of_clients() -> Vec<Case> {
    vec![
        ("a public client", json!({}), None),
        ("a client that says nothing of its method", json!({ "token_endpoint_auth_method": null }), None),
        ("a client with a secret", json!({ "token_endpoint_auth_method": "client_secret_post" }), None),
        ("an unknown member", json!({ "favourite_colour": "green" }), None),
        ("a native app on this device", json!({ "application_type": "native", "redirect_uris": [REDIRECT_URI] }), None),
        (
            "a native app with a scheme",
            json!({ "application_type": "native", "redirect_uris": ["com.example.app:/cb"] }),
            None,
        ),
        (
            "a web application on this device",
            json!({ "application_type": "web", "redirect_uris": [REDIRECT_URI] }),
            differs(BAD_URI, "OpenID Connect Registration section 2: `web` means `https`"),
        ),
    ]
}

fn redirect_uris() -> Vec<Case> {
    let uris = |uris: &[&str]| json!({ "redirect_uris": uris });
    let many: Vec<String> = (0..11).map(|number| format!("https://client.example/{number}")).collect();
    vec![
        ("no redirect URIs", json!({ "redirect_uris": null }), None),
        ("an empty list of redirect URIs", uris(&[]), None),
        ("a redirect URI that is no list", json!({ "redirect_uris": CALLBACK }), NOT_A_TEXT),
        ("redirect URIs that are numbers", json!({ "redirect_uris": [1] }), NOT_A_TEXT),
        ("a relative redirect URI", uris(&["/callback"]), None),
        ("a redirect URI with a fragment", uris(&["https://client.example/callback#x"]), None),
        ("a redirect URI in clear text", uris(&["http://client.example/callback"]), CLEAR_TEXT),
        ("a redirect URI that runs", uris(&["javascript:alert(1)"]), None),
        ("a redirect URI that holds a page", uris(&["data:text/html,x"]), None),
        (
            "a redirect URI with a user",
            uris(&["https://user@client.example/callback"]),
            differs(BAD_URI, "RFC 3986 section 7.6: user information reads as another host"),
        ),
        (
            "a redirect URI with a wildcard",
            uris(&["https://*.client.example/callback"]),
            differs(BAD_URI, "RFC 9700 section 2.1: compared exactly, it would match nothing"),
        ),
        (
            "a redirect URI at a registry",
            uris(&["https://co.uk/callback"]),
            differs(BAD_URI, "anyone may have a name below a public suffix"),
        ),
        ("a good and a bad redirect URI", uris(&[CALLBACK, "http://client.example/"]), CLEAR_TEXT),
        ("too many redirect URIs", json!({ "redirect_uris": many }), BOUND),
    ]
}

fn methods_and_grant_types() -> Vec<Case> {
    vec![
        ("an unknown method", json!({ "token_endpoint_auth_method": "brick" }), None),
        ("a method that is a number", json!({ "token_endpoint_auth_method": 1 }), None),
        (
            "a method that needs a readable secret",
            json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
            differs(BAD_METADATA, "it needs a secret that can be read back, and none is kept"),
        ),
        ("an unknown grant type", json!({ "grant_types": ["brick"] }), None),
        (
            "an unknown grant type beside a known one",
            json!({ "grant_types": ["authorization_code", "brick"] }),
            differs("201 none", "RFC 7591 section 2: what is not supported is left out of what is registered"),
        ),
        (
            "the implicit grant",
            json!({ "grant_types": ["implicit"], "response_types": ["id_token"] }),
            differs(BAD_METADATA, "OAuth 2.1 section 10: there is none"),
        ),
        (
            "a grant type that does not fit",
            json!({ "grant_types": ["refresh_token"] }),
            differs(BAD_METADATA, "RFC 7591 section 2.1: `code` goes with `authorization_code`"),
        ),
        (
            "a response type that does not fit",
            json!({ "response_types": ["id_token"] }),
            differs(BAD_METADATA, "RFC 7591 section 2.1: `authorization_code` goes with `code`"),
        ),
        ("an unknown response type", json!({ "response_types": ["brick"] }), None),
        ("grant types that are a text", json!({ "grant_types": "authorization_code" }), None),
    ]
}

fn keys() -> Vec<Case> {
    let key = json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                      "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" });
    let mut private = key.clone();
    private["d"] = json!("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE");
    let signing = |more: Value| {
        changed(&json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key] } }), &more)
    };
    vec![
        ("a client with keys", signing(json!({})), None),
        ("keys here and elsewhere", signing(json!({ "jwks_uri": "https://client.example/jwks" })), None),
        ("no keys", signing(json!({ "jwks": null })), None),
        (
            "an empty set of keys",
            signing(json!({ "jwks": { "keys": [] } })),
            differs(BAD_METADATA, "nothing that the client signs could be verified"),
        ),
        ("a private key", signing(json!({ "jwks": { "keys": [private] } })), None),
        ("a shared key", signing(json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } })), None),
        (
            "keys in clear text",
            signing(json!({ "jwks": null, "jwks_uri": "http://client.example/jwks" })),
            differs(BAD_METADATA, "whoever is on the way there would be the client"),
        ),
        ("assertions without a signature", signing(json!({ "token_endpoint_auth_signing_alg": "none" })), None),
        ("assertions with a shared key", signing(json!({ "token_endpoint_auth_signing_alg": "HS256" })), None),
    ]
}

fn other_members() -> Vec<Case> {
    vec![
        ("a home page that is none", json!({ "client_uri": "home" }), None),
        ("a home page that runs", json!({ "client_uri": "javascript:alert(1)" }), None),
        ("a name that is a number", json!({ "client_name": 1 }), None),
        ("a name without end", json!({ "client_name": "n".repeat(200) }), BOUND),
        ("contacts that are a text", json!({ "contacts": "a@client.example" }), None),
        ("an unknown kind of application", json!({ "application_type": "brick" }), None),
        (
            "a software statement that is none",
            json!({ "software_statement": "brick" }),
            differs("400 invalid_software_statement", "RFC 7591 section 3.2.2; the oracle does not read them"),
        ),
    ]
}

fn documents() -> Vec<Case> {
    vec![
        ("a document", json!({}), None),
        ("another client's id", json!({ "client_id": "https://client.example/client.json" }), None),
        ("no id", json!({ "client_id": null }), None),
        (
            "no name",
            json!({ "client_name": null }),
            differs("page 400", "MCP 2026-07-28, client registration: a document has a `client_name`"),
        ),
        ("no redirect URIs", json!({ "redirect_uris": null }), None),
        ("an empty list of redirect URIs", json!({ "redirect_uris": [] }), None),
        ("another redirect URI", json!({ "redirect_uris": ["http://127.0.0.1/other"] }), None),
        ("a redirect URI that runs", json!({ "redirect_uris": [REDIRECT_URI, "javascript:alert(1)"] }), None),
        (
            "a redirect URI at a registry",
            json!({ "redirect_uris": [REDIRECT_URI, "https://github.io/callback"] }),
            differs("page 400", "anyone may have a name below a public suffix"),
        ),
        ("a method that needs a secret", json!({ "token_endpoint_auth_method": "client_secret_basic" }), None),
        ("a secret", json!({ "client_secret": "everybody reads it" }), None),
        ("the end of a secret", json!({ "client_secret_expires_at": 0 }), None),
        ("an unknown method", json!({ "token_endpoint_auth_method": "brick" }), None),
        ("a method that needs keys", json!({ "token_endpoint_auth_method": "private_key_jwt" }), None),
        ("a logo in clear text", json!({ "logo_uri": "http://client.example/logo.png" }), None),
        ("a grant type that cannot be used", json!({ "grant_types": ["brick"] }), None),
        ("an unknown member", json!({ "favourite_colour": "green" }), None),
    ]
}
