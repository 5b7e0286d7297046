//! Servers of the official Python SDK that want to know who asks, with the SDK's own bearer check and metadata.

use std::path::PathBuf;

use super::*;
use tollgate_tests::{Agent, RealServer};

/// As the authorization server knows the server itself, for `tests/clients/python_guarded_server.py`.
fn introspecting(issuer: &str) -> Value {
    json!({"issuer": issuer, "client_id": SERVER.0, "client_secret": SERVER.1})
}

async fn provider_for(draft: OidcDraft, server: &RealServer) -> OidcProvider {
    let draft = by_secret(draft.resource(&server.url(), "read"));
    draft.client(machine(SERVER.0, &json!({"client_secret": SERVER.1}))).start().await
}

/// Writes a manifest of the server `guarded` beside the files that it refers to.
fn manifest(tollgate: &Deployment, url: &str, rest: &str) -> PathBuf {
    let text = format!(
        "apiVersion: tollgate/v1\nkind: Server\nmetadata: {{name: guarded}}\nspec:\n  instances: [{{url: '{url}'}}]\n{rest}\n"
    );
    let file = tollgate.folder().join("guarded.yaml");
    std::fs::write(&file, text).expect("the folder is writable");
    file
}

async fn at_two() -> Deployment {
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.remember_secret(SECRET);
    tollgate
}

async fn agent(tollgate: &Deployment) -> Agent {
    tollgate.agent("ci").grant("guarded:*").create().await
}

/// Asserts that the server knows the caller as `client`, for both eras of agents and at both data planes.
async fn assert_known_as(tollgate: &Deployment, agent: &Agent, client: &str) {
    let modern = agent.at_server("guarded").await;
    let legacy = modern.initialize("2025-11-25").await;
    for one in [&modern, &legacy] {
        for index in [0, 1] {
            let answer = one.clone().through(tollgate.data_plane_url(index)).call("whoami", json!({})).await;
            assert_eq!(answer.text(), client, "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_server_of_the_python_sdk_leads_to_its_authorization_server_and_gets_tokens_of_it() {
    let draft = OidcProvider::plan();
    let server = RealServer::python_guarded(&introspecting(&draft.issuer())).await;
    let provider = provider_for(draft, &server).await;
    let tollgate = at_two().await;
    std::fs::write(tollgate.folder().join("secret"), format!("{SECRET}\n")).expect("the folder is writable");
    let credential = format!(
        "  credential: {{type: oauth_client_credentials, client_id: {CLIENT}, secret_ref: 'file:secret', scopes: [read]}}"
    );
    let output = tollgate.apply_file(&manifest(&tollgate, &server.url(), &credential), &[]).await;
    assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET), "{output:?}");
    assert_known_as(&tollgate, &agent(&tollgate).await, CLIENT).await;
    assert_eq!(provider.requests("/token").await, 2, "one for each data plane");
}

#[tokio::test]
async fn a_server_of_the_python_sdk_gets_the_header_that_it_wants() {
    let server =
        RealServer::python_guarded(&json!({"issuer": "http://127.0.0.1:9/none", "token": "the-one-token"})).await;
    let tollgate = at_two().await;
    tollgate.remember_secret("the-one-token");
    let credential = "  credential: {type: header, name: Authorization, value_ref: 'env:GUARDED_TOKEN'}";
    let file = manifest(&tollgate, &server.url(), credential);
    tollgate.apply_file(&file, &[("GUARDED_TOKEN", "Bearer another")]).await;
    let agent = agent(&tollgate).await;
    let client = agent.at_server("guarded").await;
    assert_refusal(&client.call("whoami", json!({})).await, UNAUTHENTICATED);
    tollgate.apply_file(&file, &[("GUARDED_TOKEN", "Bearer the-one-token")]).await;
    assert_known_as(&tollgate, &agent, "one-token").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_is_said_at_every_data_plane_of_a_link() {
    let draft = OidcProvider::plan();
    let server = RealServer::python_guarded_over_sse(&introspecting(&draft.issuer())).await;
    let provider = provider_for(draft.token_life(3600), &server).await;
    let tollgate = at_two().await;
    let credential = |issuer: &str| {
        format!(
            "  transport: sse\n  credential: {{type: oauth_client_credentials, client_id: {CLIENT}, \
             secret_ref: 'literal:{SECRET}', scopes: [read], issuer: '{issuer}'}}"
        )
    };
    tollgate.apply_file(&manifest(&tollgate, &server.url(), &credential(provider.issuer())), &[]).await;
    let agent = agent(&tollgate).await;
    assert_known_as(&tollgate, &agent, CLIENT).await;
    let session = agent.at_server("guarded").await.initialize("2025-11-25").await;
    let nowhere = OidcProvider::plan().issuer();
    tollgate.apply_file(&manifest(&tollgate, &server.url(), &credential(&nowhere)), &[]).await;
    for index in [0, 1] {
        let answer = session.clone().through(tollgate.data_plane_url(index)).call("whoami", json!({})).await;
        assert_refusal(&answer, UNAUTHENTICATED);
    }
}
