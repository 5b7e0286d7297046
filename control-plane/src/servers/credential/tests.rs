//! Credentials of servers over REST, and what of them becomes policy.

use http::Method;
use serde_json::{Value, json};
use tollgate_proto::policy::v1::{self as wire, server::Credential};

use crate::{
    caller::Role,
    policy,
    testing::{Answer, Bench, run},
};

const SECRET: &str = "hunter2-correct-horse";

fn body(credential: Value) -> Value {
    let mut body = json!({ "spec": { "instances": [{ "url": "https://mcp.example.com/mcp" }] } });
    body["spec"]["credential"] = credential;
    body
}

fn header() -> Value {
    json!({ "type": "header", "name": "Authorization", "value_ref": format!("literal:Bearer {SECRET}") })
}

fn oauth(mut more: Value) -> Value {
    for (name, usual) in [
        ("type", "oauth_client_credentials".to_owned()),
        ("issuer", "https://login.example.com".to_owned()),
        ("client_id", "tollgate".to_owned()),
        ("secret_ref", format!("literal:{SECRET}")),
    ] {
        if more.get(name).is_none() {
            more[name] = Value::from(usual);
        }
    }
    more
}

async fn patch(bench: &Bench, spec: Value) -> Answer {
    let call = bench.call(Method::PATCH, "servers/files").by(Role::Operator).header("if-match", "*");
    call.json(json!({ "spec": spec })).await
}

/// What data planes are told to present.
async fn compiled(bench: &Bench) -> Option<Credential> {
    let policy = policy::compile(&bench.app, bench.acme).await.expect("it compiles").expect("a policy");
    assert!(!format!("{policy:?}").contains("hunter2"), "a policy prints no secret");
    policy.servers.into_iter().next().expect("the server").credential
}

async fn compiled_client(bench: &Bench) -> wire::OauthClientCredentials {
    match compiled(bench).await {
        Some(Credential::OauthClientCredentials(client)) => client,
        other => panic!("no OAuth client: {other:?}"),
    }
}

/// How many rows of the database show the secret.
async fn leaks(bench: &Bench) -> i64 {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let query = "SELECT (SELECT count(*) FROM audit_events WHERE detail::text LIKE '%hunter2%')
                      + (SELECT count(*) FROM servers WHERE spec::text LIKE '%hunter2%')
                      + (SELECT count(*) FROM server_secrets WHERE position('hunter2'::bytea IN value_sealed) > 0)";
    sqlx::query_scalar(query).fetch_one(&mut *tx).await.expect("a count")
}

