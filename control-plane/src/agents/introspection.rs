//! Whose access tokens an agent may introspect beside its own (RFC 7662 section 4): those for the endpoints that it stands
//! for as a resource server.
//!
//! Invariant: what is stored as `true` means every endpoint of the tenant, as it always did.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::error::Faults;

const POINTER: &str = "/spec/introspect";
const ENDPOINTS_MAX: usize = 64;

/// Which access tokens of others an agent may introspect, by the endpoint that they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Introspection {
    /// `true`: of every endpoint of the tenant; `false`: of none.
    Every(bool),
    /// Of these MCP endpoints, 64 at most, as `aud` has them.
    #[schema(example = json!(["https://gateway.example.com/t/default/mcp/github"]))]
    Of(Vec<String>),
}

impl Default for Introspection {
    fn default() -> Self {
        Self::Every(false)
    }
}

impl Introspection {
    /// Whether there are any.
    #[must_use]
    pub const fn any(&self) -> bool {
        match self {
            Self::Every(every) => *every,
            Self::Of(endpoints) => !endpoints.is_empty(),
        }
    }

    /// Whether a token for this endpoint is one.
    #[must_use]
    pub fn covers(&self, audience: &str) -> bool {
        match self {
            Self::Every(every) => *every,
            Self::Of(endpoints) => endpoints.iter().any(|endpoint| endpoint == audience),
        }
    }

    /// The endpoints, where they are named one by one.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        match self {
            Self::Every(_) => &[],
            Self::Of(endpoints) => endpoints,
        }
    }

    /// Names every endpoint that no token can be for.
    pub(super) fn check(&self, faults: &mut Faults) {
        let endpoints = self.endpoints();
        if endpoints.len() > ENDPOINTS_MAX {
            faults.add(POINTER, "too_many", format!("at most {ENDPOINTS_MAX} endpoints"));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            if !is_resource(endpoint) {
                let why =
                    "write the URL of an MCP endpoint as the `aud` of its tokens has it, without a slash at its end";
                faults.add(format!("{POINTER}/{index}"), "url", why);
            }
        }
    }
}

/// RFC 8707 section 2, in the form in which tokens carry it.
fn is_resource(text: &str) -> bool {
    let normal = |url: &Url| url.as_str() == text && matches!(url.scheme(), "http" | "https");
    Url::parse(text).is_ok_and(|url| normal(&url) && url.fragment().is_none() && !text.ends_with('/'))
}
