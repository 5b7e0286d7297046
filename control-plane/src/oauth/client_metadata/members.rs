//! The members of a metadata object, each read with its type.
//!
//! Invariant: no text that comes out holds U+0000, which Postgres cannot store, or is longer than [`TEXT_BYTES_MAX`].

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tollgate_proto::Scope;
use url::Url;

use super::{Keys, MetadataFault};
use crate::{agents::SigningAlg, oauth::client_keys::KeySet};

const TEXT_BYTES_MAX: usize = 2_048;
const WEB_PAGES: [&str; 4] = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];
const SOFTWARE: [&str; 2] = ["software_id", "software_version"];

/// A JSON object whose members are asked for by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(super) fn of(document: &'a Value) -> Result<Self, MetadataFault> {
        document.as_object().map(Self).ok_or(MetadataFault::Whole("the metadata must be a JSON object"))
    }

    fn get(&self, member: &str) -> Option<&'a Value> {
        self.0.get(member).filter(|value| !value.is_null())
    }

    pub(super) fn has_any(&self, members: &[&str]) -> bool {
        members.iter().any(|member| self.0.contains_key(*member))
    }

    pub(super) fn text(&self, member: &'static str) -> Result<Option<&'a str>, MetadataFault> {
        self.get(member).map(|value| storable(value, member)).transpose()
    }

    /// A list of texts; empty when absent.
    pub(super) fn texts(&self, member: &'static str, count_max: usize) -> Result<Vec<String>, MetadataFault> {
        Ok(self.optional_texts(member, count_max)?.unwrap_or_default())
    }

    pub(super) fn optional_texts(
        &self,
        member: &'static str,
        count_max: usize,
    ) -> Result<Option<Vec<String>>, MetadataFault> {
        let Some(value) = self.get(member) else { return Ok(None) };
        let items = value.as_array().ok_or(MetadataFault::Member { member, fault: "is no array" })?;
        if items.len() > count_max {
            return Err(MetadataFault::Member { member, fault: "has too many items" });
        }
        items.iter().map(|item| storable(item, member).map(str::to_owned)).collect::<Result<_, _>>().map(Some)
    }

    /// `jwks` or `jwks_uri`, never both.
    pub(super) fn keys(&self) -> Result<Option<Keys>, MetadataFault> {
        match (self.get("jwks"), self.page("jwks_uri")?) {
            (Some(_), Some(_)) => Err(MetadataFault::Whole("give one of `jwks` and `jwks_uri`, not both")),
            (Some(jwks), None) => {
                KeySet::parse(jwks)?;
                if holds_nul(jwks) {
                    return Err(MetadataFault::Member { member: "jwks", fault: "holds U+0000" });
                }
                Ok(Some(Keys::Inline(jwks.clone())))
            }
            (None, Some(url)) => Ok(Some(Keys::At(url.to_owned()))),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn signing_alg(&self) -> Result<Option<SigningAlg>, MetadataFault> {
        const MEMBER: &str = "token_endpoint_auth_signing_alg";
        let fault = MetadataFault::Member { member: MEMBER, fault: "is none of `ES256`, `RS256`, `PS256`, `EdDSA`" };
        self.get(MEMBER).map(|alg| SigningAlg::deserialize(alg).map_err(|_| fault)).transpose()
    }

    /// The tokens of `scope` that are scopes here, in a stable order. Others, as `openid` and `offline_access`, mean
    /// nothing here and are left out.
    pub(super) fn scope(&self) -> Result<Option<String>, MetadataFault> {
        const MEMBER: &str = "scope";
        let Some(text) = self.text(MEMBER)? else { return Ok(None) };
        // RFC 6749 section 3.3.
        let legal = |byte: u8| matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~');
        if !text.bytes().all(legal) {
            return Err(MetadataFault::Member { member: MEMBER, fault: "holds a character that no scope has" });
        }
        let mut scopes: Vec<&str> = text.split(' ').filter(|token| token.parse::<Scope>().is_ok()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Ok((!scopes.is_empty()).then(|| scopes.join(" ")))
    }

    /// What the client says for people, and about its software.
    pub(super) fn about(&self) -> Result<Vec<(&'static str, String)>, MetadataFault> {
        let mut about = Vec::new();
        for member in WEB_PAGES {
            about.extend(self.page(member)?.map(|url| (member, url.to_owned())));
        }
        for member in SOFTWARE {
            about.extend(self.text(member)?.map(|text| (member, text.to_owned())));
        }
        Ok(about)
    }

    /// RFC 7591 section 2.3. Nobody's statements are trusted, so that one is only looked at from outside.
    pub(super) fn software_statement(&self) -> Result<(), MetadataFault> {
        let Some(statement) = self.0.get("software_statement").filter(|value| !value.is_null()) else { return Ok(()) };
        let is_json = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            serde_json::from_slice::<Map<String, Value>>(&bytes).is_ok()
        };
        let parts: Vec<&str> = statement.as_str().unwrap_or_default().split('.').collect();
        match parts.as_slice() {
            [header, claims, signature] if is_json(header) && is_json(claims) && !signature.is_empty() => Ok(()),
            _ => Err(MetadataFault::SoftwareStatement),
        }
    }

    /// An `https` URL.
    fn page(&self, member: &'static str) -> Result<Option<&'a str>, MetadataFault> {
        let Some(text) = self.text(member)? else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| {
            url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
        });
        url.map(|_| Some(text)).ok_or(MetadataFault::Member { member, fault: "is no `https` URL" })
    }
}

fn storable<'a>(value: &'a Value, member: &'static str) -> Result<&'a str, MetadataFault> {
    let text = value.as_str().ok_or(MetadataFault::Member { member, fault: "is no text, or holds what is none" })?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(MetadataFault::Member { member, fault: "is too long" });
    }
    if text.contains('\0') {
        return Err(MetadataFault::Member { member, fault: "holds U+0000" });
    }
    Ok(text)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
