//! The first five minutes of a newcomer: `tollgate dev`, nothing else.

use nix::sys::signal::Signal;
use serde_json::json;
use tollgate_tests::{Deployment, McpClient, eventually};

#[tokio::test]
async fn dev_prints_what_one_needs_and_its_curl_works_as_pasted() {
    let mut tollgate = Deployment::dev().embedded_postgres().start().await;
    let process = tollgate.process(0);
    process.stdout_line("`ready`", |line| line.trim() == "ready").await;
    let block = process.stdout();
    assert_eq!(block.trim_end().lines().last().map(str::trim), Some("ready"), "`ready` is the last line:\n{block}");
    let demo = tollgate.demo();
    for member in ["mcp_url", "client_id", "client_secret"] {
        let value = demo[member].as_str().unwrap_or_else(|| panic!("demo.json has no {member}"));
        assert!(block.contains(value), "the block does not show {member}:\n{block}");
    }
    assert_eq!(demo["token_url"], tollgate.token_url());
    for member in ["allowed_tools", "denied_tools"] {
        assert!(demo[member].as_array().is_some_and(|tools| !tools.is_empty()), "demo.json has no {member}");
    }
    let run = tokio::process::Command::new("bash").args(["-c", &printed_curl(&block)]).output().await;
    let run = run.expect("bash runs");
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    assert!(printed.contains(r#""result""#), "the printed curl returns the tool's result: {printed}");
    assert!(!printed.contains(r#""isError":true"#), "{printed}");
}

#[tokio::test]
async fn ctrl_c_ends_everything_and_the_next_start_keeps_everything() {
    let mut tollgate = Deployment::dev().embedded_postgres().start().await;
    let demo = tollgate.demo();
    let agent = tollgate.demo_agent();
    let mcp_url = demo["mcp_url"].as_str().expect("an endpoint").to_owned();
    let tool = demo["allowed_tools"][0].as_str().expect("an allowed tool").to_owned();
    let client = McpClient::new(&mcp_url).with_token(&agent.token(&mcp_url).await);
    let answer = client.call(&tool, json!({"text": "hello", "a": 1, "b": 2})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    tollgate.usage_of(answer.call_id()).await;

    let status = tollgate.stop_data_plane(0, Signal::SIGINT);
    assert!(matches!(status.code(), Some(0 | 130)), "Ctrl-C is an orderly end: {status}");
    let folder = tollgate.folder().display().to_string();
    eventually("every process of the deployment to be gone", || async {
        processes_that_name(&folder).is_empty().then_some(())
    })
    .await;

    tollgate.start_data_plane(0).await;
    assert_eq!(tollgate.demo(), demo, "the demo agent is as before");
    let token = agent.token(&mcp_url).await;
    let again = McpClient::new(&mcp_url).with_token(&token).call(&tool, json!({"text": "hello", "a": 1, "b": 2})).await;
    assert_eq!(again.status, 200, "{}", again.body);
    tollgate.usage_of(answer.call_id()).await;
}

#[tokio::test]
async fn no_secret_of_the_first_start_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let tollgate = Deployment::dev().start().await;
    for file in ["admin-token", "demo.json"] {
        let path = tollgate.folder().join(file);
        let mode = std::fs::metadata(&path).expect("the first start writes it").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is readable by others: {mode:o}");
    }
}

/// The command as printed, with its continuation lines.
fn printed_curl(block: &str) -> String {
    let mut lines = block.lines().skip_while(|line| !line.trim_start().starts_with("curl"));
    let mut command = Vec::new();
    for line in lines.by_ref() {
        command.push(line);
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    assert!(!command.is_empty(), "no curl is printed:\n{block}");
    command.join("\n")
}

/// The command lines of running processes that name a folder.
fn processes_that_name(folder: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(folder)).collect()
}
