//! Getting a token: finding the token endpoint, and asking it (RFC 6749 section 4.4, RFC 8707).
//!
//! Invariant: every request here goes through the tenant's egress, follows no redirect, and is bounded in time and in the
//! bytes that it reads; nothing that an authorization server wrote in prose is logged or passed on.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method as Verb, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    CredentialFault, HttpClient, Token, assertion,
    discovery::{
        ResourceMetadata, ServerMetadata, challenged, protected_url, resource_metadata_urls, server_metadata_urls,
    },
};
use crate::{
    policy::{OauthClient, Proof},
    upstream::{chain, check, request},
};

const DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What a form leaves as it is, so that the client ids of authorization servers that do not decode them fit too.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Where a token is asked for.
struct Endpoint {
    url: Uri,
    /// Whom assertions are for.
    audience: String,
    resource: String,
}

/// An answer with a token (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: SecretText,
    token_type: String,
    expires_in: Option<f64>,
}

/// A text that is wiped when it is dropped.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

/// An answer without one (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// A new token for the server that has an instance at `server`.
pub(super) async fn token(http: &HttpClient, client: &OauthClient, server: &Uri) -> Result<Token, CredentialFault> {
    let fetched = tokio::time::timeout(DEADLINE, async {
        let endpoint = discover(http, client, server).await?;
        ask(http, client, &endpoint).await
    });
    fetched.await.unwrap_or_else(|_| Err(CredentialFault::Unreachable(format!("not within {} s", DEADLINE.as_secs()))))
}

async fn discover(http: &HttpClient, client: &OauthClient, server: &Uri) -> Result<Endpoint, CredentialFault> {
    let identity = &client.identity;
    let told = |resource: Option<String>| {
        let resource = identity.resource.clone().or(resource);
        resource.unwrap_or_else(|| identity.fallback_resource.clone())
    };
    if let Some(url) = &identity.token_endpoint {
        let audience = identity.issuer.clone().unwrap_or_else(|| url.to_string());
        return Ok(Endpoint { url: url.clone(), audience, resource: told(None) });
    }
    let (issuer, resource) = match &identity.issuer {
        Some(issuer) => (issuer.clone(), None),
        None => {
            let (issuer, resource) = protected_resource(http, server).await?;
            (issuer, Some(resource))
        }
    };
    let at = protected_url(&issuer, "an issuer that is no `https` URL")?;
    let metadata: Option<ServerMetadata> = first(http, server_metadata_urls(&at)).await?;
    let metadata = metadata.ok_or(CredentialFault::Undiscovered("the issuer publishes no metadata"))?;
    Ok(Endpoint { url: metadata.checked(&issuer)?, audience: issuer, resource: told(resource) })
}

/// The issuer that the server names, and the resource that it is. It is asked without a token first: its challenge says
/// where its metadata is.
async fn protected_resource(http: &HttpClient, server: &Uri) -> Result<(String, String), CredentialFault> {
    let challenge = send(http, request(server, Verb::POST, check::headers(), check::question())).await?;
    let named = (challenge.status() == StatusCode::UNAUTHORIZED).then(|| challenged(challenge.headers())).flatten();
    let urls = named.map_or_else(|| resource_metadata_urls(server), |url| vec![url]);
    let metadata: Option<ResourceMetadata> = first(http, urls).await?;
    metadata.ok_or(CredentialFault::Undiscovered("the server names none"))?.checked(server)
}

/// The first document that is there.
async fn first<T: DeserializeOwned>(http: &HttpClient, urls: Vec<Uri>) -> Result<Option<T>, CredentialFault> {
    for url in urls {
        let headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
        let answer = send(http, request(&url, Verb::GET, headers, Bytes::new())).await?;
        if answer.status() == StatusCode::OK {
            let document = serde_json::from_slice(&collect(answer).await?);
            return document.map(Some).map_err(|_| CredentialFault::Invalid("no metadata"));
        }
        if answer.status().is_server_error() {
            return Err(CredentialFault::Unreachable(format!("status {}", answer.status())));
        }
    }
    Ok(None)
}

