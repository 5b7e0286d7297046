//! The settings of a tenant, and the tokens that clients register with.

use serde_json::json;

use super::{Browser, hidden};
use crate::{caller::Role, testing::run};

const EDIT: &str = "/tenants/acme/edit";

/// What the form of a tenant that nobody has changed holds, but for what a test changes.
fn form<'a>(etag: &'a str, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let shown = [
        ("access_token_ttl", "15m"),
        ("access_token_format", "jwt"),
        ("signing_key_rotation", "90d"),
        ("local_sign_in", "yes"),
        ("registration", "open"),
        ("client_documents", "on"),
        ("private_use_schemes", "allow"),
        ("default_team", "core"),
        ("clients_max", "1000"),
        ("unconfirmed_ttl", "24h"),
        ("max_stale", "60m"),
        ("stale_destructive", "deny"),
        ("time_zone", "UTC"),
        ("usage_retention", "90d"),
        ("etag", etag),
    ];
    let kept = shown.into_iter().filter(|(name, _)| !changed.iter().any(|(other, _)| name == other));
    kept.chain(changed.iter().copied()).collect()
}

#[tokio::test]
async fn an_admin_changes_the_settings_and_what_the_form_does_not_show_stays() {
    run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        let server = json!({ "spec": { "instances": [{ "url": "https://demo.example/mcp" }] } });
        bench.put("servers/demo", server).await.expect(201);
        let mut admin = Browser::of(bench, Role::Admin).await;
        let rules = json!([{ "match": { "host": "client.example" }, "scopes": ["demo:*"] }]);
        let spec = json!({ "spec": { "client_registration": { "rules": rules } } });
        let path = "/api/v1/tenants/acme";
        let etag = bench.call(http::Method::GET, path).send().await.header("etag").to_owned();
        bench.call(http::Method::PATCH, path).header("if-match", &etag).json(spec).await.expect(200);

        assert!(admin.get("/settings").await.expect(200).text.contains("client.example"));
        let shown = admin.get(EDIT).await.expect(200);
        let etag = hidden(&shown.text, "etag").expect("an etag");
        let changed = [
            ("access_token_format", "opaque"),
            ("local_sign_in", ""),
            ("registration", "approval"),
            ("document_hosts_allow", "claude.ai\nvscode.dev"),
            ("client_credentials_hosts", "agents.example.com"),
            ("private_use_schemes", "list"),
            ("private_use_schemes_listed", "cursor"),
            ("egress_allow", "10.0.0.0/8"),
            ("max_stale", "none"),
            ("stale_destructive", "allow"),
            ("time_zone", "Europe/Berlin"),
            ("usage_retention", "30d"),
        ];
        admin.post(EDIT, &form(&etag, &changed)).await.expect(303);
        let spec = bench.call(http::Method::GET, path).send().await.json["spec"].clone();
        assert_eq!((&spec["access_token_format"], &spec["local_sign_in"]), (&json!("opaque"), &json!(false)));
        assert_eq!(spec["staleness"], json!({ "max_stale": "none", "destructive": "allow" }));
        assert_eq!((&spec["time_zone"], &spec["usage_retention"]), (&json!("Europe/Berlin"), &json!("30d")));
        let registration = &spec["client_registration"];
        assert_eq!(registration["registration"], "approval");
        assert_eq!(registration["document_hosts"]["allow"], json!(["claude.ai", "vscode.dev"]));
        assert_eq!(registration["client_credentials_hosts"], json!(["agents.example.com"]));
        assert_eq!(registration["private_use_schemes"], json!(["cursor"]));
        assert_eq!(registration["rules"], rules);
        let page = admin.get("/settings").await.expect(200);
        assert!(page.text.contains("<code>agents.example.com</code>"));
        assert!(page.text.contains("for ever") && !page.text.contains("but for tools that may destroy"));
        assert!(page.text.contains("opaque") && page.text.contains("an operator approves each agent"));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_setting_is_said_at_its_field() {
    run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        let mut admin = Browser::of(bench, Role::Admin).await;
        let shown = admin.get(EDIT).await.expect(200);
        let etag = hidden(&shown.text, "etag").expect("an etag");
        for (field, wrong) in [
            ("access_token_ttl", "1s"),
            ("signing_key_rotation", "1m"),
            ("clients_max", "0"),
            ("unconfirmed_ttl", "soon"),
            ("client_credentials_hosts", "github.io"),
            ("egress_allow", "here"),
            ("max_stale", "2y"),
            ("stale_destructive", "perhaps"),
        ] {
            let page = admin.post(EDIT, &form(&etag, &[(field, wrong)])).await.expect(422);
            assert!(page.text.contains(&format!("id=\"{field}-wrong\"")), "{field}: {wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_initial_access_token_is_shown_once_and_deleted() {
    run(async |bench| {
        let mut admin = Browser::of(bench, Role::Admin).await;
        admin.get("/settings").await.expect(200);
        let made = [("note", "for the builds"), ("uses", "3"), ("expires_in", "1h")];
        let shown = admin.post("/settings/initial-access-tokens", &made).await.expect(200);
        assert!(shown.text.contains("tgi_") && shown.text.contains("/t/acme/oauth/register"));
        let list = admin.get("/settings").await.expect(200);
        assert!(list.text.contains("for the builds") && !list.text.contains("tgi_"));
        let start = list.text.find("/settings/initial-access-tokens/iat_").expect("a form");
        let path = list.text[start..].split('"').next().expect("an end").to_owned();
        admin.post(&path, &[]).await.expect(303);
        assert!(!admin.get("/settings").await.text.contains("for the builds"));
        let none = [("note", ""), ("uses", "many"), ("expires_in", "")];
        admin.post("/settings/initial-access-tokens", &none).await.expect(422);
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_the_settings_and_changes_none() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        let page = operator.get("/settings").await.expect(200);
        assert!(page.text.contains("/t/acme/oauth/token"));
        assert!(!page.text.contains(EDIT) && !page.text.contains("initial-access-tokens"));
        operator.get(EDIT).await.expect(403);
        operator.post("/settings/initial-access-tokens", &[("note", "x")]).await.expect(403);
    })
    .await;
}
