//! What a credential means: which secrets it needs, which of them are new, and everything that is wrong with it.
//!
//! Invariant: a stored secret stays only where it goes to no other place than it was given for; else it has to be given
//! again, so that who may change a server but does not know its secret cannot send it to themselves.

use std::{collections::BTreeSet, fmt};

use http::{HeaderName, HeaderValue};
use tollgate_proto::header::{may_be_passed, may_be_presented};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    ClientAuthMethod, HeaderCredential, OauthClientCredentials, POINTER, SecretRef, ServerCredential, header_secret,
    private_key,
};
use crate::{error::Faults, servers::ServerSpec};

const HEADERS_MAX: usize = 16;
const VALUE_LEN_MAX: usize = 4_096;
const SECRET_LEN_MAX: usize = 1_024;
const TEXT_LEN_MAX: usize = 255;
const URL_LEN_MAX: usize = 2_000;
const SCOPES_MAX: usize = 32;

/// Every secret that a credential has, by the name that it is stored under, and what becomes of it. What is stored
/// beside them goes.
pub(in crate::servers) type Meaning = Vec<(String, SecretChange)>;

/// What becomes of a stored secret.
pub(in crate::servers) enum SecretChange {
    Keep,
    Set(Zeroizing<Vec<u8>>),
    Sealed(Vec<u8>),
}

impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Set(_) | Self::Sealed(_) => "Set(…)",
        })
    }
}

/// What the credential of `spec` means where it takes the place of `current`.
pub(in crate::servers) fn interpret(spec: &ServerSpec, current: Option<&ServerSpec>, faults: &mut Faults) -> Meaning {
    let kept = current.filter(|current| goes_nowhere_else(spec, current)).map(stored_names).unwrap_or_default();
    let mut reading = Reading { kept, faults, meaning: Vec::new() };
    match &spec.credential {
        None | Some(ServerCredential::None(_)) => {}
        Some(ServerCredential::Header(credential)) => reading.headers(credential),
        Some(ServerCredential::OauthClientCredentials(credential)) => reading.client(credential),
    }
    reading.meaning
}

/// Notes what is wrong with the list of headers that are passed on.
pub(in crate::servers) fn passed_headers(spec: &ServerSpec, faults: &mut Faults) {
    const POINTER: &str = "/spec/passed_headers";
    let names = spec.passed_headers.as_deref().unwrap_or_default();
    if names.len() > HEADERS_MAX {
        faults.add(POINTER, "too_many", format!("at most {HEADERS_MAX} headers"));
    }
    let mut taken = match &spec.credential {
        Some(ServerCredential::Header(credential)) => credential.names().map(str::to_ascii_lowercase).collect(),
        Some(ServerCredential::OauthClientCredentials(_)) | Some(ServerCredential::None(_)) | None => BTreeSet::new(),
    };
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("{POINTER}/{index}");
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => faults.add(pointer, "header", "no name of a header"),
            Ok(name) if !may_be_passed(name.as_str()) => {
                faults.add(pointer, "header_reserved", format!("`{name}` of an agent is never passed on"));
            }
            Ok(name) if !taken.insert(name.to_string()) => {
                faults.add(pointer, "duplicate", format!("`{name}` is there already, here or in the credential"));
            }
            Ok(_) => {}
        }
    }
}

/// A credential while it is read.
struct Reading<'a> {
    /// The names of the stored secrets that may stay.
    kept: BTreeSet<String>,
    faults: &'a mut Faults,
    meaning: Meaning,
}

