//! What all pages share: the frame around them, the answer they are sent in, and what is shown instead when
//! something is wrong.
//!
//! Invariant: every page leaves through [`dress`], which puts the security headers on it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{assets, visitor, visitor::Visitor, way_in::WayIn};
use crate::{app::App, error::ApiError};

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Which entry of the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Home,
    Servers,
    Toolsets,
    Agents,
    Access,
    Usage,
    Alerts,
    Calls,
    Audit,
    Sessions,
    Users,
    Fleet,
    Settings,
    /// None of them.
    Other,
}

/// One step on the way to a page.
#[derive(Debug)]
pub(crate) struct Crumb {
    pub(crate) label: &'static str,
    pub(crate) href: &'static str,
}

/// What surrounds a page of a signed-in visitor.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) section: Section,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) theme: Option<&'static str>,
    pub(crate) csrf: String,
    pub(crate) tenant: String,
    pub(crate) email: String,
    pub(crate) role: &'static str,
    pub(crate) may_edit: bool,
    /// Whether the console's pages are of any use to the visitor.
    pub(crate) uses_console: bool,
    pub(crate) done: Option<Done>,
    /// What was searched for.
    pub(crate) search: String,
}

impl Shell {
    pub(crate) fn new(visitor: &Visitor, section: Section, title: impl Into<String>) -> Self {
        let user = &visitor.session.user;
        Self {
            title: title.into(),
            section,
            crumbs: Vec::new(),
            theme: visitor.theme,
            csrf: visitor.csrf.clone(),
            tenant: user.tenant.clone(),
            email: user.email.clone(),
            role: user.role.as_str(),
            may_edit: visitor.may_edit(),
            uses_console: visitor.uses_console(),
            done: visitor.done,
            search: String::new(),
        }
    }

    /// The same page one step further down, below `label`.
    pub(crate) fn under(mut self, label: &'static str, href: &'static str) -> Self {
        self.crumbs.push(Crumb { label, href });
        self
    }

    pub(crate) fn asset(&self, name: &str) -> &'static str {
        assets::href(name)
    }

    /// For `aria-current`: the page itself, or one below it.
    pub(crate) fn current(&self) -> &'static str {
        if self.crumbs.is_empty() { "page" } else { "true" }
    }

    pub(crate) fn is_in(&self, section: Section) -> bool {
        self.section == section
    }
}

/// What surrounds a page that stands alone.
#[derive(Debug)]
pub(crate) struct Lone {
    pub(crate) title: String,
    pub(crate) theme: Option<&'static str>,
}

impl Lone {
    pub(crate) fn new(headers: &HeaderMap, title: impl Into<String>) -> Self {
        Self { title: title.into(), theme: visitor::theme(headers) }
    }

    pub(crate) fn asset(&self, name: &str) -> &'static str {
        assets::href(name)
    }
}

/// What the visitor has just done, carried over the redirect in the query as `done=…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Created,
    Saved,
    Deleted,
    Suspended,
    Activated,
    Approved,
    Revoked,
    TokensRevoked,
    KeyRotated,
    KeyRevoked,
    PasswordSet,
    SignedOut,
    Withdrawn,
    UserDisabled,
    UserActivated,
    UserRevoked,
    SessionEnded,
    DataPlaneRevoked,
    DefinitionApproved,
    ItemBlocked,
    DecisionReset,
    CatalogRead,
    CatalogReadInPart,
    TestDelivered,
    TestFailed,
    Redelivered,
}

impl Done {
    const ALL: [Self; 26] = [
        Self::Created,
        Self::Saved,
        Self::Deleted,
        Self::Suspended,
        Self::Activated,
        Self::Approved,
        Self::Revoked,
        Self::TokensRevoked,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::PasswordSet,
        Self::SignedOut,
        Self::Withdrawn,
        Self::UserDisabled,
        Self::UserActivated,
        Self::UserRevoked,
        Self::SessionEnded,
        Self::DataPlaneRevoked,
        Self::DefinitionApproved,
        Self::ItemBlocked,
        Self::DecisionReset,
        Self::CatalogRead,
        Self::CatalogReadInPart,
        Self::TestDelivered,
        Self::TestFailed,
        Self::Redelivered,
    ];

