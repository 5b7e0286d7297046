//! Reports over what intakes stored, against golden files.

mod budgets;
mod focus;
mod spans;

use std::{fs, path::Path};

use http::Method;
use serde_json::{Value, json};
use tollgate_proto::{
    AgentId, ServerId, TeamId,
    usage::v1::{Outcome, UsageRecord},
};
use uuid::Uuid;

use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
    usage::testing::deliver,
};

/// A call at that moment; numbers make ids, so that the files are the same every time.
fn call(bench: &Bench, at: &str, number: u64) -> UsageRecord {
    let at: chrono::DateTime<chrono::Utc> = at.parse().expect("a moment");
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let call_id = uuid::Builder::from_unix_timestamp_millis(at.timestamp_millis().unsigned_abs(), &random).into_uuid();
    let id = |of: u128| Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + of);
    UsageRecord {
        call_id: call_id.to_string(),
        tenant_id: bench.acme.to_string(),
        agent_id: AgentId::from(id(1)).to_string(),
        agent: "bot".to_owned(),
        team_id: TeamId::from(id(2)).to_string(),
        team: "platform".to_owned(),
        cost_center: "CC-100".to_owned(),
        user: "ada@example.com".to_owned(),
        server_id: ServerId::from(id(3)).to_string(),
        server: "demo".to_owned(),
        tool: "echo".to_owned(),
        method: "tools/call".to_owned(),
        outcome: Outcome::Ok.into(),
        decision: "allowed".to_owned(),
        forwarded: true,
        http_status: 200,
        input_tokens: 1_000,
        output_tokens: 500,
        labels: [("stage".to_owned(), "prod".to_owned())].into(),
        ..UsageRecord::default()
    }
}

/// Changes the tenant.
async fn set(bench: &Bench, columns: &str) {
    let change = format!("UPDATE tenants SET {columns} WHERE id = $1");
    let change = sqlx::query(sqlx::AssertSqlSafe(change)).bind(bench.acme.uuid());
    change.execute(bench.app.db.pool()).await.expect("changed");
}

/// A month of a tenant in Berlin: of a team and of nobody, with what failed, what is free, and what tries to be a formula.
async fn october(bench: &Bench) {
    let book = json!({
        "effective_from": "2026-01-01",
        "currency": "EUR",
        "prices": [{ "match": "demo:*", "per_call": "0.01", "per_1k_input_tokens": "0.005" }],
    });
    bench.put("price-books/standard", json!({ "spec": book })).await.expect(201);
    set(bench, "time_zone = 'Europe/Berlin', usage_days_zone = 'Europe/Berlin', usage_retention_days = 3650").await;
    let ok = |at: &str, number| call(bench, at, number);
    let records = vec![
        // 30 September in Berlin, and the first moment of October there.
        ok("2026-09-30T21:59:59Z", 1),
        ok("2026-09-30T22:00:00Z", 2),
        ok("2026-10-02T10:00:00Z", 3),
        UsageRecord { outcome: Outcome::ToolError.into(), ..ok("2026-10-02T11:00:00Z", 4) },
        UsageRecord { outcome: Outcome::Timeout.into(), ..ok("2026-10-02T12:00:00Z", 5) },
        UsageRecord { outcome: Outcome::Unknown.into(), ..ok("2026-10-03T00:00:00Z", 6) },
        UsageRecord { outcome: Outcome::Refused.into(), forwarded: false, ..ok("2026-10-03T01:00:00Z", 7) },
        UsageRecord { method: "tools/list".to_owned(), tool: String::new(), ..ok("2026-10-03T02:00:00Z", 8) },
        UsageRecord { tool: "=cmd|' /C calc'!A0".to_owned(), ..ok("2026-10-04T00:00:00Z", 9) },
        UsageRecord { tool: "a,\"b\"\r\nc".to_owned(), ..ok("2026-10-04T01:00:00Z", 10) },
        UsageRecord { server: "other".to_owned(), server_id: String::new(), ..ok("2026-10-05T00:00:00Z", 11) },
        UsageRecord {
            team: String::new(),
            team_id: String::new(),
            cost_center: String::new(),
            user: String::new(),
            labels: [].into(),
            ..ok("2026-10-31T22:59:59Z", 12)
        },
        ok("2026-10-31T23:00:00Z", 13),
    ];
    deliver(&bench.app, records).await;
}

