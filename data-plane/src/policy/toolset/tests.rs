use tollgate_proto::{ServerId, TenantId, policy::v1 as wire};

use super::*;
use crate::policy::{SnapshotError, Tenant};

fn server(name: &str) -> wire::Server {
    let instance = wire::Instance { id: tollgate_proto::InstanceId::new().to_string(), ..wire::Instance::default() };
    let instances = vec![wire::Instance { url: "http://127.0.0.1:9/mcp".to_owned(), ..instance }];
    wire::Server { id: ServerId::new().to_string(), name: name.to_owned(), instances, ..wire::Server::default() }
}

fn selected(server: &wire::Server, tool: &str, name: &str) -> wire::ToolsetTool {
    let (server_id, tool, name) = (server.id.clone(), tool.to_owned(), name.to_owned());
    wire::ToolsetTool { server_id, tool, name, description: String::new() }
}

/// The policy of a tenant with one toolset `triage` of these tools.
fn tenant(servers: &[wire::Server], tools: Vec<wire::ToolsetTool>) -> Result<Tenant, SnapshotError> {
    let toolset = wire::Toolset { name: "triage".to_owned(), tools, ..wire::Toolset::default() };
    let policy = wire::TenantPolicy {
        tenant_id: TenantId::new().to_string(),
        tenant: "acme".to_owned(),
        jwks: r#"{"keys":[]}"#.to_owned(),
        servers: servers.to_vec(),
        toolsets: vec![toolset],
        ..wire::TenantPolicy::default()
    };
    Tenant::read(&policy, None)
}

#[test]
fn a_name_leads_to_its_tool_and_the_tool_to_its_name() {
    let (tracker, chat) = (server("tracker"), server("chat"));
    let described = wire::ToolsetTool { description: "Say it.".to_owned(), ..selected(&chat, "post", "say") };
    let tools = vec![selected(&tracker, "list", "list"), described];
    let tenant = tenant(&[tracker, chat], tools).unwrap();
    let toolset = tenant.toolsets.get(&"triage".parse().unwrap()).unwrap();

    let (tracker, chat) = ("tracker".parse().unwrap(), "chat".parse().unwrap());
    assert_eq!(toolset.named("list"), Some((&tracker, "list")));
    assert_eq!(toolset.named("say"), Some((&chat, "post")));
    assert_eq!(toolset.shown(&tracker, "list"), Some(&Shown { name: "list".into(), description: None, position: 0 }));
    let shown = Shown { name: "say".into(), description: Some("Say it.".into()), position: 1 };
    assert_eq!(toolset.shown(&chat, "post"), Some(&shown));
    assert_eq!(toolset.display_name, "triage", "nobody gave it another");
    assert_eq!(toolset.tools_of(&chat).collect::<Vec<_>>(), ["post"]);
    for other in ["post", "chat__post", ""] {
        assert_eq!(toolset.named(other), None, "{other}");
    }
    assert!(toolset.shown(&tracker, "post").is_none() && toolset.shown(&chat, "say").is_none());
    assert!(toolset.has_server(&chat) && !toolset.has_server(&"files".parse().unwrap()));
}

#[test]
fn a_policy_with_a_toolset_that_is_not_clear_is_refused_whole() {
    let (tracker, chat) = (server("tracker"), server("chat"));
    let servers = [tracker.clone(), chat.clone()];
    let gone = server("gone");
    for (tools, said) in [
        (vec![selected(&gone, "x", "x")], "toolset `triage`, tool `x`: there is no such server"),
        (
            vec![selected(&tracker, "list", "all"), selected(&chat, "list", "all")],
            "toolset `triage`, tool `list`: another tool has that name",
        ),
        (
            vec![selected(&chat, "post", "say"), selected(&chat, "post", "tell")],
            "toolset `triage`, tool `post`: the tool is in it already",
        ),
    ] {
        assert_eq!(tenant(&servers, tools).unwrap_err().to_string(), said);
    }
}