#[tokio::test]
async fn a_header_goes_in_sealed_and_comes_out_in_policies_only() {
    run(async |bench| {
        let made = bench.put("servers/files", body(header())).await.expect(201);
        assert_eq!(made.json["spec"]["credential"], json!({ "type": "header", "name": "Authorization" }));
        assert_eq!(made.json["status"]["secrets"][0]["name"], "header:authorization");
        assert!(made.json["status"]["secrets"][0]["set_at"].is_string());
        let Some(Credential::StaticHeaders(told)) = compiled(bench).await else { panic!("headers") };
        assert_eq!((told.headers[0].name.as_str(), told.headers.len()), ("authorization", 1));
        assert_eq!(told.headers[0].value, format!("Bearer {SECRET}"));

        let shown = bench.get("servers/files").await.expect(200).text;
        assert!(!shown.contains("hunter2") && !made.text.contains("hunter2"));
        assert_eq!(leaks(bench).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_is_left_out_stays_and_a_new_one_replaces_it() {
    run(async |bench| {
        bench.put("servers/files", body(oauth(json!({})))).await.expect(201);
        let before = bench.get("servers/files").await.json["status"]["secrets"].clone();
        patch(bench, json!({ "era": "modern", "credential": { "scopes": ["read"] } })).await.expect(200);
        let kept = compiled_client(bench).await;
        assert_eq!((kept.secret.as_slice(), kept.scopes.as_slice()), (SECRET.as_bytes(), &["read".to_owned()][..]));
        assert_eq!(bench.get("servers/files").await.json["status"]["secrets"], before);

        let mut without = body(oauth(json!({})));
        without["spec"]["credential"].as_object_mut().expect("an object").remove("secret_ref");
        let put = bench.call(Method::PUT, "servers/files").header("if-match", "*").json(without).await;
        put.expect(200);
        assert_eq!(compiled_client(bench).await.secret, SECRET.as_bytes());

        patch(bench, json!({ "credential": { "secret_ref": "literal:other" } })).await.expect(200);
        assert_eq!(compiled_client(bench).await.secret, b"other");

        patch(bench, json!({ "credential": null })).await.expect(200);
        assert!(compiled(bench).await.is_none());
        assert_eq!(bench.get("servers/files").await.json["status"]["secrets"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn of_several_headers_each_keeps_its_own_value() {
    run(async |bench| {
        let several = |values: [Option<&str>; 2]| {
            let header = |name: &str, value: Option<&str>| match value {
                Some(value) => json!({ "name": name, "value_ref": format!("literal:{value}") }),
                None => json!({ "name": name }),
            };
            json!({ "type": "header", "headers": [header("X-Api-Key", values[0]), header("X-Account", values[1])] })
        };
        let told = async || match compiled(bench).await {
            Some(Credential::StaticHeaders(told)) => {
                told.headers.into_iter().map(|header| format!("{}={}", header.name, header.value)).collect::<Vec<_>>()
            }
            other => panic!("no headers: {other:?}"),
        };
        bench.put("servers/files", body(several([Some("one"), Some("two")]))).await.expect(201);
        patch(bench, json!({ "credential": several([None, Some("three")]) })).await.expect(200);
        assert_eq!(told().await, ["x-api-key=one", "x-account=three"]);
        let only = json!({ "credential": { "headers": [{ "name": "x-account" }] } });
        patch(bench, only).await.expect(200);
        assert_eq!(told().await, ["x-account=three"]);
        let back = json!({ "credential": several([None, None]) });
        assert_eq!(
            patch(bench, back).await.expect(422).problem().1,
            ["/spec/credential/headers/0/value_ref secret_required"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_stored_secret_is_never_sent_to_another_place() {
    run(async |bench| {
        let required = ["/spec/credential/value_ref secret_required"];
        bench.put("servers/files", body(header())).await.expect(201);
        let moved = |url: &str| json!({ "instances": [{ "url": url }] });
        assert_eq!(patch(bench, moved("https://evil.example/mcp")).await.expect(422).problem().1, required);
        assert_eq!(patch(bench, moved("http://mcp.example.com/mcp")).await.expect(422).problem().1, required);
        patch(bench, moved("https://mcp.example.com/other")).await.expect(200);

        let given = json!({ "credential": oauth(json!({ "name": null, "value_ref": null })) });
        patch(bench, given).await.expect(200);
        let required = ["/spec/credential/secret_ref secret_required"];
        for elsewhere in [
            json!({ "issuer": "https://evil.example" }),
            json!({ "issuer": null }),
            json!({ "token_endpoint": "https://evil.example/token" }),
            json!({ "auth_method": "private_key_jwt" }),
        ] {
            let refused = patch(bench, json!({ "credential": elsewhere })).await.expect(422);
            assert_eq!(refused.problem().1, required, "{elsewhere}");
        }
        patch(bench, moved("https://replica.example.com/mcp")).await.expect(200);
        let unnamed = json!({ "issuer": null, "secret_ref": "literal:again" });
        patch(bench, json!({ "credential": unnamed })).await.expect(200);
        assert_eq!(patch(bench, moved("https://evil.example/mcp")).await.expect(422).problem().1, required);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_presented_is_refused_where_it_stands() {
    run(async |bench| {
        let reserved = |name: &str| json!({ "type": "header", "name": name, "value_ref": "literal:x" });
        let at = "/spec/credential";
        let mut cases: Vec<(Value, String)> =
            ["Host", "Connection", "Content-Type", "Mcp-Method", "traceparent", "Cookie"]
                .into_iter()
                .map(|name| (reserved(name), format!("{at}/name header_reserved")))
                .collect();
        let more = [
            (reserved("a b"), "/name header"),
            (json!({ "type": "header", "name": "X-A" }), "/value_ref secret_required"),
            (json!({ "type": "header", "name": "X-A", "value_ref": "x" }), "/value_ref secret_ref"),
            (json!({ "type": "header", "name": "X-A", "value_ref": "env:HOME" }), "/value_ref secret_ref"),
            (json!({ "type": "header", "name": "X-A", "value_ref": "file:/etc/passwd" }), "/value_ref secret_ref"),
            (json!({ "type": "header", "name": "X-A", "value_ref": "literal:a\r\nb: c" }), "/value_ref secret"),
            (json!({ "type": "header", "headers": [] }), " shape"),
            (json!({ "type": "header", "nam": "X-A" }), " shape"),
            (oauth(json!({ "issuer": "http://login.example.com" })), "/issuer url"),
            (oauth(json!({ "issuer": "https://a@login.example.com" })), "/issuer url"),
            (oauth(json!({ "token_endpoint": "ftp://login.example.com" })), "/token_endpoint url"),
            (oauth(json!({ "client_id": "" })), "/client_id text"),
            (oauth(json!({ "scopes": ["a b"] })), "/scopes/0 scope"),
            (oauth(json!({ "resource": "https://a/#b" })), "/resource url"),
            (oauth(json!({ "key_id": "k1" })), "/key_id shape"),
            (oauth(json!({ "auth_method": "private_key_jwt" })), "/secret_ref secret"),
            (oauth(json!({ "auth_method": "tls_client_auth" })), " shape"),
        ];
        cases.extend(more.map(|(credential, fault)| (credential, format!("{at}{fault}"))));
        for (credential, fault) in cases {
            let refused = bench.put("servers/files", body(credential.clone())).await.expect(422);
            assert_eq!(refused.problem().1, [fault], "{credential}");
            assert!(!refused.text.contains("hunter2"));
        }
    })
    .await;
}

#[tokio::test]
async fn only_harmless_headers_of_agents_are_passed_on() {
    run(async |bench| {
        let with = |names: Value| {
            let mut body = body(json!({ "type": "header", "name": "X-Key", "value_ref": "literal:x" }));
            body["spec"]["passed_headers"] = names;
            body
        };
        for (name, fault) in [
            ("Authorization", "header_reserved"),
            ("cookie", "header_reserved"),
            ("Mcp-Session-Id", "header_reserved"),
            ("Tollgate-Call-Id", "header_reserved"),
            ("x-key", "duplicate"),
            ("a:b", "header"),
        ] {
            let refused = bench.put("servers/files", with(json!([name]))).await.expect(422);
            assert_eq!(refused.problem().1, [format!("/spec/passed_headers/0 {fault}")], "{name}");
        }
        bench.put("servers/files", with(json!(["X-Request-Id", "Accept-Language"]))).await.expect(201);
        let policy = policy::compile(&bench.app, bench.acme).await.expect("it compiles").expect("a policy");
        assert_eq!(policy.servers[0].passed_headers, ["x-request-id", "accept-language"]);
    })
    .await;
}

#[tokio::test]
async fn a_viewer_sees_that_there_is_a_secret_and_a_stranger_nothing() {
    run(async |bench| {
        bench.put("servers/files", body(header())).await.expect(201);
        let seen = bench.call(Method::GET, "servers/files").by(Role::Viewer).send().await.expect(200);
        assert_eq!(seen.json["status"]["secrets"][0]["name"], "header:authorization");
        let put = bench.call(Method::PUT, "servers/files").by(Role::Viewer).header("if-match", "*");
        put.json(body(json!({ "type": "none" }))).await.expect(403);

        let other = bench.tenant("other").await;
        let mut tx = bench.app.db.tenant(other).await.expect("a transaction");
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM server_secrets").fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(rows, 0);
    })
    .await;
}
