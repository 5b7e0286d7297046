//! What callers of the REST API are told when something cannot be done: problem documents (RFC 9457).
//!
//! Invariant: nothing of an internal error leaves; it is logged once, with its chain, where the answer is made.

use std::error::Error;

use axum::{
    Json,
    extract::rejection::{PathRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use tollgate_proto::DataPlaneId;
use utoipa::ToSchema;

use crate::{caller::Role, invisible, oauth::keys::KeyError, request::body::BodyFault, request_id};

mod fault;
mod responses;

pub use fault::{Fault, Faults};
pub use responses::{ReadProblems, WriteProblems};

const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");
/// Characters of a name that a server chose, in a sentence.
const NAME_CHARS_MAX: usize = 200;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No bearer, or one that is unknown or expired.
    #[error("send a valid API key as `Authorization: Bearer tgk_…`")]
    Unauthenticated,
    /// The caller may look but not touch.
    #[error("this needs the role `{needed}`, you act as `{given}`")]
    Forbidden {
        /// The least role that may.
        needed: Role,
        /// The caller's role.
        given: Role,
    },
    /// The installation as a whole is looked after from its first tenant.
    #[error("this is for the installation's first tenant: use a key of it, or the administrator's token")]
    OtherTenant,
    /// No such object, or another tenant's.
    #[error("there is no {noun} `{key}`")]
    NotFound {
        /// The kind of object.
        noun: &'static str,
        /// The name or id asked for.
        key: String,
    },
    /// No route.
    #[error("there is nothing at this address")]
    NoRoute,
    /// A route, but not for this method.
    #[error("this address does not take that method")]
    MethodNotAllowed,
    /// A body that is not JSON by its `Content-Type`.
    #[error("send the body as `application/json`")]
    MediaType,
    /// A body over the bound.
    #[error("the body is larger than 1 MiB")]
    BodyTooLarge,
    /// A body past its deadline.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// A body that could not be read or is no JSON.
    #[error("the body is not valid JSON: {0}")]
    Malformed(String),
    /// A query parameter or path that could not be read.
    #[error("{0}")]
    Query(String),
    /// A cursor that was changed, or belongs to another list.
    #[error("the cursor is not one of this list: start again without it")]
    Cursor,
    /// The body is JSON, but not what is asked for.
    #[error("{0}")]
    Invalid(Faults),
    /// Creating what exists.
    #[error("there is a {noun} `{name}` already")]
    NameTaken {
        /// The kind of object.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// Deleting what others need.
    #[error("{noun} `{name}` is still used by {}: change or delete them first", by.join(", "))]
    InUse {
        /// The kind of object.
        noun: &'static str,
        /// Its name.
        name: String,
        /// What needs it, as `agent ci-bot`.
        by: Vec<String>,
    },
    /// A third secret for one agent.
    #[error("the agent has two secrets already: delete one first")]
    CredentialLimit,
    /// A token for an agent that may not act.
    #[error("the agent is suspended: activate it first")]
    AgentSuspended,
    /// Taking away the one owner who is left.
    #[error("this is the last owner who can sign in: make another one first")]
    LastOwner,
    /// Sending something to a webhook that gets nothing.
    #[error("the webhook gets nothing: enable it, or write it anew when its receiver said that it is gone")]
    WebhookInactive,
    /// A sign-in link for a user who may not sign in.
    #[error("the user is disabled: activate them first")]
    UserDisabled,
    /// A new signing key that data planes would not recognise yet.
    #[error(
        "{} did not acknowledge the new signing key in time: it is published and stays the next one. See the tenant's \
         status for why, then rotate again; `now` does not wait, and lets them refuse tokens until they know the key",
        data_planes(behind)
    )]
    KeyNotDistributed {
        /// Who lacks it.
        behind: Vec<DataPlaneId>,
    },
    /// Two callers changed the same thing at the same time.
    #[error("another change came in between: read the object again and repeat")]
    Conflict,
    /// No `If-Match` on a change of what exists.
    #[error("send the `etag` of the object that you change as `If-Match`")]
    PreconditionRequired,
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the object is not in the state that the request expects: read it again")]
    PreconditionFailed,
    /// Approving a definition that the server does not have any more.
    #[error("the definition of {} is another one than the one that was seen: look at it again", shown(name))]
    DefinitionChanged {
        /// `server:item`.
        name: String,
    },
    /// Approving a tool that could be taken for another.
    #[error("the name of {} reads like that of {}, which is approved: block that one first", shown(name), shown(other))]
    NameCollides {
        /// `server:tool`.
        name: String,
        /// The other one.
        other: String,
    },
    /// Nobody knows what is in the data planes' store, or some of it.
    #[error("{0}")]
    DataPlanesSilent(String),
    /// Sums of days cannot be told yet.
    #[error(
        "the days of usage are being counted anew, because the tenant's time zone has changed: try again in a minute"
    )]
    DaysBeingCounted,
    /// Postgres is away or overloaded.
    #[error("the database does not answer: try again soon")]
    Unavailable(#[source] sqlx::Error),
    /// A defect of ours.
    #[error("something went wrong on our side: the log has it under the id of this request")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// A problem document, `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A stable URI per `code`.
    #[schema(example = "urn:tollgate:problem:not_found")]
    pub r#type: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, in a sentence.
    pub detail: String,
    /// The request's id as a URN.
    pub instance: String,
    /// What happened, for programs; stable.
    #[schema(example = "not_found")]
    pub code: String,
    /// What is wrong where in the body; empty unless `status` is 422.
    pub errors: Vec<Fault>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl ApiError {
    /// A defect, to be logged where the answer is made.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// One thing wrong with the body: what, and where as a JSON pointer.
    #[must_use]
    pub fn fault(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        let mut faults = Faults::default();
        faults.add(pointer, code, detail);
        Self::Invalid(faults)
    }

    /// The HTTP status and the stable code.
    #[must_use]
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "role_insufficient"),
            Self::OtherTenant => (StatusCode::FORBIDDEN, "other_tenant"),
            Self::NotFound { .. } | Self::NoRoute => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "body_malformed"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "query_invalid"),
            Self::Cursor => (StatusCode::BAD_REQUEST, "cursor_invalid"),
            Self::Invalid(faults) => (StatusCode::UNPROCESSABLE_ENTITY, faults.code()),
            Self::NameTaken { .. } => (StatusCode::CONFLICT, "name_taken"),
            Self::InUse { .. } => (StatusCode::CONFLICT, "in_use"),
            Self::CredentialLimit => (StatusCode::CONFLICT, "credential_limit"),
            Self::AgentSuspended => (StatusCode::CONFLICT, "agent_suspended"),
            Self::LastOwner => (StatusCode::CONFLICT, "last_owner"),
            Self::WebhookInactive => (StatusCode::CONFLICT, "webhook_inactive"),
            Self::UserDisabled => (StatusCode::CONFLICT, "user_disabled"),
            Self::KeyNotDistributed { .. } => (StatusCode::CONFLICT, "key_not_distributed"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict"),
            Self::PreconditionRequired => (StatusCode::PRECONDITION_REQUIRED, "precondition_required"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            Self::DefinitionChanged { .. } => (StatusCode::PRECONDITION_FAILED, "definition_changed"),
            Self::NameCollides { .. } => (StatusCode::CONFLICT, "name_collides"),
            Self::DataPlanesSilent(_) => (StatusCode::SERVICE_UNAVAILABLE, "data_planes_silent"),
            Self::DaysBeingCounted => (StatusCode::SERVICE_UNAVAILABLE, "days_being_counted"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The document that says so to the caller.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, code) = self.kind();
        Problem {
            r#type: format!("urn:tollgate:problem:{code}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            instance: format!("urn:tollgate:request:{}", request_id::current()),
            code: code.to_owned(),
            errors: match self {
                Self::Invalid(faults) => faults.to_vec(),
                _ => Vec::new(),
            },
            retryable: matches!(
                self,
                Self::DataPlanesSilent(_)
                    | Self::DaysBeingCounted
                    | Self::Unavailable(_)
                    | Self::Conflict
                    | Self::KeyNotDistributed { .. }
            ),
        }
    }

    /// Logs what the caller is not told. Whoever turns the error into an answer calls it, once.
    pub fn log(&self) {
        let request_id = request_id::current();
        match self {
            Self::Internal(source) => {
                tracing::error!(%request_id, error = chain(source.as_ref()), "a request failed");
            }
            Self::Unavailable(source) => {
                tracing::warn!(%request_id, error = chain(source), "the database does not answer");
            }
            _ => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.kind().0, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollgate\""));
            }
            Self::DataPlanesSilent(_) | Self::DaysBeingCounted | Self::Unavailable(_) => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_S);
            }
            _ => {}
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Unique and foreign keys, serialisation, deadlock: all come from a change at the same time, since
                // operations look before they write.
                Some("23503" | "23505" | "40001" | "40P01") => Self::Conflict,
                // The connection is lost, the server out of resources, shutting down (PostgreSQL's appendix A).
                // `25P03`: this process hung for so long that its transaction was ended.
                Some(code) if ["08", "25P03", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                    Self::Unavailable(error)
                }
                _ => Self::internal(error),
            },
            _ => Self::internal(error),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Storage(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::BodyTooLarge,
            BodyFault::TooSlow => Self::BodyTooSlow,
            BodyFault::Broken => Self::Malformed(fault.to_string()),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Query(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::Query(rejection.body_text())
    }
}

fn data_planes(ids: &[DataPlaneId]) -> String {
    let noun = if ids.len() == 1 { "data plane" } else { "data planes" };
    format!("{noun} {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// A name that a server chose, as people may see it.
fn shown(name: &str) -> String {
    invisible::visible(name, NAME_CHARS_MAX)
}

/// The error and its causes, as `one: because: because`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
