//! What the texts of an identity provider's spec may be.
//!
//! Invariant: every fault of a spec is told at once, each at its place.

use url::{Host, Url};

use super::{ClientSecret, IdentityProviderSpec};
use crate::error::Faults;

const URL_LEN_MAX: usize = 2_000;
const CLIENT_ID_LEN_MAX: usize = 255;
const SECRET_LEN_MAX: usize = 1_024;
const SCOPES_MAX: usize = 32;
const MAPPINGS_MAX: usize = 200;

/// Adds what is wrong with the texts of `spec` to `faults`.
pub(super) fn check(spec: &IdentityProviderSpec, faults: &mut Faults) {
    faults.check_text("/spec/display_name", spec.display_name.as_deref().unwrap_or_default());
    if !is_issuer(&spec.issuer) {
        let detail = "an `https` URL without query and fragment (or `http` to this very machine)";
        faults.add("/spec/issuer", "issuer", detail);
    }
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if spec.client_id.is_empty() || spec.client_id.len() > CLIENT_ID_LEN_MAX || !printable(&spec.client_id) {
        faults.add("/spec/client_id", "text", format!("1 to {CLIENT_ID_LEN_MAX} printable ASCII characters"));
    }
    if spec.client_secret.as_ref().is_some_and(|ClientSecret(text)| text.len() > SECRET_LEN_MAX || !printable(text)) {
        faults.add("/spec/client_secret", "text", format!("up to {SECRET_LEN_MAX} printable ASCII characters"));
    }
    for (index, scope) in spec.scopes.iter().flatten().enumerate() {
        // RFC 6749 section 3.3.
        let token = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || scope.len() > CLIENT_ID_LEN_MAX || !scope.bytes().all(token) {
            faults.add(format!("/spec/scopes/{index}"), "scope", "a scope has no spaces, quotes or backslashes");
        }
    }
    faults.check_text("/spec/groups_claim", spec.groups_claim.as_deref().unwrap_or_default());
    for (index, mapping) in spec.role_mapping.iter().flatten().enumerate() {
        faults.check_text(&format!("/spec/role_mapping/{index}/group"), &mapping.group);
    }
    for (index, mapping) in spec.team_mapping.iter().flatten().enumerate() {
        faults.check_text(&format!("/spec/team_mapping/{index}/group"), &mapping.group);
    }
    let counts = [
        ("/spec/scopes", spec.scopes.as_ref().map_or(0, Vec::len), SCOPES_MAX),
        ("/spec/role_mapping", spec.role_mapping.as_ref().map_or(0, Vec::len), MAPPINGS_MAX),
        ("/spec/team_mapping", spec.team_mapping.as_ref().map_or(0, Vec::len), MAPPINGS_MAX),
    ];
    for (pointer, _, max) in counts.into_iter().filter(|(_, count, max)| count > max) {
        faults.add(pointer, "too_many", format!("at most {max}"));
    }
}

/// An issuer as OpenID Connect Discovery section 3 has it; `http` to this very machine as well, for trying things out.
fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    text.len() <= URL_LEN_MAX
        && (url.scheme() == "https" || (url.scheme() == "http" && here))
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}
