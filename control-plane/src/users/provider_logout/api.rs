//! The endpoint to which identity providers send logout tokens (OpenID Connect Back-Channel Logout 1.0 sections 2.5 and
//! 2.8).
//!
//! Invariant: no answer is stored by caches, and a fault of ours is 503, never 400: providers give up after a 400.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::FormRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::{LogoutError, sign_out};
use crate::app::App;

const BODY_BYTES_MAX: usize = 64 * 1024;
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why the endpoint did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum EndpointError {
    #[error("this endpoint answers POST only")]
    Method,
    #[error("the body must be a form with one logout_token: {0}")]
    Body(String),
    #[error(transparent)]
    Logout(#[from] LogoutError),
}

/// What providers send.
#[derive(Deserialize)]
struct LogoutForm {
    logout_token: String,
}

/// The route of the endpoint.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/t/{tenant}/sign-in/{provider}/backchannel-logout",
            post(answer).fallback(async || EndpointError::Method),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn answer(
    State(app): State<Arc<App>>,
    Path((tenant, provider)): Path<(String, String)>,
    form: Result<Form<LogoutForm>, FormRejection>,
) -> Result<Response, EndpointError> {
    let Form(form) = form.map_err(|rejection| EndpointError::Body(rejection.body_text()))?;
    if let Err(error) = sign_out(&app, &tenant, &provider, &form.logout_token).await {
        let shown = |text: &str| text.chars().take(64).collect::<String>();
        tracing::warn!(tenant = shown(&tenant), provider = shown(&provider), %error, "nobody was signed out");
        return Err(error.into());
    }
    Ok(never_stored(StatusCode::OK.into_response()))
}

impl IntoResponse for EndpointError {
    fn into_response(self) -> Response {
        let said = self.to_string();
        let (status, code, description): (_, _, Cow<'_, str>) = match &self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request", said.into()),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "invalid_request", said.into()),
            Self::Logout(LogoutError::Unknown) => (StatusCode::NOT_FOUND, "not_found", said.into()),
            Self::Logout(LogoutError::Untrusted(_) | LogoutError::Replayed) => {
                (StatusCode::BAD_REQUEST, "invalid_request", said.into())
            }
            Self::Logout(LogoutError::Unusable(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", said.into())
            }
            Self::Logout(LogoutError::Ours(error)) => {
                error.log();
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again".into())
            }
        };
        let body = json!({ "error": code, "error_description": description });
        let mut response = (status, Json(body)).into_response();
        match status {
            StatusCode::SERVICE_UNAVAILABLE => response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER),
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"))
            }
            _ => None,
        };
        never_stored(response)
    }
}

fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
