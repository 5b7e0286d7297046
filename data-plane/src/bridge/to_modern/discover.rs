//! What a modern server says of itself, as the result of a legacy handshake.
//!
//! Invariant: a capability is promised only if the legacy era has it.

use crate::mcp::{
    json::{self, Kind, Raw},
    version::ProtocolVersion,
};

const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// What both eras have. Extensions belong to the modern one.
const CAPABILITIES: [&str; 6] = ["tools", "prompts", "resources", "completions", "logging", "experimental"];

/// The result of `initialize` in this revision. `name`: what the server is called when it does not say. `None` when
/// what was discovered is no object.
#[must_use]
pub fn initialized(discovered: &Raw, version: ProtocolVersion, name: &str) -> Option<Raw> {
    let members = discovered.object()?;
    let capabilities = members.get("capabilities").and_then(Raw::object).unwrap_or_default();
    let meta = members.get("_meta").and_then(Raw::object).unwrap_or_default();
    Some(json::object(|result| {
        result.text("protocolVersion", version.as_str());
        result.object("capabilities", |written| {
            let common = capabilities.iter().filter(|(key, _)| CAPABILITIES.contains(key));
            common.filter(|(_, value)| value.kind() == Kind::Object).for_each(|(key, value)| written.raw(key, value));
        });
        match meta.get(META_SERVER_INFO).filter(|info| info.kind() == Kind::Object) {
            Some(info) => result.raw("serverInfo", info),
            None => result.object("serverInfo", |info| {
                info.text("name", name);
                info.text("version", "unknown");
            }),
        }
        if let Some(instructions) = members.get("instructions").filter(|text| text.kind() == Kind::String) {
            result.raw("instructions", instructions);
        }
    }))
}
