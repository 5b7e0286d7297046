//! Signing in through an identity provider: away to it, and back.
//!
//! Invariant: an answer is looked at only in the browser that left with its `state`, and once: the cookie that says so
//! goes with the answer, whatever comes of it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::Utc;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Deserialize;

use super::{
    cookie::{self, Cookies},
    page::{Lone, PageError, show_with},
    sign_in::enter,
    visitor::peer,
    way_in::{WayIn, own_path},
};
use crate::{
    app::App,
    error::ApiError,
    identity_providers::{Callback, ProviderError, Wish, attempt::Attempt},
    oauth,
    users::provider::{self, ProviderSignInError, Refusal},
};

/// Whose people, and where they want to go.
#[derive(Debug, Deserialize)]
pub(super) struct Leaving {
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    anew: bool,
}

#[derive(Template)]
#[template(path = "sign_in_refused.html")]
struct RefusedPage {
    shell: Lone,
    text: &'static str,
    /// Where another way to sign in is.
    back: String,
    /// Where the application that sent the user here gets its refusal.
    decline: Option<String>,
}

/// `GET /sign-in/with/{provider}`.
pub(super) async fn leave(
    State(app): State<Arc<App>>,
    Path(provider): Path<String>,
    Query(leaving): Query<Leaving>,
    parts: Parts,
) -> Result<Response, PageError> {
    let Leaving { tenant, next, anew } = leaving;
    let way = WayIn { tenant, next, anew };
    let wish = Wish { next: own_path(&way.next), anew };
    match provider::leave_for(&app, way.tenant(), &provider, wish, peer()).await {
        Ok(departure) => {
            let cookies = Cookies::of(&parts.headers);
            let kept = cookie::begin_attempt(&app, &cookies, &departure.state, &departure.sealed);
            Ok((kept, Redirect::to(departure.url.as_str())).into_response())
        }
        Err(error) => refused(&parts.headers, error, &way),
    }
}

/// `GET /sign-in/callback`: the provider sends the browser here.
pub(super) async fn come_back(
    State(app): State<Arc<App>>,
    Query(callback): Query<Callback>,
    parts: Parts,
) -> Result<Response, PageError> {
    let state = callback.state.clone();
    let sealed = Cookies::of(&parts.headers).attempt(&app, &state).map(str::to_owned);
    let attempt = sealed.and_then(|sealed| Attempt::open(&app, &state, &sealed, Utc::now()));
    let Some(attempt) = attempt else {
        let text = "It took longer than ten minutes, was finished before, or began in another browser. \
                    Nobody was signed in.";
        let shell = Lone::new(&parts.headers, "This sign-in has ended");
        let page = show_with(
            StatusCode::BAD_REQUEST,
            &RefusedPage { shell, text, back: "/sign-in".to_owned(), decline: None },
        )?;
        return Ok((cookie::end_attempt(&app, &state), page).into_response());
    };
    let answer = match provider::return_from(&app, &attempt, callback, peer()).await {
        Ok(begun) => enter(&app, &parts.headers, &begun, &attempt.next),
        Err(error) => {
            let (tenant, next) = (attempt.tenant_name.clone(), attempt.next.clone());
            refused(&parts.headers, error, &WayIn { tenant, next, anew: attempt.anew })?
        }
    };
    let mut answer = answer.into_response();
    for (name, value) in &cookie::end_attempt(&app, &state) {
        answer.headers_mut().append(name, value.clone());
    }
    Ok(answer)
}

/// The page that says why nobody was signed in.
fn refused(headers: &HeaderMap, error: ProviderSignInError, way: &WayIn) -> Result<Response, PageError> {
    let mut retry_after_s = None;
    let (status, title, text) = match error {
        ProviderSignInError::Ours(error) => return Err(error.into()),
        ProviderSignInError::Unknown => {
            return Err(ApiError::NoRoute.into());
        }
        ProviderSignInError::Limited { retry_after } => {
            retry_after_s = Some(retry_after.as_secs() + 1);
            (StatusCode::TOO_MANY_REQUESTS, "Too many sign-ins", "Too many came from your address. Wait a minute.")
        }
        ProviderSignInError::Provider(error) => explain(&error),
        ProviderSignInError::Refused(refusal) => (StatusCode::FORBIDDEN, "You cannot come in", reason(refusal)),
    };
    let mut page = show_with(
        status,
        &RefusedPage {
            shell: Lone::new(headers, title),
            text,
            back: way.path(),
            decline: oauth::decline_path(&way.next),
        },
    )?;
    page.headers_mut().extend(retry_after_s.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
    Ok(page)
}

fn explain(error: &ProviderError) -> (StatusCode, &'static str, &'static str) {
    match error {
        ProviderError::Refused(code) if code == "access_denied" => (
            StatusCode::FORBIDDEN,
            "Your identity provider said no",
            "You cancelled there, or it does not let you use Tollgate.",
        ),
        ProviderError::Refused(_) => (
            StatusCode::BAD_GATEWAY,
            "Your identity provider said no",
            "It answered with an error. An administrator finds it in the audit log.",
        ),
        ProviderError::Untrusted(_) => (
            StatusCode::BAD_GATEWAY,
            "This sign-in failed",
            "The identity provider's answer does not prove who you are. An administrator finds the reason in the \
             audit log.",
        ),
        ProviderError::Unusable(_) | ProviderError::Ours(_) => (
            StatusCode::BAD_GATEWAY,
            "Your identity provider does not answer",
            "Try again in a moment. Who is signed in stays so, and other ways to sign in work.",
        ),
    }
}

const fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoRole => {
            "Your identity provider says who you are, but none of your groups gives you a role here. Ask an \
             administrator of the tenant to map one of them."
        }
        Refusal::NotInvited => {
            "Your identity provider says who you are, but it makes no new users here. Ask an administrator of the \
             tenant."
        }
        Refusal::NoAddress => {
            "Your identity provider does not say which verified e-mail address is yours, and without one you cannot \
             become a user here."
        }
        Refusal::AddressTaken => {
            "Somebody here has your e-mail address already, and an address alone does not prove that it is you. Sign \
             in as you did before, or ask an administrator of the tenant to delete the other user."
        }
        Refusal::Disabled => "An administrator of the tenant has disabled you.",
    }
}
