//! The people of a tenant as objects of the API: listed, made, changed and deleted.
//!
//! Invariant: nobody gives out more than they have, nor touches who has more; and a tenant never loses its last owner
//! who can sign in.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_proto::{Name, TeamId, UserId};
use utoipa::ToSchema;

use super::{UserState, end_sessions, is_address, record, sql};
use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::{Listing, Page, PageQuery},
    policy, request,
    resource::{self, Patch, Precondition},
    revocations::{self, Outcome, Revoked},
    teams,
};

const NOUN: &str = "user";
const COLLECTION: &str = "users";

/// A user as the API shows them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserObject {
    /// Their id.
    #[schema(value_type = String, example = "usr_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: UserId,
    /// The address that they sign in with, fixed for life.
    pub email: String,
    /// What may be changed.
    pub spec: UserSpec,
    /// What the server says about them.
    pub status: UserStatus,
    /// When they were created.
    pub created_at: DateTime<Utc>,
    /// When they last changed.
    pub updated_at: DateTime<Utc>,
    /// 1 at first, one more with each change.
    pub revision: i64,
    /// For `If-Match`.
    pub etag: String,
}

/// One page of users.
pub type UserPage = Page<UserObject>;

/// What is said about a user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// What they may do here.
    pub role: Role,
    /// The name of the team that calls made for them are charged to; the agent's team when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Whether they may sign in, and agents act for them.
    #[serde(default)]
    pub state: UserState,
}

/// What the server says about a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserStatus {
    /// Whether a password was chosen.
    pub has_password: bool,
    /// Who they are to identity providers.
    pub identities: Vec<Identity>,
}

/// Who a user is to an identity provider.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// The provider's name.
    pub provider: String,
    /// What the provider calls them.
    pub subject: String,
    /// When they last signed in through it.
    pub last_seen_at: DateTime<Utc>,
}

/// The body that creates a user.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The address to sign in with; unique in the tenant, whatever its case.
    #[schema(example = "ada@example.com")]
    pub email: String,
    /// What is said about them.
    pub spec: UserSpec,
}

/// What a patch is applied to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    spec: UserSpec,
}

/// What a user's spec means.
struct Meaning {
    team: Option<TeamId>,
    display_name: String,
}

/// One page of the tenant's users, in the order of their addresses.
///
/// # Errors
/// For a limit or cursor out of bounds, or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, query: &PageQuery) -> Result<UserPage, ApiError> {
    caller.require(Role::Viewer)?;
    let limit = query.limit()?;
    let listing = Listing::new(app, caller.tenant, COLLECTION, &());
    let after: Option<String> = listing.after(query.cursor.as_deref())?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let rows = sql::list(&mut tx, after.as_deref(), one_more).await?;
    let users = rows.into_iter().map(UserObject::of).collect::<Result<Vec<_>, _>>()?;
    listing.page(users, limit, |user| user.email.to_lowercase())
}

/// The user with this id or address.
///
/// # Errors
/// [`ApiError::NotFound`], also for another tenant's; or when Postgres is away.
pub async fn get(app: &App, caller: &Caller, key: &str) -> Result<UserObject, ApiError> {
    caller.require(Role::Viewer)?;
    existing(&mut app.db.tenant(caller.tenant).await?, key).await
}

/// Creates a user, who has no password yet: they come by a sign-in link first.
///
/// # Errors
/// [`ApiError::NameTaken`], [`ApiError::Invalid`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn create(app: &App, caller: &Caller, new: NewUser) -> Result<UserObject, ApiError> {
    caller.require(Role::Admin)?;
    caller.require(new.spec.role)?;
    if !is_address(&new.email) {
        return Err(ApiError::fault("/email", "email", "write an e-mail address, as in `ada@example.com`"));
    }
    let mut tx = app.db.tenant(caller.tenant).await?;
    let meaning = interpret(&mut tx, &new.spec).await?;
    let row = sql::NewUser {
        email: &new.email,
        role: new.spec.role,
        team: meaning.team,
        display_name: &meaning.display_name,
        state: new.spec.state,
    };
    if insert(&mut tx, &caller.actor, row).await?.is_none() {
        return Err(ApiError::NameTaken { noun: NOUN, name: new.email });
    }
    let user = existing(&mut tx, &new.email).await?;
    tx.commit().await?;
    Ok(user)
}

/// Applies a JSON Merge Patch (RFC 7396) of `{spec}` to the user with this id or address. Who is disabled has no
/// session from then on, and no token that was issued to an agent for them is good any longer.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::PreconditionRequired`], [`ApiError::PreconditionFailed`],
/// [`ApiError::Invalid`], [`ApiError::LastOwner`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn patch(
    app: &App,
    caller: &Caller,
    key: &str,
    precondition: &Precondition,
    patch: &Patch,
) -> Result<UserObject, ApiError> {
    caller.require(Role::Admin)?;
    let mut tx = resource::begin(app, caller).await?;
    let current = existing(&mut tx, key).await?;
    precondition.allows_change(&current.etag)?;
    let mut patched = json!({ "spec": current.spec });
    resource::merge(&mut patched, &patch.0);
    let Content { spec } = request::decode(patched)?;
    caller.require(current.spec.role)?;
    caller.require(spec.role)?;
    let meaning = interpret(&mut tx, &spec).await?;
    if !(spec.role == Role::Owner && spec.state == UserState::Active) {
        keep_an_owner(&mut tx, &current).await?;
    }
    let changed =
        sql::Change { role: spec.role, team: meaning.team, display_name: &meaning.display_name, state: spec.state };
    sql::update(&mut tx, current.id, changed).await?;
    let detail = json!({ "before": current.spec, "after": spec });
    record(&mut tx, &caller.actor, "user.update", current.id, &current.email, detail).await?;
    if spec.state == UserState::Disabled && current.spec.state == UserState::Active {
        shut_out(&mut tx, current.id, "the user was disabled").await?;
    }
    let user = existing(&mut tx, &current.email).await?;
    tx.commit().await?;
    Ok(user)
}

