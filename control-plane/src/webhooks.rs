//! Webhooks: where alerts of a tenant are sent, signed as Standard Webhooks (<https://www.standardwebhooks.com>) say.
//!
//! Invariant: a signing secret is made here and leaves once, in the answer that makes it; what the database has of it opens
//! with the master key alone, for the very webhook it was made for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::{Egress, Name, TenantId, WebhookId};
use url::{Host, Url};
use utoipa::ToSchema;

use crate::{
    alerts::AlertKind,
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    servers::instance_url,
    tenants,
};

pub mod api;
pub mod deliveries;
mod dispatch;
mod posting;
mod secret;
mod sql;
#[cfg(test)]
mod tests;

pub use dispatch::follow;
pub use secret::{NewSecret, Rotation, reveal, rotate};

use secret::SigningSecret;

/// Each may have a delivery under way, so that this bounds what receivers of one tenant that hang can hold.
const PER_TENANT_MAX: i64 = 16;

/// A webhook as the API shows it.
pub type Webhook = Object<WebhookSpec>;
/// One page of webhooks.
pub type WebhookPage = Page<Webhook>;
/// The body that creates a webhook.
pub type NewWebhook = Draft<WebhookSpec>;
/// The body that replaces a webhook.
pub type WebhookContent = Content<WebhookSpec>;

/// What a client says about a webhook.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    /// Where alerts are posted: `https`, or `http` in a network that the tenant's `egress_allow` names.
    #[schema(example = "https://alerts.example.com/tollgate")]
    pub url: String,
    /// The types of alerts that it wants; all where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub types: Option<Vec<AlertKind>>,
    /// Whether it gets anything; `true` where nothing is said. What waits when it is disabled is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What the server says about a webhook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookStatus {
    /// Whether it gets anything.
    pub state: WebhookState,
    /// How many deliveries wait for an attempt.
    pub waiting: i64,
    /// When it was last delivered to; absent: never within 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivered_at: Option<DateTime<Utc>>,
    /// Until when the secret before the present one signs too; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_secret_until: Option<DateTime<Utc>>,
}

/// Whether a webhook gets anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    /// What it wants.
    Active,
    /// Nothing: its spec says so.
    Disabled,
    /// Nothing: its receiver answered 410, which means that nothing is there any more. Writing the webhook anew ends that.
    Gone,
}

/// The facts that `select` adds to a row.
#[derive(Deserialize)]
struct Facts {
    gone: bool,
    waiting: i64,
    last_delivered_at: Option<DateTime<Utc>>,
    former_secret_until: Option<DateTime<Utc>>,
}

/// What a webhook's spec means.
#[derive(Debug)]
pub struct Meaning {
    /// In its normal form.
    url: String,
    types: Option<Vec<String>>,
    enabled: bool,
    secret: SecretChange,
}

/// What becomes of the stored secret.
#[derive(Debug)]
enum SecretChange {
    Keep,
    Make,
    Sealed(Vec<u8>),
}

impl WebhookSpec {
    fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
}

impl Kind for WebhookSpec {
    const TITLE: &'static str = "Webhook";
    const NOUN: &'static str = "webhook";
    const COLLECTION: &'static str = "webhooks";
    const WRITER: Role = Role::Admin;

    type Id = WebhookId;
    type Status = WebhookStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        _: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        if current.is_none() && sql::count(tx).await? >= PER_TENANT_MAX {
            faults.add(
                "/spec",
                "too_many",
                format!("a tenant has at most {PER_TENANT_MAX} webhooks: delete one first"),
            );
        }
        check_types(self.types.as_deref(), faults);
        let Some(url) = read_url(&self.url, &tenants::egress(tx).await?, faults) else { return Ok(None) };
        Ok(Some(Meaning {
            url,
            types: self.types.as_ref().map(|types| types.iter().map(ToString::to_string).collect()),
            enabled: self.is_enabled(),
            secret: if current.is_none() { SecretChange::Make } else { SecretChange::Keep },
        }))
    }

    fn fit(meaning: &mut Meaning, app: &App, tenant: TenantId, id: WebhookId) -> Result<(), ApiError> {
        if matches!(meaning.secret, SecretChange::Make) {
            let sealed = SigningSecret::generate().seal(&app.master_key, tenant, id).map_err(ApiError::internal)?;
            meaning.secret = SecretChange::Sealed(sealed);
        }
        Ok(())
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await?;
        if meaning.enabled { Ok(()) } else { sql::give_up_all(tx, version.id.into(), "the webhook is disabled").await }
    }

    fn status(&self, row: &Row, _: &App, _: &Caller) -> Result<WebhookStatus, ApiError> {
        let facts = Facts::deserialize(&row.facts).map_err(ApiError::internal)?;
        let state = match (self.is_enabled(), facts.gone) {
            (false, _) => WebhookState::Disabled,
            (true, true) => WebhookState::Gone,
            (true, false) => WebhookState::Active,
        };
        let Facts { waiting, last_delivered_at, former_secret_until, .. } = facts;
        Ok(WebhookStatus { state, waiting, last_delivered_at, former_secret_until })
    }
}

impl Removable for WebhookSpec {
    async fn delete(tx: &mut TenantTx, id: WebhookId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// Notes what is wrong with the types that are wanted.
fn check_types(types: Option<&[AlertKind]>, faults: &mut Faults) {
    let Some(types) = types else { return };
    if types.is_empty() {
        faults.add("/spec/types", "required", "name a type, or leave `types` out for all of them");
    }
    for (index, kind) in types.iter().enumerate() {
        let at = format!("/spec/types/{index}");
        if !AlertKind::WANTED.contains(kind) {
            faults.add(
                at,
                "type",
                format!("`{kind}` goes to the webhook that is tested, whatever it wants: leave it out"),
            );
        } else if types[..index].contains(kind) {
            faults.add(at, "duplicate", format!("`{kind}` is there already"));
        }
    }
}

/// The URL in its normal form. What its name resolves to is known when something is sent, and checked then; an address is
/// checked here too.
fn read_url(text: &str, egress: &Egress, faults: &mut Faults) -> Option<String> {
    const AT: &str = "/spec/url";
    let url = instance_url::read(text).map_err(|error| faults.add(AT, "url", error.to_string())).ok()?;
    let parsed = Url::parse(&url).ok()?;
    let address = match parsed.host()? {
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
        Host::Domain(_) => return Some(url),
    };
    if !egress.permits(address) {
        let detail = "the address is in a network that the tenant's `egress_allow` does not name: add the network there, or \
                      use another address";
        faults.add(AT, "egress", detail);
        return None;
    }
    if parsed.scheme() == "http" && !egress.allows(address) {
        faults.add(AT, "cleartext", "use `https`: `http` is for networks that the tenant's `egress_allow` names");
        return None;
    }
    Some(url)
}
