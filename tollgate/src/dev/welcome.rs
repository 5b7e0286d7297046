//! The block that `tollgate dev` prints when everything answers.
//!
//! Invariant: every line that looks like a command works as it stands, and the last line is `ready`.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use super::first_run::{AGENT, Demo, SERVER};
use crate::sign_in_link::SignInLink;

/// What the block tells.
pub(super) struct Facts<'a> {
    pub(super) link: &'a SignInLink,
    pub(super) control_url: &'a str,
    /// How to call this very binary for this very installation, up to the subcommand and behind its arguments.
    pub(super) command: (&'a str, &'a str),
    pub(super) ops_addr: SocketAddr,
    pub(super) data_dir: &'a Path,
    pub(super) demo: Option<&'a Demo>,
}

/// The whole block.
pub(super) fn block(facts: &Facts<'_>) -> String {
    let mut text = format!(
        "\n\
         Tollgate runs. Its data is in {data_dir}; Ctrl-C stops it.\n\n\
         \x20 Console      {link}   (signs in once, until {until})\n\
         \x20 REST API     {control}/api/v1   (token: {data_dir}/admin-token)\n\
         \x20 Health       http://{ops}/readyz\n",
        data_dir = facts.data_dir.display(),
        link = facts.link.url,
        until = facts.link.expires_at,
        control = facts.control_url,
        ops = facts.ops_addr,
    );
    if let Some(demo) = facts.demo {
        text.push_str(&demo_block(demo, facts.command));
    }
    text.push_str("\nready\n");
    text
}

fn demo_block(demo: &Demo, (program, options): (&str, &str)) -> String {
    let mut text = format!(
        "\x20 MCP URL      {}   (all servers: {})\n\
         \x20 Client id    {}   (agent {AGENT})\n\
         \x20 Secret       {}\n\n\
         Call a tool:\n\n{}\n\n\
         The same with the command line, and a call that policy refuses:\n\n\
         {program} call {SERVER}/add --arg a=2 --arg b=40{options}\n\
         {program} call {SERVER}/reset_counter{options}\n\n\
         Connect a client, after giving it a token (good for 15 minutes):\n\n{}\n\n",
        demo.mcp_url,
        demo.federated_url,
        demo.client_id,
        demo.client_secret,
        curl(demo),
        export(demo),
    );
    for (client, line) in clients(&demo.mcp_url) {
        let _ = writeln!(text, "{client:<12} {line}");
    }
    text
}

/// Prints the access token. The answer is a flat object of which only one member is wanted.
fn token_command(demo: &Demo) -> String {
    format!(
        "curl -sS -u '{}:{}' -d grant_type=client_credentials --data-urlencode resource={} {} | \
         sed 's/.*\"access_token\" *: *\"\\([^\"]*\\)\".*/\\1/'",
        demo.client_id, demo.client_secret, demo.mcp_url, demo.token_url
    )
}

fn curl(demo: &Demo) -> String {
    format!(
        "curl -sS {url} \\\n\
         \x20 -H \"Authorization: Bearer $({token})\" \\\n\
         \x20 -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\\n\
         \x20 -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: add' \\\n\
         \x20 -d '{body}'",
        url = demo.mcp_url,
        token = token_command(demo),
        body = concat!(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":40},"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
            r#""io.modelcontextprotocol/clientCapabilities":{}}}}"#
        ),
    )
}

fn export(demo: &Demo) -> String {
    format!("export TOLLGATE_DEMO_TOKEN=$({})", token_command(demo))
}

/// A line for each of the most used clients.
fn clients(url: &str) -> [(&'static str, String); 4] {
    [
        (
            "Claude Code",
            format!(
                "claude mcp add --transport http tollgate-demo {url} --header \"Authorization: Bearer $TOLLGATE_DEMO_TOKEN\""
            ),
        ),
        (
            "Cursor",
            format!(
                "~/.cursor/mcp.json: {{\"mcpServers\":{{\"tollgate-demo\":{{\"url\":\"{url}\",\"headers\":{{\"Authorization\":\"Bearer ${{env:TOLLGATE_DEMO_TOKEN}}\"}}}}}}}}"
            ),
        ),
        (
            "VS Code",
            format!(
                ".vscode/mcp.json: {{\"servers\":{{\"tollgate-demo\":{{\"type\":\"http\",\"url\":\"{url}\",\"headers\":{{\"Authorization\":\"Bearer ${{env:TOLLGATE_DEMO_TOKEN}}\"}}}}}}}}"
            ),
        ),
        (
            "Codex",
            format!(
                "~/.codex/config.toml: mcp_servers.tollgate-demo = {{ url = \"{url}\", bearer_token_env_var = \"TOLLGATE_DEMO_TOKEN\" }}"
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Demo {
        Demo {
            mcp_url: "http://127.0.0.1:7402/t/default/mcp/demo".to_owned(),
            federated_url: "http://127.0.0.1:7402/t/default/mcp".to_owned(),
            token_url: "http://127.0.0.1:7400/t/default/oauth/token".to_owned(),
            client_id: "agt_1".to_owned(),
            client_secret: "tgs_2".to_owned(),
        }
    }

    fn shown(demo: Option<&Demo>) -> String {
        let link = SignInLink { url: "http://c/sign-in/tgl_3".to_owned(), expires_at: "soon".to_owned() };
        let ops_addr = ([127, 0, 0, 1], 7403).into();
        let command = ("bin/tollgate", " --url http://c");
        block(&Facts { link: &link, control_url: "http://c", command, ops_addr, data_dir: Path::new("/d"), demo })
    }

    #[test]
    fn the_last_line_is_ready() {
        assert_eq!(shown(None).lines().last(), Some("ready"));
        assert_eq!(shown(Some(&demo())).lines().last(), Some("ready"));
        assert!(!shown(None).contains("MCP URL"));
    }

    #[test]
    fn what_a_newcomer_needs_is_there_once_to_read() {
        let shown = shown(Some(&demo()));
        for part in
            ["http://c/sign-in/tgl_3", "MCP URL      http://127.0.0.1:7402/t/default/mcp/demo", "agt_1", "tgs_2"]
        {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }

    #[test]
    fn what_is_printed_as_json_is_json() {
        let demo = demo();
        let body = curl(&demo);
        let body = body.rsplit_once("-d '").expect("a body").1.trim_end_matches('\'');
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
        for (client, line) in clients(&demo.mcp_url) {
            if let Some((_, json)) = line.split_once(".json: ") {
                assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{client}: {json}");
            }
            if let Some((_, line)) = line.split_once(".toml: ") {
                assert!(line.parse::<toml::Table>().is_ok(), "{client}: {line}");
            }
        }
    }
}
