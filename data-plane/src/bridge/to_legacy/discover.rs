//! What a legacy server said at the handshake, as `server/discover` answers (MCP 2026-07-28, server/discover).
//!
//! Invariant: what is advertised is what the bridge delivers: legacy tasks are not among it.

use crate::mcp::{
    json::{self, Object, Raw},
    version::{ProtocolVersion, supported},
};

/// The result of `server/discover`, from that of `initialize`.
#[must_use]
pub fn discovered(initialized: &Object) -> Raw {
    json::object(|result| {
        result.text("resultType", "complete");
        result.array("supportedVersions", |versions| {
            supported().map(ProtocolVersion::as_str).for_each(|version| versions.text(version));
        });
        result.object("capabilities", |written| {
            let capabilities = initialized.get("capabilities").and_then(Raw::object).unwrap_or_default();
            capabilities.iter().filter(|(key, _)| *key != "tasks").for_each(|(key, value)| written.raw(key, value));
        });
        if let Some(instructions) = initialized.get("instructions").filter(|text| text.as_str().is_some()) {
            result.raw("instructions", instructions);
        }
        result.integer("ttlMs", 0);
        result.text("cacheScope", "private");
        if let Some(info) = initialized.get("serverInfo") {
            result.object("_meta", |meta| meta.raw("io.modelcontextprotocol/serverInfo", info));
        }
    })
}
