//! Official clients that try an endpoint out: tools, resources, prompts, progress, elicitation, subscriptions.
//!
//! Invariant: every client is asked the same and tells the same; `tests/clients/compatibility.py` says in which form.

use std::process::Command;

use serde_json::Value;

use crate::{
    binary,
    drivers::{client_modules, environment, node, repository_root},
    rmcp_client,
};

/// An SDK whose client tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialClient {
    /// `mcp` on PyPI.
    Python,
    /// `@modelcontextprotocol/client`.
    TypeScript,
    /// `@modelcontextprotocol/sdk`, the line before it, which knows no modern era.
    TypeScript1,
    /// `rmcp`.
    Rust,
}

impl TrialClient {
    /// Tries out what `request` says, and tells a fact for each part or what went wrong with it.
    ///
    /// # Panics
    /// When the script itself fails.
    pub async fn run(self, request: &Value) -> Value {
        let clients = repository_root().join("tests/clients");
        let mut command = match self {
            Self::Python => Command::new(environment().join("venv/bin/python")),
            Self::TypeScript | Self::TypeScript1 => node(),
            Self::Rust => return rmcp_client::try_out(request).await,
        };
        match self {
            Self::Python => command.arg(clients.join("compatibility.py")),
            Self::TypeScript1 => {
                command.arg(clients.join("compatibility_v1.mjs")).env("TOLLGATE_TEST_MODULES", client_modules())
            }
            _ => command.arg(clients.join("compatibility.mjs")).env("TOLLGATE_TEST_MODULES", client_modules()),
        };
        binary::run(command, request.to_string().into_bytes()).await.success().json()
    }
}
