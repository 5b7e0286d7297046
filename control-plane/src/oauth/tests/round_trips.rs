//! What requests cost: how often the token and introspection endpoints ask Postgres, and what is done with secrets.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::http::StatusCode;
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber as _,
    span,
};

use crate::{
    db::TenantTx,
    oauth::{
        client::ClientId,
        sql,
        testing::{Answer, Bed, Client, basic, run},
    },
    secret::{Digest, work, work::Work},
};

/// Counts the statements that are sent, the ends of transactions among them; beginning one is not counted.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut summary = Summary::default();
        event.record(&mut summary);
        // Said once on each new connection of the pool.
        if !summary.0.starts_with("SET ROLE") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// What a statement begins with.
#[derive(Default)]
struct Summary(String);

impl Visit for Summary {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            value.clone_into(&mut self.0);
        }
    }
}

/// The answer to a request that succeeds, and how many statements it took.
async fn counted(request: impl Future<Output = Answer>) -> (Answer, usize) {
    let (answer, statements) = watched(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    (answer, statements)
}

/// The answer to any request, and how many statements it took; what is written behind the answers is not counted. A second
/// dispatcher has to be there: with one alone, `tracing` asks other tests' threads, which have none, whether anybody
/// listens.
async fn watched(request: impl Future<Output = Answer>) -> (Answer, usize) {
    let statements = Statements::default();
    let _second = Dispatch::new(Statements::default());
    let answer = request.with_subscriber(statements.clone()).await;
    (answer, statements.0.load(Ordering::Relaxed))
}

#[tokio::test]
async fn tokens_cost_as_many_statements_as_the_design_says() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let app = bed.app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        // The first ones make the signing key and note that the client is in use.
        bed.token(&bot, "").await;
        assert_eq!(counted(bed.token(&bot, "")).await.1, 2, "one query and the commit");
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let (redeemed, statements) = counted(bed.redeem(&app, &code, "")).await;
        assert_eq!(statements, 3, "who it is, the redemption, the commit");
        let (_, statements) = counted(bed.refresh(&app, &redeemed.refresh_token(), "")).await;
        assert_eq!(statements, 3, "who it is, the rotation, the commit");

        bed.change("UPDATE tenants SET access_token_format = 'opaque'").await;
        assert_eq!(counted(bed.token(&bot, "")).await.1, 3, "an opaque token is a row more");
        let code = bed.code(&app, ada, &["demo:*"]).await;
        assert_eq!(counted(bed.redeem(&app, &code, "")).await.1, 4, "an opaque token is a row more");
    })
    .await;
}

/// What a token request with this id and secret takes: statements, and work with secrets.
async fn cost(bed: &Bed, id: &str, secret: &str) -> [(usize, Work); 2] {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let (id, secret) = (encode(id), encode(secret));
    let header = basic(&id, &secret);
    let grant = "grant_type=client_credentials";
    let form = format!("{grant}&client_id={id}&client_secret={secret}");
    let mut costs = Vec::new();
    for (authorization, body) in [(Some(header.as_str()), grant), (None, form.as_str())] {
        work::take();
        let (answer, statements) = watched(bed.token_from("192.0.2.1", authorization, body)).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        costs.push((statements, work::take()));
    }
    costs.try_into().expect("two ways to send a secret")
}

#[tokio::test]
async fn a_client_that_nobody_knows_costs_what_a_wrong_secret_costs() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let (app, expired, suspended) =
            (bed.app("app", &[]).await, bed.agent("old", &[]).await, bed.agent("out", &[]).await);
        let old = "UPDATE agent_credentials SET expires_at = now() WHERE agent_id = $1";
        bed.run(old, expired.agent.uuid()).await;
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", suspended.agent.uuid()).await;
        // The first one looks up the tenant.
        cost(bed, &bot.id, "tgs_wrong").await;
        let wrong_secret = cost(bed, &bot.id, "tgs_wrong").await;
        // What is sent is hashed, and so is who guesses, to be counted.
        let one_look = Work { hashed: 2, compared: 1 };
        assert_eq!(wrong_secret, [(1, one_look); 2], "one query and one comparison");
        for (who, id, secret) in [
            ("an id that nobody has", tollgate_proto::AgentId::new().to_string().as_str(), bot.secret.as_str()),
            ("a document that was never seen", "https://client.example/c", &bot.secret),
            ("an expired secret", &expired.id, &expired.secret),
            ("a suspended client", &suspended.id, &suspended.secret),
            ("a client that has no secrets", &app.id, &bot.secret),
        ] {
            assert_eq!(cost(bed, id, secret).await, wrong_secret, "{who}");
        }
        // Guessers of such texts are all counted as one. That no client has such an id is no secret.
        let hashed_once = Work { hashed: 1, ..one_look };
        assert_eq!(cost(bed, "bot", &bot.secret).await, [(1, hashed_once); 2], "a text that is no id");
    })
    .await;
}

/// How many times the transaction has looked into a table.
async fn look_ups(tx: &mut TenantTx, table: &'static str) -> i64 {
    let sql = "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables WHERE relname = $1";
    sqlx::query_scalar(sql).bind(table).fetch_one(&mut **tx).await.expect("a number")
}

#[tokio::test]
async fn how_much_a_client_may_do_does_not_show_in_the_answer_to_a_wrong_secret() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let grants_read = async |client: &Client, secret: &str| {
            let mut tx = bed.tx().await;
            let id = ClientId::of(&client.id);
            sql::standing(&mut tx, &id, Some(&Digest::of(secret)), None).await.expect("an answer");
            look_ups(&mut tx, "grants").await
        };
        let nobody = Client { id: tollgate_proto::AgentId::new().to_string(), ..bot.clone() };
        assert_eq!(grants_read(&nobody, &bot.secret).await, 0);
        assert_eq!(grants_read(&bot, "tgs_wrong").await, 0, "grants are read for who proves who it is");
        assert_eq!(grants_read(&bot, &bot.secret).await, 2, "what is allowed and what is denied");
    })
    .await;
}

#[tokio::test]
async fn introspection_is_one_query_whatever_is_shown() {
    run(async |bed| {
        let bot = bed.agent("bot", &["demo:*"]).await;
        let app = bed.confidential_app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let jwt = bed.token(&bot, "").await.access_token();
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let refresh_token = bed.redeem(&app, &code, "").await.refresh_token();
        bed.change("UPDATE tenants SET access_token_format = 'opaque'").await;
        let opaque = bed.token(&bot, "").await.access_token();

        let ask = async |client: &Client, token: &str| {
            bed.post("introspect", Some(&client.basic()), &format!("token={token}")).await
        };
        // The first ones find the key and note that the client is in use.
        ask(&bot, &jwt).await;
        ask(&app, &refresh_token).await;
        for (client, token, active) in [
            (&bot, jwt.as_str(), true),
            (&bot, opaque.as_str(), true),
            (&app, refresh_token.as_str(), true),
            (&app, jwt.as_str(), false),
            (&bot, "garbage", false),
        ] {
            let (answer, statements) = counted(ask(client, token)).await;
            assert_eq!(answer.json()["active"], active, "{token}");
            assert_eq!(statements, 1, "{token}");
        }
    })
    .await;
}
