//! Which era a request belongs to, and whether it is whole by the rules of that era.
//!
//! Invariant: the body decides. A request whose `_meta` names a revision is modern whatever its headers say, and
//! one that does not is never served as modern; a header can only have a request refused.

mod refusal;

#[cfg(test)]
mod tests;

use http::HeaderMap;

use super::{
    header::{self, HeaderFault},
    message::{
        META_CLIENT_CAPABILITIES, META_LOG_LEVEL, META_PROTOCOL_VERSION, Message, Notification, Params, Request,
    },
    method::{Carries, Method, Notice},
    version::{Era, MODERN, ProtocolVersion, names_modern_era},
};

pub use refusal::EraError;

/// The extension that defines the methods about tasks; a client that did not declare it has no task.
const EXTENSION_TASKS: &str = "io.modelcontextprotocol/tasks";

/// What an HTTP request is in the terms of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    /// A modern request. Its headers, revision, `_meta`, method and `Mcp-Name` have been checked; `Mcp-Param-*`
    /// needs the tool's schema and has not.
    Modern {
        /// The revision.
        version: ProtocolVersion,
        /// The method, known in this era.
        method: Method,
    },
    /// A modern notification: the revision defines none over HTTP, so it is accepted and goes nowhere.
    ModernNotification,
    /// The legacy handshake, which needs no session.
    Initialize {
        /// The revision that the client asks for.
        requested: Box<str>,
        /// The revision to answer with.
        version: ProtocolVersion,
    },
    /// A legacy request, which needs a session.
    Legacy {
        /// The method, known in this era.
        method: Method,
        /// The revision that the header names; it has to be that of the session.
        header_version: Option<ProtocolVersion>,
    },
    /// A legacy notification, which needs a session. One that is not in the table goes nowhere.
    LegacyNotification {
        /// What is notified, where it is known.
        notice: Option<Notice>,
        /// The revision that the header names; it has to be that of the session.
        header_version: Option<ProtocolVersion>,
    },
    /// The answer to a request that a legacy server has made; it needs a session.
    LegacyResponse {
        /// The revision that the header names; it has to be that of the session.
        header_version: Option<ProtocolVersion>,
    },
    /// GET: the event stream of a legacy session.
    LegacyStream {
        /// The revision that the header names; it has to be that of the session.
        header_version: Option<ProtocolVersion>,
    },
    /// DELETE: the end of a legacy session.
    LegacyEnd {
        /// The revision that the header names; it has to be that of the session.
        header_version: Option<ProtocolVersion>,
    },
}

/// Classifies and validates a POST.
///
/// A modern request is checked in this order: the headers are there and agree with `_meta` and `method`, the
/// revision is served, `_meta` is complete, the method is known, `Mcp-Name` agrees with the params.
///
/// # Errors
/// The first rule that the request breaks.
pub fn classify(headers: &HeaderMap, message: &Message) -> Result<Classified, EraError> {
    let header_version = header::single(headers, &header::PROTOCOL_VERSION)?;
    let modern_header = header_version.is_some_and(names_modern_era);
    match message {
        Message::Request(request) if request.params.claims_protocol_version() => classify_modern(headers, request),
        Message::Request(request) if request.method.as_ref() == Method::Initialize.as_str() => {
            if modern_header {
                return Err(HeaderFault::Mismatch(header::PROTOCOL_VERSION).into());
            }
            classify_initialize(&request.params)
        }
        Message::Request(_) if modern_header => Err(EraError::MissingMeta(META_PROTOCOL_VERSION)),
        Message::Request(request) => classify_legacy(header_version, request),
        Message::Notification(notification) => classify_notification(headers, header_version, notification),
        Message::Response(_) if modern_header => Err(EraError::UnexpectedResponse),
        Message::Response(_) => Ok(Classified::LegacyResponse { header_version: legacy_version(header_version)? }),
    }
}

/// Whether several messages may be one body, as far as they and the headers tell: what is left to know is whether the
/// session is in a revision that has batches.
///
/// # Errors
/// [`EraError::Batch`] when a header names another revision, when a message is modern, and when one is `initialize`,
/// which opens the session that a batch needs.
pub fn check_batch(headers: &HeaderMap, messages: &[Message]) -> Result<(), EraError> {
    let version = header::single(headers, &header::PROTOCOL_VERSION)?;
    let is_fitting = |text| ProtocolVersion::parse(text).is_some_and(ProtocolVersion::has_batches);
    let is_alone = |message: &Message| match message {
        Message::Request(request) => {
            request.params.claims_protocol_version() || request.method.as_ref() == Method::Initialize.as_str()
        }
        Message::Notification(notification) => notification.params.claims_protocol_version(),
        Message::Response(_) => false,
    };
    if version.is_none_or(is_fitting) && !messages.iter().any(is_alone) { Ok(()) } else { Err(EraError::Batch) }
}

