//! What an agent can be asked: said with every modern request, and once in a legacy session.
//!
//! Invariant: two requests whose agents can be asked the same have the same fingerprint, and no others: it decides
//! which of them share an upstream session.

use crate::mcp::{
    json::{self, Object, Raw},
    message::Request,
};

/// What the agent of one request can be asked. What servers cannot ask of it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities {
    /// `elicitation` with forms; an empty object means these.
    pub form: bool,
    /// `elicitation.url`.
    pub url: bool,
    /// `sampling`.
    pub sampling: bool,
    /// `sampling.tools`.
    pub sampling_tools: bool,
    /// `sampling.context`.
    pub sampling_context: bool,
    /// `roots`.
    pub roots: bool,
}

impl Capabilities {
    /// What this request declares (MCP 2026-07-28, basic: `io.modelcontextprotocol/clientCapabilities`).
    #[must_use]
    pub fn declared(request: &Request) -> Self {
        request.params.client_capabilities().map(Self::read).unwrap_or_default()
    }

    /// Reads a `ClientCapabilities` object; members of the wrong type declare nothing.
    #[must_use]
    pub fn read(declared: &Raw) -> Self {
        let members = declared.object().unwrap_or_default();
        let of = |key: &str| members.get(key).and_then(Raw::object);
        let has = |object: &Option<Object>, key: &str| object.as_ref().is_some_and(|members| is_object(members, key));
        let (elicitation, sampling) = (of("elicitation"), of("sampling"));
        let url = has(&elicitation, "url");
        Self {
            form: elicitation.is_some() && (!url || has(&elicitation, "form")),
            url,
            sampling: sampling.is_some(),
            sampling_tools: has(&sampling, "tools"),
            sampling_context: has(&sampling, "context"),
            roots: of("roots").is_some(),
        }
    }

    /// One letter for each, in a fixed order.
    #[must_use]
    pub fn fingerprint(self) -> String {
        let letters = [
            (self.form, 'f'),
            (self.url, 'u'),
            (self.sampling, 's'),
            (self.sampling_tools, 't'),
            (self.sampling_context, 'c'),
            (self.roots, 'r'),
        ];
        letters.into_iter().filter_map(|(declared, letter)| declared.then_some(letter)).collect()
    }

    /// The `capabilities` of `initialize`. `listChanged` of roots is never declared: nobody would tell.
    #[must_use]
    pub fn to_legacy(self) -> Raw {
        json::object(|capabilities| {
            if self.form || self.url {
                capabilities.object("elicitation", |modes| {
                    // Servers up to 2025-06-18 know no modes: any object means forms to them.
                    if self.form {
                        modes.object("form", |_| {});
                    }
                    if self.url {
                        modes.object("url", |_| {});
                    }
                });
            }
            if self.sampling {
                capabilities.object("sampling", |sampling| {
                    if self.sampling_tools {
                        sampling.object("tools", |_| {});
                    }
                    if self.sampling_context {
                        sampling.object("context", |_| {});
                    }
                });
            }
            if self.roots {
                capabilities.object("roots", |_| {});
            }
        })
    }
}

fn is_object(members: &Object, key: &str) -> bool {
    members.get(key).is_some_and(|value| value.kind() == json::Kind::Object)
}
