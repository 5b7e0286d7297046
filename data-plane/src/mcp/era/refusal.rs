//! Why a request has no place in either era, and how each era is told.
//!
//! Invariant: the codes are those of 2026-07-28 (basic/index, "Error Codes"); a legacy request gets no HTTP status
//! that its client would take for the end of its session.

use http::StatusCode;

use crate::mcp::{
    header::HeaderFault,
    json::{self, Raw},
    version::{Era, supported},
};

/// A request that cannot be served as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// A header is missing, repeated, illegible or at odds with the body.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// `params._meta` lacks a required key, or that has the wrong type.
    #[error("`params._meta` must have `{0}`")]
    MissingMeta(&'static str),
    /// A key of `params._meta` has a value that it cannot have.
    #[error("`params._meta` has no valid `{0}`")]
    InvalidMeta(&'static str),
    /// The method belongs to an extension that the client has not declared.
    #[error("this method needs the extension `{0}` among the client's capabilities")]
    MissingExtension(&'static str),
    /// The revision is not served.
    #[error("protocol version `{}` is not supported", .requested.escape_debug())]
    UnsupportedVersion {
        /// The revision that was asked for.
        requested: Box<str>,
    },
    /// The method is not in the table of this era.
    #[error("method `{}` is not known", .method.escape_debug())]
    UnknownMethod {
        /// The first 64 characters of the method.
        method: Box<str>,
        /// The era.
        era: Era,
    },
    /// A member of params that the method cannot do without is missing.
    #[error("`params.{member}` is required")]
    MissingParam {
        /// The member.
        member: &'static str,
        /// The era.
        era: Era,
    },
    /// A batch where there is none.
    #[error("send one message per request: batches belong to sessions of 2025-03-26, and never hold `initialize`")]
    Batch,
    /// A response in the modern era, where servers make no requests.
    #[error("a client of this protocol version sends no responses")]
    UnexpectedResponse,
    /// A request's method without an id.
    #[error("a request needs an `id`")]
    RequestWithoutId,
    /// An HTTP method that means nothing here.
    #[error("this HTTP method is not allowed here")]
    VerbNotAllowed,
}

impl EraError {
    pub(super) fn unknown_method(text: &str, era: Era) -> Self {
        Self::UnknownMethod { method: text.chars().take(64).collect(), era }
    }

    /// The JSON-RPC code.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::Header(_) => -32020,
            Self::MissingMeta(_) | Self::InvalidMeta(_) | Self::MissingParam { .. } => -32602,
            Self::MissingExtension(_) => -32021,
            Self::UnsupportedVersion { .. } => -32022,
            Self::UnknownMethod { .. } => -32601,
            Self::Batch | Self::UnexpectedResponse | Self::RequestWithoutId | Self::VerbNotAllowed => -32600,
        }
    }

    /// The HTTP status. Legacy clients get errors of JSON-RPC with 200, since 404 would end their session.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::UnknownMethod { era: Era::Modern, .. } => StatusCode::NOT_FOUND,
            Self::UnknownMethod { era: Era::Legacy, .. } | Self::MissingParam { era: Era::Legacy, .. } => {
                StatusCode::OK
            }
            Self::VerbNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable name of the reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Header(_) => "header_mismatch",
            Self::MissingMeta(_) => "missing_meta",
            Self::MissingExtension(_) => "missing_capability",
            Self::InvalidMeta(_) => "invalid_params",
            Self::UnsupportedVersion { .. } => "unsupported_protocol_version",
            Self::UnknownMethod { .. } => "unknown_method",
            Self::MissingParam { .. } => "invalid_params",
            Self::Batch => "batch_not_supported",
            Self::UnexpectedResponse => "unexpected_response",
            Self::RequestWithoutId => "request_without_id",
            Self::VerbNotAllowed => "http_method_not_allowed",
        }
    }

    /// The revisions to choose from and the one that was asked for, where that is what is wrong: the members
    /// `supported` and `requested` of the error's `data`.
    #[must_use]
    pub fn data(&self) -> Option<Raw> {
        let Self::UnsupportedVersion { requested } = self else { return None };
        Some(json::object(|data| {
            data.array("supported", |versions| supported().for_each(|version| versions.text(version.as_str())));
            data.text("requested", requested);
        }))
    }
}
