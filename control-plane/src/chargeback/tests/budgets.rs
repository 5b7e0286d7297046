//! What a budget allows beside what was spent.

use serde_json::{Value, json};
use tollgate_proto::usage::v1::UsageRecord;

use super::{call, is_golden, report, set};
use crate::{
    testing::{Bench, run, text},
    usage::testing::deliver,
};

/// October of a tenant in Berlin in which the agent `bot` made ten calls at 0.25 EUR for the team `platform`, one for
/// nobody and one for a team that pays in dollars.
async fn october(bench: &Bench) {
    set(bench, "time_zone = 'Europe/Berlin', usage_days_zone = 'Europe/Berlin', usage_retention_days = 3650").await;
    let team = bench.put("teams/platform", json!({ "spec": {} })).await.expect(201).json;
    bench.put("teams/abroad", json!({ "spec": {} })).await.expect(201);
    let spec = json!({ "team": "platform", "type": "autonomous" });
    let agent = bench.put("agents/bot", json!({ "spec": spec })).await.expect(201).json;
    for (book, currency, teams) in [("dollars", "USD", json!(["abroad"])), ("standard", "EUR", Value::Null)] {
        let prices = json!([{ "match": "*", "per_call": "0.25" }]);
        let mut spec = json!({ "effective_from": "2026-01-01", "currency": currency, "prices": prices });
        if !teams.is_null() {
            spec["teams"] = teams;
        }
        bench.put(&format!("price-books/{book}"), json!({ "spec": spec })).await.expect(201);
    }
    let call = |number| UsageRecord {
        agent_id: text(&agent["id"]).to_owned(),
        team_id: text(&team["id"]).to_owned(),
        ..call(bench, "2026-10-15T12:00:00Z", number)
    };
    let elsewhere = |team: &str, number| UsageRecord { team: team.to_owned(), team_id: String::new(), ..call(number) };
    let late = UsageRecord { call_id: super::call(bench, "2026-10-31T23:00:00Z", 13).call_id, ..call(13) };
    deliver(&bench.app, (0..10).map(call).chain([elsewhere("", 10), elsewhere("abroad", 11), late])).await;
}

async fn budget(bench: &Bench, name: &str, to: Value, period: &str, amount: &str) {
    let spec = json!({ "to": to, "period": period, "amount": amount, "currency": "EUR" });
    bench.put(&format!("budgets/{name}"), json!({ "spec": spec })).await.expect(201);
}

async fn budgets(bench: &Bench) {
    for (name, to, period, amount) in [
        ("platform-monthly", json!({ "team": "platform" }), "month", "5.00"),
        ("platform-tight", json!({ "team": "platform" }), "month", "2"),
        ("platform-daily", json!({ "team": "platform" }), "day", "1"),
        ("bot-monthly", json!({ "agent": "bot" }), "month", "3"),
        ("all-monthly", json!({ "tenant": "acme" }), "month", "10"),
        ("all-yearly", json!({ "tenant": "acme" }), "year", "100"),
    ] {
        budget(bench, name, to, period, amount).await;
    }
}

/// The value of the first key, or the currency of a total, with the name of the budget, what is spent of it and what is
/// left.
fn compared(lines: &Value, key: &str) -> Vec<[String; 4]> {
    let read = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |line: &Value| {
        let first = if key == "total" { &line["currency"] } else { &line["group"][key] };
        [read(first), read(&line["budget"]["name"]), read(&line["budget"]["spent"]), read(&line["budget"]["variance"])]
    };
    lines.as_array().expect("lines").iter().map(line).collect()
}

#[tokio::test]
async fn a_budget_stands_beside_what_it_is_on_for_its_own_period_and_currency() {
    run(async |bench| {
        october(bench).await;
        budgets(bench).await;
        let ask = async |query: &str, key: &str| {
            let report = report(bench, query).await.expect(200).json;
            (compared(&report["lines"], key), compared(&report["totals"], "total"))
        };
        let none = |of: &str| [of, "-", "-", "-"].map(str::to_owned);
        let with = |of: &str, rest: [&str; 3]| [of, rest[0], rest[1], rest[2]].map(str::to_owned);
        let all = vec![with("EUR", ["all-monthly", "2.75", "7.25"]), none("USD")];
        let of_platform = ["platform-tight", "2.5", "-0.5"];

        let (teams, totals) = ask("2026-10?group_by=team", "team").await;
        assert_eq!(teams, [none("abroad"), with("platform", of_platform), none("-")]);
        assert_eq!(totals, all);
        let (agents, totals) = ask("2026-10?group_by=agent", "agent").await;
        assert_eq!(agents, [with("bot", ["bot-monthly", "2.75", "0.25"]), none("bot")], "its dollars are no euros");
        assert_eq!(totals, all);
        let (agents, totals) = ask("2026-10?group_by=agent&team=platform", "agent").await;
        assert_eq!((agents, totals), (vec![none("bot")], vec![with("EUR", of_platform)]), "a part of what it does");
        let (tools, totals) = ask("2026-10?group_by=team,tool&server=demo", "tool").await;
        assert!(tools.iter().chain(&totals).all(|line| line[1] == "-"), "{tools:?} {totals:?}");

        let (teams, totals) = ask("2026-10-15?group_by=team", "team").await;
        assert_eq!(teams[1], with("platform", ["platform-daily", "2.5", "-1.5"]));
        assert_eq!(totals[0], none("EUR"), "nothing is on all of it for a day");
        assert_eq!(ask("2026?group_by=team", "team").await.1[0], with("EUR", ["all-yearly", "3", "97"]));
        for other in ["2026-Q4", "2026-10-01..2026-10-31", "2026-10-02..2026-11-02", "2026-10-01..2026-12-01"] {
            let (teams, totals) = ask(&format!("{other}?group_by=team"), "team").await;
            assert!(teams.iter().chain(&totals).all(|line| line[1] == "-"), "{other}: {teams:?} {totals:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_form_of_a_report_with_budgets_is_as_it_was_agreed() {
    run(async |bench| {
        october(bench).await;
        budgets(bench).await;
        let json = report(bench, "2026-10?group_by=team").await.expect(200).json;
        let csv = report(bench, "2026-10?group_by=team&format=csv").await.expect(200).text;
        let same =
            [is_golden(bench, "team-budget.json", &format!("{json:#}\n")), is_golden(bench, "team-budget.csv", &csv)];
        assert_eq!(same, [true; 2], "a file was stale and is rewritten: look at it and commit it");
    })
    .await;
}
