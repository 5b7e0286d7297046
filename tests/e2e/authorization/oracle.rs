//! The same wrong requests to Tollgate and to `oidc-provider`, whose authors also wrote the strictest of the validators.
//!
//! Where the two answer differently, the table says why Tollgate is right; any other difference fails, and so does an
//! explanation of a difference that is none.

use http::Method;
use serde_json::json;
use tollgate_tests::{Answer, Authority, Deployment, Http, OidcDraft, OidcProvider, Person, Plan};

use super::Office;

mod clients;

const REDIRECT_URI: &str = "http://127.0.0.1:4711/callback";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A wrong request: its name, its parameters, and why the answers differ, where they do.
type Case = (&'static str, &'static [(&'static str, &'static str)], Option<Difference>);

/// What Tollgate answers instead, and why.
#[derive(Debug, Clone, Copy)]
struct Difference {
    ours: &'static str,
    because: &'static str,
}

const fn differs(ours: &'static str, because: &'static str) -> Option<Difference> {
    Some(Difference { ours, because })
}

/// One of the two servers. In parameters, `{public}`, `{secret client}`, `{secret}` and `{resource}` are its own.
struct Peer {
    authorize_url: String,
    register_url: String,
    token_url: String,
    revoke_url: String,
    introspect_url: String,
    public: String,
    secret_client: String,
    secret: String,
    resource: String,
}

