//! Real servers on real sockets, read by a data plane without agents.

mod server;

use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate_proto::{
    InstanceId,
    policy::v1::{self as wire, Question, ReadCatalog, TenantPolicy, question::What, watch_request::Message},
};

use super::*;
use crate::{
    gateway::testing::{UPSTREAM_TIMEOUT, gateway_in},
    inquiry,
    metering::{Meter, TokenCount},
};
use server::{McpServer, Said};

/// A data plane with one server in its policy.
struct Bench {
    gateway: Arc<Gateway>,
    tenant: TenantId,
    server: ServerId,
    dir: PathBuf,
}

impl Bench {
    fn new(url: &str, era: wire::Era) -> Self {
        let dir = std::env::temp_dir().join(format!("tollgate-catalog-{}", uuid::Uuid::now_v7()));
        let gateway = gateway_in(&dir, Meter::new(TokenCount::Estimate));
        let bench = Self { gateway, tenant: TenantId::new(), server: ServerId::new(), dir };
        bench.gateway.policies.put(&bench.policy(url, era)).unwrap();
        bench
    }

    fn policy(&self, url: &str, era: wire::Era) -> TenantPolicy {
        let instance =
            wire::Instance { id: InstanceId::new().to_string(), url: url.to_owned(), ..wire::Instance::default() };
        let server = wire::Server {
            id: self.server.to_string(),
            name: "files".to_owned(),
            era: era.into(),
            instances: vec![instance],
            approval: wire::Approval::Notify.into(),
            ..wire::Server::default()
        };
        TenantPolicy {
            tenant_id: self.tenant.to_string(),
            tenant: "acme".to_owned(),
            revision: 1,
            jwks: r#"{"keys":[]}"#.to_owned(),
            egress_allow: vec!["127.0.0.0/8".to_owned()],
            servers: vec![server],
            ..TenantPolicy::default()
        }
    }

    /// What the control plane is told when it asks: names of each kind, and why something is missing.
    async fn read(&self) -> (Vec<(ItemKind, Vec<String>)>, String) {
        let what = What::ReadCatalog(ReadCatalog { server_id: self.server.to_string() });
        let question = Question { id: 7, tenant_id: self.tenant.to_string(), what: Some(what) };
        let mut answers = inquiry::answer(Arc::clone(&self.gateway), question).await;
        let Some(Message::Reply(reply)) = answers.pop() else { panic!("the reply comes last") };
        assert_eq!(reply.question, 7);
        let reports = answers.into_iter().map(|answer| {
            let Message::CatalogReport(report) = answer else { panic!("before it there are reports alone") };
            assert_eq!((report.question, &report.server_id), (7, &self.server.to_string()));
            names(&report)
        });
        (reports.collect(), reply.failure)
    }

    /// The same where only tools are offered, and what is wrong with them.
    async fn fault(capabilities: &Value, script: impl Fn(&str, &str) -> Said + Send + Sync + 'static) -> String {
        let server = McpServer::start(capabilities.clone(), script).await;
        let (lists, failure) = Self::new(&server.url, wire::Era::Modern).read().await;
        assert!(!lists.iter().any(|(kind, _)| *kind == ItemKind::Tool), "half a list is none: {lists:?}");
        failure
    }

    /// Whatever was told has arrived by now.
    fn long_after(&self) {
        for (_, at) in self.gateway.catalog.telling().told.values_mut() {
            *at -= UNSURE;
        }
    }

