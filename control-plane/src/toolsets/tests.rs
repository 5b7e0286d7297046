use http::Method;
use serde_json::{Value, json};
use tollgate_proto::Scope;

use super::contents;
use crate::testing::{Bench, run, text};

async fn servers(bench: &Bench) {
    for name in ["github", "mail"] {
        let spec = json!({ "instances": [{ "url": format!("http://{name}/") }] });
        bench.put(&format!("servers/{name}"), json!({ "spec": spec })).await.expect(201);
    }
}

fn tools(tools: &[(&str, &str)]) -> Value {
    tools.iter().map(|(server, tool)| json!({ "server": server, "tool": tool })).collect()
}

async fn faults(bench: &Bench, spec: Value) -> Vec<String> {
    bench.put("toolsets/t", json!({ "spec": spec })).await.expect(422).problem().1
}

#[tokio::test]
async fn a_toolset_shows_what_was_sent_and_what_agents_see() {
    run(async |bench| {
        servers(bench).await;
        let spec = json!({
            "display_name": "Support triage",
            "description": "What support needs.\nAnd no more.",
            "tools": [
                { "server": "mail", "tool": "send", "name": "reply.to_customer", "description": "Answers." },
                { "server": "github", "tool": "create_issue" },
                { "server": "github", "tool": "repo/list" },
            ],
        });
        let created = bench.post("toolsets", json!({ "name": "triage", "spec": spec })).await.expect(201);
        assert_eq!(created.header("location"), "/api/v1/tenants/acme/toolsets/triage");
        assert!(text(&created.json["id"]).starts_with("tls_"));
        assert_eq!(created.json["spec"], spec);
        assert_eq!(created.json["status"]["urls"]["mcp"], "http://data.test/t/acme/toolsets/triage");
        let names = &created.json["status"]["effective"]["names"];
        assert_eq!((&names[0], &names[1]), (&json!("reply.to_customer"), &json!("github__create_issue")));
        assert!(text(&names[2]).starts_with("github__repo_list__"), "{names}");
        let id = text(&created.json["id"]).to_owned();
        assert_eq!(bench.get(&format!("toolsets/{id}")).await.expect(200).json["name"], "triage");
        assert_eq!(bench.get("toolsets?limit=1").await.expect(200).json["items"][0]["name"], "triage");
    })
    .await;
}

