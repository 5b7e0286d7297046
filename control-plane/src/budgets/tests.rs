use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use tollgate_proto::{AgentId, TeamId, usage::v1::UsageRecord};

use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
    usage::testing::{call_at, deliver},
};

mod compiled;
mod spending;
mod warned;

/// A team, its agent, and a price book in euros for the last hundred days: 0.25 a call of `demo:*`.
async fn world(bench: &Bench) -> (TeamId, AgentId) {
    let team = bench.put("teams/platform", json!({ "spec": {} })).await.expect(201).json;
    let agent = json!({ "spec": { "team": "platform", "type": "autonomous" } });
    let agent = bench.put("agents/ci-bot", agent).await.expect(201).json;
    publish(bench, "standard", "EUR", None, -100).await;
    (text(&team["id"]).parse().expect("an id"), text(&agent["id"]).parse().expect("an id"))
}

/// The same with a team `abroad` that pays in dollars.
async fn world_with_dollars(bench: &Bench) -> (TeamId, AgentId) {
    bench.put("teams/abroad", json!({ "spec": {} })).await.expect(201);
    // First: what is for everyone takes nothing from it, and it would from what is.
    publish(bench, "dollars", "USD", Some("abroad"), -100).await;
    world(bench).await
}

/// A price book so many days from now on.
async fn publish(bench: &Bench, book: &str, currency: &str, team: Option<&str>, days: i64) {
    let from = (Utc::now() + TimeDelta::days(days)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let prices = json!([{ "match": "demo:*", "per_call": "0.25" }]);
    let mut spec = json!({ "effective_from": from, "currency": currency, "prices": prices });
    if let Some(team) = team {
        spec["teams"] = json!([team]);
    }
    bench.put(&format!("price-books/{book}"), json!({ "spec": spec })).await.expect(201);
}

/// A call of `demo:echo` that the agent of [`world`] made then.
fn call(bench: &Bench, (team, agent): (TeamId, AgentId), at: DateTime<Utc>) -> UsageRecord {
    UsageRecord { agent_id: agent.to_string(), team_id: team.to_string(), ..call_at(bench.acme, at) }
}

fn on_agent() -> Value {
    json!({ "to": { "agent": "ci-bot" }, "period": "month", "amount": "10" })
}

async fn put(bench: &Bench, name: &str, spec: Value) -> Answer {
    bench.put(&format!("budgets/{name}"), json!({ "spec": spec })).await
}

async fn patch(bench: &Bench, name: &str, spec: Value) -> Answer {
    let call = bench.call(Method::PATCH, &format!("budgets/{name}")).header("if-match", "*");
    call.header("content-type", "application/merge-patch+json").body(json!({ "spec": spec }).to_string()).await
}

async fn delete(bench: &Bench, path: &str) {
    bench.call(Method::DELETE, path).header("if-match", "*").send().await.expect(204);
}

#[tokio::test]
async fn a_budget_comes_back_as_it_was_written_and_says_what_applies() {
    run(async |bench| {
        world(bench).await;
        for (name, to) in [
            ("of-agent", json!({ "agent": "ci-bot" })),
            ("of-team", json!({ "team": "platform" })),
            ("of-tenant", json!({ "tenant": "acme" })),
        ] {
            let spec = json!({
                "to": to, "period": "quarter", "amount": "500.00", "soft": ["0.5", "0.8", "1"], "hard": "deny",
                "on_store_outage": "local",
            });
            let created = put(bench, name, spec.clone()).await.expect(201).json;
            assert_eq!(created["spec"], spec, "{name}");
            assert!(text(&created["id"]).starts_with("bdg_"), "{created}");
            let status = &created["status"];
            for (member, value) in [("spent", "0"), ("remaining", "500"), ("share", "0"), ("currency", "EUR")] {
                assert_eq!(status[member], value, "{member}");
            }
            assert_eq!(status["state"], "within");
            assert_eq!(status["not_counted"], json!({ "costs": {}, "unpriced_calls": 0 }));
        }
        let names: Vec<_> = bench.get("budgets").await.expect(200).json["items"]
            .as_array()
            .expect("budgets")
            .iter()
            .map(|budget| text(&budget["name"]).to_owned())
            .collect();
        assert_eq!(names, ["of-agent", "of-team", "of-tenant"]);
        assert!(bench.audit().await.contains(&"budget.create of-team".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_budget_is_named_where_it_is() {
    run(async |bench| {
        world(bench).await;
        let with = |pointer: &str, value: Value| {
            let mut spec = on_agent();
            spec[pointer] = value;
            spec
        };
        for (spec, expected) in [
            (with("amount", json!("0")), vec!["/spec/amount out_of_range"]),
            (with("amount", json!("0.000000")), vec!["/spec/amount out_of_range"]),
            (with("amount", json!("-1")), vec!["/spec/amount amount"]),
            (with("amount", json!(format!("0.{:030}", 1))), vec!["/spec/amount amount"]),
            (with("amount", json!("9".repeat(400))), vec!["/spec/amount amount"]),
            (with("amount", json!("1000000000000")), vec!["/spec/amount amount"]),
            (with("amount", json!("1e3")), vec!["/spec/amount amount"]),
            (with("amount", json!(500)), vec!["/spec/amount shape"]),
            (with("currency", json!("USD")), vec!["/spec/currency unpriced"]),
            (with("currency", json!("eur")), vec!["/spec/currency unpriced"]),
            (with("period", json!("decade")), vec!["/spec/period shape"]),
            (with("hard", json!("degrade")), vec!["/spec/hard shape"]),
            (with("on_store_outage", json!("open")), vec!["/spec/on_store_outage without_hard"]),
            (with("soft", json!(["0.8", "0.5"])), vec!["/spec/soft/1 not_ascending"]),
            (with("soft", json!(["0.5", "0.50"])), vec!["/spec/soft/1 not_ascending"]),
            (
                with("soft", json!(["0", "-1", "10.1"])),
                vec!["/spec/soft/0 out_of_range", "/spec/soft/1 amount", "/spec/soft/2 out_of_range"],
            ),
            (with("soft", json!(vec!["1"; 11])), vec!["/spec/soft too_many"]),
            (with("to", json!({})), vec!["/spec/to exactly_one"]),
            (with("to", json!({ "agent": "ci-bot", "team": "platform" })), vec!["/spec/to exactly_one"]),
            (with("to", json!({ "agent": "nobody" })), vec!["/spec/to/agent agent_unknown"]),
            (with("to", json!({ "team": "nobody" })), vec!["/spec/to/team team_unknown"]),
            (with("to", json!({ "tenant": "other" })), vec!["/spec/to/tenant tenant_unknown"]),
        ] {
            let refused = put(bench, "wrong", spec.clone()).await.expect(422);
            assert_eq!(refused.problem().1, expected, "{spec}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_budget_is_in_a_currency_that_something_costs() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let spec = json!({ "to": { "team": "platform" }, "period": "month", "amount": "10" });
        assert_eq!(put(bench, "early", spec.clone()).await.expect(422).problem().1, ["/spec/currency unpriced"]);
        publish(bench, "standard", "EUR", None, -100).await;
        put(bench, "euros", spec.clone()).await.expect(201);
        publish(bench, "abroad", "USD", Some("platform"), 1).await;
        let refused = put(bench, "either", spec.clone()).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec/currency required"]);
        assert!(refused.text.contains("`EUR`, `USD`"), "{}", refused.text);
        let mut dollars = spec;
        dollars["currency"] = json!("USD");
        assert_eq!(put(bench, "dollars", dollars).await.expect(201).json["status"]["currency"], "USD");
        // What it has it keeps, also when nothing is priced in it any more.
        delete(bench, "price-books/standard").await;
        let changed = patch(bench, "euros", json!({ "amount": "20" })).await.expect(200).json;
        assert_eq!((&changed["status"]["currency"], &changed["status"]["remaining"]), (&json!("EUR"), &json!("20")));
        let refused = patch(bench, "euros", json!({ "currency": "EUR" })).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec/currency unpriced"]);
    })
    .await;
}

#[tokio::test]
async fn finance_writes_budgets_and_operators_do_not() {
    run(async |bench| {
        world(bench).await;
        let body = json!({ "spec": on_agent() });
        for (role, status) in [(Role::Viewer, 403), (Role::Operator, 403), (Role::Finance, 201), (Role::Admin, 201)] {
            let call = bench.call(Method::PUT, &format!("budgets/by-{}", role.as_str())).by(role);
            call.json(body.clone()).await.expect(status);
        }
        bench.call(Method::GET, "budgets/by-finance").by(Role::Viewer).send().await.expect(200);
        bench.call(Method::GET, "budgets/by-finance/periods").by(Role::Viewer).send().await.expect(200);
        bench.get("budgets/by-operator/periods").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn budgets_go_with_what_they_are_on() {
    run(async |bench| {
        world(bench).await;
        bench.put("teams/brief", json!({ "spec": {} })).await.expect(201);
        put(bench, "of-agent", on_agent()).await.expect(201);
        let of_team = json!({ "to": { "team": "brief" }, "period": "day", "amount": "1" });
        put(bench, "of-team", of_team).await.expect(201);
        delete(bench, "agents/ci-bot").await;
        delete(bench, "teams/brief").await;
        assert_eq!(bench.get("budgets").await.expect(200).json["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn one_tenant_sees_and_counts_nothing_of_anothers() {
    run(async |bench| {
        let who = world(bench).await;
        put(bench, "all", json!({ "to": { "tenant": "acme" }, "period": "year", "amount": "10", "hard": "deny" }))
            .await
            .expect(201);
        let other = bench.tenant("other").await;
        let now = Utc::now();
        let theirs = UsageRecord { tenant_id: other.to_string(), ..call(bench, who, now) };
        deliver(&bench.app, [call(bench, who, now), theirs]).await;
        assert_eq!(bench.get("budgets/all").await.expect(200).json["status"]["spent"], "0.25");
        let key = bench.key(other, Role::Owner).await;
        let ask = async |path: &str| bench.call(Method::GET, path).with_key(&key).send().await;
        ask("/api/v1/tenants/other/budgets/all").await.expect(404);
        ask("/api/v1/tenants/acme/budgets/all").await.expect(404);
        assert_eq!(ask("/api/v1/tenants/other/budgets").await.expect(200).json["items"], json!([]));
        let policy = crate::policy::compile(&bench.app, other).await.expect("compiled").expect("a tenant");
        assert!(policy.budgets.is_empty() && policy.price_books.is_empty());
    })
    .await;
}
