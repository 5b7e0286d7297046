//! The URIs that resources have on endpoints that join several servers.
//!
//! A URI becomes `tollgate://{server}/{URI, percent-encoded}`. A template becomes `tollgate://{server}/~/{template}`
//! and is not encoded: what clients put in place of its expressions then reaches the server as they wrote it, and no
//! encoded URI begins like that, since it has no `/`. URIs of the scheme `ui` keep it, because hosts of MCP Apps look
//! at no others: `ui://tollgate/{server}/{URI, percent-encoded}`. Those of the scheme `skill` are written like templates,
//! because the files of a skill refer to each other by relative references.
//!
//! Invariant: what was wrapped leads back to the same server and the same bytes, and only the text that [`wrapped`]
//! writes leads to a URI, so that one resource has one name.

#[cfg(test)]
mod tests;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tollgate_proto::Name;

const PREFIX: &str = "tollgate://";
const UI: &str = "ui://";
const UI_PREFIX: &str = "ui://tollgate/";
const SKILL: &str = "skill://";
const TEMPLATE: &str = "~/";
/// All but what RFC 3986 section 2.3 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URI of a server's resource among those of other servers.
#[must_use]
pub fn wrapped(server: &Name, uri: &str) -> String {
    if uri.starts_with(SKILL) {
        return wrapped_template(server, uri);
    }
    format!("{}{server}/{}", prefix(uri), utf8_percent_encode(uri, ENCODED))
}

/// The template (RFC 6570) of a server's resources among those of other servers.
#[must_use]
pub fn wrapped_template(server: &Name, template: &str) -> String {
    format!("{}{server}/{TEMPLATE}{template}", prefix(template))
}

/// The server of a wrapped URI, template, or URI that a client made of a template; and as what that server knows it.
#[must_use]
pub fn unwrapped(uri: &str) -> Option<(Name, String)> {
    let rest = uri.strip_prefix(PREFIX).or_else(|| uri.strip_prefix(UI_PREFIX))?;
    let (server, rest) = rest.split_once('/')?;
    let server: Name = server.parse().ok()?;
    if let Some(own) = rest.strip_prefix(TEMPLATE) {
        return (!own.is_empty()).then(|| (server, own.to_owned()));
    }
    let own = percent_decode_str(rest).decode_utf8().ok()?.into_owned();
    // JSON that is read strictly has no U+0000.
    let is_own = !own.is_empty() && !own.contains('\0') && wrapped(&server, &own) == uri;
    is_own.then_some((server, own))
}

fn prefix(uri: &str) -> &'static str {
    if uri.starts_with(UI) { UI_PREFIX } else { PREFIX }
}
