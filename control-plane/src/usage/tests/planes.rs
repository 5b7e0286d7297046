//! A data plane rates a call as the ledger does, by the books that its policy has.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};
use tollgate_proto::{
    TenantId,
    rating::{Book, Books, Call},
    usage::v1::{Outcome, ReportedUsage, UsageRecord},
};

use crate::{
    policy::compile,
    price_books,
    testing::{Bench, run},
    usage::{
        fact::{COUNT_MAX, Fact},
        testing::call_at,
    },
};

const RECORDS: usize = 2_000;

fn records(tenant: TenantId, now: DateTime<Utc>) -> impl Strategy<Value = UsageRecord> {
    let name = |names: &[&str]| prop::sample::select(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let who = (name(&["platform", "research", ""]), name(&["demo", "other"]), name(&["echo", "get_it", "add", ""]));
    let method = name(&["tools/call", "prompts/get", "resources/read", "tools/list", "initialize"]);
    // All that the protocol has, and one that it has not.
    let ended = (0..11_i32, prop::bool::weighted(0.1), prop::bool::weighted(0.9), -7_200..3_600_i64);
    let count = || prop_oneof![20 => 0..5_000_u64, 1 => 0..2_000_000_000_000_u64, 1 => Just(COUNT_MAX.unsigned_abs())];
    let counts = [count(), count(), count(), count(), count()];
    let cost = name(&["", "0.0125", "12", "0.0000000000000001", "1000000001", "-5", "1e30"]);
    let reported = prop::option::of((cost, name(&["EUR", "USD", "", "XXX"]), any::<bool>()));
    (who, method, ended, counts, reported).prop_map(move |(who, method, ended, counts, reported)| {
        let ((team, server, tool), (outcome, input_required, forwarded, seconds)) = (who, ended);
        let [input_tokens, output_tokens, input_bytes, output_bytes, upstream_us] = counts;
        let reported = reported.map(|(cost_amount, cost_currency, billed)| ReportedUsage {
            cost_amount,
            cost_currency,
            billed,
            ..ReportedUsage::default()
        });
        UsageRecord {
            team,
            server,
            tool,
            method,
            outcome,
            input_required,
            forwarded,
            input_tokens,
            output_tokens,
            input_bytes,
            output_bytes,
            upstream_us,
            reported,
            ..call_at(tenant, now + TimeDelta::seconds(seconds))
        }
    })
}

async fn publish(bench: &Bench, name: &str, spec: Value) {
    bench.put(&format!("price-books/{name}"), json!({ "spec": spec })).await.expect(201);
}

#[tokio::test]
async fn a_data_plane_and_the_ledger_say_the_same_of_what_a_call_costs() {
    run(async |bench| {
        for team in ["platform", "research"] {
            bench.put(&format!("teams/{team}"), json!({ "spec": {} })).await.expect(201);
        }
        let now = Utc::now();
        let at = |minutes: i64| (now + TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Micros, true);
        let own = json!({
            "effective_from": at(-10), "currency": "USD", "teams": ["research"],
            "prices": [{ "match": "demo:echo", "per_call": "1", "server_reported": "2" }],
        });
        publish(bench, "own", own).await;
        let prices = json!([
            { "match": "*", "per_call": "0.001" },
            { "match": "demo:*", "per_call": "007.50", "per_1k_input_tokens": "0.0000000001", "per_second": "0.3333333333" },
            { "match": "demo:get_*", "per_mib": "0.7", "per_1k_output_tokens": "0.013" },
            { "match": "demo:add", "server_reported": "1.125" },
        ]);
        let factors = json!({ "tool_error": "0.55", "timeout": "0.1", "unknown": "9.99" });
        let standard = json!({
            "effective_from": at(-60), "currency": "EUR", "prices": prices, "outcome_factors": factors,
        });
        publish(bench, "standard", standard).await;
        let later = json!({ "effective_from": at(30), "currency": "EUR", "prices": [{ "match": "other:*", "per_call": "2" }] });
        publish(bench, "later", later).await;
        let budget = json!({ "to": { "tenant": "acme" }, "period": "day", "amount": "1", "currency": "EUR", "hard": "deny" });
        bench.put("budgets/all", json!({ "spec": budget })).await.expect(201);

        let policy = compile(&bench.app, bench.acme).await.expect("compiled").expect("a tenant");
        let sent = policy.price_books.iter().map(Book::try_from).collect::<Result<_, _>>().expect("books");
        let (sent, mut tx) = (Books::new(sent), bench.app.db.tenant(bench.acme).await.expect("a transaction"));
        let held = price_books::in_tenant(&mut tx, bench.acme).await.expect("books");
        let mut runner = TestRunner::deterministic();
        let (strategy, mut charged) = (records(bench.acme, now), 0);
        for _ in 0..RECORDS {
            let record = strategy.new_tree(&mut runner).expect("a record").current();
            // What the ledger cannot store it does not rate.
            let Ok(mut fact) = Fact::read(&record) else { continue };
            fact.rate(&held);
            let rating = sent.rate(&Call::of(&record).expect("a call"));
            assert_eq!(rating, fact.rating, "{record:?}");
            charged += usize::from(!rating.cost.is_zero());
        }
        assert!(charged > RECORDS / 20, "too few of them cost anything: {charged}");
        let outcomes = [Outcome::Ok, Outcome::ToolError, Outcome::Timeout, Outcome::Unknown];
        for outcome in outcomes {
            let record = UsageRecord { outcome: outcome.into(), ..call_at(bench.acme, now) };
            assert!(!sent.rate(&Call::of(&record).expect("a call")).cost.is_zero(), "{outcome:?}");
        }
    })
    .await;
}
