//! Users over REST.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::directory::{self, NewUser, UserObject, UserPage};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{InTenant, Patch, Precondition},
    revocations::Outcome,
    users,
};

const LINK_TTL: Duration = Duration::from_secs(15 * 60);

/// Parameters of a path to a user.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfUser {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// E-mail address or id of the user.
    #[param(example = "ada@example.com")]
    pub email: String,
}

/// A one-time sign-in link.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInLink {
    /// The address to open in a browser. It works once.
    #[schema(example = "https://tollgate.example.com/sign-in?token=tgl_…")]
    pub url: String,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// Lists users
///
/// In the order of their addresses.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/users", tag = "users", operation_id = "users.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of users", body = UserPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<UserPage, ApiError> {
    directory::list(&app, &caller, &query).await
}

/// Gets a user
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/users/{email}", tag = "users", operation_id = "users.get",
    params(OfUser),
    responses((status = 200, description = "The user", body = UserObject, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<OfUser>) -> Result<UserObject, ApiError> {
    directory::get(&app, &caller, &at.email).await
}

/// Creates a user
///
/// Without a password: make a sign-in link for the first time, or let them come through an identity provider. Nobody
/// gives out a role that theirs does not include.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/users", tag = "users", operation_id = "users.create",
    params(InTenant), request_body = NewUser,
    responses(
        (status = 201, description = "The new user", body = UserObject,
            headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewUser>,
) -> Result<Response, ApiError> {
    let user = directory::create(&app, &caller, new).await?;
    let location = format!("/api/v1/tenants/{}/users/{}", caller.tenant_name, user.id);
    let location = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], user).into_response())
}

/// Changes parts of a user
///
/// With a JSON Merge Patch (RFC 7396) of `{spec}`: role, team, display name, state. Who is disabled is signed out, and
/// every token that an agent holds for them is void. The last owner who can sign in stays one.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/users/{email}", tag = "users", operation_id = "users.patch",
    params(OfUser, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The user as changed", body = UserObject, headers(("ETag" = String))),
        WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfUser>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<UserObject, ApiError> {
    directory::patch(&app, &caller, &at.email, &precondition, &patch).await
}

/// Deletes a user
///
/// Their sessions, their consents and what agents may do for them go with them.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/users/{email}", tag = "users", operation_id = "users.remove",
    params(OfUser, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfUser>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    directory::remove(&app, &caller, &at.email, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dispatches `POST …/users/{email}:{action}`, since a route cannot end in a suffix of a parameter.
pub async fn act(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<OfUser>) -> Result<Response, ApiError> {
    match at.email.rsplit_once(':') {
        Some((email, "sign-in-link")) => create_sign_in_link(&app, &caller, email).await,
        Some((email, "revoke")) => revoke(&app, &caller, email).await.map(|done| Json(done).into_response()),
        _ => Err(ApiError::NoRoute),
    }
}

/// Makes a one-time sign-in link
///
/// For a user who has no password or forgot it. Whoever opens the link first is signed in as the user.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/users/{email}:sign-in-link", tag = "users",
    operation_id = "users.create_sign_in_link", params(OfUser),
    responses((status = 201, description = "The link", body = SignInLink), WriteProblems))]
pub(crate) async fn create_sign_in_link(app: &App, caller: &Caller, email: &str) -> Result<Response, ApiError> {
    let link = users::create_sign_in_link(app, caller, email, LINK_TTL).await?;
    let body = SignInLink { url: link.url, expires_at: link.expires_at };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Revokes a user
///
/// Ends their sessions and voids every token that an agent holds for them. They may sign in again.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/users/{email}:revoke", tag = "users",
    operation_id = "users.revoke", params(OfUser),
    responses((status = 200, description = "How far the revocation has come", body = Outcome), WriteProblems))]
pub(crate) async fn revoke(app: &App, caller: &Caller, email: &str) -> Result<Outcome, ApiError> {
    directory::revoke(app, caller, email).await
}
