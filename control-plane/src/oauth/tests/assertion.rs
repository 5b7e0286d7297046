//! Clients that prove who they are by an assertion.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    agents::SigningAlg,
    oauth::testing::{Bed, Client, Signer, run},
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const PEER: &str = "192.0.2.1";
const ISSUER: &str = "https://h/t/acme";

/// An agent that signs by this key, which its row holds.
pub(super) async fn signing(bed: &Bed, name: &str, signer: &Signer) -> Client {
    let client = bed.agent(name, &["demo:*"]).await;
    keys(bed, &client, "jwks = $2, jwks_uri = NULL", &signer.jwks()).await;
    client
}

async fn keys(bed: &Bed, client: &Client, what: &'static str, value: &Value) {
    let mut tx = bed.tx().await;
    let sql = format!("UPDATE agents SET auth_method = 'private_key_jwt', {what} WHERE id = $1");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(client.agent.uuid());
    let query = match value {
        Value::String(url) => query.bind(url.clone()),
        set => query.bind(set.clone()),
    };
    query.execute(&mut *tx).await.expect("updated");
    tx.commit().await.expect("committed");
}

pub(super) fn claims(client: &Client, jti: &str) -> Value {
    let now = chrono::Utc::now().timestamp();
    json!({ "iss": client.id, "sub": client.id, "aud": ISSUER, "exp": now + 300, "iat": now, "jti": jti })
}

pub(super) fn form(assertion: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(JWT_BEARER.as_bytes()).collect();
    format!("grant_type=client_credentials&client_assertion_type={encoded}&client_assertion={assertion}")
}

async fn present(bed: &Bed, assertion: &str) -> (u16, String) {
    let answer = bed.token_from(PEER, None, &form(assertion)).await;
    if answer.status == StatusCode::OK { (200, String::new()) } else { answer.error() }
}

fn invalid() -> (u16, String) {
    (401, "invalid_client".to_owned())
}

const OK: (u16, String) = (200, String::new());

#[tokio::test]
async fn every_algorithm_gets_a_token_and_a_copy_of_its_assertion_does_not() {
    run(async |bed| {
        for alg in [SigningAlg::Es256, SigningAlg::Rs256, SigningAlg::Ps256, SigningAlg::EdDsa] {
            let signer = Signer::new(alg, "k");
            let client = signing(bed, &format!("bot-{alg:?}").to_lowercase(), &signer).await;
            let assertion = signer.jwt(&claims(&client, "one"));
            assert_eq!(present(bed, &assertion).await, OK, "{alg:?}");
            assert_eq!(present(bed, &assertion).await, invalid(), "{alg:?}");
            assert_eq!(present(bed, &signer.jwt(&claims(&client, "two"))).await, OK, "{alg:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_assertion_stays_used_when_its_request_is_refused_for_another_reason() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = signing(bed, "bot", &signer).await;
        let assertion = signer.jwt(&claims(&client, "one"));
        let refused = bed.token_from(PEER, None, &format!("{}&scope=other:x", form(&assertion))).await;
        assert_eq!(refused.error(), (400, "invalid_scope".to_owned()));
        assert_eq!(present(bed, &assertion).await, invalid());
    })
    .await;
}

#[tokio::test]
async fn of_many_copies_at_two_control_planes_one_is_accepted() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = signing(bed, "bot", &signer).await;
        let body = form(&signer.jwt(&claims(&client, "one")));
        let beside = bed.beside_on_its_own_connections().await;
        let here = join_all((0..32).map(|_| bed.post("token", None, &body)));
        let there = join_all((0..32).map(|_| beside.post("token", None, &body)));
        let (here, there) = tokio::join!(here, there);
        let accepted = here.iter().chain(&there).filter(|answer| answer.status == StatusCode::OK);
        assert_eq!(accepted.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_the_clients_own_proves_nothing() {
    run(async |bed| {
        let (signer, stranger) = (Signer::new(SigningAlg::Es256, "k"), Signer::new(SigningAlg::Es256, "k"));
        let client = signing(bed, "bot", &signer).await;
        let other = signing(bed, "other", &stranger).await;
        assert_eq!(present(bed, &stranger.jwt(&claims(&client, "one"))).await, invalid(), "another's key");
        let mut mixed = claims(&client, "one");
        mixed["sub"] = json!(other.id);
        assert_eq!(present(bed, &signer.jwt(&mixed)).await, invalid(), "another's subject");
        let nobody = Client { id: tollgate_proto::AgentId::new().to_string(), ..client.clone() };
        assert_eq!(present(bed, &signer.jwt(&claims(&nobody, "one"))).await, invalid(), "nobody");
        let with_secret = bed.agent("secretive", &["demo:*"]).await;
        assert_eq!(present(bed, &signer.jwt(&claims(&with_secret, "one"))).await, invalid(), "a client with secrets");
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", other.agent.uuid()).await;
        assert_eq!(present(bed, &stranger.jwt(&claims(&other, "one"))).await, invalid(), "suspended");
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "one"))).await, OK);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_contradicts_itself_is_told_so() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = signing(bed, "bot", &signer).await;
        let assertion = signer.jwt(&claims(&client, "one"));
        let refusal = (400, "invalid_request".to_owned());
        let grant = "grant_type=client_credentials";
        for body in [
            format!("{grant}&client_assertion={assertion}"),
            format!("{grant}&client_assertion={assertion}&client_assertion_type=jwt-bearer"),
            format!("{grant}&client_id={}&client_assertion_type={JWT_BEARER}", client.id),
            format!("{}&client_id=agt_other", form(&assertion)),
            format!("{}&client_secret={}", form(&assertion), client.secret),
        ] {
            assert_eq!(bed.token_from(PEER, None, &body).await.error(), refusal, "{body}");
        }
        let both = bed.token_from(PEER, Some(&client.basic()), &form(&assertion)).await;
        assert_eq!(both.error(), refusal);
        let same = format!("{}&client_id={}", form(&assertion), client.id);
        assert_eq!(bed.token_from(PEER, None, &same).await.status, StatusCode::OK, "nothing of it was used up");
    })
    .await;
}

