#![allow(clippy::needless_pass_by_value, reason = "what `json!` makes is handed over as it is")]

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::{
    agents::Origin,
    caller::Role,
    testing::{Answer, Bench, run},
};

async fn set(bench: &Bench, settings: Value) -> Answer {
    let revision = bench.get("/api/v1/tenants/acme").await.expect(200).json["revision"].to_string();
    let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", &format!("\"{revision}\""));
    patch.by(Role::Admin).json(json!({ "spec": { "client_registration": settings } })).await
}

async fn policy(bench: &Bench) -> RegistrationPolicy {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    crate::tenants::registration_policy(&mut tx).await.expect("a policy")
}

#[tokio::test]
async fn a_tenant_that_says_nothing_is_open_within_bounds() {
    run(async |bench| {
        assert_eq!(policy(bench).await, RegistrationPolicy::default());
        let tenant = bench.get("/api/v1/tenants/acme").await.expect(200);
        let expected = json!({
            "registration": "open", "client_documents": "on", "document_hosts": {}, "client_credentials_hosts": [],
            "pinned_documents": [],
            "private_use_schemes": "allow", "default_team": "default", "clients_max": 1000,
            "unconfirmed_ttl": "24h", "rules": [],
        });
        assert_eq!(tenant.json["status"]["effective"]["client_registration"], expected);
    })
    .await;
}

#[tokio::test]
async fn settings_come_back_word_for_word_and_mean_what_they_say() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
        let url = "https://client.example/c.json";
        let document =
            json!({ "client_id": url, "client_name": "Pinned", "redirect_uris": ["https://client.example/cb"] });
        let settings = json!({
            "registration": "approval", "client_documents": "on",
            "document_hosts": { "allow": ["client.example"], "deny": ["bad.client.example"] },
            "client_credentials_hosts": ["agents.client.example"],
            "pinned_documents": [{ "url": url, "document": document }],
            "private_use_schemes": ["cursor", "vscode"], "default_team": "platform", "clients_max": 7,
            "unconfirmed_ttl": "2h",
            "rules": [{ "match": { "host": "client.example", "origin": "client_document" }, "scopes": ["demo:*"] }],
        });
        let changed = set(bench, settings.clone()).await.expect(200);
        assert_eq!(changed.json["spec"]["client_registration"], settings);
        let policy = policy(bench).await;
        assert_eq!(policy.registration, DynamicRegistration::Approval);
        assert_eq!((policy.clients_max, policy.unconfirmed_ttl_s), (7, 7_200));
        assert_eq!(policy.pinned(url), Some(&document));
        assert!(policy.lets_act_for_itself("a.agents.client.example") && !policy.lets_act_for_itself("client.example"));
        assert!(policy.document_hosts.permit("client.example") && policy.document_hosts.permit("a.client.example"));
        assert!(!policy.document_hosts.permit("bad.client.example") && !policy.document_hosts.permit("x.example"));

        let off = set(bench, json!({ "registration": "off", "client_documents": "off" })).await.expect(200);
        assert_eq!(off.json["status"]["effective"]["client_registration"]["client_documents"], "off");
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_the_settings_is_named_where_it_is() {
    run(async |bench| {
        let settings = json!({
            "document_hosts": { "allow": ["https://a.example", "*.example", "ok.example"], "deny": ["A.example", ".b"] },
            "pinned_documents": [
                { "url": "http://a.example/c", "document": {} },
                { "url": "https://a.example/c", "document": { "client_id": "https://a.example/c" } },
                { "url": "https://a.example/c", "document": {} },
            ],
            "client_credentials_hosts": ["ok.example", "https://a.example", "example", "github.io", "127.0.0.1"],
            "private_use_schemes": ["cursor", "Bad:"], "default_team": "nobody", "clients_max": 0,
            "unconfirmed_ttl": "31d",
            "rules": [{ "match": { "host": "a:1" }, "team": "nobody", "scopes": ["demo", "nowhere:*"] }],
        });
        let refused = set(bench, settings).await.expect(422);
        let expected = [
            "document_hosts/allow/0 host",
            "document_hosts/allow/1 host",
            "document_hosts/deny/0 host",
            "document_hosts/deny/1 host",
            "client_credentials_hosts/1 host",
            "client_credentials_hosts/2 host",
            "client_credentials_hosts/3 host",
            "private_use_schemes/1 scheme",
            "clients_max out_of_range",
            "unconfirmed_ttl out_of_range",
            "pinned_documents/0/url url",
            "pinned_documents/1/document document",
            "pinned_documents/2/url duplicate",
            "pinned_documents/2/document document",
            "default_team team_unknown",
            "rules/0/match/host host",
            "rules/0/team team_unknown",
            "rules/0/scopes/0 scope",
            "rules/0/scopes/1 server_unknown",
        ];
        assert_eq!(refused.problem().1, expected.map(|fault| format!("/spec/client_registration/{fault}")));
        set(bench, json!({ "registration": "perhaps" })).await.expect(422);
        set(bench, json!({ "rules": [{ "scopes": [] }] })).await.expect(422);
        assert_eq!(policy(bench).await, RegistrationPolicy::default());
    })
    .await;
}

fn newcomer<'a>(origin: Origin, client_name: &'a str, hosts: &[&str]) -> Newcomer<'a> {
    let host = |host: &&str| (!host.is_empty()).then(|| (*host).to_owned());
    Newcomer { origin, client_name: Some(client_name), hosts: hosts.iter().map(host).collect() }
}

#[test]
fn a_rule_about_a_host_wants_every_address_there() {
    let rule = RuleMatch { host: Some("claude.ai".to_owned()), ..RuleMatch::default() };
    let fits = |hosts: &[&str]| rule.fits(&newcomer(Origin::ClientDocument, "Claude", hosts));
    assert!(fits(&["claude.ai"]) && fits(&["claude.ai", "app.claude.ai"]));
    for hosts in [
        &["claude.ai", "evil.example"][..],
        &["claude.ai", ""],
        &["claude.ai", "localhost"],
        &["notclaude.ai"],
        &["claude.ai.evil.example"],
        &["ai"],
        &[],
    ] {
        assert!(!fits(hosts), "{hosts:?}");
    }
}

#[test]
fn everything_that_a_rule_names_has_to_fit() {
    let rule = RuleMatch { host: None, client_name: Some("Claude".to_owned()), origin: Some(Origin::Registration) };
    assert!(rule.fits(&newcomer(Origin::Registration, "Claude", &["localhost"])));
    assert!(!rule.fits(&newcomer(Origin::ClientDocument, "Claude", &["localhost"])));
    assert!(!rule.fits(&newcomer(Origin::Registration, "claude", &["localhost"])));
    assert!(RuleMatch::default().fits(&newcomer(Origin::Registration, "Anyone", &[])));
}