    const fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Saved => "saved",
            Self::Deleted => "deleted",
            Self::Suspended => "suspended",
            Self::Activated => "activated",
            Self::Approved => "approved",
            Self::Revoked => "revoked",
            Self::TokensRevoked => "tokens-revoked",
            Self::KeyRotated => "key-rotated",
            Self::KeyRevoked => "key-revoked",
            Self::PasswordSet => "password-set",
            Self::SignedOut => "signed-out",
            Self::UserDisabled => "user-disabled",
            Self::UserActivated => "user-activated",
            Self::UserRevoked => "user-revoked",
            Self::DataPlaneRevoked => "data-plane-revoked",
            Self::DefinitionApproved => "definition-approved",
            Self::ItemBlocked => "item-blocked",
            Self::DecisionReset => "decision-reset",
            Self::CatalogRead => "catalog-read",
            Self::CatalogReadInPart => "catalog-read-in-part",
            Self::TestDelivered => "test-delivered",
            Self::TestFailed => "test-failed",
            Self::Redelivered => "redelivered",
            Self::Withdrawn => "withdrawn",
            Self::SessionEnded => "session-ended",
        }
    }

    /// What the next page says.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Created => "Created.",
            Self::Saved => "Saved.",
            Self::Deleted => "Deleted.",
            Self::Suspended => "Suspended. Its calls are refused from now on.",
            Self::Approved => "Approved. What it may do is what is granted to it.",
            Self::Activated => "Activated. Its calls are decided by its grants again.",
            Self::Revoked => "Revoked. No new token can be had with that secret.",
            Self::TokensRevoked => "Revoked. Every token that it had is refused; its secrets still get new ones.",
            Self::KeyRotated => "Rotated. A new key signs; what the old one signed is good until it expires.",
            Self::KeyRevoked => "Revoked. Everything that key signed is refused.",
            Self::PasswordSet => "Password set. Every other session of yours has ended.",
            Self::SignedOut => "You are signed out.",
            Self::UserDisabled => "Disabled. They are signed out, and no agent can act for them.",
            Self::UserActivated => "Activated. They may sign in again.",
            Self::UserRevoked => "Revoked. They are signed out, and no token that acts for them is good any longer.",
            Self::SessionEnded => "Ended. The next request in it is told to begin anew.",
            Self::DataPlaneRevoked => "Revoked. It serves nobody any more.",
            Self::DefinitionApproved => "Approved. Agents see it as far as it is granted to them.",
            Self::ItemBlocked => "Blocked. No agent sees or uses it.",
            Self::DecisionReset => "Taken back. What holds is what the server's approval says.",
            Self::CatalogRead => "Read. The catalog is what the server offers now.",
            Self::CatalogReadInPart => {
                "Read. Some of what the server offers is refused, and said below with the reason."
            }
            Self::TestDelivered => "Delivered. The receiver has taken the test.",
            Self::TestFailed => "Not delivered yet. The list below says why; it is tried again.",
            Self::Redelivered => "Due. It is sent again within a few seconds.",
            Self::Withdrawn => "Taken back. The application has to ask you again.",
        }
    }

    pub(crate) fn of_query(query: &str) -> Option<Self> {
        let (_, code) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "done")?;
        Self::ALL.into_iter().find(|done| done.code() == code)
    }

    /// Goes to the page at `path`, which says what was done.
    pub(crate) fn then(self, path: &str) -> Response {
        let joint = if path.contains('?') { '&' } else { '?' };
        Redirect::to(&format!("{path}{joint}done={}", self.code())).into_response()
    }
}

/// Why a page is not shown.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Nobody is signed in, or somebody has to prove anew who they are.
    SignIn(WayIn),
    /// The form was not sent by a page of ours in this session.
    Forged,
    /// The operation was not done.
    Operation(ApiError),
    /// The template could not be written out.
    Template(askama::Error),
}

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Operation(error.into())
    }
}

/// What stands in for a page; [`dress`] writes it, because it knows the visitor's theme.
#[derive(Debug, Clone)]
struct Failure {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let failure = match self {
            Self::SignIn(way) => return Redirect::to(&way.path()).into_response(),
            Self::Forged => Failure {
                status: StatusCode::FORBIDDEN,
                title: "This form is out of date",
                text: "It was not sent by a page of this console in your current session, so nothing was done. \
                       Go back, reload the page and send it again."
                    .to_owned(),
            },
            Self::Template(error) => return Self::Operation(ApiError::internal(error)).into_response(),
            Self::Operation(error) => {
                error.log();
                Failure::of(&error)
            }
        };
        let mut response = failure.status.into_response();
        if failure.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(failure);
        response
    }
}

impl Failure {
    fn of(error: &ApiError) -> Self {
        let (status, _) = error.kind();
        let title = match status {
            StatusCode::FORBIDDEN if matches!(error, ApiError::OtherTenant) => "Not from this tenant",
            StatusCode::FORBIDDEN => "Your role does not allow this",
            StatusCode::NOT_FOUND => "Not found",
            _ if matches!(error, ApiError::DataPlanesSilent(_)) => "Data planes do not answer",
            StatusCode::SERVICE_UNAVAILABLE => "The database does not answer",
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => "Not done",
            status if status.is_server_error() => "Something went wrong",
            _ => "That did not work",
        };
        let text = match error {
            ApiError::Forbidden { needed, given } => {
                format!(
                    "This needs the role {needed}; yours is {given}. An admin or owner of this tenant can change it."
                )
            }
            ApiError::NotFound { noun, .. } => {
                format!("There is no such {noun} in this tenant. It may have been deleted or renamed.")
            }
            ApiError::PreconditionFailed => {
                "Somebody else changed this after you opened the page, so nothing was done. Go back, reload the page to \
                 see what is there now, then repeat what you wanted."
                    .to_owned()
            }
            ApiError::Unavailable(_) => {
                "Calls of agents go on: data planes hold the policy in memory. Try again in a few seconds.".to_owned()
            }
            error => sentence(&error.to_string()),
        };
        Self { status, title, text }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    shell: Lone,
    status: u16,
    text: String,
}

/// A page as an answer.
pub(crate) fn show(template: &impl Template) -> Result<Response, PageError> {
    show_with(StatusCode::OK, template)
}

/// A page as an answer with another status than 200.
pub(crate) fn show_with(status: StatusCode, template: &impl Template) -> Result<Response, PageError> {
    let html = template.render().map_err(PageError::Template)?;
    Ok((status, Html(html)).into_response())
}

/// No page.
pub(crate) async fn not_found() -> PageError {
    PageError::Operation(ApiError::NoRoute)
}

/// Middleware around all pages: writes out what failed, and sets the security headers.
pub(crate) async fn dress(State(_app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        let page = ErrorPage {
            shell: Lone::new(&headers, failure.title),
            status: failure.status.as_u16(),
            text: failure.text,
        };
        // Should even this not render, the status says enough.
        let html = page.render().unwrap_or_default();
        let retry_after = response.headers_mut().remove(header::RETRY_AFTER);
        response = (failure.status, Html(html)).into_response();
        response.headers_mut().extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
    }
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// With a capital and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}