#[tokio::test]
async fn a_strict_tenant_takes_the_issuer_as_the_audience_alone() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = signing(bed, "bot", &signer).await;
        let to_endpoint = |jti: &str| {
            let mut claims = claims(&client, jti);
            claims["aud"] = json!(format!("{ISSUER}/oauth/token"));
            signer.jwt(&claims)
        };
        assert_eq!(present(bed, &to_endpoint("one")).await, OK);
        bed.run("UPDATE tenants SET strict_assertion_audience = true WHERE id = $1", bed.tenant.uuid()).await;
        assert_eq!(present(bed, &to_endpoint("two")).await, invalid());
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "two"))).await, OK);
    })
    .await;
}

#[tokio::test]
async fn the_registered_algorithm_is_the_only_one() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Rs256, "k");
        let client = signing(bed, "bot", &signer).await;
        bed.run("UPDATE agents SET signing_alg = 'PS256' WHERE id = $1", client.agent.uuid()).await;
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "one"))).await, invalid());
        bed.run("UPDATE agents SET signing_alg = 'RS256' WHERE id = $1", client.agent.uuid()).await;
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "one"))).await, OK);
    })
    .await;
}

#[tokio::test]
async fn a_megabyte_is_refused_and_guessing_is_stopped() {
    run(async |bed| {
        let huge = "a".repeat(1024 * 1024);
        assert_eq!(present(bed, &huge).await, (413, "invalid_request".to_owned()));
        assert_eq!(present(bed, &"a".repeat(60 * 1024)).await, invalid());
        let (signer, stranger) = (Signer::new(SigningAlg::Es256, "k"), Signer::new(SigningAlg::Es256, "k"));
        let client = signing(bed, "bot", &signer).await;
        for attempt in 0..10 {
            assert_eq!(present(bed, &stranger.jwt(&claims(&client, &attempt.to_string()))).await, invalid());
        }
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "good"))).await.0, 429);
    })
    .await;
}

