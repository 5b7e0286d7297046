//! Why a request at the authorization endpoint is not granted, and who may be told.
//!
//! Invariant: a [`PageFault`] is told to the user alone: whoever sent the request is not known to be a client, or the
//! address to answer to is not known to be the client's (RFC 6749 section 4.1.2.1). A [`RequestFault`] is told to the
//! client.

use std::borrow::Cow;

use http::StatusCode;

use super::parameters::{NotText, Repeated};
use crate::{
    oauth::{client_document::DocumentError, error::OAuthError, target::TargetError},
    request::body::BodyFault,
};

/// A fault that is shown and never redirected.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageFault {
    /// The path names no tenant.
    #[error("There is no tenant of this name here. Check the address that the application was given.")]
    UnknownTenant,
    /// The request could not be given back as it came.
    #[error("The request is not valid UTF-8.")]
    NotText,
    /// Which of two is meant cannot be known.
    #[error("The request has `{0}` twice.")]
    Repeated(&'static str),
    /// A form that is too long, or none.
    #[error("The request could not be read: {0}")]
    Body(String),
    /// A form that did not arrive in time.
    #[error("The request did not arrive in time. Try again.")]
    Slow,
    /// No `client_id`.
    #[error("The request has no `client_id`, so nobody knows which application it is from.")]
    NoClient,
    /// No such client.
    #[error("No application is registered here as `{0}`. If it was registered earlier, register it again.")]
    UnknownClient(String),
    /// Its metadata document cannot be used.
    #[error("The application says that it is described at `{client_id}`, but that cannot be used: {why}.")]
    Document {
        /// The URL.
        client_id: String,
        /// What is wrong.
        why: String,
    },
    /// None was sent, and there is not exactly one to fall back on.
    #[error(
        "The request has no `redirect_uri`, and the application has not registered exactly one address to return to."
    )]
    NoRedirect,
    /// None of those that the client registered.
    #[error(
        "The application wants to be answered at `{0}`, which is none of the addresses that it registered. Somebody \
         may be trying to get at what is meant for it."
    )]
    UnknownRedirect(String),
    /// The application wants no page to be shown, but only a page can be shown.
    #[error("The application asked to go on without showing you a page, but you are not signed in.")]
    Silent,
    /// A form of another session, of nobody's making, or sent twice.
    #[error(
        "This page was answered already, or it belongs to another sign-in. Go back to the application and start again."
    )]
    Stale,
    /// The fault is ours.
    #[error("The database does not answer. Try again in a few seconds.")]
    Unavailable,
    /// A defect of ours.
    #[error("Something went wrong on our side. The log has it under the id of this request.")]
    Internal,
}

impl PageFault {
    /// Of a client whose metadata document at `client_id` is not to be had or not to be used.
    pub(super) fn of_document(error: &DocumentError, client_id: String) -> Self {
        if let DocumentError::Storage(error) = error {
            tracing::error!(%error, "the authorization endpoint could not answer");
            return Self::Unavailable;
        }
        Self::Document { client_id, why: error.to_string() }
    }

    /// The status of the page.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownTenant => StatusCode::NOT_FOUND,
            Self::Stale => StatusCode::FORBIDDEN,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// As metrics and the audit name it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NoClient | Self::UnknownClient(_) | Self::Document { .. } => "invalid_client",
            Self::Unavailable => "temporarily_unavailable",
            Self::Internal => "server_error",
            Self::Silent => "login_required",
            _ => "invalid_request",
        }
    }

    /// The heading of the page.
    pub(super) const fn title(&self) -> &'static str {
        match self {
            Self::UnknownTenant => "Not found",
            Self::UnknownClient(_) | Self::NoClient => "Unknown application",
            Self::Document { .. } => "This application cannot be verified",
            Self::UnknownRedirect(_) | Self::NoRedirect => "This application cannot be answered",
            Self::Silent => "You are not signed in",
            Self::Stale => "This page is out of date",
            Self::Unavailable => "The database does not answer",
            Self::Internal => "Something went wrong",
            Self::Slow => "This took too long",
            Self::NotText | Self::Repeated(_) | Self::Body(_) => "This request makes no sense",
        }
    }
}

impl From<NotText> for PageFault {
    fn from(_: NotText) -> Self {
        Self::NotText
    }
}

impl From<BodyFault> for PageFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooSlow => Self::Slow,
            BodyFault::TooLarge | BodyFault::Broken => Self::Body(format!("{fault}.")),
        }
    }
}

impl From<sqlx::Error> for PageFault {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the authorization endpoint could not answer");
        Self::Unavailable
    }
}

impl From<OAuthError> for PageFault {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::UnknownTenant => Self::UnknownTenant,
            OAuthError::Unavailable(error) => {
                tracing::error!(%error, "the authorization endpoint could not answer");
                Self::Unavailable
            }
            error => Self::Body(error.to_string()),
        }
    }
}

/// A fault that the client is told in a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestFault {
    /// A parameter is missing, repeated or makes no sense.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// Not `code`.
    #[error("the only response_type is `code`")]
    UnsupportedResponseType,
    /// The client did not register the authorization code grant type.
    #[error("this client may not use the authorization code grant type")]
    UnauthorizedClient,
    /// A text that is no scope, or one of another server.
    #[error("{0}")]
    InvalidScope(String),
    /// RFC 8707 section 2.
    #[error(transparent)]
    InvalidTarget(#[from] TargetError),
    /// OpenID Connect Core 1.0 section 6.1.
    #[error("request objects are not supported")]
    RequestNotSupported,
    /// OpenID Connect Core 1.0 section 6.2.
    #[error("request objects by reference are not supported")]
    RequestUriNotSupported,
    /// OpenID Connect Core 1.0 section 7.2.1.
    #[error("`registration` is not supported: register at the registration endpoint")]
    RegistrationNotSupported,
    /// `prompt=none`, and nobody is signed in.
    #[error("the user is not signed in")]
    LoginRequired,
    /// `prompt=none`, and the user has to be asked.
    #[error("the user has to be asked")]
    ConsentRequired,
    /// The user said no, or there is nothing to say yes to.
    #[error("{0}")]
    AccessDenied(&'static str),
}

impl RequestFault {
    /// The value of `error`.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::AccessDenied(_) => "access_denied",
        }
    }
}

impl From<Repeated> for RequestFault {
    fn from(repeated: Repeated) -> Self {
        Self::InvalidRequest(repeated.to_string().into())
    }
}
