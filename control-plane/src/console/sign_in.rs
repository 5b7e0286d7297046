//! Signing in and out.
//!
//! Invariant: a session's cookie is set only here and in [`super::account`], each time with a new secret.

use std::sync::Arc;

use askama::Template;
use axum::{
    body::Body,
    extract::{FromRequest, Query, Request, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    cookie::{self, Cookies},
    csrf, filters,
    page::{Done, Lone, PageError, show_with},
    visitor::{Nothing, Posted, peer, read_form},
    way_in::{WayIn, own_path},
};
use crate::{
    app::App,
    identity_providers::Choice,
    oauth,
    secret::{self, Digest, Purpose},
    users::{self, Begun, SignInError},
};

/// What the address of the page may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SignInQuery {
    token: Option<String>,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    anew: bool,
    done: Option<String>,
}

/// What the form sends.
#[derive(Deserialize)]
struct SignInForm {
    email: String,
    password: String,
    tenant: String,
    next: String,
    #[serde(default)]
    anew: bool,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    shell: Lone,
    csrf: String,
    way: WayIn,
    email: String,
    /// What the application is called that sent the user here.
    wanted_by: Option<String>,
    done: Option<Done>,
    wrong: Option<String>,
    /// Whether there are fields for a password.
    password: bool,
    providers: Vec<Button>,
}

/// Leads to an identity provider.
struct Button {
    label: String,
    href: String,
}

#[derive(Template)]
#[template(path = "link_spent.html")]
struct LinkSpentPage {
    shell: Lone,
}

/// `GET /sign-in`: redeems a one-time link, or shows the form.
pub(super) async fn form(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    Query(query): Query<SignInQuery>,
) -> Result<Response, PageError> {
    // What only asks for the headers must not spend a link.
    if let (Some(token), Method::GET) = (&query.token, method) {
        return match users::redeem_link(&app, token).await {
            Ok(begun) => Ok(enter(&app, &headers, &begun, "/")),
            Err(SignInError::Database(error)) => Err(error.into()),
            Err(_) => show_with(StatusCode::GONE, &LinkSpentPage { shell: Lone::new(&headers, "This link is spent") }),
        };
    }
    let done = query.done.as_deref().and_then(|code| Done::of_query(&format!("done={code}")));
    let SignInQuery { tenant, next, anew, .. } = query;
    let way = WayIn { tenant, next, anew };
    let email = if anew { known_address(&app, &headers).await? } else { String::new() };
    show_form(&app, &headers, StatusCode::OK, Filled { way, done, email, ..Filled::default() }).await
}

/// `POST /sign-in`: checks e-mail address and password.
pub(super) async fn submit(State(app): State<Arc<App>>, request: Request) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let holder = Cookies::of(&headers).form(&app).map(Digest::of).ok_or(PageError::Forged)?;
    let form: SignInForm = read_form(&app, parts, body, &holder).await?;
    let way = WayIn { tenant: form.tenant, next: form.next, anew: form.anew };
    let password = Zeroizing::new(form.password);
    let error = match users::sign_in(&app, way.tenant(), form.email.trim(), password, peer()).await {
        Ok(begun) => return Ok(enter(&app, &headers, &begun, &way.next)),
        Err(SignInError::Database(error)) => return Err(error.into()),
        Err(error) => error,
    };
    let (status, retry_after_s) = refusal(&error);
    let wrong = Some(explain(&error));
    let filled = Filled { way, email: form.email, wrong, done: None };
    let mut response = show_form(&app, &headers, status, filled).await?;
    response.headers_mut().extend(retry_after_s.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
    Ok(response)
}

/// `POST /sign-out`.
pub(super) async fn leave(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, PageError> {
    let headers = request.headers().clone();
    let posted: Posted<Nothing> = Posted::from_request(request, &app).await?;
    let session = &posted.visitor.session;
    users::sign_out(&app, session).await?;
    let cookies = cookie::end_session(&app, &Cookies::of(&headers));
    let way = WayIn { tenant: session.user.tenant.clone(), ..WayIn::default() };
    Ok((cookies, Done::SignedOut.then(&way.path())).into_response())
}

/// What the form starts with.
#[derive(Default)]
struct Filled {
    way: WayIn,
    email: String,
    done: Option<Done>,
    wrong: Option<String>,
}

async fn show_form(app: &App, headers: &HeaderMap, status: StatusCode, filled: Filled) -> Result<Response, PageError> {
    let ways = users::ways(app, filled.way.tenant()).await?;
    let button = |choice: Choice| Button { href: filled.way.path_through(&choice.name), label: choice.label };
    // Another tab's form stays valid: the secret is kept while the browser has one.
    let held = Cookies::of(headers).form(app).map(|text| Zeroizing::new(text.to_owned()));
    let held = held.filter(|text| secret::well_formed(Purpose::Session, text));
    let secret = held.unwrap_or_else(|| secret::generate(Purpose::Session).text);
    let page = SignInPage {
        password: ways.password,
        providers: ways.providers.into_iter().map(button).collect(),
        shell: Lone::new(headers, "Sign in"),
        csrf: csrf::token(app, &Digest::of(&secret)),
        wanted_by: oauth::wanted_by(app, &filled.way.next).await?,
        way: filled.way,
        email: filled.email,
        done: filled.done,
        wrong: filled.wrong,
    };
    Ok((cookie::begin_form(app, &secret), show_with(status, &page)?).into_response())
}

/// The address of who is signed in, for who has to sign in once more; empty when nobody is.
async fn known_address(app: &App, headers: &HeaderMap) -> Result<String, PageError> {
    let Some(text) = Cookies::of(headers).session(app) else { return Ok(String::new()) };
    Ok(users::resume(app, text).await?.map(|session| session.user.email).unwrap_or_default())
}

/// Begins a session in this browser and goes to `next`.
pub(super) fn enter(app: &App, headers: &HeaderMap, begun: &Begun, next: &str) -> Response {
    let cookies = cookie::begin_session(app, &Cookies::of(headers), &begun.tenant, &begun.text);
    (cookies, Redirect::to(own_path(next))).into_response()
}

pub(super) fn refusal(error: &SignInError) -> (StatusCode, Option<u64>) {
    match error {
        SignInError::Limited { retry_after } => (StatusCode::TOO_MANY_REQUESTS, Some(retry_after.as_secs() + 1)),
        SignInError::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, Some(2)),
        SignInError::Wrong | SignInError::Spent | SignInError::PasswordsOff => (StatusCode::UNPROCESSABLE_ENTITY, None),
        SignInError::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(2)),
    }
}

fn explain(error: &SignInError) -> String {
    match error {
        SignInError::Limited { retry_after } => {
            let minutes = retry_after.as_secs().div_ceil(60);
            format!("Too many attempts for this address. Try again in {minutes} minutes, or use a one-time link.")
        }
        SignInError::PasswordsOff => "Passwords are switched off here. Use one of the other ways.".to_owned(),
        SignInError::Busy(_) => "Many people are signing in right now. Try again in a moment.".to_owned(),
        _ => "The e-mail address or the password is wrong.".to_owned(),
    }
}