impl Reading<'_> {
    fn headers(&mut self, credential: &HeaderCredential) {
        let all = credential.all();
        let is_both = credential.headers.is_some() && (credential.name.is_some() || credential.value_ref.is_some());
        if all.is_empty() || is_both {
            let detail = "write one header as `name` and `value_ref`, or several as `headers`";
            self.faults.add(POINTER, "shape", detail);
        }
        if all.len() > HEADERS_MAX {
            self.faults.add(format!("{POINTER}/headers"), "too_many", format!("at most {HEADERS_MAX} headers"));
        }
        let mut seen = BTreeSet::new();
        for (pointer, name, value) in all {
            let at = format!("{pointer}/name");
            match HeaderName::from_bytes(name.as_bytes()) {
                Err(_) => self.faults.add(at, "header", "no name of a header"),
                Ok(name) if !may_be_presented(name.as_str()) => {
                    self.faults.add(at, "header_reserved", format!("`{name}` is Tollgate's alone to set"));
                }
                Ok(name) if !seen.insert(name.to_string()) => {
                    self.faults.add(at, "duplicate", format!("`{name}` is there already"));
                }
                Ok(name) => self.secret(&format!("{pointer}/value_ref"), header_secret(name.as_str()), value, |text| {
                    let fits = (1..=VALUE_LEN_MAX).contains(&text.len()) && HeaderValue::from_str(text).is_ok();
                    let value = fits.then(|| Zeroizing::new(text.as_bytes().to_vec()));
                    value.ok_or_else(|| format!("a header's value has 1 to {VALUE_LEN_MAX} printable ASCII characters"))
                }),
            }
        }
    }

    fn client(&mut self, credential: &OauthClientCredentials) {
        self.client_texts(credential);
        let is_key = credential.effective_auth_method() == ClientAuthMethod::PrivateKeyJwt;
        let pointer = format!("{POINTER}/secret_ref");
        self.secret(&pointer, credential.secret_name().to_owned(), credential.secret_ref.as_ref(), |text| {
            if is_key {
                let detail = "a P-256 private key: PEM (PKCS #8 or SEC 1), or a JWK whose halves fit";
                return private_key::read(text).ok_or_else(|| detail.to_owned());
            }
            let fits = (1..=SECRET_LEN_MAX).contains(&text.len()) && is_printable(text);
            let value = fits.then(|| Zeroizing::new(text.as_bytes().to_vec()));
            value.ok_or_else(|| format!("a client secret has 1 to {SECRET_LEN_MAX} printable ASCII characters"))
        });
    }

    fn client_texts(&mut self, credential: &OauthClientCredentials) {
        let faults = &mut *self.faults;
        for (member, url, may_have_query) in
            [("issuer", &credential.issuer, false), ("token_endpoint", &credential.token_endpoint, true)]
        {
            if url.as_ref().is_some_and(|url| !is_protected(url, may_have_query)) {
                let detail = "an `https` URL without fragment (or `http` to this very machine); an issuer has no query";
                faults.add(format!("{POINTER}/{member}"), "url", detail);
            }
        }
        if credential.resource.as_ref().is_some_and(|url| !is_resource(url)) {
            faults.add(format!("{POINTER}/resource"), "url", "an absolute URI without fragment (RFC 8707 section 2)");
        }
        let key_id = credential.key_id.as_deref();
        for (member, text) in [("client_id", Some(credential.client_id.as_str())), ("key_id", key_id)] {
            let fits = |text: &str| (1..=TEXT_LEN_MAX).contains(&text.len()) && is_printable(text);
            if text.is_some_and(|text| !fits(text)) {
                let detail = format!("1 to {TEXT_LEN_MAX} printable ASCII characters");
                faults.add(format!("{POINTER}/{member}"), "text", detail);
            }
        }
        if key_id.is_some() && credential.effective_auth_method() != ClientAuthMethod::PrivateKeyJwt {
            faults.add(format!("{POINTER}/key_id"), "shape", "only a private key has an id");
        }
        let scopes = credential.scopes.as_deref().unwrap_or_default();
        if scopes.len() > SCOPES_MAX {
            faults.add(format!("{POINTER}/scopes"), "too_many", format!("at most {SCOPES_MAX} scopes"));
        }
        for (index, scope) in scopes.iter().enumerate() {
            // RFC 6749 section 3.3.
            let token = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.is_empty() || scope.len() > TEXT_LEN_MAX || !scope.bytes().all(token) {
                let detail = "a scope has no spaces, quotes or backslashes";
                faults.add(format!("{POINTER}/scopes/{index}"), "scope", detail);
            }
        }
    }

    /// One secret: what is given is read by `read`; what is left out stays where it may.
    fn secret(
        &mut self,
        pointer: &str,
        name: String,
        given: Option<&SecretRef>,
        read: impl Fn(&str) -> Result<Zeroizing<Vec<u8>>, String>,
    ) {
        match given.map(SecretRef::value) {
            None if self.kept.contains(&name) => self.meaning.push((name, SecretChange::Keep)),
            None => {
                let detail = "give the secret: none is stored, or the stored one was given for another place";
                self.faults.add(pointer, "secret_required", detail);
            }
            Some(Err(detail)) => self.faults.add(pointer, "secret_ref", detail),
            Some(Ok(text)) => match read(&text) {
                Ok(value) => self.meaning.push((name, SecretChange::Set(value))),
                Err(detail) => self.faults.add(pointer, "secret", detail),
            },
        }
    }
}

/// The names of the secrets that are stored for a server of this spec.
fn stored_names(spec: &ServerSpec) -> BTreeSet<String> {
    match &spec.credential {
        None | Some(ServerCredential::None(_)) => BTreeSet::new(),
        Some(ServerCredential::Header(credential)) => credential.names().map(header_secret).collect(),
        Some(ServerCredential::OauthClientCredentials(credential)) => [credential.secret_name().to_owned()].into(),
    }
}

/// Whether the secrets of `current` would go to no other place by `spec`.
fn goes_nowhere_else(spec: &ServerSpec, current: &ServerSpec) -> bool {
    match (&spec.credential, &current.credential) {
        (Some(ServerCredential::Header(_)), Some(ServerCredential::Header(_))) => {
            origins(spec).is_subset(&origins(current))
        }
        (Some(ServerCredential::OauthClientCredentials(new)), Some(ServerCredential::OauthClientCredentials(old))) => {
            let is_named = new.issuer.is_some() || new.token_endpoint.is_some();
            (&new.issuer, &new.token_endpoint) == (&old.issuer, &old.token_endpoint)
                && (is_named || origins(spec).is_subset(&origins(current)))
        }
        _ => false,
    }
}

fn origins(spec: &ServerSpec) -> BTreeSet<String> {
    let urls = spec.instances.iter().filter_map(|instance| Url::parse(&instance.url).ok());
    urls.map(|url| url.origin().ascii_serialization()).collect()
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Whether a secret may be sent there: by `https`, or by `http` to this very machine, for trying things out.
fn is_protected(text: &str, may_have_query: bool) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    text.len() <= URL_LEN_MAX
        && is_printable(text)
        && (url.scheme() == "https" || (url.scheme() == "http" && here))
        && (may_have_query || url.query().is_none())
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

fn is_resource(text: &str) -> bool {
    text.len() <= URL_LEN_MAX && is_printable(text) && Url::parse(text).is_ok_and(|url| url.fragment().is_none())
}
