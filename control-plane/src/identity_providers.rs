//! Identity providers: the OpenID providers through which people of a tenant sign in.
//!
//! A provider proves who somebody is; the spec says what that makes them here: which group gives which role and which
//! team. The protocol is in `identity_providers/relying_party.rs`, and what becomes of who was proven in
//! `users/provider.rs`.
//!
//! Invariant: the issuer of a provider never changes, because users are linked to it; and its client secret is sealed
//! before it is stored and never shown.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_proto::{Egress, IdentityProviderId, Name, TenantId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    teams, tenants,
};

pub mod api;
pub mod attempt;
mod discovery;
pub mod logout_token;
mod mapping;
mod relying_party;
mod rules;
#[cfg(test)]
pub(crate) mod scripted;
mod sql;
#[cfg(test)]
mod tests;

pub use discovery::Discovered;
pub use mapping::{Mapped, RoleMapping, TeamMapping};
pub use relying_party::{Callback, Departure, Proof, ProviderError, Wish, begin, finish};

const SCOPES_DEFAULT: [&str; 3] = ["openid", "profile", "email"];
const GROUPS_CLAIM_DEFAULT: &str = "groups";
const CALLBACK: &str = "/sign-in/callback";

/// An identity provider as the API shows it.
pub type IdentityProvider = Object<IdentityProviderSpec>;
/// One page of identity providers.
pub type IdentityProviderPage = Page<IdentityProvider>;
/// The body that creates an identity provider.
pub type NewIdentityProvider = Draft<IdentityProviderSpec>;
/// The body that replaces an identity provider.
pub type IdentityProviderContent = Content<IdentityProviderSpec>;

/// What a client says about an identity provider.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderSpec {
    /// What the button on the sign-in page says; the name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its issuer, whose `/.well-known/openid-configuration` is read. Fixed for life: users are linked to it.
    #[schema(example = "https://login.example.com")]
    pub issuer: String,
    /// The `client_id` that Tollgate has there.
    pub client_id: String,
    /// The secret that goes with it. Left out, the stored one stays; empty, there is none and PKCE alone protects the
    /// exchange. Never shown again.
    #[serde(default, skip_serializing)]
    #[schema(value_type = Option<String>, write_only)]
    pub client_secret: Option<ClientSecret>,
    /// What is asked for; `openid`, `profile` and `email` unless told. `openid` is always asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32, example = json!(["openid", "profile", "email", "groups"]))]
    pub scopes: Option<Vec<String>>,
    /// The claim that lists a user's groups, of the ID token or else of the userinfo endpoint; `groups` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Which group gives which role. The first that fits counts, at every sign-in. Empty: roles are given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 200)]
    pub role_mapping: Option<Vec<RoleMapping>>,
    /// Which group leads to which team. The first that fits counts, at every sign-in. Empty: teams are chosen here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 200)]
    pub team_mapping: Option<Vec<TeamMapping>>,
    /// The role of who is in no group of `role_mapping`; they are refused when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_role: Option<Role>,
    /// Whether who comes for the first time becomes a user; `true` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_users: Option<bool>,
}

/// The secret of a client of ours at a provider; it does not print.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

/// What the server says about an identity provider.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IdentityProviderStatus {
    /// To be registered there as redirect URI.
    #[schema(example = "https://tollgate.example.com/sign-in/callback")]
    pub redirect_uri: String,
    /// To be registered there as back-channel logout URI, so that who signs out there is signed out here.
    #[schema(example = "https://tollgate.example.com/t/default/sign-in/corp/backchannel-logout")]
    pub backchannel_logout_uri: String,
    /// Whether a client secret is stored.
    pub has_client_secret: bool,
    /// How many users are linked to it.
    pub users: i64,
    /// What applies where the spec is silent.
    pub effective: EffectiveIdentityProvider,
}

/// What applies where an identity provider's spec is silent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EffectiveIdentityProvider {
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that lists a user's groups.
    pub groups_claim: String,
    /// Whether who comes for the first time becomes a user.
    pub create_users: bool,
}

/// What an identity provider's spec means.
#[derive(Debug)]
pub struct Meaning {
    issuer: String,
    client_id: String,
    secret: SecretChange,
}

/// What becomes of the stored client secret.
enum SecretChange {
    Keep,
    Forget,
    Set(ClientSecret),
    Sealed(Vec<u8>),
}

/// An identity provider with everything that a sign-in needs.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id.
    pub id: IdentityProviderId,
    /// Its name.
    pub name: String,
    /// The tenant whose people come through it.
    pub tenant: TenantId,
    /// That tenant's name.
    pub tenant_name: String,
    /// What was said about it.
    pub spec: IdentityProviderSpec,
    /// The client secret, if there is one.
    secret: Option<SecretString>,
    /// Where it may live.
    egress: Egress,
}

/// What the sign-in page says of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub name: String,
    /// What its button says.
    pub label: String,
}

/// The facts that `select` adds to a row.
#[derive(Deserialize)]
struct Facts {
    has_client_secret: bool,
    users: i64,
}

impl IdentityProviderSpec {
    /// What is asked for, each once, `openid` first.
    #[must_use]
    pub fn effective_scopes(&self) -> Vec<String> {
        let Some(scopes) = &self.scopes else { return SCOPES_DEFAULT.map(str::to_owned).to_vec() };
        let mut effective = vec!["openid".to_owned()];
        for scope in scopes {
            if !effective.contains(scope) {
                effective.push(scope.clone());
            }
        }
        effective
    }