/// Deletes the user with this id or address, with their sessions, consents and every agent's authorization to act for
/// them.
///
/// # Errors
/// Those of [`patch`].
pub async fn remove(app: &App, caller: &Caller, key: &str, precondition: &Precondition) -> Result<(), ApiError> {
    caller.require(Role::Admin)?;
    let mut tx = resource::begin(app, caller).await?;
    let current = existing(&mut tx, key).await?;
    precondition.allows_change(&current.etag)?;
    caller.require(current.spec.role)?;
    keep_an_owner(&mut tx, &current).await?;
    shut_out(&mut tx, current.id, "the user was deleted").await?;
    sql::delete(&mut tx, current.id).await?;
    let detail = json!({ "before": current.spec });
    record(&mut tx, &caller.actor, "user.delete", current.id, &current.email, detail).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends every session of the user and voids every token that an agent holds for them; they may sign in again. Answers
/// how far the data planes are.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn revoke(app: &App, caller: &Caller, key: &str) -> Result<Outcome, ApiError> {
    caller.require(Role::Admin)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let current = existing(&mut tx, key).await?;
    caller.require(current.spec.role)?;
    let revision = shut_out(&mut tx, current.id, "an administrator revoked the user").await?;
    let detail = json!({ "revocation": revision });
    record(&mut tx, &caller.actor, "user.revoke", current.id, &current.email, detail).await?;
    Ok(revocations::commit(app, tx, revision).await?)
}

/// Makes a user unless the tenant has one with this address, and tells the data planes.
pub(super) async fn insert(
    tx: &mut TenantTx,
    actor: &str,
    new: sql::NewUser<'_>,
) -> Result<Option<UserId>, sqlx::Error> {
    let id = UserId::new();
    policy::bump(tx).await?;
    let (email, role) = (new.email, new.role);
    if !sql::insert(tx, id, new).await? {
        return Ok(None);
    }
    record(tx, actor, "user.create", id, email, json!({ "role": role })).await?;
    Ok(Some(id))
}

impl UserObject {
    fn of(row: sql::DirectoryRow) -> Result<Self, ApiError> {
        Ok(Self {
            id: row.id.into(),
            email: row.email,
            spec: UserSpec {
                role: row.role.parse().map_err(ApiError::internal)?,
                team: row.team.map(|team| team.parse()).transpose().map_err(ApiError::internal)?,
                display_name: Some(row.display_name).filter(|name| !name.is_empty()),
                state: UserState::deserialize(Value::from(row.state)).map_err(ApiError::internal)?,
            },
            status: UserStatus {
                has_password: row.has_password,
                identities: serde_json::from_value(row.identities).map_err(ApiError::internal)?,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
            etag: format!("\"{}\"", row.revision),
        })
    }
}

impl IntoResponse for UserObject {
    fn into_response(self) -> Response {
        let etag = HeaderValue::from_str(&self.etag).expect("a number in quotes");
        ([(header::ETAG, etag)], Json(self)).into_response()
    }
}

async fn existing(tx: &mut TenantTx, key: &str) -> Result<UserObject, ApiError> {
    let row = match key.parse::<UserId>() {
        Ok(id) => sql::one(tx, Some(id), None).await?,
        Err(_) => sql::one(tx, None, Some(key)).await?,
    };
    UserObject::of(row.ok_or_else(|| ApiError::NotFound { noun: NOUN, key: key.to_owned() })?)
}

async fn interpret(tx: &mut TenantTx, spec: &UserSpec) -> Result<Meaning, ApiError> {
    let mut faults = Faults::default();
    let display_name = spec.display_name.clone().unwrap_or_default();
    faults.check_text("/spec/display_name", &display_name);
    let team = match &spec.team {
        Some(team) => teams::look_up(tx, team, "/spec/team", &mut faults).await?,
        None => None,
    };
    if faults.is_empty() { Ok(Meaning { team, display_name }) } else { Err(ApiError::Invalid(faults)) }
}

/// Refuses to take away the last owner who can sign in. The tenant's row is locked, so that of two owners who demote
/// each other at the same time one remains.
async fn keep_an_owner(tx: &mut TenantTx, current: &UserObject) -> Result<(), ApiError> {
    let counts = current.spec.role == Role::Owner && current.spec.state == UserState::Active;
    if counts && !sql::has_other_owner(tx, current.id).await? {
        return Err(ApiError::LastOwner);
    }
    Ok(())
}

/// Ends the user's sessions and voids every token that acts for them; answers the revocation's number.
async fn shut_out(tx: &mut TenantTx, user: UserId, reason: &str) -> Result<i64, sqlx::Error> {
    let revision = revocations::revoke(tx, Revoked::User(user), reason).await?;
    end_sessions(tx, user).await?;
    Ok(revision)
}
