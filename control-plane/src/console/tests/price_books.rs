//! Price books: the list, the page and the form with a line for each price.

use serde_json::json;

use super::{Browser, hidden};
use crate::{caller::Role, testing::run};

const STANDARD: [(&str, &str); 5] = [
    ("name", "standard"),
    ("effective_from", "2026-01-01"),
    ("currency", "EUR"),
    ("prices", "demo:*  per_call=0.010 per_1k_output_tokens=0.002\r\n\r\n* server_reported=1.1"),
    ("outcome_factors", "tool_error=0.5\ntimeout = 1"),
];

#[tokio::test]
async fn a_form_with_lines_makes_a_price_book_and_its_page_shows_it() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Finance).await;
        assert!(browser.get("/price-books").await.expect(200).text.contains("No prices yet"));
        browser.get("/new/price-book").await.expect(200);
        let created = browser.post("/new/price-book", &STANDARD).await.expect(303);
        assert_eq!(created.header("location"), "/price-books/standard?done=created");
        let spec = json!({
            "effective_from": "2026-01-01",
            "currency": "EUR",
            "prices": [
                { "match": "demo:*", "per_call": "0.010", "per_1k_output_tokens": "0.002" },
                { "match": "*", "server_reported": "1.1" },
            ],
            "outcome_factors": { "tool_error": "0.5", "timeout": "1" },
        });
        assert_eq!(bench.get("price-books/standard").await.expect(200).json["spec"], spec);
        let page = browser.get("/price-books/standard").await.expect(200).text;
        for part in [
            "0.010 per call + 0.002 per 1,000 output tokens",
            "1.1 × what the server reports",
            "tool error × 0.5",
            "everyone",
            "in force",
            "kind: PriceBook",
            "/price-books/standard/edit",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let list = browser.get("/price-books").await.expect(200).text;
        assert!(list.contains("<a href=\"/price-books/standard\">standard</a>"), "{list}");
        assert!(browser.get("/search?q=stand").await.expect(200).text.contains("href=\"/price-books/standard\""));
        let mut viewer = Browser::of(bench, Role::Operator).await;
        assert!(!viewer.get("/price-books/standard").await.expect(200).text.contains("/edit"));
    })
    .await;
}

#[tokio::test]
async fn an_edit_publishes_the_next_version_and_drops_what_is_no_longer_entered() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Finance).await;
        browser.post("/new/price-book", &STANDARD).await.expect(303);
        let form = browser.get("/price-books/standard/edit").await.expect(200).text;
        assert!(form.contains("demo:* per_call=0.010 per_1k_output_tokens=0.002\n* server_reported=1.1"), "{form}");
        let etag = hidden(&form, "etag").expect("a version");
        let mut changed =
            STANDARD.map(|(name, value)| if name == "outcome_factors" { (name, "ok=1") } else { (name, value) });
        changed[0] = ("etag", &etag);
        let refused = browser.post("/price-books/standard/edit", &changed).await.expect(422).text;
        assert!(refused.contains("those never change: begin at"), "{refused}");
        changed[1] = ("effective_from", "2999-01-01");
        browser.post("/price-books/standard/edit", &changed).await.expect(303);
        let spec = bench.get("price-books/standard").await.expect(200).json["spec"].clone();
        assert_eq!(spec["outcome_factors"], json!({ "ok": "1" }));
        assert!(browser.get("/price-books/standard").await.text.contains("2999-01-01 00:00:00 UTC"));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_price_is_said_and_the_lines_stay() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Finance).await;
        for (prices, complaint) in [
            ("demo:* per_call=1e3", "Write an amount in digits"),
            ("demo:* cheap", "Unknown field `cheap`"),
            ("demo per_call=1", "`demo` is nothing that has a price"),
        ] {
            let mut wrong = STANDARD;
            wrong[3] = ("prices", prices);
            let page = browser.post("/new/price-book", &wrong).await.expect(422).text;
            assert!(page.contains(complaint) && page.contains("<a href=\"#prices\">"), "{complaint}: {page}");
            assert!(page.contains(prices), "{page}");
        }
    })
    .await;
}