async fn ask(http: &HttpClient, client: &OauthClient, endpoint: &Endpoint) -> Result<Token, CredentialFault> {
    let identity = &client.identity;
    let mut headers = HeaderMap::from_iter([(ACCEPT, JSON), (CONTENT_TYPE, FORM)]);
    let mut form = vec![("grant_type", "client_credentials"), ("resource", &endpoint.resource)];
    if !identity.scope.is_empty() {
        form.push(("scope", &identity.scope));
    }
    let signed;
    match &client.proof {
        Proof::Basic(secret) => {
            headers.insert(AUTHORIZATION, basic(&identity.client_id, secret)?);
        }
        Proof::Post(secret) => {
            form.extend([("client_id", identity.client_id.as_str()), ("client_secret", secret.expose_secret())]);
        }
        Proof::PrivateKey(key, kid) => {
            let now = chrono::Utc::now().timestamp();
            signed = assertion::sign(key, kid.as_deref(), &identity.client_id, &endpoint.audience, now);
            let signed = signed.as_deref().ok_or(CredentialFault::Invalid("the private key cannot sign"))?;
            form.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", signed)]);
        }
    }
    let asked_at = Instant::now();
    let answer = send(http, request(&endpoint.url, Verb::POST, headers, encode(&form))).await?;
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CredentialFault::Unreachable(format!("status {status}")));
    }
    let body = collect(answer).await?;
    if status != StatusCode::OK {
        return Err(refused(status, &body));
    }
    granted(&body, asked_at)
}

/// `Basic` with both halves as a form has them (RFC 6749 section 2.3.1).
fn basic(client_id: &str, secret: &SecretString) -> Result<HeaderValue, CredentialFault> {
    let pair = format!("{}:{}", escape(client_id), escape(secret.expose_secret()));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| CredentialFault::Invalid("the client cannot be named"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn encode(form: &[(&str, &str)]) -> Bytes {
    let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&").into()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn granted(body: &[u8], asked_at: Instant) -> Result<Token, CredentialFault> {
    let granted: Granted = serde_json::from_slice(body).map_err(|_| CredentialFault::Invalid("no token"))?;
    if !granted.token_type.eq_ignore_ascii_case("bearer") {
        return Err(CredentialFault::Invalid("a token that is no bearer token"));
    }
    let life = granted.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let token = Token::new(granted.access_token.0.expose_secret(), life, asked_at);
    token.ok_or(CredentialFault::Invalid("a token that cannot stand in a header"))
}

/// The error's code, if it is one: the rest may quote what was sent.
fn refused(status: StatusCode, body: &[u8]) -> CredentialFault {
    let is_code = |code: &str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let code = serde_json::from_slice::<Refused>(body).ok().map(|refused| refused.error).filter(|code| is_code(code));
    CredentialFault::Refused(code.unwrap_or_else(|| format!("status {}", status.as_u16())))
}

type Answer = http::Response<hyper::body::Incoming>;

async fn send(
    http: &HttpClient,
    request: http::Request<http_body_util::Full<Bytes>>,
) -> Result<Answer, CredentialFault> {
    http.request(request).await.map_err(|error| CredentialFault::Unreachable(chain(&error)))
}

async fn collect(answer: Answer) -> Result<Bytes, CredentialFault> {
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| CredentialFault::Invalid("too long, or broken off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_basic_escape_what_they_must() {
        assert_eq!(
            encode(&[("scope", "a b"), ("resource", "http://h/mcp")]),
            "scope=a%20b&resource=http%3A%2F%2Fh%2Fmcp"
        );
        let value = basic("cli-ent:1", &SecretString::from("s%+ä".to_owned())).unwrap();
        let pair = STANDARD.decode(value.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"cli-ent%3A1:s%25%2B%C3%A4");
        assert!(value.is_sensitive());
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let now = Instant::now();
        assert!(granted(br#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#, now).is_ok());
        assert!(granted(br#"{"access_token":"a","token_type":"bearer"}"#, now).is_ok());
        for wrong in [
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"a\nb","token_type":"bearer"}"#,
            "token",
        ] {
            assert!(granted(wrong.as_bytes(), now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_a_refusal_only_its_code_is_kept() {
        let said = |body: &str| refused(StatusCode::BAD_REQUEST, body.as_bytes()).to_string();
        let known = said(r#"{"error":"invalid_client","error_description":"no hunter2 here"}"#);
        assert!(known.contains("invalid_client") && !known.contains("hunter2"), "{known}");
        let prose = said(r#"{"error":"the secret hunter2 is wrong"}"#);
        assert!(prose.ends_with("status 400"), "{prose}");
    }
}
