//! Signing secrets of webhooks: how they are made, shown, exchanged, and how they sign.
//!
//! Invariant: of each webhook one secret is in force, and for a while after an exchange the one before, so that a receiver
//! can be given the new one without losing an alert. The text of either is shown in the answer that makes it.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use tollgate_proto::{TenantId, WebhookId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Webhook, WebhookSpec, sql};
use crate::{
    app::App,
    audit,
    caller::Caller,
    duration,
    error::ApiError,
    resource::{self, Kind as _},
    seal::{MasterKey, SealError},
};

/// Standard Webhooks want 24 to 64.
const BYTES: usize = 32;
/// By which receivers and scanners know one.
const PREFIX: &str = "whsec_";
const OVERLAP_S_DEFAULT: u64 = 86_400;
const OVERLAP_S_MAX: u64 = 604_800;

/// A secret in the clear.
pub(super) struct SigningSecret(Zeroizing<Vec<u8>>);

/// How a secret is exchanged.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// For how long the secret before signs too: from `1s` to `7d`, `24h` where nothing is said. Of one that others know,
    /// `1s`.
    #[schema(example = "24h", pattern = "^[1-9][0-9]*[smhd]$")]
    overlap: Option<String>,
}

/// A secret that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewSecret {
    /// With what receivers verify signatures: `whsec_…`, shown this once.
    #[serde(serialize_with = "shown_once")]
    #[schema(value_type = String)]
    pub secret: Zeroizing<String>,
    /// Until when the secret before signs too; absent: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_secret_until: Option<DateTime<Utc>>,
}

impl SigningSecret {
    /// A new one.
    ///
    /// # Panics
    /// When the system's random generator fails, because nothing secret can be made then.
    pub(super) fn generate() -> Self {
        let mut bytes = Zeroizing::new(vec![0; BYTES]);
        rand::fill(bytes.as_mut()).expect("the system's random generator works");
        Self(bytes)
    }

    pub(super) fn seal(&self, key: &MasterKey, tenant: TenantId, webhook: WebhookId) -> Result<Vec<u8>, SealError> {
        key.seal(&place(tenant, webhook), &self.0)
    }

    pub(super) fn open(
        key: &MasterKey,
        tenant: TenantId,
        webhook: WebhookId,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        key.open(&place(tenant, webhook), sealed).map(Self)
    }

    /// As receivers are given it.
    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    /// One signature of `webhook-signature`, of a message that is sent at `timestamp` (unix seconds).
    pub(super) fn sign(&self, message_id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        signing.update(format!("{message_id}.{timestamp}.").as_bytes());
        signing.update(body);
        format!("v1,{}", STANDARD.encode(signing.sign()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The secret of a webhook that this caller has just created.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`]; or when Postgres is away.
pub async fn reveal(app: &App, caller: &Caller, webhook: WebhookId) -> Result<NewSecret, ApiError> {
    caller.require(WebhookSpec::WRITER)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let not_found = || ApiError::NotFound { noun: WebhookSpec::NOUN, key: webhook.to_string() };
    let sealed = sql::secret(&mut tx, webhook).await?.ok_or_else(not_found)?;
    let secret = SigningSecret::open(&app.master_key, caller.tenant, webhook, &sealed).map_err(ApiError::internal)?;
    Ok(NewSecret { secret: secret.text(), former_secret_until: None })
}

/// Makes another secret for a webhook; the one before signs too for a while.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`], [`ApiError::Invalid`]; or when Postgres is away.
pub async fn rotate(app: &App, caller: &Caller, webhook: &str, rotation: &Rotation) -> Result<NewSecret, ApiError> {
    caller.require(WebhookSpec::WRITER)?;
    let overlap_s = overlap_s(rotation)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let webhook: Webhook = resource::existing(&mut tx, app, caller, webhook).await?;
    let secret = SigningSecret::generate();
    let sealed = secret.seal(&app.master_key, caller.tenant, webhook.id).map_err(ApiError::internal)?;
    let former_secret_until = sql::rotate_secret(&mut tx, webhook.id, &sealed, overlap_s).await?;
    let event = audit::Event {
        actor: &caller.actor,
        action: "webhook.rotate_secret",
        object_kind: WebhookSpec::NOUN,
        object_id: &webhook.id.to_string(),
        object_name: &webhook.name,
        detail: json!({ "former_secret_until": former_secret_until }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(NewSecret { secret: secret.text(), former_secret_until })
}

fn overlap_s(rotation: &Rotation) -> Result<i64, ApiError> {
    let fault = |detail: String| ApiError::fault("/overlap", "duration", detail);
    let overlap_s = match &rotation.overlap {
        None => OVERLAP_S_DEFAULT,
        Some(text) => duration::seconds(text).map_err(|error| fault(error.to_string()))?,
    };
    let within = i64::try_from(overlap_s).ok().filter(|_| overlap_s <= OVERLAP_S_MAX);
    within.ok_or_else(|| fault("from `1s` to `7d`".to_owned()))
}

/// What a sealed secret is bound to.
fn place(tenant: TenantId, webhook: WebhookId) -> String {
    format!("{tenant}|webhooks|secret|{webhook}")
}

fn shown_once<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key, the message and the signature are those of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let secret = SigningSecret(Zeroizing::new(secret));
        let body = br#"{"test": 2432232314}"#;
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_the_form_of_the_specification_and_opens_for_its_own_webhook_only() {
        let (key, tenant, webhook) = (MasterKey::generate().expect("a key"), TenantId::new(), WebhookId::new());
        let secret = SigningSecret::generate();
        let encoded = secret.text().strip_prefix("whsec_").map(|text| STANDARD.decode(text)).expect("the prefix");
        assert_eq!(encoded.expect("base64").len(), 32);
        let sealed = secret.seal(&key, tenant, webhook).expect("sealed");
        let opened = SigningSecret::open(&key, tenant, webhook, &sealed).expect("opened");
        assert_eq!(opened.text(), secret.text());
        assert!(SigningSecret::open(&key, tenant, WebhookId::new(), &sealed).is_err());
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }

    #[test]
    fn secrets_overlap_for_a_second_to_a_week() {
        let overlapping = |text: &str| overlap_s(&Rotation { overlap: Some(text.to_owned()) });
        assert_eq!(overlap_s(&Rotation::default()).expect("a day"), 86_400);
        assert_eq!(overlapping("7d").expect("a week"), 604_800);
        for wrong in ["8d", "0s", "soon", "99999999999999999999d"] {
            assert!(overlapping(wrong).is_err(), "{wrong}");
        }
    }
}
