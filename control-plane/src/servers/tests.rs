use http::Method;
use serde_json::json;
use tollgate_proto::policy::v1::{Era, Transport, UsageReports};

use crate::{
    policy,
    testing::{run, text},
};

#[tokio::test]
async fn a_server_shows_what_was_sent_and_what_applies() {
    run(async |bench| {
        let spec = json!({ "instances": [{ "url": "http://127.0.0.1:3001/mcp" }], "credential": { "type": "none" } });
        let created = bench.post("servers", json!({ "name": "demo", "spec": spec })).await.expect(201);
        assert_eq!(created.json["spec"], spec);
        let effective =
            json!({ "transport": "streamable-http", "era": "auto", "approval": "trust", "reported_usage": "ignore" });
        let catalog = json!({ "approved": 0, "pending": 0, "blocked": 0, "waiting": 0, "reads": [] });
        let urls = json!({ "mcp": "http://data.test/t/acme/mcp/demo" });
        let id = &created.json["status"]["instances"][0]["id"];
        let instance = json!({
            "id": id, "url": "http://127.0.0.1:3001/mcp", "draining": false, "health": "unknown", "since": null,
            "era": null, "protocol_version": null, "last_error": null, "data_planes": [],
        });
        let status = json!({ "urls": urls, "effective": effective, "instances": [instance], "catalog": catalog });
        assert_eq!(created.json["status"], status);

        let patch = bench.call(Method::PATCH, "servers/demo").header("if-match", "\"1\"");
        let patched = patch.json(json!({ "spec": { "era": "legacy" } })).await.expect(200);
        assert_eq!(patched.json["status"]["effective"]["era"], "legacy");
        assert_eq!(patched.json["spec"]["credential"], json!({ "type": "none" }));
    })
    .await;
}

#[tokio::test]
async fn what_becomes_of_the_usage_that_a_server_reports_is_told_to_data_planes() {
    run(async |bench| {
        let instances = json!([{ "url": "http://127.0.0.1:3001/mcp" }]);
        let silent = json!({ "instances": instances });
        bench.put("servers/silent", json!({ "spec": silent })).await.expect(201);
        for told in ["ignore", "record", "bill"] {
            let spec = json!({ "instances": instances, "reported_usage": told });
            let server = bench.put(&format!("servers/{told}"), json!({ "spec": spec })).await.expect(201).json;
            assert_eq!(server["status"]["effective"]["reported_usage"], told);
        }
        let policy = policy::compile(&bench.app, bench.acme).await.expect("it compiles").expect("a policy");
        let sent: Vec<_> = policy.servers.iter().map(|server| (&*server.name, server.usage_reports())).collect();
        let expected = [
            ("silent", UsageReports::Unspecified),
            ("ignore", UsageReports::Unspecified),
            ("record", UsageReports::Record),
            ("bill", UsageReports::Bill),
        ];
        assert_eq!(sent, expected);
        let spec = json!({ "instances": instances, "reported_usage": "believe" });
        bench.put("servers/other", json!({ "spec": spec })).await.expect(422);
    })
    .await;
}

#[tokio::test]
async fn a_server_with_a_separate_event_stream_is_legacy_unless_told_otherwise() {
    run(async |bench| {
        let spec = json!({ "instances": [{ "url": "http://127.0.0.1:3001/sse" }], "transport": "sse" });
        let created = bench.put("servers/old", json!({ "spec": spec })).await.expect(201);
        assert_eq!(created.json["spec"], spec);
        assert_eq!(
            created.json["status"]["effective"],
            json!({ "transport": "sse", "era": "legacy", "approval": "trust", "reported_usage": "ignore" })
        );
        let told = async || {
            let policy = policy::compile(&bench.app, bench.acme).await.expect("it compiles").expect("a policy");
            (policy.servers[0].transport(), policy.servers[0].era())
        };
        assert_eq!(told().await, (Transport::Sse, Era::Legacy));

        let patch = bench.call(Method::PATCH, "servers/old").header("if-match", "\"1\"");
        patch.json(json!({ "spec": { "transport": null } })).await.expect(200);
        assert_eq!(told().await, (Transport::Unspecified, Era::Unspecified));
    })
    .await;
}

