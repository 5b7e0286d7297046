//! The lines that connect a client: one form per client, as its own documentation has it.
//!
//! Invariant: no secret and no token stands in them; where one belongs, they name an environment variable or ask.

use serde_json::{Value, json};

use crate::app::App;

/// How the entry for Tollgate is called in a client's configuration.
const ENTRY: &str = "tollgate";

/// Where an agent of a tenant connects.
pub(super) struct Endpoint {
    /// The federated MCP endpoint.
    pub(super) mcp_url: String,
    pub(super) token_url: String,
    pub(super) issuer: String,
    /// Each server's own endpoint, by the server's name.
    pub(super) servers: Vec<(String, String)>,
    /// Each toolset's endpoint, by the toolset's name.
    pub(super) toolsets: Vec<(String, String)>,
}

/// What to enter for one client.
pub(super) struct Snippet {
    /// Also the id of its choice in the page, and known to the stylesheet.
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    /// What to do with the text.
    pub(super) lead: &'static str,
    pub(super) text: String,
}

impl Endpoint {
    pub(super) fn of(app: &App, tenant: &str) -> Self {
        let issuer = app.urls.issuer(tenant);
        Self {
            mcp_url: app.urls.federated(tenant),
            token_url: format!("{issuer}/oauth/token"),
            issuer,
            servers: Vec::new(),
            toolsets: Vec::new(),
        }
    }

    pub(super) fn with_servers(mut self, app: &App, tenant: &str, servers: &[String]) -> Self {
        self.servers = servers.iter().map(|name| (name.clone(), app.urls.server(tenant, name))).collect();
        self
    }

    pub(super) fn with_toolsets(mut self, app: &App, tenant: &str, toolsets: &[String]) -> Self {
        self.toolsets = toolsets.iter().map(|name| (name.clone(), app.urls.toolset(tenant, name))).collect();
        self
    }
}

/// What to enter for each client that is known.
pub(super) fn snippets(client_id: &str, endpoint: &Endpoint) -> Vec<Snippet> {
    let url = &endpoint.mcp_url;
    vec![
        Snippet {
            id: "curl",
            label: "curl",
            lead: "Gets a token and lists the tools that the agent may use. It asks for the secret, so that the shell \
                   does not remember it.",
            text: curl(client_id, endpoint),
        },
        Snippet {
            id: "claude-code",
            label: "Claude Code",
            lead: "Run this with a token in TOLLGATE_TOKEN.",
            text: format!(
                "claude mcp add --header \"Authorization: Bearer $TOLLGATE_TOKEN\" --transport http --scope user \
                 {ENTRY} {url}"
            ),
        },
        Snippet {
            id: "cursor",
            label: "Cursor",
            lead: "Put this into ~/.cursor/mcp.json and a token into TOLLGATE_TOKEN.",
            text: pretty(&json!({ "mcpServers": { ENTRY: {
                "url": url, "headers": { "Authorization": "Bearer ${env:TOLLGATE_TOKEN}" } } } })),
        },
        Snippet {
            id: "vs-code",
            label: "VS Code",
            lead: "Put this into .vscode/mcp.json. VS Code asks for the token and keeps it.",
            text: pretty(&json!({
                "servers": { ENTRY: {
                    "type": "http", "url": url,
                    "headers": { "Authorization": format!("Bearer ${{input:{ENTRY}}}") } } },
                "inputs": [{ "id": ENTRY, "type": "promptString", "description": "Tollgate token", "password": true }],
            })),
        },
        Snippet {
            id: "codex",
            label: "Codex",
            lead: "Put this into ~/.codex/config.toml and a token into TOLLGATE_TOKEN.",
            text: format!("[mcp_servers.{ENTRY}]\nurl = \"{url}\"\nbearer_token_env_var = \"TOLLGATE_TOKEN\""),
        },
        Snippet {
            id: "gemini-cli",
            label: "Gemini CLI",
            lead: "Put this into ~/.gemini/settings.json and a token into TOLLGATE_TOKEN. The key is httpUrl: url would \
                   mean another transport.",
            text: pretty(&json!({ "mcpServers": { ENTRY: {
                "httpUrl": url, "headers": { "Authorization": "Bearer $TOLLGATE_TOKEN" } } } })),
        },
        Snippet {
            id: "python",
            label: "Python SDK",
            lead: "With the package mcp (2.3). It gets its tokens itself, with the secret from TOLLGATE_CLIENT_SECRET.",
            text: python(client_id, endpoint),
        },
    ]
}