    /// The claim that lists a user's groups.
    #[must_use]
    pub fn effective_groups_claim(&self) -> &str {
        self.groups_claim.as_deref().unwrap_or(GROUPS_CLAIM_DEFAULT)
    }

    /// Whether who comes for the first time becomes a user.
    #[must_use]
    pub fn creates_users(&self) -> bool {
        self.create_users.unwrap_or(true)
    }
}

impl Kind for IdentityProviderSpec {
    const TITLE: &'static str = "IdentityProvider";
    const NOUN: &'static str = "identity-provider";
    const COLLECTION: &'static str = "identity-providers";
    const WRITER: Role = Role::Admin;

    type Id = IdentityProviderId;
    type Status = IdentityProviderStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    /// Who may not make an owner may not let a group make one.
    fn permit(&self, caller: &Caller) -> Result<(), ApiError> {
        if self.gives_out(Role::Owner) { caller.require(Role::Owner) } else { Ok(()) }
    }

    async fn interpret(
        &self,
        _: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        rules::check(self, faults);
        if current.is_some_and(|current| current.issuer != self.issuer) {
            let detail = "users are linked to the issuer: make another identity provider";
            faults.add("/spec/issuer", "immutable", detail);
        }
        for (index, mapping) in self.team_mapping.iter().flatten().enumerate() {
            teams::look_up(tx, &mapping.team, &format!("/spec/team_mapping/{index}/team"), faults).await?;
        }
        let secret = match &self.client_secret {
            None => SecretChange::Keep,
            Some(secret) if secret.0.is_empty() => SecretChange::Forget,
            Some(secret) => SecretChange::Set(secret.clone()),
        };
        Ok(Some(Meaning { issuer: self.issuer.clone(), client_id: self.client_id.clone(), secret }))
    }

    fn fit(meaning: &mut Meaning, app: &App, tenant: TenantId, id: Self::Id) -> Result<(), ApiError> {
        if let SecretChange::Set(secret) = &meaning.secret {
            let sealed = app.master_key.seal(&place(tenant, id), secret.0.as_bytes()).map_err(ApiError::internal)?;
            meaning.secret = SecretChange::Sealed(sealed);
        }
        Ok(())
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, app: &App, caller: &Caller) -> Result<IdentityProviderStatus, ApiError> {
        let facts = Facts::deserialize(&row.facts).map_err(ApiError::internal)?;
        Ok(IdentityProviderStatus {
            redirect_uri: redirect_uri(app),
            backchannel_logout_uri: backchannel_logout_uri(app, &caller.tenant_name, &row.name),
            has_client_secret: facts.has_client_secret,
            users: facts.users,
            effective: EffectiveIdentityProvider {
                scopes: self.effective_scopes(),
                groups_claim: self.effective_groups_claim().to_owned(),
                create_users: self.creates_users(),
            },
        })
    }
}

impl Removable for IdentityProviderSpec {
    async fn delete(tx: &mut TenantTx, id: IdentityProviderId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// The identity provider of this name in a tenant of that name, ready for a sign-in.
///
/// # Errors
/// When Postgres is away, or the stored secret cannot be opened.
pub async fn find(app: &App, tenant: &str, name: &str) -> Result<Option<Provider>, ApiError> {
    let found = sql::tenant(&mut *app.db.platform().await?, tenant).await?;
    let Some(tenant) = found else { return Ok(None) };
    let mut tx = app.db.tenant(tenant).await?;
    sql::by_name(&mut tx, name).await?.map(|row| Provider::of(app, tenant, row)).transpose()
}

/// The identity provider with this id, ready for a sign-in.
///
/// # Errors
/// Those of [`find`].
pub async fn load(app: &App, tenant: TenantId, id: IdentityProviderId) -> Result<Option<Provider>, ApiError> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::by_id(&mut tx, id).await?.map(|row| Provider::of(app, tenant, row)).transpose()
}

/// What the sign-in page of a tenant offers, in the order of the names.
///
/// # Errors
/// When Postgres is away.
pub async fn choices(tx: &mut TenantTx) -> Result<Vec<Choice>, sqlx::Error> {
    sql::choices(tx).await
}

/// Where a provider sends people back to.
fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK}", app.urls.control)
}

/// Where a provider says who has signed out there.
fn backchannel_logout_uri(app: &App, tenant: &str, name: &str) -> String {
    format!("{}/t/{tenant}/sign-in/{name}/backchannel-logout", app.urls.control)
}

impl Provider {
    fn of(app: &App, tenant: TenantId, row: sql::ProviderRow) -> Result<Self, ApiError> {
        let id = IdentityProviderId::from(row.id);
        let open = |sealed: Vec<u8>| {
            let plain = app.master_key.open(&place(tenant, id), &sealed).map_err(ApiError::internal)?;
            String::from_utf8(plain.to_vec()).map(SecretString::from).map_err(ApiError::internal)
        };
        Ok(Self {
            id,
            name: row.name,
            tenant,
            tenant_name: row.tenant_name,
            spec: IdentityProviderSpec::deserialize(&row.spec).map_err(ApiError::internal)?,
            secret: row.client_secret_sealed.map(open).transpose()?,
            egress: tenants::egress_of(&row.egress_allow)?,
        })
    }

    /// As audit events name who acts when it gives a role or a team.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("identity-provider:{}", self.name)
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Forget => "Forget",
            Self::Set(_) | Self::Sealed(_) => "Set(…)",
        })
    }
}

/// What the sealed secret is bound to.
fn place(tenant: TenantId, id: IdentityProviderId) -> String {
    format!("{tenant}|identity_providers|client_secret|{id}")
}
