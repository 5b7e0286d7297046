//! How a server is approached: what Tollgate presents to it, and which headers of agents reach it.
//!
//! Invariant: secrets in here do not print, and no header in here is one that only Tollgate may set.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret as _, SecretString};
use tollgate_proto::{
    ServerId,
    header::{may_be_passed, may_be_presented},
    policy::v1 as wire,
};

use crate::{mcp::header, policy::Via};

/// How a server is approached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What is presented to it.
    pub credential: Credential,
    /// Headers of an agent's request that are passed on.
    pub passed_headers: Vec<HeaderName>,
    /// Who asks it.
    pub via: Via,
}

/// What is presented to a server.
#[derive(Debug, Clone, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// These headers; their values are marked as sensitive, so that they do not print.
    Headers(HeaderMap),
    /// A token that this client gets.
    Oauth(Arc<OauthClient>),
}

/// A client at the authorization server of a server.
#[derive(Debug)]
pub struct OauthClient {
    /// The server.
    pub server: ServerId,
    /// Which tokens it gets: those of another identity are of no use.
    pub identity: Identity,
    /// How it proves who it is.
    pub proof: Proof,
    /// SHA-256 of its secret, to tell a new one.
    pub secret_digest: [u8; 32],
}

/// What tokens depend on, the secret aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The authorization server; `None`: the server's metadata names it.
    pub issuer: Option<String>,
    /// Its token endpoint; `None`: its metadata names it.
    pub token_endpoint: Option<Uri>,
    /// The client there.
    pub client_id: String,
    /// Divided by spaces.
    pub scope: String,
    /// What tokens are for; `None`: what the server's metadata says, else `fallback_resource`.
    pub resource: Option<String>,
    /// The URL of the server's first instance.
    pub fallback_resource: String,
}

/// How a client proves who it is.
pub enum Proof {
    /// The secret in the `Authorization` header.
    Basic(SecretString),
    /// The secret in the body.
    Post(SecretString),
    /// An assertion signed by ES256, with the `kid` to name.
    PrivateKey(EncodingKey, Option<String>),
}

/// Why a credential cannot be presented. Names no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A header that is none, or that only Tollgate may set.
    #[error("header `{0}` cannot be sent to a server")]
    Header(String),
    /// The OAuth client lacks something.
    #[error("the OAuth client lacks a usable {0}")]
    Client(&'static str),
}

impl Access {
    /// From a policy. `first_instance`: URL of the server's first instance.
    pub(super) fn read(
        server: ServerId,
        first_instance: &str,
        credential: Option<wire::server::Credential>,
        passed: &[String],
        via: &Via,
    ) -> Result<Self, AccessError> {
        let credential = match credential {
            None => Credential::None,
            Some(wire::server::Credential::StaticHeaders(sent)) => Credential::Headers(headers(sent)?),
            Some(wire::server::Credential::OauthClientCredentials(sent)) => {
                Credential::Oauth(Arc::new(client(server, first_instance, sent)?))
            }
        };
        let passed = passed.iter().map(|name| header_name(name, may_be_passed));
        Ok(Self { credential, passed_headers: passed.collect::<Result<_, _>>()?, via: via.clone() })
    }

    /// Adds those headers of an agent that are passed on, where nothing of that name is there yet; whom the request has been
    /// through is always said.
    pub fn pass(&self, of_agent: &HeaderMap, headers: &mut HeaderMap) {
        for name in self.passed_headers.iter().chain([&header::CDN_LOOP]) {
            if !headers.contains_key(name) {
                for value in of_agent.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic(_) => "Basic(…)",
            Self::Post(_) => "Post(…)",
            Self::PrivateKey(..) => "PrivateKey(…)",
        })
    }
}

