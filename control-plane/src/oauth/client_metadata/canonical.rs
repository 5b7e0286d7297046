//! Metadata as JSON: as it is echoed and stored, and in the one form that a digest is taken of.
//!
//! Invariant: two clients that differ only in the order of what they list, or in the port of a loopback address, have
//! the same digest.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ApplicationType, ClientMetadata, Keys};
use crate::{oauth::redirect_uri::RedirectUri, secret::Digest};

impl ClientMetadata {
    /// Every registered member, defaults filled in (RFC 7591 section 3.2.1).
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        self.members(
            json!(self.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>()),
            json!(self.contacts),
        )
        .into_iter()
        .map(|(member, value)| (member.to_owned(), value))
        .collect()
    }

    /// What makes this client itself: SHA-256 of the canonical form.
    ///
    /// # Panics
    /// Never: JSON values can always be written.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let portless = self.redirect_uris.iter().map(RedirectUri::portless).collect();
        let mut members = self.members(json!(sorted(portless)), json!(sorted(self.contacts.clone())));
        if let Some(keys) = members.get_mut("jwks").and_then(|jwks| jwks["keys"].as_array_mut()) {
            keys.sort_by_cached_key(canonical);
        }
        Digest::of(&canonical(&json!(members)))
    }

    fn members(&self, redirect_uris: Value, contacts: Value) -> BTreeMap<&'static str, Value> {
        let mut members = BTreeMap::from([
            ("redirect_uris", redirect_uris),
            ("grant_types", json!(self.grant_types)),
            ("response_types", json!(self.response_types())),
            ("token_endpoint_auth_method", json!(self.auth_method)),
            ("application_type", json!(application_type(self.application_type))),
        ]);
        members.extend(self.client_name.as_ref().map(|name| ("client_name", json!(name))));
        members.extend(self.scope.as_ref().map(|scope| ("scope", json!(scope))));
        members.extend(self.signing_alg.map(|alg| ("token_endpoint_auth_signing_alg", json!(alg))));
        members.extend(self.about.iter().map(|(member, text)| (*member, json!(text))));
        if !self.contacts.is_empty() {
            members.insert("contacts", contacts);
        }
        match &self.keys {
            Some(Keys::Inline(jwks)) => drop(members.insert("jwks", jwks.clone())),
            Some(Keys::At(url)) => drop(members.insert("jwks_uri", json!(url))),
            None => {}
        }
        members
    }
}

const fn application_type(given: ApplicationType) -> &'static str {
    match given {
        ApplicationType::Native => "native",
        ApplicationType::Web => "web",
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// JSON with the members of every object in the order of their names (as RFC 8785 has them, for the values that occur
/// here), whatever order the map type keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<&String, &Value> = members.iter().collect();
            let members: Vec<String> =
                ordered.into_iter().map(|(name, value)| format!("{}:{}", json!(name), canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}