#[tokio::test]
async fn wrong_authorization_requests_are_answered_as_the_oracle_does() {
    let (tollgate, oracle, _running) = both().await;
    let mut faults = Vec::new();
    for case in AUTHORIZE {
        let ours = ask_authorize(&tollgate, case.1).await;
        let theirs = ask_authorize(&oracle, case.1).await;
        judge(case.0, case.2, &ours, &theirs, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn wrong_token_requests_are_answered_as_the_oracle_does() {
    let (tollgate, oracle, _running) = both().await;
    let mut faults = Vec::new();
    for case in TOKEN {
        let ours = post(&tollgate, &tollgate.token_url, case.1).await;
        let theirs = post(&oracle, &oracle.token_url, case.1).await;
        judge(case.0, case.2, &ours, &theirs, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn wrong_requests_to_introspect_and_revoke_are_answered_as_the_oracle_does() {
    let (tollgate, oracle, _running) = both().await;
    let mut faults = Vec::new();
    for case in TOKENS_OF_OTHERS {
        for (ours, theirs) in
            [(&tollgate.introspect_url, &oracle.introspect_url), (&tollgate.revoke_url, &oracle.revoke_url)]
        {
            let (ours, theirs) = (post(&tollgate, ours, case.1).await, post(&oracle, theirs, case.1).await);
            judge(case.0, case.2, &ours, &theirs, &mut faults);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Beside `response_type=code`, PKCE, a known client and redirect URI, which a case replaces or, when empty, leaves out.
const AUTHORIZE: &[Case] = &[
    ("no client", &[("client_id", "")], None),
    ("an unknown client", &[("client_id", "nobody")], None),
    ("a client twice", &[("client_id", "{public}"), ("client_id", "{public}")], None),
    ("another redirect URI", &[("redirect_uri", "http://127.0.0.1:4711/other")], None),
    ("a redirect URI in capitals", &[("redirect_uri", "http://127.0.0.1:4711/CALLBACK")], None),
    ("a redirect URI with more", &[("redirect_uri", "http://127.0.0.1:4711/callback/more")], None),
    ("a redirect URI with a query", &[("redirect_uri", "http://127.0.0.1:4711/callback?x=1")], None),
    ("a redirect URI with a fragment", &[("redirect_uri", "http://127.0.0.1:4711/callback#x")], None),
    ("a redirect URI on another host", &[("redirect_uri", "http://evil.example/callback")], None),
    ("a redirect URI that runs", &[("redirect_uri", "javascript:alert(1)")], None),
    ("no response type", &[("response_type", "")], None),
    ("an unknown response type", &[("response_type", "brick")], None),
    ("the implicit flow", &[("response_type", "token")], None),
    (
        "an id token",
        &[("response_type", "id_token")],
        differs("redirect unsupported_response_type iss=true", "RFC 6749 section 4.1.2.1; the oracle knows the type"),
    ),
    ("no challenge", &[("code_challenge", ""), ("code_challenge_method", "")], None),
    ("a challenge in plain", &[("code_challenge_method", "plain")], None),
    ("a challenge without a method", &[("code_challenge_method", "")], None),
    ("an unknown challenge method", &[("code_challenge_method", "S512")], None),
    ("a short challenge", &[("code_challenge", "short")], None),
    ("a challenge in illegal letters", &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM")], None),
    ("a state twice", &[("state", "a"), ("state", "b")], None),
    ("an unknown resource", &[("resource", "http://127.0.0.1:4711/unknown")], None),
    ("a resource with a fragment", &[("resource", "http://127.0.0.1:4711/#x")], None),
    ("a resource that is no URL", &[("resource", "files")], None),
    ("a request object", &[("request", "e30.e30.")], None),
    ("a request by reference", &[("request_uri", "https://client.example/request.jwt")], None),
    ("a registration on the way", &[("registration", "{}")], None),
    ("no prompt for a stranger", &[("prompt", "none")], None),
    (
        "an unknown prompt",
        &[("prompt", "sing")],
        differs("goes on", "`prompt` is OpenID Connect's: to an OAuth server an unknown value is an unknown parameter"),
    ),
    (
        "an unknown response mode",
        &[("response_mode", "smoke")],
        differs("redirect invalid_request iss=true", "RFC 6749 section 4.1.2.1 has no code of its own for it"),
    ),
];

const TOKEN: &[Case] = &[
    ("nothing", &[], None),
    ("no grant type", &[("client_id", "{public}")], None),
    ("an unknown grant type", &[("client_id", "{public}"), ("grant_type", "brick")], None),
    ("the password grant", &[("client_id", "{public}"), ("grant_type", "password")], None),
    ("the implicit grant", &[("client_id", "{public}"), ("grant_type", "implicit")], None),
    (
        "no client",
        &[("grant_type", "authorization_code"), ("code", "x"), ("code_verifier", VERIFIER)],
        differs("401 invalid_client", "RFC 6749 section 5.2: no client authentication included"),
    ),
    (
        "an unknown client",
        &[("client_id", "nobody"), ("grant_type", "authorization_code"), ("code", "x"), ("code_verifier", VERIFIER)],
        None,
    ),
    (
        "a wrong secret",
        &[
            ("client_id", "{secret client}"),
            ("client_secret", "wrong"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ],
        None,
    ),
    ("no secret", &[("client_id", "{secret client}"), ("grant_type", "refresh_token"), ("refresh_token", "x")], None),
    (
        "a grant type twice",
        &[("client_id", "{public}"), ("grant_type", "refresh_token"), ("grant_type", "refresh_token")],
        None,
    ),
    (
        "a code without its verifier",
        &[("client_id", "{public}"), ("grant_type", "authorization_code"), ("code", "x")],
        differs("400 invalid_request", "RFC 6749 section 5.2: a required parameter is missing, nothing was compared"),
    ),
    ("no code", &[("client_id", "{public}"), ("grant_type", "authorization_code"), ("code_verifier", VERIFIER)], None),
    (
        "an unknown code",
        &[
            ("client_id", "{public}"),
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("code_verifier", VERIFIER),
            ("redirect_uri", REDIRECT_URI),
        ],
        None,
    ),
    ("no refresh token", &[("client_id", "{public}"), ("grant_type", "refresh_token")], None),
    (
        "an unknown refresh token",
        &[("client_id", "{public}"), ("grant_type", "refresh_token"), ("refresh_token", "x")],
        None,
    ),
    (
        "client credentials without any",
        &[("client_id", "{public}"), ("grant_type", "client_credentials")],
        differs("400 unauthorized_client", "RFC 6749 section 5.2: the client may not use the grant type"),
    ),
    (
        "client credentials that were not registered",
        &[("client_id", "{secret client}"), ("client_secret", "{secret}"), ("grant_type", "client_credentials")],
        differs("400 unauthorized_client", "RFC 6749 section 5.2: the client may not use the grant type"),
    ),
    (
        "an assertion of an unknown kind",
        &[
            ("client_id", "{secret client}"),
            ("client_assertion_type", "brick"),
            ("client_assertion", "e30.e30.e30"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ],
        differs(
            "400 invalid_request",
            "RFC 6749 section 5.2: an unsupported parameter value; nothing was proven wrong",
        ),
    ),
    (
        "a secret and an assertion",
        &[
            ("client_id", "{secret client}"),
            ("client_secret", "{secret}"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "e30.e30.e30"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ],
        None,
    ),
];

const TOKENS_OF_OTHERS: &[Case] = &[
    ("no token", &[("client_id", "{secret client}"), ("client_secret", "{secret}")], None),
    ("an unknown token", &[("client_id", "{secret client}"), ("client_secret", "{secret}"), ("token", "x")], None),
    (
        "an unknown token with a wrong hint",
        &[
            ("client_id", "{secret client}"),
            ("client_secret", "{secret}"),
            ("token", "x"),
            ("token_type_hint", "brick"),
        ],
        None,
    ),
    ("a wrong secret", &[("client_id", "{secret client}"), ("client_secret", "wrong"), ("token", "x")], None),
    ("an unknown client", &[("client_id", "nobody"), ("token", "x")], None),
    (
        "nobody",
        &[("token", "x")],
        differs("401 invalid_client", "RFC 6749 section 5.2: no client authentication included"),
    ),
];

fn judge(name: &str, difference: Option<Difference>, ours: &str, theirs: &str, faults: &mut Vec<String>) {
    match difference {
        None if ours == theirs => {}
        Some(difference) if ours == difference.ours && ours != theirs => {}
        None => faults.push(format!("{name}: Tollgate says {ours}, the oracle {theirs}")),
        Some(Difference { ours: expected, because }) => {
            faults.push(format!("{name}: {ours} against {theirs}, expected {expected} because {because}"));
        }
    }
}

/// Everything that must outlive the questions.
type Running = (Office, OidcProvider);

async fn both() -> (Peer, Peer, Running) {
    both_reading(None).await
}

/// Both, able to read documents at hosts that `authority` vouches for.
async fn both_reading(authority: Option<&Authority>) -> (Peer, Peer, Running) {
    let plan = Deployment::dev().argument("--no-demo");
    let office = Office::open(authority.into_iter().fold(plan, Plan::trusting)).await;
    let draft = office.tollgate.interactive_agent("public").grant("files:read").redirect_uri(REDIRECT_URI);
    let public = draft.create().await;
    let draft = office.tollgate.interactive_agent("secret").grant("files:read").redirect_uri(REDIRECT_URI);
    let confidential = draft.confidential("client_secret_post").create().await;
    let issuer = office.tollgate.issuer();
    let resource = office.tollgate.server_url("files");
    let endpoint = |name: &str| format!("{issuer}/oauth/{name}");
    let tollgate = Peer {
        authorize_url: endpoint("authorize"),
        register_url: endpoint("register"),
        token_url: endpoint("token"),
        revoke_url: endpoint("revoke"),
        introspect_url: endpoint("introspect"),
        public: public.client_id,
        secret_client: confidential.client_id,
        secret: confidential.client_secret.expect("it has one"),
        resource: resource.clone(),
    };
    let client = |id: &str, method: &str| {
        let mut metadata = json!({"client_id": id, "redirect_uris": [REDIRECT_URI], "application_type": "native",
                                  "token_endpoint_auth_method": method,
                                  "grant_types": ["authorization_code", "refresh_token"]});
        if method != "none" {
            metadata["client_secret"] = json!("the secret of the oracle");
        }
        metadata
    };
    let plan = OidcProvider::plan().account(json!({"sub": "ada"})).resource(&resource, "files:read files:write");
    let plan = plan.client(client("public", "none")).client(client("secret", "client_secret_post"));
    let provider = authority.into_iter().fold(plan, OidcDraft::reading_documents).start().await;
    let endpoint = |name: &str| format!("{}/{name}", provider.issuer());
    let oracle = Peer {
        authorize_url: endpoint("auth"),
        register_url: endpoint("reg"),
        token_url: endpoint("token"),
        revoke_url: endpoint("token/revocation"),
        introspect_url: endpoint("token/introspection"),
        public: "public".to_owned(),
        secret_client: "secret".to_owned(),
        secret: "the secret of the oracle".to_owned(),
        resource,
    };
    (tollgate, oracle, (office, provider))
}

impl Peer {
    fn fill(&self, value: &str) -> String {
        value
            .replace("{public}", &self.public)
            .replace("{secret client}", &self.secret_client)
            .replace("{secret}", &self.secret)
            .replace("{resource}", &self.resource)
    }

    fn encode(&self, parameters: &[(&str, &str)]) -> String {
        let filled = parameters.iter().map(|(name, value)| (*name, self.fill(value)));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(filled).finish()
    }
}

fn authorize_url(peer: &Peer, changes: &[(&str, &str)]) -> String {
    let usual = [
        ("response_type", "code"),
        ("client_id", "{public}"),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", "{resource}"),
        ("scope", "files:read"),
        ("state", "s"),
    ];
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(change, _)| change != name));
    let given: Vec<_> = kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect();
    format!("{}?{}", peer.authorize_url, peer.encode(&given))
}

async fn ask_authorize(peer: &Peer, changes: &[(&str, &str)]) -> String {
    describe_page(&Http::default().get(&authorize_url(peer, changes)).await)
}

/// The same by somebody who is signed in: what goes on then is a page about the client.
async fn ask_authorize_as(person: &Person, peer: &Peer, changes: &[(&str, &str)]) -> String {
    let (url, cookies) = (authorize_url(peer, changes), person.cookies());
    let answer = Http::default().send(Method::GET, &url, &[("cookie", &cookies)], "").await;
    let answer = answer.expect("the server answers");
    if matches!(answer.status, 200 | 403) { "goes on".to_owned() } else { describe_page(&answer) }
}

/// A page, or a redirect to the client with an error, or to somewhere on the way.
fn describe_page(answer: &Answer) -> String {
    match answer.header("location") {
        Some(back) if back.starts_with(REDIRECT_URI) => {
            let back = url::Url::parse(back).expect("a redirect leads to a URL");
            // The oracle answers flows that ended in a fragment in theirs.
            let answer = back.query().or(back.fragment()).unwrap_or_default().as_bytes();
            let value = |name: &str| url::form_urlencoded::parse(answer).find(|(given, _)| given == name);
            let error = value("error").map_or_else(|| "without an error".into(), |(_, error)| error);
            format!("redirect {error} iss={}", value("iss").is_some())
        }
        Some(_) => "goes on".to_owned(),
        None => format!("page {}", answer.status),
    }
}

async fn post(peer: &Peer, url: &str, parameters: &[(&str, &str)]) -> String {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = Http::default().send(Method::POST, url, &headers, peer.encode(parameters)).await;
    let answer = answer.expect("the server answers");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (&body["error"], &body["active"]) {
        (serde_json::Value::String(error), _) => format!("{} {error}", answer.status),
        (_, serde_json::Value::Bool(active)) => format!("{} active={active}", answer.status),
        _ => format!("{} {}", answer.status, answer.text()),
    }
}