fn headers(sent: wire::StaticHeaders) -> Result<HeaderMap, AccessError> {
    let mut headers = HeaderMap::new();
    for header in sent.headers {
        let name = header_name(&header.name, may_be_presented)?;
        let mut value = HeaderValue::try_from(header.value).map_err(|_| AccessError::Header(header.name))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn header_name(text: &str, is_allowed: fn(&str) -> bool) -> Result<HeaderName, AccessError> {
    let name = HeaderName::try_from(text).ok().filter(|name| is_allowed(name.as_str()));
    name.ok_or_else(|| AccessError::Header(text.to_owned()))
}

fn client(
    server: ServerId,
    first_instance: &str,
    sent: wire::OauthClientCredentials,
) -> Result<OauthClient, AccessError> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let secret_digest = digest(&SHA256, &sent.secret).as_ref().try_into().expect("SHA-256 has 32 bytes");
    let endpoint = some(sent.token_endpoint).map(|url| url.parse::<Uri>());
    Ok(OauthClient {
        server,
        proof: proof(sent.authentication, sent.secret, some(sent.key_id))?,
        secret_digest,
        identity: Identity {
            issuer: some(sent.issuer),
            token_endpoint: endpoint.transpose().map_err(|_| AccessError::Client("token endpoint"))?,
            client_id: some(sent.client_id).ok_or(AccessError::Client("client id"))?,
            scope: sent.scopes.join(" "),
            resource: some(sent.resource),
            fallback_resource: first_instance.to_owned(),
        },
    })
}

fn proof(authentication: i32, secret: Vec<u8>, kid: Option<String>) -> Result<Proof, AccessError> {
    let text = |secret| String::from_utf8(secret).map(SecretString::from).map_err(|_| AccessError::Client("secret"));
    match wire::ClientAuthentication::try_from(authentication) {
        Ok(wire::ClientAuthentication::ClientSecretBasic) => text(secret).map(Proof::Basic),
        Ok(wire::ClientAuthentication::ClientSecretPost) => text(secret).map(Proof::Post),
        Ok(wire::ClientAuthentication::PrivateKeyJwt) => Ok(Proof::PrivateKey(EncodingKey::from_ec_der(&secret), kid)),
        Ok(wire::ClientAuthentication::Unspecified) | Err(_) => Err(AccessError::Client("authentication method")),
    }
    .and_then(|proof| match &proof {
        Proof::Basic(secret) | Proof::Post(secret) if secret.expose_secret().is_empty() => {
            Err(AccessError::Client("secret"))
        }
        _ => Ok(proof),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn static_header(name: &str) -> Result<Access, AccessError> {
        let header = wire::StaticHeader { name: name.to_owned(), value: "hunter2".to_owned() };
        let sent = wire::server::Credential::StaticHeaders(wire::StaticHeaders { headers: vec![header] });
        Access::read(ServerId::new(), "http://a/mcp", Some(sent), &[], &Via::default())
    }

    fn oauth(authentication: wire::ClientAuthentication) -> Result<Access, AccessError> {
        let sent = wire::OauthClientCredentials {
            client_id: "tollgate".to_owned(),
            authentication: authentication.into(),
            secret: b"hunter2".to_vec(),
            ..wire::OauthClientCredentials::default()
        };
        let sent = wire::server::Credential::OauthClientCredentials(sent);
        Access::read(ServerId::new(), "http://a/mcp", Some(sent), &[], &Via::default())
    }

    #[test]
    fn no_secret_prints() {
        let mut shown = vec![format!("{:?}", static_header("authorization").unwrap())];
        for authentication in [
            wire::ClientAuthentication::ClientSecretBasic,
            wire::ClientAuthentication::ClientSecretPost,
            wire::ClientAuthentication::PrivateKeyJwt,
        ] {
            shown.push(format!("{:?}", oauth(authentication).unwrap()));
        }
        let wire = wire::Server {
            credential: Some(wire::server::Credential::StaticHeaders(wire::StaticHeaders {
                headers: vec![wire::StaticHeader { name: "x-api-key".to_owned(), value: "hunter2".to_owned() }],
            })),
            ..wire::Server::default()
        };
        let client = wire::OauthClientCredentials { secret: b"hunter2".to_vec(), ..Default::default() };
        shown.extend([format!("{wire:?}"), format!("{client:?}")]);
        let bytes = format!("{:?}", b"hunter2");
        for text in shown {
            assert!(!text.contains("hunter2") && !text.contains(&bytes[1..bytes.len() - 1]), "{text}");
        }
    }

    #[test]
    fn a_policy_cannot_choose_what_only_tollgate_sets() {
        for name in ["host", "content-type", "mcp-session-id", "traceparent", "cookie", "a b"] {
            assert!(static_header(name).is_err(), "{name}");
            assert!(
                Access::read(ServerId::new(), "http://a/", None, &[name.to_owned()], &Via::default()).is_err(),
                "{name}"
            );
        }
        assert!(
            Access::read(ServerId::new(), "http://a/", None, &["authorization".to_owned()], &Via::default()).is_err()
        );
        assert!(oauth(wire::ClientAuthentication::Unspecified).is_err());
    }

    #[test]
    fn only_listed_headers_are_passed_and_none_is_replaced() {
        let access = Access::read(
            ServerId::new(),
            "http://a/",
            None,
            &["x-one".to_owned(), "x-two".to_owned()],
            &Via::default(),
        )
        .unwrap();
        let of_agent = HeaderMap::from_iter(
            ["x-one", "x-two", "x-three", "authorization"]
                .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("agent"))),
        );
        let mut headers = HeaderMap::new();
        headers.insert("x-two", HeaderValue::from_static("ours"));
        access.pass(&of_agent, &mut headers);
        assert_eq!(
            (headers.len(), &headers["x-one"], &headers["x-two"]),
            (2, &"agent".parse().unwrap(), &"ours".parse().unwrap())
        );
    }
}
