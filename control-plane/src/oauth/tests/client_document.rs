//! Client ID Metadata Documents from a real host over TLS.

#![allow(clippy::needless_pass_by_value, reason = "what `json!` makes is handed over as it is")]

use std::{net::IpAddr, sync::Arc};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    agents::{AgentState, AuthMethod, Origin},
    app::App,
    oauth::{
        client::Client,
        client_document::{self, DocumentError, DocumentFault},
        error::OAuthError,
        issuer::Issuer,
        testing::{Bed, run},
    },
};

mod for_itself;
pub(super) mod host;
mod policy;
mod strangers;

use host::Host;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A control plane that reaches one host of documents.
struct Scene<'a> {
    bed: &'a Bed,
    host: Host,
    app: Arc<App>,
}

async fn scene(bed: &Bed) -> Scene<'_> {
    let host = Host::start().await;
    let app = bed.fetching(host.fetcher(vec![vec![LOOPBACK]]));
    set(bed, "egress_allow", "'{127.0.0.0/8}'").await;
    Scene { bed, host, app }
}

async fn set(bed: &Bed, column: &str, value: &str) {
    let mut tx = bed.app.db.platform().await.expect("a transaction");
    let statement = format!("UPDATE tenants SET {column} = {value} WHERE id = $1");
    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(bed.tenant.uuid()).execute(&mut *tx).await.expect("set");
    tx.commit().await.expect("committed");
}

async fn settings(bed: &Bed, settings: Value) {
    set(bed, "client_registration", &format!("'{settings}'")).await;
}

impl Scene<'_> {
    fn issuer(&self) -> Issuer {
        let name = "acme".parse().expect("a name");
        Issuer { tenant: self.bed.tenant, name, url: "https://h/t/acme".to_owned() }
    }

    async fn resolve(&self, url: &str) -> Result<Client, DocumentError> {
        client_document::resolve(&self.app, &self.issuer(), url).await
    }

    async fn resolve_or_stale(&self, url: &str) -> Result<Client, DocumentError> {
        client_document::resolve_or_stale(&self.app, &self.issuer(), url).await
    }

    /// Lets the host serve the document, and answers its URL.
    fn serves(&self, changes: Value) -> String {
        let url = self.host.url("/oauth/client.json");
        self.host.answers("200 OK", "content-type: application/json\r\n", &document(&url, changes).to_string());
        url
    }

    fn fetches(&self) -> usize {
        self.host.requests().len()
    }

    /// Lets the time pass in which the document is fresh.
    async fn goes_stale(&self, hours: i32) {
        let statement = "UPDATE agents SET metadata_fresh_until = now(),
                             metadata_fetched_at = now() - make_interval(hours => $1)";
        let mut tx = self.bed.tx().await;
        sqlx::query(statement).bind(hours).execute(&mut *tx).await.expect("time passes");
        tx.commit().await.expect("committed");
    }

    async fn audited(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM audit_events WHERE object_kind = 'agent' ORDER BY id")
            .fetch_all(&mut *self.bed.tx().await)
            .await
            .expect("events")
    }

    /// For how many seconds the document is fresh.
    async fn fresh_s(&self) -> f64 {
        sqlx::query_scalar(
            "SELECT extract(epoch FROM metadata_fresh_until - metadata_fetched_at)::float8 FROM agents
             WHERE document_url IS NOT NULL",
        )
        .fetch_one(&mut *self.bed.tx().await)
        .await
        .expect("an agent")
    }

    async fn agents(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM agents").fetch_one(&mut *self.bed.tx().await).await.expect("a count")
    }
}

fn document(url: &str, changes: Value) -> Value {
    let mut document = json!({
        "client_id": url,
        "client_name": "Claude",
        "redirect_uris": ["https://client.example/callback", "http://localhost/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let changes = changes.as_object().expect("an object").clone();
    document.as_object_mut().expect("an object").extend(changes);
    document
}

fn invalid(result: Result<Client, DocumentError>) -> DocumentFault {
    match result {
        Err(DocumentError::Invalid { host, fault }) => {
            assert_eq!(host, "client.example");
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_document_makes_an_agent_without_grants() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let client = scene.resolve(&url).await.expect("a client");
        assert_eq!(client.client_id, url);
        assert_eq!((client.name.as_str(), client.display_name.as_str()), ("claude", "Claude"));
        assert_eq!((client.origin, client.auth_method), (Origin::ClientDocument, AuthMethod::None));
        assert_eq!(client.state, AgentState::Active);
        assert!(client.redirect_uri(Some("http://localhost:50123/callback")).is_some(), "any port of a loopback");
        assert!(client.redirect_uri(Some("https://client.example/callback/")).is_none());
        assert!(client.redirect_uri(None).is_none(), "two are registered");
        let [request] = &scene.host.requests()[..] else { panic!("one request") };
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("get /oauth/client.json http/1.1\r\n"), "{request}");
        assert!(request.contains("accept: application/json\r\n"), "{request}");
        assert_eq!(scene.audited().await, ["agent.register"]);
    })
    .await;
}

#[tokio::test]
async fn a_confidential_client_brings_its_keys() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({
            "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "RS256",
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "jwks_uri": "https://client.example/jwks",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        }));
        let client = scene.resolve(&url).await.expect("a client");
        assert_eq!(client.auth_method, AuthMethod::PrivateKeyJwt);
        assert_eq!(client.keys, crate::oauth::client::Keys::At("https://client.example/jwks".to_owned()));
        assert!(client.may_use("client_credentials"), "as far as the policy lets it");

        let key = json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" });
        scene.serves(json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key] } }));
        scene.goes_stale(1).await;
        let client = scene.resolve(&url).await.expect("a client");
        assert_eq!(client.keys, crate::oauth::client::Keys::Inline(json!({ "keys": [key] })));
        assert_eq!(scene.audited().await, ["agent.register", "agent.update", "agent.keys.change"]);
    })
    .await;
}

