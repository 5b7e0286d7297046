//! The ES256 keys that sign a tenant's tokens.
//!
//! Invariant: a private key is in the clear only in this process' memory, and nothing that leaves this module but
//! [`SigningKey`] holds one. A key signs only after the transaction that stored it has committed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::Unspecified,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_proto::TenantId;

use super::sql;
use crate::{
    app::App,
    audit,
    db::{Db, TenantTx},
    policy,
    seal::{MasterKey, SealError},
};

/// One of a point's coordinates on P-256, in bytes.
const COORDINATE_LEN: usize = 32;
/// SEC 1 section 2.3.3: what an uncompressed point begins with.
const UNCOMPRESSED: u8 = 4;

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
    /// # Errors
    /// When Postgres is away or the master key is not the one that sealed the key.
    pub(super) async fn signing_key(
        &self,
        db: &Db,
        master_key: &MasterKey,
        tenant: TenantId,
    ) -> Result<Arc<SigningKey>, KeyError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        if let Some(key) = known {
            return Ok(key);
        }
        let mut tx = db.tenant(tenant).await?;
        make_first(&mut tx, master_key).await?;
        let stored = sql::newest_signing_key(&mut tx).await?;
        tx.commit().await?;
        let pkcs8 = master_key.open(&place(tenant, &stored.kid), &stored.private_sealed)?;
        let key = Arc::new(SigningKey { kid: stored.kid, private: EncodingKey::from_ec_der(&pkcs8) });
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, Arc::clone(&key));
        Ok(key)
    }
}

/// Makes sure that the tenant has a key, in a transaction of its own; costs nothing once this process has signed with
/// it. Call it before [`public_jwks`] wherever the set must not be empty.
///
/// # Errors
/// When Postgres is away, or the key was sealed with another master key.
pub async fn ensure(app: &App, tenant: TenantId) -> Result<(), KeyError> {
    app.signing_keys.signing_key(&app.db, &app.master_key, tenant).await.map(drop)
}

/// The tenant's public keys, as this transaction sees them, as the JSON text of a JWK Set (RFC 7517 section 5). Only
/// reads, and yields the same text for the same keys.
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
    if sql::has_signing_key(tx).await? {
        return Ok(());
    }
    sql::lock_tenant(tx).await?;
    if sql::has_signing_key(tx).await? {
        return Ok(());
    }
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|Unspecified| KeyError::Generate)?;
    let public = PublicKey::of_point(pair.public_key().as_ref()).ok_or(KeyError::Generate)?;
    // The document wipes itself when dropped.
    let pkcs8 = pair.to_pkcs8v1().map_err(|Unspecified| KeyError::Generate)?;
    let sealed = master_key.seal(&place(tx.tenant(), &public.kid), pkcs8.as_ref())?;
    sql::insert_signing_key(tx, &public.kid, &json!(public), &sealed).await?;
    // Data planes get the JWK Set with the policy.
    policy::bump(tx).await?;
    let event = audit::Event {
        actor: "system",
        action: "signing_key.create",
        object_kind: "signing_key",
        object_id: &public.kid,
        object_name: &public.kid,
        detail: json!({ "alg": public.alg }),
    };
    Ok(audit::record(tx, event).await?)
}

/// What a sealed private key is bound to.
fn place(tenant: TenantId, kid: &str) -> String {
    format!("{tenant}|signing_keys|private_sealed|{kid}")
}

/// The public half of a key. Reading a stored one through this type drops every member that is not listed here, so
/// that nothing private can be published, whatever a row holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PublicKey {
    kty: Kty,
    crv: Crv,
    alg: Alg,
    #[serde(rename = "use")]
    purpose: Use,
    kid: String,
    x: String,
    y: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kty {
    #[serde(rename = "EC")]
    EllipticCurve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Crv {
    #[serde(rename = "P-256")]
    P256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Alg {
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    #[serde(rename = "sig")]
    Signature,
}

impl PublicKey {
    /// From an uncompressed point: `04 | x | y`.
    fn of_point(point: &[u8]) -> Option<Self> {
        let (&UNCOMPRESSED, coordinates) = point.split_first()? else { return None };
        let (x, y) = coordinates.split_at_checked(COORDINATE_LEN)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 section 3.2: the required members, in lexicographic order, without white space.
        let required = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, required.as_bytes()));
        Some(Self { kty: Kty::EllipticCurve, crv: Crv::P256, alg: Alg::Es256, purpose: Use::Signature, kid, x, y })
    }
}

fn jwk_set(stored: Vec<Value>) -> Result<String, KeyError> {
    let keys: Vec<PublicKey> =
        stored.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(|_| KeyError::Malformed)?;
    Ok(json!({ "keys": keys }).to_string())
}

#[cfg(test)]
mod tests;