#[tokio::test]
async fn every_change_of_a_toolset_is_versioned_audited_and_told_to_data_planes() {
    run(async |bench| {
        servers(bench).await;
        let before = bench.policy_revision().await;
        let spec = json!({ "tools": tools(&[("github", "a"), ("github", "b")]) });
        bench.put("toolsets/triage", json!({ "spec": spec })).await.expect(201);
        assert_eq!(
            bench.put("toolsets/triage", json!({ "spec": spec })).await.expect(428).problem().0,
            "precondition_required"
        );
        let patch =
            json!({ "spec": { "description": "Half of it.", "tools": tools(&[("github", "b"), ("mail", "c")]) } });
        let call = bench.call(Method::PATCH, "toolsets/triage").header("if-match", "\"1\"");
        let patched = call.json(patch).await.expect(200);
        assert_eq!(patched.json["status"]["effective"]["names"], json!(["github__b", "mail__c"]));
        let stale = bench.call(Method::DELETE, "toolsets/triage").header("if-match", "\"1\"").send().await.expect(412);
        assert_eq!(stale.problem().0, "precondition_failed");
        bench.call(Method::DELETE, "toolsets/triage").header("if-match", "\"2\"").send().await.expect(204);
        bench.get("toolsets/triage").await.expect(404);
        let audit = bench.audit().await;
        let of_toolsets: Vec<&str> = audit.iter().map(String::as_str).filter(|it| it.starts_with("toolset.")).collect();
        assert_eq!(of_toolsets, ["toolset.create triage", "toolset.update triage", "toolset.delete triage"]);
        assert_eq!(bench.policy_revision().await, before + 3);
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_toolset_is_named_where_it_is() {
    run(async |bench| {
        servers(bench).await;
        let long = "x".repeat(2_001);
        let spec = json!({
            "display_name": "\u{7}",
            "description": long,
            "tools": [
                { "server": "github", "tool": "" },
                { "server": "github", "tool": "b", "name": "spaces are not allowed" },
                { "server": "github", "tool": "c", "name": "x".repeat(65), "description": long },
                { "server": "nowhere", "tool": "d" },
            ],
        });
        let expected = [
            "/spec/display_name text",
            "/spec/description text",
            "/spec/tools/0/tool text",
            "/spec/tools/1/name tool_name",
            "/spec/tools/2/name tool_name",
            "/spec/tools/2/description text",
            "/spec/tools/3/server server_unknown",
        ];
        assert_eq!(faults(bench, spec).await, expected);
        let many: Vec<(String, String)> = (0..201).map(|n| ("github".to_owned(), format!("t{n}"))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(server, tool)| (server.as_str(), tool.as_str())).collect();
        for (tools, expected) in [
            (json!([]), "/spec/tools required"),
            (tools(&many), "/spec/tools too_many"),
            (json!([{ "server": "Git Hub", "tool": "a" }]), "/spec/tools/0/server shape"),
            (json!([{ "server": "github", "tool": "a", "rename": "b" }]), "/spec/tools/0/rename shape"),
        ] {
            assert_eq!(faults(bench, json!({ "tools": tools })).await[0], expected);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_there_twice_is_named_with_both_entries() {
    run(async |bench| {
        servers(bench).await;
        let spec = json!({ "tools": [
            { "server": "github", "tool": "list" },
            { "server": "mail", "tool": "list", "name": "github__list" },
            { "server": "github", "tool": "list", "name": "again" },
        ] });
        let refused = bench.put("toolsets/t", json!({ "spec": spec })).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec/tools/1/name duplicate", "/spec/tools/2 duplicate"]);
        let details = refused.json["errors"].to_string();
        for part in ["entry 0, `github:list`, and entry 1, `mail:list`", "entries 0 and 2 are the same tool"] {
            assert!(details.contains(part), "{details}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_is_not_deleted_while_a_toolset_has_a_tool_of_it() {
    run(async |bench| {
        servers(bench).await;
        let spec = json!({ "tools": tools(&[("github", "a"), ("mail", "b")]) });
        bench.put("toolsets/triage", json!({ "spec": spec })).await.expect(201);
        let delete = async |path: &str| bench.call(Method::DELETE, path).header("if-match", "*").send().await;
        let refused = delete("servers/mail").await.expect(409);
        assert_eq!(refused.problem().0, "in_use");
        assert!(text(&refused.json["detail"]).contains("is still used by toolset triage"), "{:#}", refused.json);
        delete("toolsets/triage").await.expect(204);
        delete("servers/mail").await.expect(204);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_toolset_leaves_scopes_that_name_it() {
    run(async |bench| {
        servers(bench).await;
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let grant = json!({ "spec": { "to": { "team": "platform" }, "scopes": ["toolset/triage"] } });
        let early = bench.put("grants/all", grant.clone()).await.expect(422);
        assert_eq!(early.problem(), ("toolset_unknown", vec!["/spec/scopes/0 toolset_unknown".into()]));
        let spec = json!({ "tools": tools(&[("github", "a")]) });
        bench.put("toolsets/triage", json!({ "spec": spec })).await.expect(201);
        bench.put("grants/all", grant).await.expect(201);
        bench.call(Method::DELETE, "toolsets/triage").header("if-match", "\"1\"").send().await.expect(204);
        assert_eq!(bench.get("grants/all").await.expect(200).json["spec"]["scopes"], json!(["toolset/triage"]));
    })
    .await;
}

#[tokio::test]
async fn what_toolsets_hold_is_read_in_order_and_of_ones_own_tenant_only() {
    run(async |bench| {
        servers(bench).await;
        let spec = json!({ "display_name": "Triage", "tools": tools(&[("mail", "b"), ("github", "a")]) });
        bench.put("toolsets/triage", json!({ "spec": spec })).await.expect(201);
        let names = ["triage".to_owned(), "gone".to_owned()];
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let found = contents(&mut tx, &names).await.expect("contents");
        let [triage] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((triage.name.as_str(), triage.display_name.as_str()), ("triage", "Triage"));
        assert_eq!(triage.tools.iter().map(Scope::to_string).collect::<Vec<_>>(), ["mail:b", "github:a"]);
        let other = bench.tenant("other").await;
        let mut tx = bench.app.db.tenant(other).await.expect("a transaction");
        assert!(contents(&mut tx, &names).await.expect("contents").is_empty());
    })
    .await;
}