/// Classifies a request without body: GET and DELETE belong to legacy sessions, everything else to nobody.
///
/// # Errors
/// [`EraError::VerbNotAllowed`] for other HTTP methods and for the modern era, and the faults of the version header.
pub fn classify_bodyless(verb: &http::Method, headers: &HeaderMap) -> Result<Classified, EraError> {
    let header_version = header::single(headers, &header::PROTOCOL_VERSION)?;
    if header_version.is_some_and(names_modern_era) {
        return Err(EraError::VerbNotAllowed);
    }
    match *verb {
        http::Method::GET => Ok(Classified::LegacyStream { header_version: legacy_version(header_version)? }),
        http::Method::DELETE => Ok(Classified::LegacyEnd { header_version: legacy_version(header_version)? }),
        _ => Err(EraError::VerbNotAllowed),
    }
}

fn classify_modern(headers: &HeaderMap, request: &Request) -> Result<Classified, EraError> {
    let version =
        header::single(headers, &header::PROTOCOL_VERSION)?.ok_or(HeaderFault::Missing(header::PROTOCOL_VERSION))?;
    header::demand(headers, &header::METHOD, &request.method)?;
    let claim = request.params.protocol_version_claim();
    let claim = claim.ok_or(EraError::MissingMeta(META_PROTOCOL_VERSION))?;
    if claim != version {
        return Err(HeaderFault::Mismatch(header::PROTOCOL_VERSION).into());
    }
    let version = ProtocolVersion::parse(&claim)
        .filter(|version| MODERN.contains(version))
        .ok_or_else(|| EraError::UnsupportedVersion { requested: claim.into() })?;
    if request.params.client_capabilities().is_none() {
        return Err(EraError::MissingMeta(META_CLIENT_CAPABILITIES));
    }
    if !request.params.log_level_is_known() {
        return Err(EraError::InvalidMeta(META_LOG_LEVEL));
    }
    let method = known_method(Era::Modern, &request.method)?;
    if method.carries() == Carries::TaskId && !request.params.declares_extension(EXTENSION_TASKS) {
        return Err(EraError::MissingExtension(EXTENSION_TASKS));
    }
    demand_named(Era::Modern, method, &request.params)?;
    match method.mirrored_name(&request.params) {
        Some(named) => header::demand_decoded(headers, &header::NAME, named)?,
        // Nothing to compare it with, but two of them are never right.
        None => drop(header::single(headers, &header::NAME)?),
    }
    Ok(Classified::Modern { version, method })
}

fn classify_initialize(params: &Params) -> Result<Classified, EraError> {
    let requested = params.get("protocolVersion").and_then(|version| version.as_str());
    let requested = requested.ok_or(EraError::MissingParam { member: "protocolVersion", era: Era::Legacy })?;
    let version = ProtocolVersion::negotiate_legacy(&requested);
    Ok(Classified::Initialize { requested: requested.into(), version })
}

fn classify_legacy(header_version: Option<&str>, request: &Request) -> Result<Classified, EraError> {
    let header_version = legacy_version(header_version)?;
    let method = known_method(Era::Legacy, &request.method)?;
    demand_named(Era::Legacy, method, &request.params)?;
    Ok(Classified::Legacy { method, header_version })
}

fn classify_notification(
    headers: &HeaderMap,
    header_version: Option<&str>,
    notification: &Notification,
) -> Result<Classified, EraError> {
    if Method::parse(&notification.method).is_some() {
        return Err(EraError::RequestWithoutId);
    }
    let claims = notification.params.claims_protocol_version();
    if !claims && !header_version.is_some_and(names_modern_era) {
        let notice = Notice::parse(&notification.method);
        return Ok(Classified::LegacyNotification { notice, header_version: legacy_version(header_version)? });
    }
    let version = header_version.ok_or(HeaderFault::Missing(header::PROTOCOL_VERSION))?;
    if claims && notification.params.protocol_version_claim().as_deref() != Some(version) {
        return Err(HeaderFault::Mismatch(header::PROTOCOL_VERSION).into());
    }
    if header::single(headers, &header::METHOD)?.is_some_and(|method| *method != *notification.method) {
        return Err(HeaderFault::Mismatch(header::METHOD).into());
    }
    Ok(Classified::ModernNotification)
}

fn known_method(era: Era, text: &str) -> Result<Method, EraError> {
    Method::parse_in(era, text).ok_or_else(|| EraError::unknown_method(text, era))
}

/// The tool, prompt, resource or task, which a method that names one must name.
fn demand_named(era: Era, method: Method, params: &Params) -> Result<(), EraError> {
    let member = match method.carries() {
        Carries::ToolName | Carries::PromptName => "name",
        Carries::ResourceUri => "uri",
        Carries::TaskId => "taskId",
        Carries::Reference if params.reference().is_none() => {
            return Err(EraError::MissingParam { member: "ref", era });
        }
        Carries::Reference | Carries::List(_) | Carries::Nothing => return Ok(()),
    };
    if method.named(params).is_some() { Ok(()) } else { Err(EraError::MissingParam { member, era }) }
}

/// The revision that the header of a legacy message names; without the header, that of the session holds. It may be
/// one that is offered to nobody, where the session's server speaks no newer one.
fn legacy_version(header: Option<&str>) -> Result<Option<ProtocolVersion>, EraError> {
    let Some(text) = header else { return Ok(None) };
    let unknown = || EraError::UnsupportedVersion { requested: text.into() };
    ProtocolVersion::parse_legacy(text).map(Some).ok_or_else(unknown)
}
