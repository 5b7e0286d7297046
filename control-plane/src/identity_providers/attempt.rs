//! What a browser carries while its user is at an identity provider: one sealed text per attempt, so that sign-ins in
//! several tabs do not disturb each other and nothing is stored for those that are given up.
//!
//! Invariant: an attempt opens only for the `state` that it was made for, within ten minutes; whoever holds the text
//! learns nothing from it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::{IdentityProviderId, TenantId};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Provider, Wish};
use crate::{app::App, error::ApiError, seal};

/// How long somebody may take at their provider.
pub const LIFE: TimeDelta = TimeDelta::minutes(10);

/// Longer ones are given up: the cookie has to fit into what browsers take.
const NEXT_LEN_MAX: usize = 2_400;

/// A sign-in that was begun.
#[derive(Clone, Serialize, Deserialize)]
pub struct Attempt {
    tenant: Uuid,
    /// The tenant's name.
    pub tenant_name: String,
    provider: Uuid,
    /// What the ID token must repeat.
    pub(super) nonce: String,
    /// What the code is redeemed with (RFC 7636).
    pub(super) verifier: String,
    /// Where to go afterwards.
    pub next: String,
    /// Whether the user has to prove anew who they are.
    #[serde(default)]
    pub anew: bool,
    ends_at: DateTime<Utc>,
}

impl Attempt {
    /// One that begins now. Where it leads is forgotten when that is longer than a cookie can hold.
    pub(super) fn new(provider: &Provider, nonce: &str, verifier: &str, wish: Wish<'_>, now: DateTime<Utc>) -> Self {
        let Wish { next, anew } = wish;
        Self {
            tenant: provider.tenant.uuid(),
            tenant_name: provider.tenant_name.clone(),
            provider: provider.id.uuid(),
            nonce: nonce.to_owned(),
            verifier: verifier.to_owned(),
            next: if next.len() <= NEXT_LEN_MAX { next.to_owned() } else { String::new() },
            anew,
            ends_at: now + LIFE,
        }
    }

    /// Whose sign-in it is.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant.into()
    }

    /// The provider that it goes through.
    #[must_use]
    pub fn provider(&self) -> IdentityProviderId {
        self.provider.into()
    }

    /// When it began.
    pub(super) fn began_at(&self) -> DateTime<Utc> {
        self.ends_at - LIFE
    }

    /// The text that the browser keeps, bound to `state`.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when sealing fails.
    pub(super) fn seal(&self, app: &App, state: &str) -> Result<String, ApiError> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(ApiError::internal)?);
        let sealed = seal::encrypt(&key(app), state, &plain).map_err(ApiError::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The attempt that was sealed for `state`, while it may still be finished.
    #[must_use]
    pub fn open(app: &App, state: &str, text: &str, now: DateTime<Utc>) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = seal::decrypt(&key(app), state, &sealed).ok()?;
        let attempt: Self = serde_json::from_slice(&plain).ok()?;
        (now < attempt.ends_at).then_some(attempt)
    }
}

fn key(app: &App) -> Zeroizing<[u8; 32]> {
    app.master_key.derive("sign-in attempt")
}
