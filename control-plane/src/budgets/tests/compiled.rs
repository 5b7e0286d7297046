//! What data planes are told of budgets.

use tollgate_proto::{
    policy::v1::{Budget, OnStoreOutage, Period as Named, TenantPolicy, budget::On},
    rating::Book,
};

use super::*;
use crate::{budgets::year, policy::compile};

async fn compiled(bench: &Bench) -> TenantPolicy {
    compile(&bench.app, bench.acme).await.expect("compiled").expect("a tenant")
}

async fn set(bench: &Bench, columns: &str) {
    let change = format!("UPDATE tenants SET {columns}");
    sqlx::query(sqlx::AssertSqlSafe(change)).execute(bench.app.db.pool()).await.expect("changed");
}

#[tokio::test]
async fn data_planes_are_told_of_budgets_that_turn_calls_away_and_of_no_others() {
    run(async |bench| {
        let (team, agent) = world(bench).await;
        put(bench, "soft", on_agent()).await.expect(201);
        let policy = compiled(bench).await;
        assert!(policy.budgets.is_empty() && policy.calendars.is_empty() && policy.price_books.is_empty());
        assert!(!policy.requires.contains(&"budgets".to_owned()));

        set(bench, "time_zone = 'America/New_York', budget_year = 2026").await;
        let hard = |to: Value, period: &str| json!({ "to": to, "period": period, "amount": "007.50", "hard": "deny" });
        let mut local = hard(json!({ "team": "platform" }), "week");
        local["on_store_outage"] = json!("local");
        let a = put(bench, "a", hard(json!({ "agent": "ci-bot" }), "month")).await.expect(201).json;
        let b = put(bench, "b", local).await.expect(201).json;
        let c = put(bench, "c", hard(json!({ "tenant": "acme" }), "month")).await.expect(201).json;
        let policy = compiled(bench).await;
        let expected = |shown: &Value, on: On, period: Named, outage: OnStoreOutage| Budget {
            id: text(&shown["id"]).to_owned(),
            name: text(&shown["name"]).to_owned(),
            on: Some(on),
            currency: "EUR".to_owned(),
            amount: "7.5".to_owned(),
            period: period.into(),
            on_store_outage: outage.into(),
        };
        assert_eq!(
            policy.budgets,
            [
                expected(&a, On::AgentId(agent.to_string()), Named::Month, OnStoreOutage::Deny),
                expected(&b, On::TeamId(team.to_string()), Named::Week, OnStoreOutage::Unspecified),
                expected(&c, On::Tenant(true), Named::Month, OnStoreOutage::Deny),
            ]
        );
        let kinds: Vec<_> = policy.calendars.iter().map(|calendar| calendar.period()).collect();
        assert_eq!(kinds, [Named::Week, Named::Month]);
        let months = &policy.calendars[1].starts;
        // Midnight in New York; in July the clocks are an hour ahead.
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment").timestamp();
        assert_eq!((months.len(), months[0], months[6]), (36, at("2026-01-01T05:00:00Z"), at("2026-07-01T04:00:00Z")));
        assert!(policy.requires.contains(&"budgets".to_owned()));
        let again = compiled(bench).await;
        assert_eq!((&again.digest, again.revision), (&policy.digest, policy.revision));
        delete(bench, "agents/ci-bot").await;
        assert_eq!(compiled(bench).await.budgets.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn prices_are_in_a_policy_while_calls_may_be_rated_by_them() {
    run(async |bench| {
        world(bench).await;
        let mut spec = on_agent();
        spec["hard"] = json!("deny");
        put(bench, "hard", spec).await.expect(201);
        let before = bench.policy_revision().await;
        let policy = compiled(bench).await;
        assert_eq!((policy.price_books.len(), policy.price_books[0].effective_until_us), (1, None));
        delete(bench, "price-books/standard").await;
        assert_eq!(bench.policy_revision().await, before + 1, "data planes are told");
        let policy = compiled(bench).await;
        assert!(policy.price_books[0].effective_until_us.is_some(), "calls of before are rated still");
        Book::try_from(&policy.price_books[0]).expect("a book");
        // Whatever the time is when it is compiled: it is the revision that counts.
        set(bench, "policy_revised_at = now() + interval '23 hours'").await;
        assert_eq!(compiled(bench).await.price_books.len(), 1);
        set(bench, "policy_revised_at = now() + interval '25 hours'").await;
        assert_eq!(compiled(bench).await.price_books, []);
    })
    .await;
}

#[tokio::test]
async fn the_years_that_a_policy_knows_move_on_once() {
    run(async |bench| {
        world(bench).await;
        let spec = json!({ "to": { "tenant": "acme" }, "period": "year", "amount": "1", "hard": "deny" });
        put(bench, "all", spec).await.expect(201);
        set(bench, "budget_year = 2026").await;
        let first = async || compiled(bench).await.calendars[0].starts[0];
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment");
        let (new_year, third) = (at("2027-01-01T12:00:00Z"), at("2027-01-03T00:00:00Z"));
        let before = bench.policy_revision().await;
        year::move_on_at(&bench.app, bench.acme, new_year).await.expect("done");
        assert_eq!(bench.policy_revision().await, before, "somewhere it is still the old year");
        for _ in 0..2 {
            year::move_on_at(&bench.app, bench.acme, third).await.expect("done");
            assert_eq!(bench.policy_revision().await, before + 1);
        }
        assert_eq!(first().await, at("2027-01-01T00:00:00Z").timestamp());
        year::move_on_at(&bench.app, bench.acme, new_year).await.expect("done");
        assert_eq!(first().await, at("2027-01-01T00:00:00Z").timestamp(), "it never goes back");
    })
    .await;
}
