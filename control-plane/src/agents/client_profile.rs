//! What an agent's spec says about it as an OAuth client: where its users come back to, how it proves who it is, and
//! with which keys.
//!
//! Invariant: an agent that acts for itself can prove who it is, and a profile holds public keys only.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{AgentSpec, AgentType, AuthMethod, SigningAlg};
use crate::{
    error::Faults,
    oauth::{
        client_keys::KeySet,
        redirect_uri::{PrivateUseSchemes, RedirectUri, Registration},
    },
};

const REDIRECT_URIS_MAX: usize = 10;
const URL_LEN_MAX: usize = 2_000;

/// A spec's client, checked.
#[derive(Debug)]
pub(super) struct ClientProfile {
    pub(super) agent_type: AgentType,
    pub(super) display_name: String,
    pub(super) auth_method: AuthMethod,
    pub(super) redirect_uris: Vec<String>,
    /// RFC 7591 section 2.
    pub(super) grant_types: Vec<String>,
    pub(super) jwks: Option<Value>,
    pub(super) jwks_uri: Option<String>,
    pub(super) signing_alg: Option<SigningAlg>,
}

/// What a user who consents relies on, in one order.
#[derive(Serialize)]
struct Identity<'a> {
    auth_method: AuthMethod,
    display_name: &'a str,
    jwks: Option<&'a Value>,
    jwks_uri: Option<&'a str>,
    redirect_uris: Vec<&'a str>,
    signing_alg: Option<SigningAlg>,
}

impl ClientProfile {
    /// Reads a spec; what is wrong goes to `faults`, and the profile is good only when nothing was.
    pub(super) fn read(spec: &AgentSpec, private_use_schemes: &PrivateUseSchemes, faults: &mut Faults) -> Self {
        let display_name = spec.display_name.clone().unwrap_or_default();
        faults.check_text("/spec/display_name", &display_name);
        check_redirect_uris(spec, private_use_schemes, faults);
        check_authentication(spec, faults);
        check_keys(spec, faults);
        let grant_types: &[&str] = match spec.r#type {
            AgentType::Autonomous => &["client_credentials"],
            AgentType::Interactive => &["authorization_code", "refresh_token"],
        };
        Self {
            agent_type: spec.r#type,
            display_name,
            auth_method: spec.auth_method(),
            redirect_uris: spec.redirect_uris.clone().unwrap_or_default(),
            grant_types: grant_types.iter().map(|&name| name.to_owned()).collect(),
            jwks: spec.jwks.clone(),
            jwks_uri: spec.jwks_uri.clone(),
            signing_alg: spec.signing_alg,
        }
    }

    /// SHA-256 of what a user who consents relies on: another one asks for consent again.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut redirect_uris: Vec<&str> = self.redirect_uris.iter().map(String::as_str).collect();
        redirect_uris.sort_unstable();
        let identity = Identity {
            auth_method: self.auth_method,
            display_name: &self.display_name,
            jwks: self.jwks.as_ref(),
            jwks_uri: self.jwks_uri.as_deref(),
            redirect_uris,
            signing_alg: self.signing_alg,
        };
        let json = serde_json::to_vec(&identity).expect("texts and JSON always serialise");
        digest(&SHA256, &json).as_ref().to_vec()
    }
}

fn check_redirect_uris(spec: &AgentSpec, private_use_schemes: &PrivateUseSchemes, faults: &mut Faults) {
    const POINTER: &str = "/spec/redirect_uris";
    let uris = spec.redirect_uris.as_deref().unwrap_or_default();
    match spec.r#type {
        AgentType::Autonomous if !uris.is_empty() => {
            faults.add(POINTER, "redirect_uris", "an agent that acts for itself sends no user anywhere");
        }
        AgentType::Interactive if uris.is_empty() => {
            faults.add(POINTER, "required", "say where the users of the agent come back to");
        }
        _ if uris.len() > REDIRECT_URIS_MAX => {
            faults.add(POINTER, "too_many", format!("at most {REDIRECT_URIS_MAX} redirect URIs"));
        }
        _ => {}
    }
    let public = spec.auth_method() == AuthMethod::None;
    let registration = Registration { application_type: None, public, private_use_schemes };
    for (index, uri) in uris.iter().enumerate().take(REDIRECT_URIS_MAX) {
        if let Err(fault) = RedirectUri::parse(uri, &registration) {
            faults.add(format!("{POINTER}/{index}"), "redirect_uri", fault.to_string());
        }
    }
}

fn check_authentication(spec: &AgentSpec, faults: &mut Faults) {
    if spec.r#type == AgentType::Autonomous && spec.auth_method() == AuthMethod::None {
        let why = "an agent that acts for itself has to prove who it is";
        faults.add("/spec/auth_method", "auth_method", why);
    }
    if spec.signing_alg.is_some() && spec.auth_method() != AuthMethod::PrivateKeyJwt {
        faults.add("/spec/signing_alg", "auth_method", "only `private_key_jwt` signs anything");
    }
    if spec.introspects() && spec.auth_method() == AuthMethod::None {
        faults.add("/spec/introspect", "auth_method", "only an agent that proves who it is may introspect");
    }
}

fn check_keys(spec: &AgentSpec, faults: &mut Faults) {
    let signs = spec.auth_method() == AuthMethod::PrivateKeyJwt;
    match (&spec.jwks, &spec.jwks_uri) {
        (Some(_), Some(_)) => faults.add("/spec/jwks_uri", "keys", "give `jwks` or `jwks_uri`, not both"),
        (None, None) if signs => {
            faults.add("/spec/jwks", "required", "`private_key_jwt` needs the agent's public keys, or `jwks_uri`");
        }
        (Some(_), None) if !signs => faults.add("/spec/jwks", "keys", "keys are for `private_key_jwt`"),
        (None, Some(_)) if !signs => faults.add("/spec/jwks_uri", "keys", "keys are for `private_key_jwt`"),
        (Some(set), None) => {
            if let Err(fault) = KeySet::parse(set) {
                faults.add("/spec/jwks", "keys", fault.to_string());
            }
        }
        (None, Some(url)) if !may_hold_keys(url) => {
            faults.add("/spec/jwks_uri", "url", "an `https` URL without user information and fragment");
        }
        (None, _) => {}
    }
}

/// `http` is for this very machine, where people try things out.
fn may_hold_keys(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && here);
    scheme
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && text.len() <= URL_LEN_MAX
}
