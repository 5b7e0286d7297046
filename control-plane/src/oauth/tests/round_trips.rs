//! How often the token endpoint asks Postgres.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::http::StatusCode;
use tracing::{Dispatch, Event, Metadata, Subscriber, span};

use crate::oauth::testing::{Answer, run};

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
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The answer to a request, and how many statements it took. A second dispatcher has to be there: with one alone,
/// `tracing` asks other tests' threads, which have none, whether anybody listens.
async fn counted(request: impl Future<Output = Answer>) -> (Answer, usize) {
    let statements = Statements::default();
    let _second = Dispatch::new(Statements::default());
    let counting = tracing::subscriber::set_default(statements.clone());
    let answer = request.await;
    drop(counting);
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
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