async fn report(bench: &Bench, query: &str) -> Answer {
    bench.call(Method::GET, &format!("reports/chargeback/{query}")).by(Role::Finance).send().await
}

/// The first key's value, the calls, the cost and the unpriced calls of each line.
fn lines(report: &Answer) -> Vec<(Value, i64, String, i64)> {
    let key = text(&report.json["group_by"][0]).to_owned();
    let line = |line: &Value| {
        let number = |name: &str| line[name].as_i64().expect("a number");
        (line["group"][&key].clone(), number("calls"), text(&line["cost"]).to_owned(), number("unpriced_calls"))
    };
    report.json["lines"].as_array().expect("lines").iter().map(line).collect()
}

/// Whether the file says the same; where it does not it is written anew.
fn is_golden(bench: &Bench, name: &str, text: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/chargeback/golden").join(name);
    let text = text.replace(&bench.acme.to_string(), "tnt_acme");
    let same = fs::read_to_string(&path).unwrap_or_default() == text;
    if !same {
        fs::write(&path, text).expect("the file is written");
    }
    same
}

#[tokio::test]
async fn every_form_of_a_report_is_as_it_was_agreed() {
    run(async |bench| {
        october(bench).await;
        let json = report(bench, "2026-10?group_by=team,tool").await.expect(200).json;
        let csv = report(bench, "2026-10?group_by=team,tool&format=csv").await.expect(200);
        assert_eq!(csv.header("content-disposition"), "attachment; filename=\"chargeback-acme-2026-10.csv\"");
        let focus = report(bench, "2026-10?format=focus").await.expect(200);
        assert_eq!(focus.header("content-type"), "text/csv; charset=utf-8; header=present");
        let same = [
            is_golden(bench, "team-tool.json", &format!("{json:#}\n")),
            is_golden(bench, "team-tool.csv", &csv.text),
            is_golden(bench, "focus-1.3.csv", &focus.text),
        ];
        assert_eq!(same, [true; 3], "a file was stale and is rewritten: look at it and commit it");
    })
    .await;
}

#[tokio::test]
async fn a_report_adds_up_by_whatever_is_asked_for_and_leaves_nothing_out() {
    run(async |bench| {
        october(bench).await;
        let by = async |keys: &str| lines(&report(bench, &format!("2026-10?group_by={keys}")).await.expect(200));
        let team = |name: &str, calls, cost: &str, unpriced| (json!(name), calls, cost.to_owned(), unpriced);
        let nobody = (Value::Null, 1, "0.015".to_owned(), 0);
        assert_eq!(by("team").await, [team("platform", 9, "0.09", 1), nobody.clone()]);
        assert_eq!(by("cost_center").await, [team("CC-100", 9, "0.09", 1), nobody.clone()]);
        assert_eq!(by("label:stage").await, [team("prod", 9, "0.09", 1), nobody.clone()]);
        assert_eq!(by("user").await, [team("ada@example.com", 9, "0.09", 1), nobody]);
        assert_eq!(by("agent").await, [team("bot", 10, "0.105", 1)]);
        assert_eq!(by("server").await, [team("demo", 9, "0.105", 0), team("other", 1, "0", 1)]);
        assert_eq!(by("server_team").await, [(Value::Null, 10, "0.105".to_owned(), 1)]);
        let days: Vec<(Value, i64)> = by("day").await.into_iter().map(|(day, calls, ..)| (day, calls)).collect();
        let expected = [("01", 1), ("02", 3), ("03", 2), ("04", 2), ("05", 1), ("31", 1)];
        assert_eq!(days, expected.map(|(day, calls)| (json!(format!("2026-10-{day}")), calls)));

        let total = &report(bench, "2026-10?group_by=agent").await.json["totals"];
        assert_eq!((total.as_array().map(Vec::len), &total[0]["cost"]), (Some(1), &json!("0.105")));
        assert_eq!((&total[0]["error_cost"], &total[0]["uncertain_cost"]), (&json!("0.015"), &json!("0.015")));
        assert_eq!((&total[0]["refused"], &total[0]["currency"]), (&json!(1), &json!("EUR")));
        let none = lines(&report(bench, "2026-10?group_by=tool&team=").await.expect(200));
        assert_eq!(none, [team("demo:echo", 1, "0.015", 0)], "drilled down to what is nobody's");
        assert_eq!(lines(&report(bench, "2026-11-01").await.expect(200)).len(), 1);
        assert!(lines(&report(bench, "2025").await.expect(200)).is_empty());
    })
    .await;
}

