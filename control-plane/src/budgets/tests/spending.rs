//! What was spent, against the records themselves.

use chrono::Days;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;

use super::*;
use crate::{
    budgets::{Period, Span, Target, spending, standing},
    calendar::TimeZone,
};

/// One call of a scenario.
#[derive(Debug, Clone)]
struct Drawn {
    hours_ago: i64,
    own_agent: bool,
    own_team: bool,
    /// Whether its team pays in dollars.
    dollars: bool,
    priced: bool,
}

fn calls() -> impl Strategy<Value = Vec<Drawn>> {
    let call = (0..80 * 24_i64, any::<[bool; 4]>()).prop_map(|(hours_ago, [own_agent, own_team, dollars, priced])| {
        Drawn { hours_ago, own_agent, own_team, dollars, priced }
    });
    prop::collection::vec(call, 1..80)
}

/// What the records of a span cost, by asking each.
async fn cost_of_records(bench: &Bench, span: Span, zone: TimeZone, target: &str, currency: &str) -> Decimal {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let query = format!(
        "SELECT COALESCE(sum(cost), 0) FROM usage_records
         WHERE at >= $1 AND at < $2 AND currency = $3 AND {target}"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(query)).bind(span.start(zone)).bind(span.end(zone)).bind(currency);
    query.fetch_one(&mut *tx).await.expect("a sum")
}

#[tokio::test]
async fn what_is_spent_is_the_sum_of_the_records_of_the_period_in_the_tenants_zone() {
    run(async |bench| {
        let (team, agent) = world_with_dollars(bench).await;
        let mut runner = TestRunner::deterministic();
        for name in ["Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"] {
            let set = sqlx::query("UPDATE tenants SET time_zone = $1, usage_days_zone = NULL").bind(name);
            set.execute(bench.app.db.pool()).await.expect("set");
            crate::usage::recount::follow_zone(&bench.app, bench.acme).await.expect("counted anew");
            let zone: TimeZone = name.parse().expect("a zone");
            let now = Utc::now();
            let drawn = calls().new_tree(&mut runner).expect("calls").current();
            let record = |drawn: &Drawn| UsageRecord {
                agent_id: if drawn.own_agent { agent } else { AgentId::new() }.to_string(),
                team_id: if drawn.own_team { team } else { TeamId::new() }.to_string(),
                team: if drawn.dollars { "abroad" } else { "platform" }.to_owned(),
                server: if drawn.priced { "demo" } else { "free" }.to_owned(),
                ..call_at(bench.acme, now - TimeDelta::hours(drawn.hours_ago))
            };
            deliver(&bench.app, drawn.iter().map(record)).await;
            let today = zone.day_at(now).date;
            let before = |period: Period| period.around(period.around(today).from - Days::new(1));
            let spans: Vec<Span> = Period::ALL.into_iter().flat_map(|of| [of.around(today), before(of)]).collect();
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            let sums = spending::sums(&mut tx, bench.acme, &spans).await.expect("sums");
            drop(tx);
            for (place, span) in spans.into_iter().enumerate() {
                for (target, condition) in [
                    (Target::Agent(agent), format!("agent_id = '{}'", agent.uuid())),
                    (Target::Team(team), format!("team_id = '{}'", team.uuid())),
                    (Target::Tenant, "true".to_owned()),
                ] {
                    for currency in ["EUR", "USD"] {
                        let expected = cost_of_records(bench, span, zone, &condition, currency).await;
                        assert_eq!(sums.cost(place, target, currency), expected, "{name} {span:?} {target:?}");
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_budget_shows_what_counts_and_what_does_not() {
    run(async |bench| {
        let who = world_with_dollars(bench).await;
        let mut spec = on_agent();
        spec["currency"] = json!("EUR");
        spec["amount"] = json!("1.00");
        spec["soft"] = json!(["0.5", "0.75"]);
        put(bench, "b", spec).await.expect(201);
        let now = Utc::now();
        let status = async || bench.get("budgets/b").await.expect(200).json["status"].clone();
        deliver(&bench.app, [call(bench, who, now)]).await;
        let first = status().await;
        assert_eq!([&first["spent"], &first["share"], &first["remaining"]], ["0.25", "0.25", "0.75"]);
        assert_eq!(first["state"], "within");
        let elsewhere = UsageRecord { team: "abroad".to_owned(), ..call(bench, who, now) };
        let unpriced = UsageRecord { server: "other".to_owned(), ..call(bench, who, now) };
        let strangers = UsageRecord { agent_id: AgentId::new().to_string(), ..call(bench, who, now) };
        deliver(&bench.app, [elsewhere, unpriced, strangers, call(bench, who, now)]).await;
        let second = status().await;
        assert_eq!((&second["spent"], &second["state"]), (&json!("0.5"), &json!("warned")));
        assert_eq!(second["not_counted"], json!({ "costs": { "USD": "0.25" }, "unpriced_calls": 1 }));
        deliver(&bench.app, (0..3).map(|_| call(bench, who, now))).await;
        let third = status().await;
        assert_eq!([&third["spent"], &third["share"], &third["remaining"]], ["1.25", "1.25", "0"]);
        assert_eq!(third["state"], "exhausted");
        // Another amount counts at once.
        let changed = patch(bench, "b", json!({ "amount": "5" })).await.expect(200).json;
        assert_eq!((&changed["status"]["state"], &changed["status"]["share"]), (&json!("within"), &json!("0.25")));
        let history = bench.get("budgets/b/periods").await.expect(200).json;
        let items = history["items"].as_array().expect("periods");
        assert_eq!((items.len(), &items[0]["spent"], &items[0]["share"]), (12, &json!("1.25"), &json!("0.25")));
        assert!(items.windows(2).all(|pair| pair[0]["start"] == pair[1]["end"]), "{history}");
        assert!(items[1..].iter().all(|past| past["spent"] == "0" && past.get("forecast").is_none()), "{history}");
    })
    .await;
}

#[tokio::test]
async fn the_sums_of_a_period_are_found_by_their_days() {
    run(async |bench| {
        world(bench).await;
        let mut owner = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        // So that the plan is that of a large table.
        sqlx::raw_sql("SET LOCAL enable_seqscan = off").execute(&mut *owner).await.expect("set");
        let plan: Vec<String> = sqlx::query_scalar(
            "EXPLAIN SELECT place, used.* FROM UNNEST(ARRAY['2026-11-01'::date, '2026-01-01'], ARRAY['2026-12-01'::date, '2027-01-01'])
                 WITH ORDINALITY AS span (first_day, until, place)
             CROSS JOIN LATERAL (
                 SELECT dimension_id, sum(cost) FROM usage_daily
                 WHERE tenant_id = $1 AND day >= span.first_day AND day < span.until GROUP BY dimension_id) AS used",
        )
        .bind(bench.acme.uuid())
        .fetch_all(&mut *owner)
        .await
        .expect("a plan");
        let plan = plan.join("\n");
        assert!(plan.contains("usage_daily_pkey") && plan.contains("day >= span.first_day"), "{plan}");
    })
    .await;
}

#[test]
fn a_forecast_is_a_straight_line_and_none_comes_too_early() {
    let moment = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment");
    let (start, end) = (moment("2026-11-01T00:00:00Z"), moment("2026-12-01T00:00:00Z"));
    let forecast = |spent: i64, now: &str| standing::forecast(spent.into(), start, end, moment(now));
    assert_eq!(forecast(100, "2026-11-16T00:00:00Z"), Some(200.into()));
    assert_eq!(forecast(0, "2026-11-16T00:00:00Z"), Some(0.into()));
    assert_eq!(forecast(100, "2026-11-30T23:59:59Z").map(|sum| sum.round_dp(2)), Some(100.into()));
    // A fiftieth of 30 days is 14 hours and 24 minutes.
    assert_eq!(forecast(100, "2026-11-01T14:23:59Z"), None);
    assert_eq!(forecast(100, "2026-11-01T14:24:00Z"), Some(5_000.into()));
    assert_eq!(forecast(100, "2026-12-01T00:00:00Z"), None, "it is over");
    assert_eq!(forecast(100, "2026-10-31T23:00:00Z"), None, "it has not begun");
}

#[test]
fn a_share_is_never_all_before_all_is_spent() {
    let share = |spent: &str, amount: &str| {
        standing::share(spent.parse().expect("an amount"), amount.parse().expect("an amount")).to_string()
    };
    assert_eq!(share("499.999999", "500"), "0.9999");
    assert_eq!(share("500", "500"), "1");
    assert_eq!(share("1", "3"), "0.3333");
    assert_eq!(share("999999999999", "0.000001"), "999999999999000000");
}
