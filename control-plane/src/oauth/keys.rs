//! The ES256 keys that sign a tenant's tokens.
//!
//! A key is `next`, then `active`, then `retiring`, then gone, or `revoked` at any time. One key signs, the active one;
//! all that are not revoked are published, so that data planes know a key before it signs and verify what it signed
//! until that has expired. `rotation.rs` moves keys along.
//!
//! Invariant: a private key is in the clear only in this process' memory, and nothing that leaves this module but
//! [`SigningKey`] holds one. A key signs only after the transaction that stored it has committed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    error::Unspecified,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tollgate_proto::TenantId;

use crate::{
    app::App,
    audit,
    db::{Db, TenantTx},
    policy,
    seal::{MasterKey, SealError},
};

pub mod api;
mod public_key;
pub mod rotation;
mod sql;

use public_key::PublicKey;

/// Why there is no key to sign or verify with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Postgres is away.
    #[error("cannot read or store signing keys: {0}")]
    Storage(#[from] sqlx::Error),
    /// The stored key was sealed with another master key, or is damaged.
    #[error("cannot seal or open a signing key: {0}")]
    Seal(#[from] SealError),
    /// The cryptographic library failed.
    #[error("cannot make a signing key")]
    Generate,
    /// The stored public key is no P-256 key.
    #[error("a stored public key is malformed")]
    Malformed,
    /// The cryptographic library refused the key.
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// A key that can sign.
#[derive(Debug)]
pub(super) struct SigningKey {
    /// RFC 7638 thumbprint, as headers of tokens carry it.
    pub(super) kid: String,
    /// The private half; zeroised when dropped, and its `Debug` shows nothing.
    pub(super) private: EncodingKey,
}

/// Signing keys in the clear, by tenant, as far as they were needed.
#[derive(Debug, Default)]
pub struct KeyRing(RwLock<HashMap<TenantId, Arc<SigningKey>>>);

impl KeyRing {
    /// The tenant's signing key; opened, and made where there is none, at the first need. Takes a connection of its
    /// own then, so that it must not be asked for within a transaction.
    ///
    /// `active` is the key that signed according to the transaction that decided about the token: when another control
    /// plane has rotated since this one signed last, the key in memory is another one and is left behind.
    ///
    /// # Errors
    /// When Postgres is away or the master key is not the one that sealed the key.
    pub(super) async fn signing_key(
        &self,
        db: &Db,
        master_key: &MasterKey,
        tenant: TenantId,
        active: Option<&str>,
    ) -> Result<Arc<SigningKey>, KeyError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        if let Some(key) = known.filter(|key| active == Some(key.kid.as_str())) {
            return Ok(key);
        }
        let mut tx = db.tenant(tenant).await?;
        make_first(&mut tx, master_key).await?;
        let stored = sql::active_key(&mut tx).await?;
        tx.commit().await?;
        let pkcs8 = master_key.open(&place(tenant, &stored.kid), &stored.private_sealed)?;
        let key = Arc::new(SigningKey { kid: stored.kid, private: EncodingKey::from_ec_der(&pkcs8) });
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, Arc::clone(&key));
        Ok(key)
    }
}

/// Makes sure that the tenant has a key. Call it before [`public_jwks`] wherever the set must not be empty.
///
/// # Errors
/// When Postgres is away, or the key was sealed with another master key.
pub async fn ensure(app: &App, tenant: TenantId) -> Result<(), KeyError> {
    let mut tx = app.db.tenant(tenant).await?;
    make_first(&mut tx, &app.master_key).await?;
    Ok(tx.commit().await?)
}

/// The tenant's public keys, as this transaction sees them, as the JSON text of a JWK Set (RFC 7517 section 5): the
/// next, the active and the retiring ones. Only reads, and yields the same text for the same keys.
///
/// # Errors
/// When Postgres is away or holds what is no key.
pub async fn public_jwks(tx: &mut TenantTx) -> Result<String, KeyError> {
    let stored = sql::public_keys(tx).await?;
    jwk_set(stored)
}

/// Makes the tenant's first key unless there is one. Two control planes that both find none wait for each other at
/// the tenant's row, which `policy::bump` then locks anyway: one lock, so no order in which to deadlock.
async fn make_first(tx: &mut TenantTx, master_key: &MasterKey) -> Result<(), KeyError> {
    if sql::active_kid(tx).await?.is_some() {
        return Ok(());
    }
    super::sql::lock_tenant(tx).await?;
    if sql::active_kid(tx).await?.is_some() {
        return Ok(());
    }
    make(tx, master_key, sql::State::Active, "system").await.map(drop)
}

/// Makes a key, which data planes get with the policy; answers its `kid`.
async fn make(tx: &mut TenantTx, master_key: &MasterKey, state: sql::State, actor: &str) -> Result<String, KeyError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|Unspecified| KeyError::Generate)?;
    let public = PublicKey::of_point(pair.public_key().as_ref()).ok_or(KeyError::Generate)?;
    // The document wipes itself when dropped.
    let pkcs8 = pair.to_pkcs8v1().map_err(|Unspecified| KeyError::Generate)?;
    let sealed = master_key.seal(&place(tx.tenant(), &public.kid), pkcs8.as_ref())?;
    let published_revision = policy::bump(tx).await?;
    let (kid, public_jwk) = (&public.kid, &json!(public));
    sql::insert(tx, sql::NewKey { kid, public_jwk, private_sealed: &sealed, state, published_revision }).await?;
    record(tx, actor, "signing_key.create", kid, json!({ "alg": public.alg, "state": state.as_str() })).await?;
    Ok(public.kid)
}

async fn record(
    tx: &mut TenantTx,
    actor: &str,
    action: &'static str,
    kid: &str,
    detail: Value,
) -> Result<(), sqlx::Error> {
    let event = audit::Event { actor, action, object_kind: "signing_key", object_id: kid, object_name: kid, detail };
    audit::record(tx, event).await
}

/// What a sealed private key is bound to.
fn place(tenant: TenantId, kid: &str) -> String {
    format!("{tenant}|signing_keys|private_sealed|{kid}")
}

fn jwk_set(stored: Vec<Value>) -> Result<String, KeyError> {
    let keys: Vec<PublicKey> =
        stored.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(|_| KeyError::Malformed)?;
    Ok(json!({ "keys": keys }).to_string())
}

#[cfg(test)]
mod tests;
