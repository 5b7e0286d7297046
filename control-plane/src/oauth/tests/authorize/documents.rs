//! What users see of clients that are known by a document.

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use serde_json::{Value, json};

use super::{super::client_document::host::Host, Ask, Person, requests::assert_page, sql};
use crate::{
    app::App,
    oauth::testing::{Bed, run},
};

/// A control plane that finds every document at one host.
async fn fetching(bed: &Bed, host: &Host) -> Bed {
    let statement = "UPDATE tenants SET egress_allow = '{127.0.0.0/8}' WHERE id = $1";
    let mut tx = bed.app.db.platform().await.expect("a transaction");
    sqlx::query(statement).bind(bed.tenant.uuid()).execute(&mut *tx).await.expect(statement);
    tx.commit().await.expect("committed");
    let fetcher = host.fetcher(vec![vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]]);
    bed.with(|app| App { fetcher, ..app })
}

fn document(url: &str, more: &Value) -> String {
    let mut document = json!({
        "client_id": url,
        "client_name": "Editor",
        "redirect_uris": ["https://client.example/callback"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    document.to_string()
}

fn ask(url: &str) -> Ask {
    let pairs = [
        ("response_type", "code"),
        ("client_id", url),
        ("redirect_uri", "https://client.example/callback"),
        ("code_challenge", super::CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    Ask(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

#[tokio::test]
async fn a_document_that_cannot_be_used_is_a_page_that_names_its_host_and_leads_nowhere() {
    run(async |bed| {
        let host = Host::start().await;
        let bed = fetching(bed, &host).await;
        let person = Person::new(&bed, "ada@acme.test").await;
        let json = "content-type: application/json\r\n";
        let elsewhere = document("https://other.example/client.json", &json!({}));
        for (number, (status, body)) in
            [("404 Not Found", ""), ("200 OK", "no json"), ("200 OK", &elsewhere)].iter().enumerate()
        {
            let url = host.url(&format!("/{number}/client.json"));
            host.answers(status, json, body);
            let page = person.open(&ask(&url)).await;
            assert_page(&page, StatusCode::BAD_REQUEST.as_u16());
            assert!(page.text().contains("client.example"), "{}", page.text());
        }
    })
    .await;
}

#[tokio::test]
async fn no_page_has_the_logo_of_a_client() {
    run(async |bed| {
        bed.server("demo").await;
        let host = Host::start().await;
        let bed = fetching(bed, &host).await;
        let person = Person::new(&bed, "ada@acme.test").await;
        let url = host.url("/client.json");
        let more = json!({ "logo_uri": "https://client.example/logo.png" });
        host.answers("200 OK", "content-type: application/json\r\n", &document(&url, &more));
        let page = person.open(&ask(&url)).await;
        assert_eq!(page.status, 403, "nothing is granted to it yet: {}", page.text());
        assert!(!page.text().contains("logo"), "{}", page.text());
        sqlx::query(
            "INSERT INTO grants (tenant_id, id, name, agent_id, scopes, created_by)
             SELECT tenant_id, id, 'may', id, '{demo:*}', 'test' FROM agents WHERE document_url IS NOT NULL",
        )
        .execute(&mut *sql(&bed).await)
        .await
        .expect("a grant");
        let page = person.open(&ask(&url)).await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.text().contains("Editor") && !page.text().contains("logo"), "{}", page.text());
        assert!(host.requests().iter().all(|request| !request.contains("logo")), "{:?}", host.requests());
    })
    .await;
}