#[tokio::test]
async fn an_instance_keeps_its_id_while_its_url_stays() {
    run(async |bench| {
        let urls = |urls: &[&str]| json!({ "spec": { "instances": urls.iter().map(|url| json!({ "url": url })).collect::<Vec<_>>() } });
        let instances = async || -> Vec<(String, uuid::Uuid)> {
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            let query = sqlx::query_as("SELECT url, id FROM server_instances ORDER BY position");
            query.fetch_all(&mut *tx).await.expect("instances")
        };
        bench.put("servers/demo", urls(&["http://a/", "http://b/"])).await.expect(201);
        let before = instances().await;
        let replace = bench.call(Method::PUT, "servers/demo").header("if-match", "\"1\"");
        replace.json(urls(&["http://c/", "http://b"])).await.expect(200);
        let after = instances().await;
        assert_eq!(after.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>(), ["http://c/", "http://b/"]);
        assert_eq!(after[1].1, before[1].1);
        assert_ne!(after[0].1, before[0].1);
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_drains_keeps_its_id() {
    run(async |bench| {
        let stored = async || -> (uuid::Uuid, bool) {
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            let query = sqlx::query_as("SELECT id, draining FROM server_instances");
            query.fetch_one(&mut *tx).await.expect("the instance")
        };
        bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
        let (id, draining) = stored().await;
        assert!(!draining);
        let drained = json!({ "spec": { "instances": [{ "url": "http://a/", "draining": true }] } });
        let patch = bench.call(Method::PATCH, "servers/demo").header("if-match", "\"1\"");
        let patched = patch.json(drained.clone()).await.expect(200);
        assert_eq!(patched.json["spec"], drained["spec"]);
        assert_eq!(stored().await, (id, true));
        let back = bench.call(Method::PATCH, "servers/demo").header("if-match", "\"2\"");
        back.json(json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(200);
        assert_eq!(stored().await, (id, false));
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_server_is_named_where_it_is() {
    run(async |bench| {
        let refused = bench
            .put(
                "servers/demo",
                json!({ "spec": {
                "instances": [
                    { "url": "http://a/mcp" },
                    { "url": "http://user:pw@b/mcp" },
                    { "url": "HTTP://A/mcp" },
                    { "url": "ftp://c/" },
                ],
                "transport": "sse",
                "era": "modern",
                "team": "nobody",
                "credential": { "type": "header", "name": "Host", "value_ref": "literal:hunter2" },
                "catalog": { "approval": "pinned" },
            } }),
            )
            .await
            .expect(422);
        let (code, faults) = refused.problem();
        assert_eq!(code, "invalid");
        assert_eq!(
            faults,
            [
                "/spec/era conflict",
                "/spec/instances/1/url url",
                "/spec/instances/2/url duplicate",
                "/spec/instances/3/url url",
                "/spec/credential/name header_reserved",
                "/spec/team team_unknown",
            ]
        );
        assert!(!refused.json.to_string().contains("hunter2"));
        bench.get("servers/demo").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_at_all_is_named_too() {
    run(async |bench| {
        let url = "http://a/";
        for (spec, expected) in [
            (json!({ "instances": [] }), "/spec/instances required"),
            (json!({ "instances": vec![json!({ "url": url }); 17] }), "/spec/instances too_many"),
            (json!({ "instances": [{ "url": 7 }] }), "/spec/instances/0/url shape"),
            (json!({ "instances": [{ "url": url }], "era": "future" }), "/spec/era shape"),
            (
                json!({ "instances": [{ "url": url }], "credential": { "type": "none", "x": 1 } }),
                "/spec/credential shape",
            ),
        ] {
            let refused = bench.put("servers/demo", json!({ "spec": spec })).await.expect(422);
            assert_eq!(refused.problem().1[0], expected);
        }
        let unknown = json!({ "spec": { "instances": [{ "url": url, "weight": 1 }] } });
        let refused = bench.put("servers/demo", unknown).await.expect(422);
        assert!(text(&refused.json["detail"]).contains("unknown field `weight`"), "{:#}", refused.json);

        let slug = "a".repeat(41);
        let spec = json!({ "instances": [{ "url": url }] });
        let refused = bench.put(&format!("servers/{slug}"), json!({ "spec": spec })).await.expect(422);
        assert_eq!(refused.problem().1, ["/name name"]);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_server_leaves_scopes_that_name_it() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let spec = json!({ "instances": [{ "url": "http://a/" }] });
        bench.put("servers/demo", json!({ "spec": spec })).await.expect(201);
        let grant = json!({ "spec": { "to": { "team": "platform" }, "scopes": ["demo:*"] } });
        bench.put("grants/all", grant.clone()).await.expect(201);
        bench.call(Method::DELETE, "servers/demo").header("if-match", "\"1\"").send().await.expect(204);
        assert_eq!(bench.get("grants/all").await.expect(200).json["spec"]["scopes"], json!(["demo:*"]));
        let again = bench.call(Method::PUT, "grants/all").header("if-match", "\"1\"").json(grant).await.expect(422);
        assert_eq!(again.problem(), ("server_unknown", vec!["/spec/scopes/0 server_unknown".into()]));
    })
    .await;
}

#[tokio::test]
async fn tollgate_itself_is_no_server() {
    run(async |bench| {
        for url in
            ["http://data.test/t/acme/mcp", "http://DATA.test:80/", "http://control.test/api", "http://data.test./"]
        {
            let spec = json!({ "instances": [{ "url": "http://other.test/mcp" }, { "url": url }] });
            let refused = bench.put("servers/loop", json!({ "spec": spec })).await.expect(422);
            let fault = &refused.json["errors"][0];
            assert_eq!((text(&fault["pointer"]), text(&fault["code"])), ("/spec/instances/1/url", "own_url"), "{url}");
        }
        let spec = json!({ "instances": [{ "url": "http://data.test:8080/mcp" }] });
        bench.put("servers/neighbour", json!({ "spec": spec })).await.expect(201);
        let patch = bench.call(Method::PATCH, "servers/neighbour").header("if-match", "\"1\"");
        let spec = json!({ "instances": [{ "url": "http://data.test/t/acme/mcp/neighbour" }] });
        patch.json(json!({ "spec": spec })).await.expect(422);
    })
    .await;
}
