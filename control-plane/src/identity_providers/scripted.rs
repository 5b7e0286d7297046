//! An OpenID provider for tests: on a socket, with keys of its own, and able to misbehave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Form, Json, Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::Utc;
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

use crate::testing::Bench;

pub(crate) const CLIENT_ID: &str = "tollgate";
pub(crate) const CLIENT_SECRET: &str = "a secret & more";

/// How the provider misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    BadSignature,
    AlgNone,
    /// Signed with the client secret, as a client could.
    Hs256,
    WrongAudience,
    TwoAudiences,
    ForeignParty,
    WrongNonce,
    NoNonce,
    WrongIssuer,
    Expired,
    NoSubject,
    NoIdToken,
    UnknownKey,
    ForeignAccessToken,
    /// It does not say when the user proved who they are.
    NoAuthTime,
    /// It says that they did an hour ago, though it was to ask them.
    OldAuthTime,
    /// The userinfo endpoint speaks of somebody else.
    ForeignInfo,
    /// The metadata names another issuer.
    OtherMetadata,
    /// The metadata never comes.
    Silence,
    /// The metadata never ends.
    Flood,
    /// The metadata is elsewhere.
    MovedMetadata,
    /// The token endpoint is elsewhere.
    MovedToken,
    /// The callback names another issuer.
    MixedUp,
    /// The callback names no issuer, though the metadata promises it.
    Nameless,
}

/// What it does, to be changed in the middle.
pub(crate) struct Script {
    /// Who signs in.
    pub(crate) claims: Value,
    /// Whether only the userinfo endpoint tells more than the subject.
    pub(crate) reticent: bool,
    pub(crate) mischief: Option<Mischief>,
    /// When the user proved to it who they are, in Unix seconds, unless they are asked for it anew.
    pub(crate) auth_time: Option<i64>,
    /// What it calls its session with the user.
    pub(crate) sid: Option<String>,
    key: Key,
    /// What was asked for under each code.
    codes: HashMap<String, HashMap<String, String>>,
    /// How often the keys were read.
    pub(crate) key_reads: usize,
}

struct Key {
    kid: String,
    pkcs8: Vec<u8>,
}

/// The provider, as long as it lives.
#[derive(Clone)]
pub(crate) struct ScriptedProvider {
    pub(crate) issuer: String,
    script: Arc<Mutex<Script>>,
}

impl ScriptedProvider {
    /// Listens; `ada@corp.test`, who is in the group `eng`, would sign in.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let claims = json!({
            "sub": "ada", "email": "ada@corp.test", "email_verified": true, "name": "Ada", "groups": ["eng"],
        });
        let script = Script {
            claims,
            reticent: false,
            mischief: None,
            auth_time: None,
            sid: None,
            key: Key::new("k1"),
            codes: HashMap::new(),
            key_reads: 0,
        };
        let provider = Self { issuer, script: Arc::new(Mutex::new(script)) };
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("sound")
    }

    /// Signs with a new key from now on.
    pub(crate) fn rotate(&self, kid: &str) {
        self.script().key = Key::new(kid);
    }

    /// A logout token with these header members and claims beside those that every one has; null takes one away.
    pub(crate) fn logout_token(&self, header: Value, claims: Value) -> String {
        let now = Utc::now().timestamp();
        let script = self.script();
        let mut head = json!({ "alg": "ES256", "typ": "logout+jwt", "kid": script.key.kid });
        let mut body = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": Uuid::now_v7().to_string(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (whole, changes) in [(&mut head, header), (&mut body, claims)] {
            let whole = whole.as_object_mut().expect("an object");
            whole.extend(changes.as_object().expect("an object").clone());
            whole.retain(|_, value| !value.is_null());
        }
        script.key.sign_parts(&head, &body)
    }

    /// Makes it an identity provider of `acme` called `corp`, which may be on this machine.
    pub(crate) async fn register(&self, bench: &Bench, spec: Value) {
        let allow = json!({ "spec": { "egress_allow": ["127.0.0.0/8"] } });
        let path = "/api/v1/tenants/acme";
        bench.call(http::Method::PATCH, path).header("if-match", "*").json(allow).await.expect(200);
        let mut whole = json!({ "issuer": self.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET });
        whole.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        bench.put("identity-providers/corp", json!({ "spec": whole })).await.expect(201);
    }

    /// The path that the browser comes back by when the user signs in at `departure`.
    pub(crate) fn approve(&self, departure: &str) -> String {
        let asked = parameters(departure);
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT_ID);
        assert_eq!(asked["code_challenge_method"], "S256");
        let code = Uuid::now_v7().to_string();
        self.script().codes.insert(code.clone(), asked.clone());
        self.callback(&asked, &[("code", &code)])
    }

    /// The path that the browser comes back by when the user does not.
    pub(crate) fn deny(&self, departure: &str) -> String {
        self.callback(&parameters(departure), &[("error", "access_denied")])
    }

    fn callback(&self, asked: &HashMap<String, String>, answer: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&asked["redirect_uri"]).expect("a URL");
        url.query_pairs_mut().extend_pairs(answer).append_pair("state", &asked["state"]);
        match self.script().mischief {
            Some(Mischief::MixedUp) => url.query_pairs_mut().append_pair("iss", "https://other.test"),
            Some(Mischief::Nameless) => &mut url.query_pairs_mut(),
            _ => url.query_pairs_mut().append_pair("iss", &self.issuer),
        };
        url[url::Position::BeforePath..].to_owned()
    }
}

