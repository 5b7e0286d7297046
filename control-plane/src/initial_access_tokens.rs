//! Initial access tokens: what a client shows to be allowed to register, where the tenant asks for it (RFC 7591
//! section 3).
//!
//! Invariant: a use is taken by one statement, in the transaction of the registration that it allows; what does not
//! register uses nothing up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use tollgate_proto::InitialAccessTokenId;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    secret::{self, Digest, Purpose, terms::Terms},
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

const NOUN: &str = "initial access token";
const KIND: &str = "initial_access_token";
const LIFE_DEFAULT: &str = "24h";

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is for, for people.
    #[serde(default)]
    #[schema(max_length = 120)]
    pub note: String,
    /// How long it may be used, from `1m` to `366d`; `24h` unless told.
    #[schema(example = "24h")]
    pub expires_in: Option<String>,
    /// How many clients may register with it, from 1 to 10000; 1 unless told.
    #[schema(minimum = 1, maximum = 10_000)]
    pub uses: Option<u32>,
}

/// A token as it is shown afterwards.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InitialAccessToken {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InitialAccessTokenId,
    /// What it is for.
    pub note: String,
    /// The beginning of its digest, to tell tokens apart.
    #[schema(example = "sha256:ab12cd34")]
    pub fingerprint: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// How many clients may still register with it.
    pub uses_left: i32,
}

/// The tokens of a tenant.
pub type InitialAccessTokenPage = Page<InitialAccessToken>;

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewInitialAccessToken {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InitialAccessTokenId,
    /// The token, shown this once.
    #[serde(serialize_with = "shown_once")]
    #[schema(value_type = String)]
    pub token: Zeroizing<String>,
    /// Where clients show it.
    #[schema(example = "https://tollgate.example.com/t/default/oauth/register")]
    pub registration_url: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// How many clients may register with it.
    pub uses_left: u32,
}

/// The tenant's tokens that have not been deleted, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller) -> Result<InitialAccessTokenPage, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    Ok(Page { items: sql::list(&mut tx).await?, next_cursor: None })
}

/// Makes a token.
///
/// # Errors
/// [`ApiError::Invalid`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn create(app: &App, caller: &Caller, asked: &TokenRequest) -> Result<NewInitialAccessToken, ApiError> {
    caller.require(Role::Admin)?;
    let Terms { life, uses } = check(asked)?;
    let generated = secret::generate(Purpose::InitialAccessToken);
    let id = InitialAccessTokenId::new();
    let expires_at = Utc::now() + life;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let new = sql::New { id, digest: &generated.digest, note: &asked.note, actor: &caller.actor, expires_at, uses };
    sql::insert(&mut tx, &new).await?;
    let detail = json!({ "note": asked.note, "expires_at": expires_at, "uses": uses });
    record(&mut tx, caller, "create", id, detail).await?;
    tx.commit().await?;
    let registration_url = format!("{}/oauth/register", app.urls.issuer(&caller.tenant_name));
    Ok(NewInitialAccessToken { id, token: generated.text, registration_url, expires_at, uses_left: uses })
}

/// Deletes a token: nobody registers with it from then on.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn remove(app: &App, caller: &Caller, id: &str) -> Result<(), ApiError> {
    caller.require(Role::Admin)?;
    let not_found = || ApiError::NotFound { noun: NOUN, key: id.to_owned() };
    let token: InitialAccessTokenId = id.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    if !sql::delete(&mut tx, token).await? {
        return Err(not_found());
    }
    record(&mut tx, caller, "delete", token, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes one use of the token `shown`, which lasts if the transaction commits; false when it is none, spent or expired.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn consume(tx: &mut TenantTx, shown: &str) -> Result<bool, sqlx::Error> {
    if !secret::well_formed(Purpose::InitialAccessToken, shown) {
        return Ok(false);
    }
    sql::consume(tx, &Digest::of(shown)).await
}

fn check(asked: &TokenRequest) -> Result<Terms, ApiError> {
    let mut faults = Faults::default();
    faults.check_text("/note", &asked.note);
    Terms::check(asked.expires_in.as_deref(), LIFE_DEFAULT, asked.uses, faults)
}

async fn record(
    tx: &mut TenantTx,
    caller: &Caller,
    verb: &str,
    id: InitialAccessTokenId,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let id = id.to_string();
    let event = audit::Event {
        actor: &caller.actor,
        action: &format!("{KIND}.{verb}"),
        object_kind: KIND,
        object_id: &id,
        object_name: &id,
        detail,
    };
    audit::record(tx, event).await
}

fn shown_once<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}
