//! How agents may register themselves at a tenant, and what becomes of those that do.
//!
//! [`ClientRegistration`] is what the tenant's spec says, [`RegistrationPolicy`] what it means: the latter is what the
//! authorization server reads. Both ways in (RFC 7591 and Client ID Metadata Documents) obey the same policy.
//!
//! Invariant: a tenant that says nothing has `RegistrationPolicy::default()`, which the column's `{}` reads as too.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_proto::Name;
use utoipa::ToSchema;

use crate::oauth::redirect_uri;

mod interpret;
mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Newcomer, Rule, RuleMatch};

const CLIENTS_MAX_DEFAULT: u32 = 1_000;
const UNCONFIRMED_TTL_DEFAULT: &str = "24h";
const UNCONFIRMED_TTL_DEFAULT_S: u32 = 86_400;
const TEAM_DEFAULT: &str = "default";

/// How agents may register themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRegistration {
    /// Dynamic registration (RFC 7591); `open` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<DynamicRegistration>,
    /// Agents whose `client_id` is the URL of a metadata document; `on` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_documents: Option<Switch>,
    /// Which hosts such documents may be at; all that are allowed and not denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_hosts: Option<DocumentHosts>,
    /// Hosts whose documents' clients may act for themselves (`client_credentials`), if they ask for it and sign with
    /// keys of their own. A host here is itself and everything below it; none unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64, example = json!(["agents.partner.example"]))]
    pub client_credentials_hosts: Option<Vec<String>>,
    /// Documents that are never fetched, because they are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32)]
    pub pinned_documents: Option<Vec<PinnedDocument>>,
    /// Redirect URIs such as `cursor://…` (RFC 8252 section 7.1): `allow`, `deny`, or the schemes that are taken,
    /// in lower case; `allow` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_use_schemes: Option<PrivateUseSchemes>,
    /// The team of agents that no rule puts elsewhere; `default` unless told, and made when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub default_team: Option<Name>,
    /// How many agents may have registered themselves at a time, from 1 to 100000; 1000 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub clients_max: Option<u32>,
    /// How long an agent that nobody allows anything is kept, from `1h` to `30d`; `24h` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "24h")]
    pub unconfirmed_ttl: Option<String>,
    /// What agents get at registration. The first rule that matches counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32)]
    pub rules: Option<Vec<Rule>>,
}

/// Who may register by RFC 7591.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DynamicRegistration {
    /// Everyone.
    #[default]
    Open,
    /// Who shows an initial access token.
    InitialAccessToken,
    /// Everyone, but an operator approves each agent before it may do anything; those with a metadata document too.
    Approval,
    /// Nobody.
    Off,
}

/// A thing that is on or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is on.
    #[default]
    On,
    /// It is off.
    Off,
}

/// Hosts by suffix: `example.com` means itself and every host below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentHosts {
    /// The only ones, when there are any here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64, example = json!(["claude.ai", "vscode.dev"]))]
    pub allow: Vec<String>,
    /// None of these, whatever `allow` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub deny: Vec<String>,
}

/// A metadata document that the admin vouches for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedDocument {
    /// Where it would be: the agent's `client_id`.
    #[schema(example = "https://client.example/oauth/client.json")]
    pub url: String,
    /// The document.
    #[schema(value_type = Object)]
    pub document: Value,
}

/// Which schemes of apps are taken in redirect URIs. Schemes that browsers run or read are never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PrivateUseSchemes {
    /// All, or none.
    Every(AllowOrDeny),
    /// These.
    Only(Vec<String>),
}

/// All or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowOrDeny {
    /// All.
    Allow,
    /// None.
    Deny,
}

