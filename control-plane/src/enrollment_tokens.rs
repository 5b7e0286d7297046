//! Enrollment tokens: what a data plane shows once, to become one of the installation.
//!
//! Invariant: a use is taken by one statement, in the transaction of the enrolment that it allows; what is not enrolled
//! uses nothing up, and a data plane that repeats its enrolment, because it did not hear the answer, uses one.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use sqlx::PgConnection;
use tollgate_proto::{DataPlaneId, EnrollmentToken as TokenText, EnrollmentTokenId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    app::App,
    audit,
    authority::{self, hex},
    caller::{InstallationCaller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    secret::{self, Digest, Purpose, terms::Terms},
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

const NOUN: &str = "enrollment token";
const KIND: &str = "enrollment_token";
const LIFE_DEFAULT: &str = "1h";
/// Who enrols with the token of the settings, as the audit log has it.
const SETTINGS: &str = "settings";

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentTokenRequest {
    /// What it is for, for people.
    #[serde(default)]
    #[schema(max_length = 120)]
    pub name: String,
    /// How long it may be used, from `1m` to `366d`; `1h` unless told.
    #[schema(example = "1h")]
    pub expires_in: Option<String>,
    /// How many data planes may join with it, from 1 to 10000; 1 unless told.
    #[schema(minimum = 1, maximum = 10_000)]
    pub uses: Option<u32>,
}

/// A token as it is shown afterwards.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EnrollmentToken {
    /// Its id.
    #[schema(value_type = String)]
    pub id: EnrollmentTokenId,
    /// What it is for.
    pub name: String,
    /// The beginning of its digest, to tell tokens apart.
    #[schema(example = "sha256:ab12cd34")]
    pub fingerprint: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// How many data planes may still join with it.
    pub uses_left: i32,
}

/// The tokens of the installation.
pub type EnrollmentTokenPage = Page<EnrollmentToken>;

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewEnrollmentToken {
    /// Its id.
    #[schema(value_type = String)]
    pub id: EnrollmentTokenId,
    /// The token, shown this once: a secret and, behind a dot, the fingerprint of the authority that the data plane is to
    /// trust.
    #[serde(serialize_with = "shown_once")]
    #[schema(value_type = String)]
    pub enrollment_token: Zeroizing<String>,
    /// SHA-256 of the authority's certificate in hex.
    pub authority_sha256: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// How many data planes may join with it.
    pub uses_left: u32,
}

/// With what a data plane enrols.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// Absent for the token of the settings.
    pub(crate) id: Option<EnrollmentTokenId>,
    /// For the audit log.
    pub(crate) name: String,
}

/// Why a token opens nothing. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenRefusal {
    #[error("there is no such enrollment token, or it was deleted: make one with `tollgate data-planes enroll`")]
    Unknown,
    #[error("the enrollment token expired at {0}: make another one with `tollgate data-planes enroll`")]
    Expired(DateTime<Utc>),
    #[error("the enrollment token has been used: make another one with `tollgate data-planes enroll`")]
    Spent,
    #[error("enrollment tokens cannot be looked up: {0}")]
    Storage(#[from] sqlx::Error),
}

/// The tokens that have not been deleted, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn list(app: &App, caller: &InstallationCaller) -> Result<EnrollmentTokenPage, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.platform().await?;
    Ok(Page { items: sql::list(&mut tx).await?, next_cursor: None })
}

/// Forgets tokens that have long been over.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App) -> Result<(), sqlx::Error> {
    let mut tx = app.db.platform().await?;
    sql::forget_old(&mut tx).await?;
    tx.commit().await
}

/// Makes a token.
///
/// # Errors
/// [`ApiError::Invalid`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn create(
    app: &App,
    caller: &InstallationCaller,
    asked: &EnrollmentTokenRequest,
) -> Result<NewEnrollmentToken, ApiError> {
    caller.require(Role::Admin)?;
    let Terms { life, uses } = check(asked)?;
    let authority = authority::of(app).await.map_err(ApiError::internal)?.fingerprint();
    let generated = secret::generate(Purpose::EnrollmentToken);
    let id = EnrollmentTokenId::new();
    let expires_at = Utc::now() + life;
    let actor = &caller.as_caller().actor;
    let mut tx = app.db.tenant(caller.as_caller().tenant).await?;
    let new = sql::New { id, digest: &generated.digest, name: &asked.name, actor, expires_at, uses };
    sql::insert(&mut tx, &new).await?;
    let detail = json!({ "expires_at": expires_at, "uses": uses });
    record(&mut tx, caller, "create", id, &asked.name, detail).await?;
    tx.commit().await?;
    let enrollment_token = Zeroizing::new(TokenText::write(&generated.text, &authority));
    Ok(NewEnrollmentToken { id, enrollment_token, authority_sha256: hex(&authority), expires_at, uses_left: uses })
}

/// Deletes a token: nobody joins with it from then on.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn remove(app: &App, caller: &InstallationCaller, id: &str) -> Result<(), ApiError> {
    caller.require(Role::Admin)?;
    let not_found = || ApiError::NotFound { noun: NOUN, key: id.to_owned() };
    let token: EnrollmentTokenId = id.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.as_caller().tenant).await?;
    let name = sql::delete(&mut tx, token).await?.ok_or_else(not_found)?;
    record(&mut tx, caller, "delete", token, &name, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes one use of the token `shown`, which lasts if the transaction commits. The token of the settings has no end.
pub(crate) async fn consume(
    app: &App,
    connection: &mut PgConnection,
    shown: &str,
    data_plane: DataPlaneId,
    key_digest: &[u8],
) -> Result<Admission, TokenRefusal> {
    let digest = Digest::of(shown);
    let shared = app.enrolment.shared_token.as_ref();
    if shared.is_some_and(|shared| digest.matches(Digest::of(shared.expose_secret()).as_bytes())) {
        return Ok(Admission { id: None, name: SETTINGS.to_owned() });
    }
    if !secret::well_formed(Purpose::EnrollmentToken, shown) {
        return Err(TokenRefusal::Unknown);
    }
    if let Some(admission) = sql::consume(connection, &digest, data_plane, key_digest).await? {
        return Ok(admission);
    }
    match sql::expiry(connection, &digest).await? {
        None => Err(TokenRefusal::Unknown),
        Some(at) if at <= Utc::now() => Err(TokenRefusal::Expired(at)),
        Some(_) => Err(TokenRefusal::Spent),
    }
}

fn check(asked: &EnrollmentTokenRequest) -> Result<Terms, ApiError> {
    let mut faults = Faults::default();
    faults.check_text("/name", &asked.name);
    Terms::check(asked.expires_in.as_deref(), LIFE_DEFAULT, asked.uses, faults)
}

async fn record(
    tx: &mut TenantTx,
    caller: &InstallationCaller,
    verb: &str,
    id: EnrollmentTokenId,
    name: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &caller.as_caller().actor,
        action: &format!("{KIND}.{verb}"),
        object_kind: KIND,
        object_id: &id.to_string(),
        object_name: name,
        detail,
    };
    audit::record(tx, event).await
}

fn shown_once<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}
