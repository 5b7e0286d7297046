use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};

use super::in_tenant;
use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
};

fn spec(from: &str, price: &str) -> Value {
    json!({ "effective_from": from, "currency": "EUR", "prices": [{ "match": "*", "per_call": price }] })
}

/// A moment so many days from now, as books write it.
fn days(days: i64) -> String {
    (Utc::now() + TimeDelta::days(days)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn put(bench: &Bench, name: &str, spec: Value) -> Answer {
    bench.call(Method::PUT, &format!("price-books/{name}")).header("if-match", "*").json(json!({ "spec": spec })).await
}

async fn create(bench: &Bench, name: &str, spec: Value) -> Answer {
    bench.put(&format!("price-books/{name}"), json!({ "spec": spec })).await
}

async fn faults(bench: &Bench, spec: Value) -> Vec<String> {
    create(bench, "wrong", spec).await.expect(422).problem().1
}

fn moment(value: &Value) -> DateTime<Utc> {
    text(value).parse().expect("a moment")
}

#[tokio::test]
async fn a_price_book_comes_back_as_it_was_written() {
    run(async |bench| {
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let spec = json!({
            "effective_from": "2026-01-01",
            "currency": "JPY",
            "teams": ["platform"],
            "prices": [
                { "match": "demo:echo", "per_call": "0.50", "per_1k_input_tokens": "1.0000000000" },
                { "match": "demo:get_*", "per_1k_output_tokens": "2", "per_second": "3", "per_mib": "4" },
                { "match": "demo:*", "server_reported": "1.1" },
                { "match": "*", "per_call": "0" },
            ],
            "outcome_factors": { "tool_error": "0.5", "timeout": "1" },
        });
        let created = create(bench, "yen", spec.clone()).await.expect(201);
        assert!(text(&created.json["id"]).starts_with("pbk_"));
        assert_eq!(created.json["spec"], spec);
        let status = &created.json["status"];
        assert_eq!((&status["in_force"], status["versions"].as_array().map(Vec::len)), (&json!(1), Some(1)));
        assert_eq!(status["versions"][0]["effective_from"], "2026-01-01T00:00:00Z");
        assert_eq!(status["versions"][0]["effective_until"], Value::Null);

        let id = text(&status["versions"][0]["id"]);
        let version = bench.get(&format!("price-book-versions/{id}")).await.expect(200).json;
        assert_eq!((&version["book"], &version["spec"], &version["version"]), (&json!("yen"), &spec, &json!(1)));
        bench.get("price-book-versions/pbv_nonsense").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_price_book_is_named_where_it_is() {
    run(async |bench| {
        let price = |price: Value| json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [price] });
        let per_call = |amount: Value| price(json!({ "match": "*", "per_call": amount }));
        for amount in ["-1", "1e3", "1000000", "0.000000000000000000000000000001", "", "1,5", "NaN"] {
            assert_eq!(faults(bench, per_call(json!(amount))).await, ["/spec/prices/0/per_call amount"], "{amount}");
        }
        for number in [json!(0.1), json!(1), json!(-1), json!(1e30)] {
            let refused = create(bench, "wrong", per_call(number)).await.expect(422);
            assert_eq!(refused.problem().1, ["/spec/prices/0/per_call shape"]);
            assert!(text(&refused.json["detail"]).contains("as text in quotes"), "{}", refused.text);
        }
        let markup = json!({ "match": "*", "server_reported": "1.0001" });
        assert_eq!(faults(bench, price(markup)).await, ["/spec/prices/0/server_reported amount"]);
        assert_eq!(faults(bench, price(json!({ "match": "*" }))).await, ["/spec/prices/0 required"]);
        let wrong = json!({
            "effective_from": "soon",
            "currency": "eur",
            "teams": ["nobody", "nobody"],
            "prices": [
                { "match": "demo:*", "per_call": "1" },
                { "match": "demo", "per_call": "1" },
                { "match": "demo:*", "per_call": "2" },
            ],
            "outcome_factors": { "ok": "10", "tool_error": "0.001", "refused": "1", "luck": "1" },
        });
        let expected = [
            "/spec/currency currency",
            "/spec/teams/1 duplicate",
            "/spec/prices/1/match match",
            "/spec/prices/2/match duplicate",
            "/spec/outcome_factors/luck outcome",
            "/spec/outcome_factors/ok amount",
            "/spec/outcome_factors/refused outcome",
            "/spec/outcome_factors/tool_error amount",
            "/spec/effective_from moment",
            "/spec/teams/0 team_unknown",
            "/spec/teams/0 team_unknown",
        ];
        assert_eq!(faults(bench, wrong).await, expected);
        let none = json!({ "effective_from": "2026-01-01", "currency": "EUR", "teams": [], "prices": [] });
        assert_eq!(faults(bench, none).await, ["/spec/teams required"]);
        let many: Vec<Value> = (0..1_001).map(|n| json!({ "match": format!("s:t{n}"), "per_call": "1" })).collect();
        let many = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": many });
        assert_eq!(faults(bench, many).await, ["/spec/prices too_many"]);
        bench.get("price-books/wrong").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn prices_that_were_in_force_never_change() {
    run(async |bench| {
        create(bench, "standard", spec("2026-01-01", "1")).await.expect(201);
        for from in ["2026-01-01", "2025-01-01", &days(-1)] {
            let refused = put(bench, "standard", spec(from, "2")).await.expect(422);
            assert_eq!(refused.problem().1, ["/spec/effective_from in_the_past"], "{from}");
            assert!(text(&refused.json["detail"]).contains("those never change: begin at 20"), "{}", refused.text);
        }
        let same = put(bench, "standard", spec("2026-01-01", "1")).await.expect(200);
        assert_eq!(same.json["status"]["versions"].as_array().map(Vec::len), Some(1), "nothing new is said");

        let next = days(10);
        let changed = put(bench, "standard", spec(&next, "2")).await.expect(200).json;
        let versions = &changed["status"]["versions"];
        assert_eq!((&changed["status"]["in_force"], &versions[0]["version"]), (&json!(1), &json!(3)));
        assert_eq!((&versions[0]["effective_from"], &versions[1]["effective_until"]), (&json!(next), &json!(next)));

        // What is not in force yet may still change, in any direction.
        let sooner = days(5);
        let changed = put(bench, "standard", spec(&sooner, "3")).await.expect(200).json;
        let versions = changed["status"]["versions"].as_array().expect("versions");
        assert_eq!(versions.iter().map(|it| it["version"].clone()).collect::<Vec<_>>(), [json!(4), json!(1)]);
        assert_eq!(versions[1]["effective_until"], json!(sooner));
        assert_eq!(put(bench, "standard", spec(&days(-1), "3")).await.expect(422).problem().0, "in_the_past");
    })
    .await;
}

#[tokio::test]
async fn books_that_would_both_count_are_refused_and_others_are_not() {
    run(async |bench| {
        for team in ["a", "b", "c"] {
            bench.put(&format!("teams/{team}"), json!({ "spec": {} })).await.expect(201);
        }
        let of = |teams: Value, from: &str| {
            let mut spec = spec(from, "1");
            spec["teams"] = teams;
            spec
        };
        let (first, later) = (days(1), days(2));
        create(bench, "everyone", spec(&first, "1")).await.expect(201);
        create(bench, "a-and-b", of(json!(["a", "b"]), &first)).await.expect(201);
        create(bench, "only-c", of(json!(["c"]), &first)).await.expect(201);
        let refused = create(bench, "rival", spec(&first, "2")).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec/effective_from overlap"]);
        assert!(text(&refused.json["detail"]).contains("`everyone`"), "{}", refused.text);
        let refused = create(bench, "rival", of(json!(["c", "b"]), &first)).await.expect(422);
        assert_eq!(refused.problem().1, ["/spec/effective_from overlap"]);
        create(bench, "rival", of(json!(["c", "b"]), &later)).await.expect(201);
        put(bench, "everyone", spec(&later, "2")).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn only_what_has_had_no_price_gets_one_for_the_past() {
    run(async |bench| {
        for team in ["a", "b"] {
            bench.put(&format!("teams/{team}"), json!({ "spec": {} })).await.expect(201);
        }
        let of = |team: &str, from: &str| {
            let mut spec = spec(from, "1");
            spec["teams"] = json!([team]);
            spec
        };
        create(bench, "a", of("a", &days(-30))).await.expect(201);
        create(bench, "b", of("b", &days(-20))).await.expect(201);
        assert_eq!(create(bench, "a2", of("a", &days(-1))).await.expect(422).problem().0, "in_the_past");
        create(bench, "everyone", spec(&days(-10), "1")).await.expect(201);
        let mut both = of("a", &days(-5));
        both["teams"] = json!(["b"]);
        assert_eq!(create(bench, "b2", both).await.expect(422).problem().0, "in_the_past");
        assert_eq!(create(bench, "late", spec(&days(-40), "1")).await.expect(422).problem().0, "in_the_past");
        // Changing whom a book is for takes its prices from those for whom it was.
        assert_eq!(put(bench, "a", of("b", &days(-25))).await.expect(422).problem().0, "in_the_past");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_book_ends_and_its_versions_stay() {
    run(async |bench| {
        let created = create(bench, "standard", spec("2026-01-01", "1")).await.expect(201).json;
        put(bench, "standard", spec(&days(3), "2")).await.expect(200);
        let id = text(&created["status"]["versions"][0]["id"]).to_owned();
        let delete = bench.call(Method::DELETE, "price-books/standard").header("if-match", "*");
        delete.send().await.expect(204);
        bench.get("price-books/standard").await.expect(404);
        let version = bench.get(&format!("price-book-versions/{id}")).await.expect(200).json;
        assert!(moment(&version["effective_until"]) <= Utc::now());
        assert_eq!(version["spec"], spec("2026-01-01", "1"));

        let refused = create(bench, "standard", spec(&days(-1), "5")).await.expect(422);
        assert_eq!(refused.problem().0, "in_the_past", "the name is free, the past is not");
        create(bench, "standard", spec(&days(1), "5")).await.expect(201);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let books = in_tenant(&mut tx, bench.acme).await.expect("books");
        assert_eq!(format!("{books:?}").matches("Book {").count(), 2, "what was never in force is no book: {books:?}");
    })
    .await;
}

#[tokio::test]
async fn finance_and_admins_write_price_books_and_every_change_is_audited() {
    run(async |bench| {
        let body = json!({ "name": "standard", "spec": spec("2026-01-01", "1") });
        for role in [Role::Operator, Role::Viewer] {
            bench.call(Method::POST, "price-books").by(role).json(body.clone()).await.expect(403);
        }
        bench.call(Method::POST, "price-books").by(Role::Finance).json(body).await.expect(201);
        let patch = json!({ "labels": { "owner": "ada" } });
        let call = bench.call(Method::PATCH, "price-books/standard").by(Role::Admin).header("if-match", "\"1\"");
        assert_eq!(call.json(patch).await.expect(200).json["status"]["in_force"], 1);
        bench.call(Method::DELETE, "price-books/standard").header("if-match", "\"2\"").send().await.expect(204);
        let events = bench.audit().await;
        let expected = ["price-book.create standard", "price-book.update standard", "price-book.delete standard"];
        assert_eq!(events, expected);
    })
    .await;
}

#[tokio::test]
async fn what_was_published_cannot_be_rewritten_or_seen_by_another_tenant() {
    run(async |bench| {
        create(bench, "standard", spec("2026-01-01", "1")).await.expect(201);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        for change in ["UPDATE price_book_versions SET spec = '{}'", "DELETE FROM price_book_versions"] {
            let refused = sqlx::query(change).execute(&mut *tx).await.expect_err(change).to_string();
            assert!(refused.contains("permission denied"), "{refused}");
            tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        }
        let other = bench.tenant("other").await;
        let mut tx = bench.app.db.tenant(other).await.expect("a transaction");
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM price_book_versions").fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(seen, 0);
    })
    .await;
}