impl Key {
    fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), pkcs8: pair.to_pkcs8v1().expect("a document").as_ref().to_vec() }
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).expect("signed")
    }

    fn sign_parts(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_ec_der(&self.pkcs8);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::ES256).expect("signed");
        format!("{signed}.{signature}")
    }

    fn jwk(&self) -> Value {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).expect("a key");
        let point = pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        })
    }
}

async fn metadata(State(provider): State<ScriptedProvider>) -> Response {
    let issuer = &provider.issuer;
    let mischief = provider.script().mischief;
    match mischief {
        Some(Mischief::Silence) => return std::future::pending().await,
        Some(Mischief::Flood) => return "x".repeat(1024 * 1024).into_response(),
        Some(Mischief::MovedMetadata) => return Redirect::temporary(&format!("{issuer}/elsewhere")).into_response(),
        _ => {}
    }
    Json(json!({
        "issuer": if mischief == Some(Mischief::OtherMetadata) { "https://other.test" } else { issuer },
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

async fn keys(State(provider): State<ScriptedProvider>) -> Json<Value> {
    let mut script = provider.script();
    script.key_reads += 1;
    Json(json!({ "keys": [script.key.jwk()] }))
}

async fn token(
    State(provider): State<ScriptedProvider>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut script = provider.script();
    if script.mischief == Some(Mischief::MovedToken) {
        return Redirect::temporary(&format!("{}/elsewhere", provider.issuer)).into_response();
    }
    // RFC 6749 section 2.3.1: both halves are form-encoded.
    let basic = format!("Basic {}", STANDARD.encode("tollgate:a+secret+%26+more"));
    assert_eq!(headers[header::AUTHORIZATION], basic);
    let Some(asked) = script.codes.remove(&form["code"]) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    assert_eq!(asked["code_challenge"], challenge);
    assert_eq!(asked["redirect_uri"], form["redirect_uri"]);
    let mut answer = json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 60 });
    if script.mischief != Some(Mischief::NoIdToken) {
        answer["id_token"] = id_token(&provider.issuer, &script, &asked).into();
    }
    Json(answer).into_response()
}

fn id_token(issuer: &str, script: &Script, asked: &HashMap<String, String>) -> String {
    let now = Utc::now().timestamp();
    let mut claims = if script.reticent { json!({ "sub": script.claims["sub"] }) } else { script.claims.clone() };
    claims["iss"] = issuer.into();
    claims["aud"] = CLIENT_ID.into();
    claims["iat"] = now.into();
    claims["exp"] = (now + 60).into();
    claims["nonce"] = asked["nonce"].as_str().into();
    let object = claims.as_object_mut().expect("an object");
    let anew = asked.get("prompt").is_some_and(|prompt| prompt == "login");
    assert_eq!(anew, asked.get("max_age").is_some_and(|max_age| max_age == "0"), "both ask for it");
    if let Some(auth_time) = if anew { Some(now) } else { script.auth_time } {
        object.insert("auth_time".to_owned(), auth_time.into());
    }
    object.extend(script.sid.as_ref().map(|sid| ("sid".to_owned(), json!(sid))));
    match script.mischief {
        Some(Mischief::WrongAudience) => object.insert("aud".to_owned(), json!("somebody-else")),
        Some(Mischief::TwoAudiences) => object.insert("aud".to_owned(), json!([CLIENT_ID, "somebody-else"])),
        Some(Mischief::ForeignParty) => object.insert("azp".to_owned(), json!("somebody-else")),
        Some(Mischief::WrongNonce) => object.insert("nonce".to_owned(), json!("another")),
        Some(Mischief::NoNonce) => object.remove("nonce"),
        Some(Mischief::WrongIssuer) => object.insert("iss".to_owned(), json!("https://other.test")),
        Some(Mischief::Expired) => object.insert("exp".to_owned(), json!(now - 1)),
        Some(Mischief::NoSubject) => object.remove("sub"),
        Some(Mischief::NoAuthTime) => object.remove("auth_time"),
        Some(Mischief::OldAuthTime) => object.insert("auth_time".to_owned(), json!(now - 3_600)),
        Some(Mischief::ForeignAccessToken) => object.insert("at_hash".to_owned(), json!("AAAAAAAAAAAAAAAAAAAAAA")),
        _ => None,
    };
    match script.mischief {
        Some(Mischief::BadSignature) => Key::new(&script.key.kid).sign(&script.key.kid, &claims),
        Some(Mischief::UnknownKey) => script.key.sign("nobody-knows", &claims),
        Some(Mischief::AlgNone) => {
            let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(json!({ "alg": "none" })), part(claims))
        }
        Some(Mischief::Hs256) => {
            let key = EncodingKey::from_secret(CLIENT_SECRET.as_bytes());
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("signed")
        }
        _ => script.key.sign(&script.key.kid, &claims),
    }
}

async fn user_info(State(provider): State<ScriptedProvider>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer at");
    let script = provider.script();
    let mut claims = script.claims.clone();
    if script.mischief == Some(Mischief::ForeignInfo) {
        claims["sub"] = json!("somebody-else");
    }
    Json(claims)
}

fn parameters(url: &str) -> HashMap<String, String> {
    Url::parse(url).expect("a URL").query_pairs().into_owned().collect()
}
