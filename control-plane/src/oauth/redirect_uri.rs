//! Where a user's browser goes back to: which redirect URIs may be registered, and which request means which of them.
//!
//! A registered URI is compared with a requested one byte by byte (RFC 9700 section 2.1), but for the port of a
//! loopback address, which a native client learns only when it starts to listen (RFC 8252 section 7.3).
//!
//! Invariant: what was accepted reads the same to a person, to this module and to a browser: no user information, no
//! fragment, no backslash, nothing that a URL parser would repair.

use std::fmt;

use url::{Host, Url};

const LEN_MAX: usize = 2_000;
/// Hosts of which any port means the same client. `localhost` is beyond the RFC, but native MCP clients register it.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
/// Schemes that run, read or show something instead of waking an app, or that belong to the system.
const DANGEROUS: [&str; 31] = [
    "about",
    "blob",
    "chrome",
    "chrome-extension",
    "content",
    "data",
    "devtools",
    "edge",
    "feed",
    "file",
    "filesystem",
    "ftp",
    "gopher",
    "intent",
    "jar",
    "javascript",
    "ldap",
    "livescript",
    "mailto",
    "market",
    "mhtml",
    "moz-extension",
    "res",
    "resource",
    "sms",
    "tel",
    "urn",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// A redirect URI that a client registered.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RedirectUri(String);

/// What kind of application registers (OpenID Connect Dynamic Client Registration 1.0 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationType {
    /// Runs on a user's device: loopback, a scheme of its own, or a claimed `https` URI.
    Native,
    /// Runs on a server: `https` only.
    Web,
}

/// Whether a tenant takes redirects to schemes of an app's own (RFC 8252 section 7.1), as in `cursor://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PrivateUseSchemes {
    /// All that are not dangerous.
    #[default]
    Allow,
    /// None.
    Deny,
    /// These, in lower case.
    List(Vec<String>),
}

/// Who registers a redirect URI.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// What the client says it is; one that does not say may do what a native one may.
    pub application_type: Option<ApplicationType>,
    /// Whether it has no way to prove who it is; only such a client may use a scheme of its own.
    pub public: bool,
    /// The tenant's rule.
    pub private_use_schemes: &'a PrivateUseSchemes,
}

/// Why a redirect URI may not be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// Empty, too long, relative or no URI at all.
    #[error("a redirect URI is an absolute URI of up to {LEN_MAX} printable ASCII characters")]
    Malformed,
    /// A fragment is where tokens leak (RFC 6749 section 3.1.2).
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// `https://good.example@evil.example/`.
    #[error("a redirect URI has no user information")]
    UserInformation,
    /// Patterns are not matched.
    #[error("a redirect URI is compared exactly: `*` means nothing")]
    Wildcard,
    /// A browser would go to another spelling than the one written here.
    #[error("write the redirect URI in its normal form, `{0}`")]
    NotNormal(String),
    /// A bare label or a public suffix, as in `https://com/` and `https://github.io/`: whoever gets a name below it may
    /// get at what belongs to it.
    #[error("the host of the redirect URI is no single site")]
    NoSite,
    /// `http` to anywhere but the user's own device.
    #[error("`http` is for 127.0.0.1, [::1] and localhost only: use `https`")]
    Cleartext,
    /// `javascript:` and its like.
    #[error("the scheme `{0}` is never redirected to")]
    Dangerous(String),
    /// `application_type` is `web`.
    #[error("an application of type `web` redirects to `https` only")]
    NotForWeb,
    /// A scheme of an app's own, from a client that has keys or a secret.
    #[error("only a public client redirects to a scheme of its own")]
    NotPublic,
    /// The tenant's rule.
    #[error("this tenant takes no redirect to the scheme `{0}`")]
    SchemeNotAllowed(String),
}

impl RedirectUri {
    /// Reads a URI that is to be registered.
    ///
    /// # Errors
    /// [`RedirectFault`], fit for whoever registers.
    pub fn parse(text: &str, registration: &Registration<'_>) -> Result<Self, RedirectFault> {
        let url = well_formed(text)?;
        match url.scheme() {
            "https" => check_site(&url)?,
            "http" if is_loopback(text) && registration.application_type == Some(ApplicationType::Web) => {
                return Err(RedirectFault::NotForWeb);
            }
            "http" if is_loopback(text) => {}
            "http" => return Err(RedirectFault::Cleartext),
            scheme => check_private_use(scheme, text, registration)?,
        }
        Ok(Self(text.to_owned()))
    }

    /// One that was accepted before and comes back from the database.
    #[must_use]
    pub const fn accepted(text: String) -> Self {
        Self(text)
    }