/// Where a client keeps its keys: what is there now, and how often it was asked for.
struct Site {
    url: String,
    keys: Arc<Mutex<(StatusCode, Value)>>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn with(set: Value) -> Self {
        let (keys, asked) = (Arc::new(Mutex::new((StatusCode::OK, set))), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        let answer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let (status, set) = shown.lock().expect("not poisoned").clone();
            std::future::ready((status, axum::Json(set)))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        let router = Router::new().route("/jwks", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, keys, asked }
    }

    fn show(&self, status: StatusCode, set: Value) {
        *self.keys.lock().expect("not poisoned") = (status, set);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// An agent whose keys are here; the tenant allows the network if `allowed`.
    async fn client(&self, bed: &Bed, allowed: bool) -> Client {
        let client = bed.agent("bot", &["demo:*"]).await;
        keys(bed, &client, "jwks_uri = $2", &json!(self.url)).await;
        if allowed {
            bed.run("UPDATE tenants SET egress_allow = '{127.0.0.0/8}' WHERE id = $1", bed.tenant.uuid()).await;
        }
        client
    }
}

#[tokio::test]
async fn keys_at_a_url_are_asked_for_once_and_once_more_for_a_new_name() {
    run(async |bed| {
        let (old, new) = (Signer::new(SigningAlg::Es256, "old"), Signer::new(SigningAlg::Es256, "new"));
        let site = Site::with(old.jwks()).await;
        let client = site.client(bed, true).await;
        let many: Vec<String> = (0..32).map(|n| form(&old.jwt(&claims(&client, &n.to_string())))).collect();
        let answers = join_all(many.iter().map(|body| bed.post("token", None, body))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
        assert_eq!(site.asked(), 1, "one fetch for all who wait");

        site.show(StatusCode::OK, new.jwks());
        assert_eq!(present(bed, &new.jwt(&claims(&client, "new"))).await, OK);
        assert_eq!(site.asked(), 2);
        assert_eq!(present(bed, &old.jwt(&claims(&client, "old"))).await, invalid(), "a name that is gone");
        assert_eq!(present(bed, &new.jwt(&claims(&client, "new2"))).await, OK);
        assert_eq!(site.asked(), 2, "unknown names do not make us ask on and on");
    })
    .await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_now_are_not_the_clients_fault() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let site = Site::with(signer.jwks()).await;
        let client = site.client(bed, true).await;
        site.show(StatusCode::BAD_GATEWAY, json!(null));
        let assertion = signer.jwt(&claims(&client, "one"));
        let answer = bed.token_from(PEER, None, &form(&assertion)).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
        assert_ne!(answer.header("retry-after"), "");
        site.show(StatusCode::NOT_FOUND, json!(null));
        assert_eq!(present(bed, &assertion).await, invalid());
        site.show(StatusCode::OK, json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }));
        assert_eq!(present(bed, &assertion).await, invalid());
        site.show(StatusCode::OK, signer.jwks());
        assert_eq!(present(bed, &assertion).await, OK, "no failure is remembered");
        assert_eq!(site.asked(), 4);
    })
    .await;
}

#[tokio::test]
async fn keys_in_a_network_that_the_tenant_does_not_allow_are_not_asked_for() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let site = Site::with(signer.jwks()).await;
        let client = site.client(bed, false).await;
        assert_eq!(present(bed, &signer.jwt(&claims(&client, "one"))).await, invalid());
        assert_eq!(site.asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_whose_clock_is_behind_takes_no_assertion_twice() {
    run(async |bed| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        let client = signing(bed, "bot", &signer).await;
        let assertion = signer.jwt(&claims(&client, "one"));
        assert_eq!(present(bed, &assertion).await, OK);
        // To the database, and to whoever tidies up there, it ended half a minute ago: to a clock that is behind by more
        // it has not.
        let ended = "UPDATE used_assertions SET expires_at = now() - interval '30 seconds'";
        bed.change(ended).await;
        crate::oauth::purge(&bed.app, bed.tenant).await.expect("tidied up");
        assert_eq!(present(bed, &assertion).await, invalid(), "it was used");
        bed.change("UPDATE used_assertions SET expires_at = now() - interval '6 minutes'").await;
        crate::oauth::purge(&bed.app, bed.tenant).await.expect("tidied up");
        assert_eq!(bed.count("used_assertions").await, 0, "no clock is that wrong");
    })
    .await;
}
