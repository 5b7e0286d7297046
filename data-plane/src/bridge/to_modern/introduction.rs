//! What a legacy agent says at its handshake, as a modern server hears it with every request.
//!
//! Invariant: nothing is declared that cannot be bridged: no tasks, and no changes of roots that nobody would tell.

use crate::{
    bridge::to_legacy::Capabilities,
    mcp::{
        json::{self, Kind, Object, Raw},
        level::Level,
        message::{META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION, MetaValue},
        version::ProtocolVersion,
    },
};

/// The extension whose results no legacy agent understands.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Who asks, and what it can be asked.
#[derive(Debug, Clone)]
pub struct Introduction {
    capabilities: Raw,
    can: Capabilities,
    client_info: Option<Raw>,
    log_level: Option<Level>,
    version: ProtocolVersion,
}

impl Introduction {
    /// From the params of `initialize`, the revision that was negotiated, and the level of `logging/setLevel`.
    #[must_use]
    pub fn new(initialize: &Object, version: ProtocolVersion, log_level: Option<Level>) -> Self {
        let declared = initialize.get("capabilities").and_then(Raw::object).unwrap_or_default();
        let capabilities = capabilities(&declared, version);
        let client_info = initialize.get("clientInfo").filter(|info| info.kind() == Kind::Object).cloned();
        Self { can: Capabilities::read(&capabilities), capabilities, client_info, log_level, version }
    }

    /// What the agent can be asked.
    #[must_use]
    pub const fn can(&self) -> Capabilities {
        self.can
    }

    /// The revision that the agent speaks.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The entries of `_meta` for the server, and `more` of the gateway's own.
    #[must_use]
    pub fn meta<'a>(&'a self, more: &[(&'a str, MetaValue<'a>)]) -> Vec<(&'a str, MetaValue<'a>)> {
        let mut meta = vec![
            (META_PROTOCOL_VERSION, MetaValue::Text(ProtocolVersion::NEWEST_MODERN.as_str())),
            (META_CLIENT_CAPABILITIES, MetaValue::Raw(&self.capabilities)),
        ];
        meta.extend(self.client_info.as_ref().map(|info| (META_CLIENT_INFO, MetaValue::Raw(info))));
        meta.extend(self.log_level.map(|level| (META_LOG_LEVEL, MetaValue::Text(level.as_str()))));
        meta.extend(more);
        meta
    }
}

fn capabilities(declared: &Object, version: ProtocolVersion) -> Raw {
    json::object(|capabilities| {
        for (key, value) in declared.iter() {
            match (key, value.object()) {
                ("tasks", _) | ("roots" | "elicitation" | "sampling" | "extensions", None) => {}
                ("roots", Some(members)) => capabilities.raw(key, &without(&members, "listChanged")),
                ("extensions", Some(members)) => capabilities.raw(key, &without(&members, TASKS)),
                // Before modes were known, every elicitation was a form.
                ("elicitation", Some(_)) if version < ProtocolVersion::V2025_11_25 => {
                    capabilities.raw(key, &Raw::empty_object());
                }
                _ => capabilities.raw(key, value),
            }
        }
    })
}

fn without(members: &Object, left_out: &str) -> Raw {
    json::object(|object| {
        members.iter().filter(|(key, _)| *key != left_out).for_each(|(key, value)| object.raw(key, value));
    })
}