fn curl(client_id: &str, endpoint: &Endpoint) -> String {
    let Endpoint { mcp_url, token_url, .. } = endpoint;
    format!(
        r#"printf 'Client secret: '; read -rs SECRET; echo
TOKEN=$(curl -sS {token_url} \
  -u "{client_id}:$SECRET" \
  -d grant_type=client_credentials \
  -d resource={mcp_url} \
  | sed -E 's/.*"access_token" *: *"([^"]*)".*/\1/')

curl -sS {mcp_url} \
  -H "Authorization: Bearer $TOKEN" \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/json, text/event-stream' \
  -H 'MCP-Protocol-Version: 2026-07-28' \
  -H 'Mcp-Method: tools/list' \
  -d '{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}'"#
    )
}

fn python(client_id: &str, endpoint: &Endpoint) -> String {
    let Endpoint { mcp_url, issuer, .. } = endpoint;
    format!(
        r#"import asyncio, os
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

URL = "{mcp_url}"


class Memory:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def main():
    auth = ClientCredentialsOAuthProvider(
        server_url=URL,
        storage=Memory(),
        client_id="{client_id}",
        client_secret=os.environ["TOLLGATE_CLIENT_SECRET"],
        issuer="{issuer}",
    )
    async with create_mcp_http_client(auth=auth) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as client:
            print([tool.name for tool in (await client.list_tools()).tools])


asyncio.run(main())"#
    )
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            mcp_url: "https://mcp.example.com/t/acme/mcp".to_owned(),
            token_url: "https://tollgate.example.com/t/acme/oauth/token".to_owned(),
            issuer: "https://tollgate.example.com/t/acme".to_owned(),
            servers: Vec::new(),
            toolsets: Vec::new(),
        }
    }

    #[test]
    fn every_client_is_told_the_address_and_none_a_secret() {
        for snippet in snippets("agt_1", &endpoint()) {
            assert!(snippet.text.contains("https://mcp.example.com/t/acme/mcp"), "{}", snippet.id);
            assert!(!snippet.text.contains("tgs_"), "{}", snippet.id);
        }
    }

    #[test]
    fn every_choice_is_known_to_the_stylesheet() {
        let css = include_str!("../../../web/static/console.css");
        for snippet in snippets("agt_1", &endpoint()) {
            assert!(css.contains(&format!("#via-{0}:checked) #way-{0}", snippet.id)), "{}", snippet.id);
        }
    }

    #[test]
    fn configuration_files_have_the_form_their_client_reads() {
        let text = |id| snippets("agt_1", &endpoint()).into_iter().find(|found| found.id == id).expect("known").text;
        let json = |id| serde_json::from_str::<Value>(&text(id)).expect("JSON");
        assert_eq!(
            json("vs-code")["servers"]["tollgate"]["headers"]["Authorization"],
            "Bearer ${input:tollgate}",
            "VS Code calls the key `servers`"
        );
        assert!(json("gemini-cli")["mcpServers"]["tollgate"]["httpUrl"].is_string());
        assert!(json("cursor")["mcpServers"]["tollgate"]["url"].is_string());
        assert!(text("codex").starts_with("[mcp_servers.tollgate]\nurl = "));
        let claude = text("claude-code");
        assert!(claude.ends_with("--scope user tollgate https://mcp.example.com/t/acme/mcp"), "{claude}");
    }
}
