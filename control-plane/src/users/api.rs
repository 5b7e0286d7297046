//! Users over REST.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, WriteProblems},
    request::Path,
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
    /// E-mail address of the user.
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

/// Dispatches `POST …/users/{email}:{action}`, since a route cannot end in a suffix of a parameter.
pub async fn act(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<OfUser>) -> Result<Response, ApiError> {
    match at.email.rsplit_once(':') {
        Some((email, "sign-in-link")) => create_sign_in_link(&app, &caller, email).await,
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