    /// As it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request that names `requested` means this one.
    #[must_use]
    pub fn matches(&self, requested: &str) -> bool {
        requested == self.0
            || without_loopback_port(&self.0)
                .zip(without_loopback_port(requested))
                .is_some_and(|(registered, requested)| registered == requested)
    }

    /// Whether it leads to the user's own device, where any program may listen.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Whether it leads to an app by a scheme of its own, which another app on the device may have claimed.
    #[must_use]
    pub fn is_private_use(&self) -> bool {
        !["http://", "https://"].iter().any(|web| self.0.starts_with(web))
    }

    /// What people are shown: the host, or the scheme where there is none that means anything.
    #[must_use]
    pub fn shown_host(&self) -> String {
        let url = Url::parse(&self.0).ok();
        let host = url.as_ref().filter(|_| !self.is_private_use()).and_then(Url::host_str);
        host.map_or_else(|| self.0.split_inclusive(':').next().unwrap_or_default().to_owned(), str::to_owned)
    }

    /// The URI with the port of a loopback address left out, so that a client that picks a new port at every start
    /// registers the same.
    #[must_use]
    pub fn portless(&self) -> String {
        without_loopback_port(&self.0).map_or_else(|| self.0.clone(), |(host, rest)| format!("{host}{rest}"))
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a host, in lower case and ASCII, is a bare label or one under which anyone may have a name, by the Public
/// Suffix List (publicsuffix.org), private registries such as `github.io` among them.
#[must_use]
pub fn is_public_suffix(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    psl::suffix(host.as_bytes()).is_none_or(|suffix| suffix.as_bytes() == host.as_bytes())
}

/// The name below which this host is and that somebody registered, by the Public Suffix List; the host itself where there is
/// none.
#[must_use]
pub fn registrable_domain(host: &str) -> &str {
    psl::domain_str(host).unwrap_or(host)
}

/// Everything that holds for every scheme.
fn well_formed(text: &str) -> Result<Url, RedirectFault> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    if !printable || text.len() > LEN_MAX {
        return Err(RedirectFault::Malformed);
    }
    if text.contains('#') {
        return Err(RedirectFault::Fragment);
    }
    if text.contains('*') {
        return Err(RedirectFault::Wildcard);
    }
    // A default port is dropped by the parser, but a loopback URI may name any port.
    let portless = without_loopback_port(text).map(|(host, rest)| format!("{host}{rest}"));
    let written = portless.as_deref().unwrap_or(text);
    let url = Url::parse(written).map_err(|_| RedirectFault::Malformed)?;
    if DANGEROUS.contains(&url.scheme()) {
        return Err(RedirectFault::Dangerous(url.scheme().to_owned()));
    }
    if url.cannot_be_a_base() {
        return Err(RedirectFault::Malformed);
    }
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    if authority.contains('@') {
        return Err(RedirectFault::UserInformation);
    }
    if url.as_str() != written && url.as_str().strip_suffix('/') != Some(written) {
        return Err(RedirectFault::NotNormal(url.into()));
    }
    Ok(url)
}

fn check_site(url: &Url) -> Result<(), RedirectFault> {
    match url.host() {
        Some(Host::Domain("localhost") | Host::Ipv4(_) | Host::Ipv6(_)) => Ok(()),
        Some(Host::Domain(name)) if is_public_suffix(name) => Err(RedirectFault::NoSite),
        Some(Host::Domain(_)) => Ok(()),
        None => Err(RedirectFault::Malformed),
    }
}

fn check_private_use(scheme: &str, text: &str, registration: &Registration<'_>) -> Result<(), RedirectFault> {
    if !text[scheme.len()..].starts_with(":/") {
        return Err(RedirectFault::Malformed);
    }
    if registration.application_type == Some(ApplicationType::Web) {
        return Err(RedirectFault::NotForWeb);
    }
    if !registration.public {
        return Err(RedirectFault::NotPublic);
    }
    let allowed = match registration.private_use_schemes {
        PrivateUseSchemes::Allow => true,
        PrivateUseSchemes::Deny => false,
        PrivateUseSchemes::List(schemes) => schemes.iter().any(|listed| listed == scheme),
    };
    if allowed { Ok(()) } else { Err(RedirectFault::SchemeNotAllowed(scheme.to_owned())) }
}

fn is_loopback(text: &str) -> bool {
    without_loopback_port(text).is_some()
}

/// Scheme and host of a loopback URI, and what follows its port; nothing for any other URI.
fn without_loopback_port(text: &str) -> Option<(&'static str, &str)> {
    let (host, rest) = LOOPBACK.iter().find_map(|&host| Some((host, text.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = rest.split_at(digits);
            // `:` without digits and leading zeros are other spellings, which are not matched.
            let canonical = !port.starts_with('0') && port.parse::<u16>().is_ok();
            canonical.then_some(rest)?
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

#[cfg(test)]
mod tests;
