//! What alerts are raised of budgets, and that each is once.

use super::*;
use crate::budgets::warnings;

/// So many calls of the agent at that moment of 2026.
async fn spend(bench: &Bench, who: (TeamId, AgentId), at: &str, calls: usize) {
    let at: DateTime<Utc> = at.parse().expect("a moment");
    deliver(&bench.app, (0..calls).map(|_| call(bench, who, at))).await;
}

/// A tenant in Berlin, as [`world`] but for prices from the beginning of 2026 on.
async fn berlin(bench: &Bench) -> (TeamId, AgentId) {
    let set = sqlx::query(
        "UPDATE tenants SET time_zone = 'Europe/Berlin', usage_days_zone = 'Europe/Berlin',
                           usage_retention_days = 3650",
    );
    set.execute(bench.app.db.pool()).await.expect("set");
    let book = json!({
        "effective_from": "2026-01-01", "currency": "EUR", "prices": [{ "match": "demo:*", "per_call": "0.25" }],
    });
    bench.put("price-books/early", json!({ "spec": book })).await.expect(201);
    let team = bench.put("teams/platform", json!({ "spec": {} })).await.expect(201).json;
    let agent = json!({ "spec": { "team": "platform", "type": "autonomous" } });
    let agent = bench.put("agents/ci-bot", agent).await.expect(201).json;
    (text(&team["id"]).parse().expect("an id"), text(&agent["id"]).parse().expect("an id"))
}

async fn raise_at(bench: &Bench, at: &str) {
    warnings::raise_at(&bench.app, bench.acme, at.parse().expect("a moment")).await.expect("raised");
}

/// What was raised, the newest first: the threshold, or the forecast.
async fn raised(bench: &Bench) -> Vec<(String, String)> {
    let alerts = bench.get("alerts").await.expect(200).json["items"].clone();
    let told = |alert: &Value| {
        let what = alert["data"].get("threshold").unwrap_or(&alert["data"]["forecast"]);
        (text(&alert["type"]).to_owned(), text(what).to_owned())
    };
    alerts.as_array().expect("alerts").iter().map(told).collect()
}

fn alert(kind: &str, what: &str) -> (String, String) {
    (format!("budget.{kind}"), what.to_owned())
}

#[tokio::test]
async fn every_share_is_told_once_in_each_period() {
    run(async |bench| {
        let who = berlin(bench).await;
        let mut spec = on_agent();
        spec["amount"] = json!("1.00");
        spec["soft"] = json!(["0.5", "0.80", "1"]);
        put(bench, "b", spec).await.expect(201);
        let end = "2026-03-31T21:59:59Z";
        spend(bench, who, "2026-03-10T12:00:00Z", 1).await;
        raise_at(bench, end).await;
        assert_eq!(raised(bench).await, []);
        spend(bench, who, "2026-03-10T12:00:00Z", 1).await;
        for _ in 0..2 {
            raise_at(bench, end).await;
            assert_eq!(raised(bench).await, [alert("threshold", "0.5")]);
        }
        let first = bench.get("alerts").await.expect(200).json["items"][0]["data"].clone();
        assert_eq!((&first["budget"]["name"], &first["to"]), (&json!("b"), &json!({ "agent": "ci-bot" })));
        assert_eq!((&first["start"], &first["end"]), (&json!("2026-02-28T23:00:00Z"), &json!("2026-03-31T22:00:00Z")));
        let figures = [&first["spent"], &first["share"], &first["amount"], &first["currency"], &first["period"]];
        assert_eq!(figures, ["0.5", "0.5", "1", "EUR", "month"]);
        spend(bench, who, "2026-03-11T12:00:00Z", 2).await;
        raise_at(bench, end).await;
        let mut all = raised(bench).await;
        all.sort();
        assert_eq!(all, ["0.5", "0.8", "1"].map(|share| alert("threshold", share)));
        // Another amount makes none of them news; another period does.
        patch(bench, "b", json!({ "amount": "0.5" })).await.expect(200);
        let thresholds = async || raised(bench).await.iter().filter(|(kind, _)| kind == "budget.threshold").count();
        raise_at(bench, end).await;
        assert_eq!(thresholds().await, 3);
        spend(bench, who, "2026-03-31T22:00:00Z", 1).await;
        raise_at(bench, "2026-04-01T00:00:00Z").await;
        assert_eq!(thresholds().await, 4);
    })
    .await;
}

#[tokio::test]
async fn a_budget_that_will_not_last_is_told_of_once_before_it_is_gone() {
    run(async |bench| {
        let who = berlin(bench).await;
        let mut spec = on_agent();
        spec["amount"] = json!("10");
        put(bench, "b", spec).await.expect(201);
        spend(bench, who, "2026-04-01T00:00:00Z", 4).await;
        // An hour after the month began there is no forecast yet.
        raise_at(bench, "2026-03-31T23:00:00Z").await;
        assert_eq!(raised(bench).await, []);
        // Three days of thirty: it comes to exactly what there is, and then to more.
        raise_at(bench, "2026-04-03T22:00:00Z").await;
        assert_eq!(raised(bench).await, []);
        spend(bench, who, "2026-04-02T00:00:00Z", 2).await;
        for at in ["2026-04-03T22:00:00Z", "2026-04-10T22:00:00Z"] {
            raise_at(bench, at).await;
            assert_eq!(raised(bench).await, [alert("forecast", "15")]);
        }
    })
    .await;
}

#[tokio::test]
async fn one_tenants_alerts_are_not_anothers() {
    run(async |bench| {
        let who = berlin(bench).await;
        let mut spec = on_agent();
        spec["soft"] = json!(["0.01"]);
        put(bench, "b", spec).await.expect(201);
        spend(bench, who, "2026-03-10T12:00:00Z", 1).await;
        let other = bench.tenant("other").await;
        warnings::raise_at(&bench.app, other, "2026-03-31T00:00:00Z".parse().expect("a moment")).await.expect("done");
        assert_eq!(raised(bench).await, []);
        raise_at(bench, "2026-03-31T00:00:00Z").await;
        assert_eq!(raised(bench).await, [alert("threshold", "0.01")]);
        let key = bench.key(other, Role::Owner).await;
        let theirs = bench.call(Method::GET, "/api/v1/tenants/other/alerts").with_key(&key).send().await.expect(200);
        assert_eq!(theirs.json["items"], json!([]));
    })
    .await;
}
