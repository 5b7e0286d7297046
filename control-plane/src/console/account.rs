//! The visitor's own page: password and theme.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    cookie::{self, Cookies},
    page::{Done, PageError, Section, Shell, show, show_with},
    sign_in::refusal,
    visitor::{Posted, Visitor, peer},
    way_in::own_path,
};
use crate::{
    app::App,
    users::{self, PasswordError, SignInError},
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    has_password: bool,
    asks_old: bool,
    wrong_old: Option<String>,
    wrong_new: Option<String>,
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    old: String,
    new: String,
}

#[derive(Deserialize)]
pub(super) struct ThemeForm {
    theme: String,
    back: String,
}

/// `GET /account`.
pub(super) async fn show_account(visitor: Visitor) -> Result<Response, PageError> {
    show(&page(&visitor, None, None))
}

/// `POST /account/password`.
pub(super) async fn set_password(State(app): State<Arc<App>>, request: Request) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let Posted { visitor, form } = Posted::<PasswordForm>::from_request(Request::from_parts(parts, body), &app).await?;
    if !users::asks_old_password(&visitor.session) {
        visitor.require_recent_sign_in("/account")?;
    }
    match users::set_password(&app, &visitor.session, Zeroizing::new(form.old), Zeroizing::new(form.new), peer()).await
    {
        Ok(begun) => {
            let cookies = cookie::begin_session(&app, &Cookies::of(&headers), &begun.tenant, &begun.text);
            Ok((cookies, Done::PasswordSet.then("/account")).into_response())
        }
        Err(PasswordError::Weak(weakness)) => {
            show_with(StatusCode::UNPROCESSABLE_ENTITY, &page(&visitor, None, Some(weakness.to_string())))
        }
        Err(PasswordError::Off) => {
            let text = "Passwords are switched off in this tenant.".to_owned();
            show_with(StatusCode::UNPROCESSABLE_ENTITY, &page(&visitor, None, Some(text)))
        }
        Err(PasswordError::Old(SignInError::Database(error))) => Err(error.into()),
        Err(PasswordError::Old(error)) => {
            let text = match error {
                SignInError::Wrong => "This is not your current password.",
                _ => "Too many attempts. Try again later, or sign in with a one-time link.",
            };
            show_with(refusal(&error).0, &page(&visitor, Some(text.to_owned()), None))
        }
    }
}

/// `POST /account/theme`.
pub(super) async fn set_theme(State(app): State<Arc<App>>, posted: Posted<ThemeForm>) -> Response {
    let Posted { form, .. } = posted;
    (cookie::choose_theme(&app, &form.theme), Redirect::to(own_path(&form.back))).into_response()
}

fn page(visitor: &Visitor, wrong_old: Option<String>, wrong_new: Option<String>) -> AccountPage {
    AccountPage {
        shell: Shell::new(visitor, Section::Other, "Account"),
        has_password: visitor.session.user.has_password,
        asks_old: users::asks_old_password(&visitor.session),
        wrong_old,
        wrong_new,
    }
}