    async fn announce(&self) {
        let (tenant, server) = (self.tenant, self.server);
        let changed = Announcement::ListChanged { tenant, server, list: ChangedList::Tools, told: None };
        self.gateway.store.announce(changed).await.unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

fn names(report: &CatalogReport) -> (ItemKind, Vec<String>) {
    let name = |definition: &Vec<u8>| {
        let definition: Value = serde_json::from_slice(definition).unwrap();
        let member = tollgate_proto::definition::name_member(report.kind());
        definition[member].as_str().unwrap().to_owned()
    };
    (report.kind(), report.definitions.iter().map(name).collect())
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": "x", "inputSchema": {"type": "object"}})
}

/// A page of tools, with the cursor of the next one; empty: there is none.
fn tools(names: &[&str], next: &str) -> Said {
    let tools: Vec<_> = names.iter().map(|name| tool(name)).collect();
    let mut page = json!({"resultType": "complete", "tools": tools});
    if !next.is_empty() {
        page["nextCursor"] = json!(next);
    }
    Said::Result(page)
}

fn everything(method: &str, cursor: &str) -> Said {
    match (method, cursor) {
        ("tools/list", "") => tools(&["b", "a"], "second"),
        ("tools/list", "second") => tools(&["c"], ""),
        ("resources/list", "") => Said::Result(json!({"resources": [{"uri": "a:1", "name": "one"}]})),
        ("resources/templates/list", "") => Said::Error(-32601),
        _ => Said::Error(-32603),
    }
}

fn offered() -> Vec<(ItemKind, Vec<String>)> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    vec![
        (ItemKind::Tool, names(&["b", "a", "c"])),
        (ItemKind::Prompt, Vec::new()),
        (ItemKind::Resource, names(&["a:1"])),
        (ItemKind::ResourceTemplate, Vec::new()),
    ]
}

#[tokio::test]
async fn a_modern_server_is_read_to_the_end_of_every_list_that_it_says_it_has() {
    let server = McpServer::start(json!({"tools": {}, "resources": {}}), everything).await;
    let bench = Bench::new(&server.url, wire::Era::Unspecified);
    assert_eq!(bench.read().await, (offered(), String::new()));
    assert!(!server.asked().contains(&"prompts/list".to_owned()), "it has none: {:?}", server.asked());
    assert!(!server.asked().contains(&"initialize".to_owned()), "{:?}", server.asked());
}

#[tokio::test]
async fn a_legacy_server_is_read_in_a_session_that_is_ended() {
    let server = McpServer::start(json!({"tools": {}, "resources": {}}), everything).await;
    let bench = Bench::new(&server.url, wire::Era::Legacy);
    assert_eq!(bench.read().await, (offered(), String::new()));
    let deadline = Instant::now() + UPSTREAM_TIMEOUT;
    while !server.seen().iter().any(|(verb, _, _)| *verb == http::Method::DELETE) {
        assert!(Instant::now() < deadline, "the session is not ended");
        tokio::task::yield_now().await;
    }
    let seen = server.seen();
    assert_eq!(seen[0].1, "initialize");
    assert!(seen[1..].iter().all(|(_, _, session)| session.as_deref() == Some("session-1")), "{seen:?}");
}

#[tokio::test]
async fn a_list_without_end_is_read_no_further() {
    let tools_only = json!({"tools": {}});
    let endless = Bench::fault(&tools_only, |_, cursor| {
        let next = (cursor.parse::<u32>().unwrap_or_default() + 1).to_string();
        tools(&[&next], &next)
    });
    assert_eq!(endless.await, "`tools/list`: the list has more than 200 pages");
    let circle = Bench::fault(&tools_only, |_, cursor| match cursor {
        "" | "c" => tools(&["x"], "a"),
        "a" => tools(&["y"], "b"),
        _ => tools(&["z"], "c"),
    });
    assert_eq!(circle.await, "`tools/list`: the list goes in a circle: a cursor came twice");
}

#[tokio::test]
async fn a_list_that_is_too_large_is_read_no_further() {
    let tools_only = json!({"tools": {}});
    let huge = Bench::fault(&tools_only, |_, cursor| {
        let name = format!("{cursor}x");
        let mut tool = tool(&name);
        tool["description"] = json!("x".repeat(1024 * 1024));
        Said::Result(json!({"tools": [tool], "nextCursor": name}))
    });
    assert_eq!(huge.await, "`tools/list`: the list has more than 3145728 bytes");
    let many = Bench::fault(&tools_only, |_, _| {
        let names: Vec<_> = (0..5_001).map(|number| json!({"name": number.to_string()})).collect();
        Said::Result(json!({"tools": names}))
    });
    assert_eq!(many.await, "`tools/list`: the list has more than 5000 items");
}

#[tokio::test]
async fn what_is_no_list_is_told_with_the_reason() {
    let tools_only = json!({"tools": {}});
    let raw = |media: &'static str, body: &str| Said::Raw(media, body.to_owned());
    let said = [
        (raw("text/html", "<html>"), "media type `text/html` instead of JSON or events"),
        (raw("application/json", "{\"tools\":"), "unexpected end"),
        (Said::Result(json!([])), "a result that is no object"),
        (Said::Result(json!({"tools": "many"})), "a result without `tools`"),
        (Said::Error(-32603), "the server answered with an error instead of a list"),
    ];
    for (said, why) in said {
        let failure = Bench::fault(&tools_only, move |_, _| said.clone()).await;
        assert!(failure.starts_with("`tools/list`: ") && failure.contains(why), "{failure}");
    }
    let twice = Bench::fault(&tools_only, |_, _| tools(&["x", "y", "x"], "")).await;
    assert_eq!(twice, "`tools/list`: the list has `x` twice");
}

#[tokio::test]
async fn one_list_that_is_broken_hides_no_other() {
    let broken = |method: &str, cursor: &str| match method {
        "prompts/list" => Said::Error(-32603),
        _ => everything(method, cursor),
    };
    let server = McpServer::start(json!({"tools": {}, "prompts": {}, "resources": {}}), broken).await;
    let (lists, failure) = Bench::new(&server.url, wire::Era::Modern).read().await;
    let whole: Vec<_> = offered().into_iter().filter(|(kind, _)| *kind != ItemKind::Prompt).collect();
    assert_eq!(lists, whole);
    assert_eq!(failure, "`prompts/list`: the server answered with an error instead of a list");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let bench = Bench::new("http://127.0.0.1:1/mcp", wire::Era::Modern);
    assert_eq!(bench.read().await, (Vec::new(), "server `files` cannot be reached".to_owned()));
    let private = Bench::new("http://10.0.0.1/mcp", wire::Era::Modern);
    let refused = tokio::time::timeout(UPSTREAM_TIMEOUT / 3, private.read()).await.expect("nobody is asked");
    assert_eq!(refused, (Vec::new(), "server `files` cannot be reached".to_owned()));
}

#[tokio::test]
async fn what_has_changed_is_told_without_being_asked_and_only_once() {
    let server = McpServer::start(json!({"tools": {}}), |_, _| tools(&["a"], "")).await;
    let bench = Bench::new(&server.url, wire::Era::Modern);
    assert_eq!(bench.read().await.0[0], (ItemKind::Tool, vec!["a".to_owned()]));
    bench.long_after();
    let stopped = CancellationToken::new();
    let mut reports = listen(&bench.gateway);
    let following = tokio::spawn(follow(Arc::clone(&bench.gateway), stopped.clone()));
    server.lists(|_, _| tools(&["a", "b"], ""));
    let report = loop {
        // Whoever follows may not listen yet.
        bench.announce().await;
        match tokio::time::timeout(Duration::from_millis(50), reports.recv()).await {
            Ok(report) => break report.expect("the stream is open"),
            Err(_elapsed) => {}
        }
    };
    assert_eq!(names(&report), (ItemKind::Tool, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(report.question, 0);
    stopped.cancel();
    following.await.unwrap();
    read_again(Arc::clone(&bench.gateway), bench.server).await;
    assert!(reports.try_recv().is_err(), "everything is as it was told");
}

#[tokio::test]
async fn what_a_stream_may_have_lost_is_told_on_the_next_and_nothing_older() {
    let server = McpServer::start(json!({"tools": {}}), |_, _| tools(&["a"], "")).await;
    let bench = Bench::new(&server.url, wire::Era::Modern);
    bench.read().await;
    let _lost = listen(&bench.gateway);
    let observed = bench.gateway.upstreams.observed();
    assert_eq!(observed.unread().await, HashSet::from([bench.server]));
    bench.read().await;
    bench.long_after();
    let _next = listen(&bench.gateway);
    let waits = tokio::time::timeout(Duration::ZERO, observed.unread()).await;
    assert!(waits.is_err(), "what was told long ago has arrived");
}

#[tokio::test]
async fn a_server_is_read_by_one_at_a_time() {
    let server = McpServer::start(json!({"tools": {}}), |_, _| tools(&["a"], "")).await;
    let bench = Bench::new(&server.url, wire::Era::Modern);
    let elsewhere = bench.gateway.upstreams.observed().begin_reading(bench.server).await;
    let waits = tokio::time::timeout(Duration::from_millis(50), bench.read()).await;
    assert!(waits.is_err() && server.asked().is_empty(), "nothing is asked before: {:?}", server.asked());
    drop(elsewhere);
    assert_eq!(bench.read().await.0[0], (ItemKind::Tool, vec!["a".to_owned()]));
}

#[tokio::test]
async fn what_nobody_heard_is_told_on_the_next_stream() {
    let server = McpServer::start(json!({"tools": {}}), |_, _| tools(&["a"], "")).await;
    let bench = Bench::new(&server.url, wire::Era::Modern);
    read_again(Arc::clone(&bench.gateway), bench.server).await;
    let mut reports = listen(&bench.gateway);
    assert_eq!(bench.gateway.upstreams.observed().unread().await, HashSet::from([bench.server]));
    for _ in 0..2 {
        read_again(Arc::clone(&bench.gateway), bench.server).await;
    }
    let mut heard = Vec::new();
    while let Ok(report) = reports.try_recv() {
        heard.push(report.kind());
    }
    assert_eq!(heard, [ItemKind::Tool, ItemKind::Prompt, ItemKind::Resource, ItemKind::ResourceTemplate]);
}