/// What a tenant's [`ClientRegistration`] means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistrationPolicy {
    /// Who may register by RFC 7591.
    pub registration: DynamicRegistration,
    /// Whether agents may be known by a metadata document.
    pub client_documents: Switch,
    /// Where such documents may be.
    pub document_hosts: DocumentHosts,
    /// Hosts whose documents' clients may act for themselves.
    pub client_credentials_hosts: Vec<String>,
    /// Documents that are not fetched.
    pub pinned_documents: Vec<PinnedDocument>,
    /// Which schemes of apps are taken in redirect URIs.
    pub private_use_schemes: PrivateUseSchemes,
    /// The team of agents that no rule puts elsewhere.
    pub default_team: Name,
    /// How many agents may have registered themselves at a time.
    pub clients_max: u32,
    /// How long an agent that nobody allows anything is kept, in seconds.
    pub unconfirmed_ttl_s: u32,
    /// What agents get at registration.
    pub rules: Vec<Rule>,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        Self {
            registration: DynamicRegistration::default(),
            client_documents: Switch::default(),
            document_hosts: DocumentHosts::default(),
            client_credentials_hosts: Vec::new(),
            pinned_documents: Vec::new(),
            private_use_schemes: PrivateUseSchemes::default(),
            default_team: TEAM_DEFAULT.parse().expect("a lower-case word is a name"),
            clients_max: CLIENTS_MAX_DEFAULT,
            unconfirmed_ttl_s: UNCONFIRMED_TTL_DEFAULT_S,
            rules: Vec::new(),
        }
    }
}

impl Default for PrivateUseSchemes {
    fn default() -> Self {
        Self::Every(AllowOrDeny::Allow)
    }
}

impl PrivateUseSchemes {
    /// As redirect URIs are checked against it.
    #[must_use]
    pub fn meaning(&self) -> redirect_uri::PrivateUseSchemes {
        match self {
            Self::Every(AllowOrDeny::Allow) => redirect_uri::PrivateUseSchemes::Allow,
            Self::Every(AllowOrDeny::Deny) => redirect_uri::PrivateUseSchemes::Deny,
            Self::Only(schemes) => redirect_uri::PrivateUseSchemes::List(schemes.clone()),
        }
    }
}

impl DocumentHosts {
    /// Whether a document may be at this host.
    #[must_use]
    pub fn permit(&self, host: &str) -> bool {
        let named = |suffixes: &[String]| suffixes.iter().any(|suffix| rules::is_within(host, suffix));
        (self.allow.is_empty() || named(&self.allow)) && !named(&self.deny)
    }
}

impl RegistrationPolicy {
    /// The pinned document of this URL.
    #[must_use]
    pub fn pinned(&self, url: &str) -> Option<&Value> {
        self.pinned_documents.iter().find(|pinned| pinned.url == url).map(|pinned| &pinned.document)
    }

    /// Whether a client whose document is at this host may act for itself. Whether such a document may be there at all
    /// is another question ([`DocumentHosts::permit`]).
    #[must_use]
    pub fn lets_act_for_itself(&self, host: &str) -> bool {
        self.client_credentials_hosts.iter().any(|suffix| rules::is_within(host, suffix))
    }

    /// The first rule that matches.
    #[must_use]
    pub fn rule(&self, newcomer: &Newcomer<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.r#match.fits(newcomer))
    }
}

impl ClientRegistration {
    /// Everything that applies, with nothing left out.
    #[must_use]
    pub fn effective(&self) -> Self {
        let defaults = RegistrationPolicy::default();
        Self {
            registration: Some(self.registration.unwrap_or_default()),
            client_documents: Some(self.client_documents.unwrap_or_default()),
            document_hosts: Some(self.document_hosts.clone().unwrap_or_default()),
            client_credentials_hosts: Some(self.client_credentials_hosts.clone().unwrap_or_default()),
            pinned_documents: Some(self.pinned_documents.clone().unwrap_or_default()),
            private_use_schemes: Some(self.private_use_schemes.clone().unwrap_or_default()),
            default_team: Some(self.default_team.clone().unwrap_or(defaults.default_team)),
            clients_max: Some(self.clients_max.unwrap_or(defaults.clients_max)),
            unconfirmed_ttl: Some(self.unconfirmed_ttl().to_owned()),
            rules: Some(self.rules.clone().unwrap_or_default()),
        }
    }

    fn unconfirmed_ttl(&self) -> &str {
        self.unconfirmed_ttl.as_deref().unwrap_or(UNCONFIRMED_TTL_DEFAULT)
    }
}
