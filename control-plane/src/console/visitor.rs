//! Who looks at a page: the signed-in user, or a redirect to the sign-in.
//!
//! Invariant: the rights of a visitor are those of the [`Caller`] that the REST API would see; pages add no rule but
//! [`Visitor::require_recent_sign_in`].

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    Form,
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use chrono::Utc;
use http::{HeaderMap, Method, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    cookie::Cookies,
    csrf,
    page::{Done, PageError},
    way_in::WayIn,
};
use crate::{
    app::App,
    caller::{Caller, Role},
    client_address,
    error::ApiError,
    request::body,
    secret::Digest,
    users::{self, Session},
};

const FORM_BYTES_MAX: usize = 256 * 1024;

/// A signed-in user and how they came.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) session: Session,
    pub(crate) caller: Caller,
    pub(crate) theme: Option<&'static str>,
    /// The token for this session's forms.
    pub(crate) csrf: String,
    /// What the visitor has just done.
    pub(crate) done: Option<Done>,
}

impl Visitor {
    /// Whether the forms that change things are of use to the visitor.
    pub(crate) fn may_edit(&self) -> bool {
        self.caller.require(Role::Operator).is_ok()
    }

    /// Whether there is anything in the console for the visitor but their own account.
    pub(crate) fn uses_console(&self) -> bool {
        self.caller.require(Role::Viewer).is_ok()
    }

    /// Sends who proved more than five minutes ago who they are to the sign-in page, and then to `page`: for what touches
    /// secrets, keys, or how people sign in.
    pub(crate) fn require_recent_sign_in(&self, page: &str) -> Result<(), PageError> {
        if self.session.is_recent(Utc::now()) {
            return Ok(());
        }
        let tenant = self.session.user.tenant.clone();
        Err(PageError::SignIn(WayIn { tenant, next: page.to_owned(), anew: true }))
    }
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, PageError> {
        let cookies = Cookies::of(&parts.headers);
        let session = match cookies.session(app) {
            Some(text) => users::resume(app, text).await.map_err(ApiError::from)?,
            None => None,
        };
        let Some(session) = session else {
            let asked = parts.uri.path_and_query().filter(|_| parts.method == Method::GET);
            let next = asked.map(ToString::to_string).unwrap_or_default();
            return Err(PageError::SignIn(WayIn { next, ..WayIn::default() }));
        };
        Ok(Self {
            caller: session.user.caller(),
            theme: cookies.theme(),
            csrf: csrf::token(app, &session.digest),
            done: parts.uri.query().and_then(Done::of_query),
            session,
        })
    }
}

/// A form that a page of ours sent in the visitor's session.
#[derive(Debug)]
pub(crate) struct Posted<T> {
    pub(crate) visitor: Visitor,
    pub(crate) form: T,
}

/// A form that says nothing but that it was sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Posted<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let form = read_form(app, parts, body, &visitor.session.digest).await?;
        Ok(Self { visitor, form })
    }
}

/// Reads a form whose token is that of `holder`.
///
/// # Errors
/// [`PageError::Forged`] when it was not sent by a page of ours.
pub(crate) async fn read_form<T: DeserializeOwned>(
    app: &App,
    parts: Parts,
    body: Body,
    holder: &Digest,
) -> Result<T, PageError> {
    if !csrf::sent_by_us(app, &parts.headers) {
        return Err(PageError::Forged);
    }
    let bytes = body::read(body, FORM_BYTES_MAX).await.map_err(ApiError::from)?;
    let token = form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf").map(|(_, value)| value.into_owned());
    if !token.is_some_and(|token| csrf::matches(app, holder, &token)) {
        return Err(PageError::Forged);
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    let Form(form) = Form::from_request(request, &()).await.map_err(|rejection| {
        // Only a form that was not written by our pages lacks a field or has one of another type.
        PageError::from(ApiError::Query(rejection.body_text()))
    })?;
    Ok(form)
}

/// The address that the request came from; all unknown ones count as one.
pub(crate) fn peer() -> IpAddr {
    client_address::current().unwrap_or(Ipv6Addr::UNSPECIFIED.into())
}

/// The chosen theme of a visitor who need not be signed in.
pub(crate) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    Cookies::of(headers).theme()
}