#[tokio::test]
async fn shared_cost_is_shown_by_the_team_whose_server_it_is() {
    run(async |bench| {
        set(bench, "usage_retention_days = 3650").await;
        bench.put("teams/tools", json!({ "spec": {} })).await.expect(201);
        let spec = json!({ "instances": [{ "url": "http://demo/" }], "team": "tools" });
        let server = bench.put("servers/demo", json!({ "spec": spec })).await.expect(201).json;
        let spec =
            json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [{ "match": "*", "per_call": "2" }] });
        bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
        let record =
            UsageRecord { server_id: text(&server["id"]).to_owned(), ..call(bench, "2026-10-01T00:00:00Z", 1) };
        deliver(&bench.app, [record]).await;
        let line = report(bench, "2026-10?group_by=server_team,team").await.expect(200).json["lines"][0].clone();
        assert_eq!(line["group"], json!({ "server_team": "tools", "team": "platform" }));
        assert_eq!(line["cost"], "2");
    })
    .await;
}

#[tokio::test]
async fn each_currency_has_a_line_and_what_has_none_is_counted_on_the_first() {
    run(async |bench| {
        set(bench, "usage_retention_days = 3650").await;
        let early = UsageRecord { server: "other".to_owned(), ..call(bench, "2026-10-01T00:00:00Z", 1) };
        deliver(&bench.app, [early]).await;
        bench.put("teams/research", json!({ "spec": {} })).await.expect(201);
        let price = json!({ "match": "*", "per_call": "1.10" });
        for (name, currency, teams) in [("own", "USD", json!(["research"])), ("standard", "EUR", Value::Null)] {
            let mut spec = json!({ "effective_from": "2026-10-02", "currency": currency, "prices": [price] });
            if !teams.is_null() {
                spec["teams"] = teams;
            }
            bench.put(&format!("price-books/{name}"), json!({ "spec": spec })).await.expect(201);
        }
        let of =
            |team: &str, number| UsageRecord { team: team.to_owned(), ..call(bench, "2026-10-02T00:00:00Z", number) };
        deliver(&bench.app, [of("research", 2), of("platform", 3)]).await;
        let report = report(bench, "2026-10?group_by=agent").await.expect(200).json;
        assert_eq!(report["lines"].as_array().map(Vec::len), Some(2), "{report:#}");
        for (line, currency, calls, unpriced) in [(0, "EUR", 2, 1), (1, "USD", 1, 0)] {
            let line = &report["lines"][line];
            assert_eq!((&line["currency"], &line["cost"]), (&json!(currency), &json!("1.1")));
            assert_eq!((&line["calls"], &line["unpriced_calls"]), (&json!(calls), &json!(unpriced)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_report_that_cannot_be_is_refused_with_the_reason() {
    run(async |bench| {
        for (query, reason) in [
            ("2026-13", "is no period"),
            ("november", "is no period"),
            ("2026-10?group_by=planet", "is nothing to group by"),
            ("2026-10?group_by=team,team", "each once"),
            ("2026-10?format=xlsx", "format"),
            ("2026-10?format=focus&group_by=team", "takes no `group_by`"),
            ("2026-10?team=%00", "U+0000"),
            ("2026-10?colour=red", "colour"),
        ] {
            let refused = report(bench, query).await.expect(400);
            assert!(text(&refused.json["detail"]).contains(reason), "{query}: {}", refused.text);
        }
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        bench.call(Method::GET, "reports/chargeback/2026-10").with_key(&key).send().await.expect(404);
    })
    .await;
}