#[tokio::test]
async fn only_addresses_in_their_normal_form_are_asked() {
    run(async |bed| {
        let scene = scene(bed).await;
        scene.serves(json!({}));
        for path in ["", "/", "/a/../c", "/%2e%2e/c", "/c#x", "/c\t"] {
            let refused = scene.resolve(&scene.host.url(path)).await;
            assert!(matches!(refused, Err(DocumentError::Url(_))), "{path}: {refused:?}");
        }
        let http = scene.host.url("/c").replacen("https", "http", 1);
        assert!(matches!(scene.resolve(&http).await, Err(DocumentError::Url(_))));
        assert_eq!((scene.fetches(), scene.host.look_ups()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn nothing_but_a_whole_document_from_its_own_address_is_one() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let elsewhere = format!("location: {}\r\n", scene.host.url("/elsewhere"));
        for status in
            ["301 Moved", "302 Found", "307 Temporary", "308 Permanent", "201 Created", "204 None", "404 Gone"]
        {
            scene.host.answers(status, &elsewhere, &document(&url, json!({})).to_string());
            let refused = scene.resolve(&url).await;
            assert!(
                matches!(refused, Err(DocumentError::Unreadable { transient: false, .. })),
                "{status}: {refused:?}"
            );
        }
        assert!(scene.host.requests().iter().all(|request| !request.contains("elsewhere")), "no redirect is followed");

        for body in ["", "<html>", "{", "\u{feff}{}"] {
            scene.host.answers("200 OK", "", body);
            assert_eq!(invalid(scene.resolve(&url).await), DocumentFault::NotJson, "{body}");
        }
        for body in ["[]", "null", "\"x\"", "{}"] {
            scene.host.answers("200 OK", "", body);
            assert!(matches!(invalid(scene.resolve(&url).await), DocumentFault::Metadata(_)), "{body}");
        }
        for client_id in
            [format!("{url}/"), url.replace("client.example", "CLIENT.example"), format!("{url}?"), String::new()]
        {
            scene.serves(json!({ "client_id": client_id }));
            assert_eq!(invalid(scene.resolve(&url).await), DocumentFault::OtherClient, "{client_id}");
        }
        for changes in [
            json!({ "token_endpoint_auth_method": "client_secret_basic" }),
            json!({ "client_secret": "s" }),
            json!({ "client_secret_expires_at": 0 }),
            json!({ "client_name": "" }),
            json!({ "client_name": 1 }),
            json!({ "redirect_uris": [] }),
            json!({ "redirect_uris": ["http://client.example/"] }),
            json!({ "grant_types": ["implicit"] }),
            json!({ "jwks": { "keys": [{ "kty": "EC", "d": "x" }] } }),
            json!({ "jwks": { "keys": [] }, "jwks_uri": "https://client.example/jwks" }),
        ] {
            scene.serves(changes.clone());
            assert!(matches!(invalid(scene.resolve(&url).await), DocumentFault::Metadata(_)), "{changes}");
        }
        assert_eq!(scene.agents().await, 0);
        scene.serves(json!({}));
        scene.resolve(&url).await.expect("no failure is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_document_that_is_too_long_is_given_up() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({ "padding": "x".repeat(17 * 1024) }));
        let refused = scene.resolve(&url).await;
        assert!(matches!(refused, Err(DocumentError::Unreadable { transient: false, .. })), "{refused:?}");
        scene.host.answers("200 OK", "content-encoding: gzip\r\n", "{}");
        let refused = scene.resolve(&url).await;
        assert!(matches!(refused, Err(DocumentError::Unreadable { transient: false, .. })), "{refused:?}");
        scene.serves(json!({ "padding": "x".repeat(15 * 1024) }));
        scene.resolve(&url).await.expect("within the limit");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_flips_to_a_private_address_is_not_followed_there() {
    run(async |bed| {
        let mut scene = scene(bed).await;
        let allowed: IpAddr = "127.0.0.2".parse().expect("an address");
        let metadata_service: IpAddr = "169.254.169.254".parse().expect("an address");
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        set(bed, "egress_allow", "'{127.0.0.2/32}'").await;
        let answers =
            vec![vec![allowed], vec![LOOPBACK], vec![metadata_service], vec![mapped, LOOPBACK], vec![allowed, mapped]];
        scene.app = bed.fetching(scene.host.fetcher(answers));
        let url = scene.serves(json!({}));
        scene.resolve(&url).await.expect("the address of the first look-up is permitted");
        for look_ups in 2..=5 {
            scene.goes_stale(1).await;
            let refused = scene.resolve(&url).await;
            assert!(matches!(refused, Err(DocumentError::Unreadable { transient: false, .. })), "{refused:?}");
            assert_eq!(scene.host.look_ups(), look_ups, "one look-up for each fetch");
        }
        assert_eq!(scene.fetches(), 1, "nothing was connected to");
        set(bed, "egress_allow", "'{}'").await;
        for host in ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:127.0.0.1]", "10.0.0.1"] {
            let refused = scene.resolve(&format!("https://{host}:{}/c", scene.host.addr.port())).await;
            assert!(refused.is_err(), "{host}");
        }
        assert_eq!(scene.fetches(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_make_one_fetch() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let clients = join_all((0..100).map(|_| scene.resolve(&url))).await;
        assert!(clients.iter().all(Result::is_ok), "{:?}", clients.iter().find(|client| client.is_err()));
        assert_eq!((scene.fetches(), scene.agents().await), (1, 1));
        assert_eq!(scene.audited().await, ["agent.register"]);
    })
    .await;
}

#[tokio::test]
async fn two_control_planes_make_one_agent() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let other = bed.fetching(scene.host.fetcher(vec![vec![LOOPBACK]]));
        let issuer = scene.issuer();
        let (one, two) = tokio::join!(scene.resolve(&url), client_document::resolve(&other, &issuer, &url));
        assert_eq!(one.expect("a client").agent, two.expect("the same client").agent);
        assert_eq!(scene.agents().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_document_is_fresh_as_long_as_its_host_says_within_bounds() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.host.url("/oauth/client.json");
        let body = document(&url, json!({})).to_string();
        for (cache_control, seconds) in [
            ("", 300.0),
            ("cache-control: max-age=7200\r\n", 7_200.0),
            ("cache-control: public, MAX-AGE=7200\r\n", 7_200.0),
            ("cache-control: max-age=1\r\n", 60.0),
            ("cache-control: no-store\r\n", 60.0),
            ("cache-control: max-age=99999999\r\n", 86_400.0),
            ("cache-control: max-age=soon\r\n", 300.0),
        ] {
            scene.host.answers("200 OK", cache_control, &body);
            scene.resolve(&url).await.expect("a client");
            let fetches = scene.fetches();
            scene.resolve(&url).await.expect("a client");
            assert_eq!(scene.fetches(), fetches, "fresh");
            assert!((scene.fresh_s().await - seconds).abs() < 1.0, "{cache_control}");
            scene.goes_stale(1).await;
        }
        assert_eq!(scene.audited().await, ["agent.register"], "the same document again is no news");
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_document_is_taken_over_and_asks_for_consent_again() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let before = scene.resolve(&url).await.expect("a client");
        scene.serves(json!({ "client_name": "Claude 2", "redirect_uris": ["https://client.example/new"] }));
        scene.goes_stale(1).await;
        let after = scene.resolve(&url).await.expect("a client");
        assert_eq!((after.agent, &after.name), (before.agent, &before.name), "the same agent");
        assert_eq!(after.display_name, "Claude 2");
        assert!(after.redirect_uri(Some("https://client.example/callback")).is_none());
        assert_ne!(after.metadata_digest, before.metadata_digest);
        assert_eq!(scene.audited().await, ["agent.register", "agent.update"]);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_known_outlives_a_host_that_is_away_for_a_day() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        let oauth = async |hours: i32| -> Result<Client, OAuthError> {
            scene.goes_stale(hours).await;
            Ok(scene.resolve_or_stale(&url).await?)
        };
        scene.resolve(&url).await.expect("a client");
        scene.host.answers("503 Away", "", "");
        oauth(23).await.expect("what it said before");
        let refused = scene.resolve(&url).await;
        assert!(matches!(refused, Err(DocumentError::Unreadable { transient: true, .. })), "{refused:?}");
        assert!(matches!(oauth(25).await, Err(OAuthError::Unavailable(_))), "503, and the client keeps its tokens");

        scene.host.answers("200 OK", "", "{}");
        oauth(23).await.expect("what it said before");
        assert!(matches!(oauth(25).await, Err(OAuthError::InvalidClient(_))));
        let error = scene.resolve(&url).await.expect_err("refused").to_string();
        assert!(error.contains("client.example"), "{error}");
    })
    .await;
}
