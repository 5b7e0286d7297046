//! Budgets: the list with bars, the page with the last periods, and the form.

use serde_json::json;

use super::{Browser, hidden};
use crate::{caller::Role, testing::run};

const MONTHLY: [(&str, &str); 8] = [
    ("name", "monthly"),
    ("on", "tenant"),
    ("name_of", "acme"),
    ("period", "month"),
    ("amount", "500.00"),
    ("soft", "0.5\r\n0.8\r\n"),
    ("hard", "deny"),
    ("on_store_outage", ""),
];

#[tokio::test]
async fn a_form_makes_a_budget_and_its_page_shows_it() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Finance).await;
        assert!(browser.get("/budgets").await.expect(200).text.contains("No budgets yet"));
        let refused = browser.post("/new/budget", &MONTHLY).await.expect(422).text;
        assert!(
            refused.contains("publish a price book first") && refused.contains("<a href=\"#currency\">"),
            "{refused}"
        );
        let book = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [] });
        bench.put("price-books/standard", json!({ "spec": book })).await.expect(201);
        let created = browser.post("/new/budget", &MONTHLY).await.expect(303);
        assert_eq!(created.header("location"), "/budgets/monthly?done=created");
        let spec = json!({
            "to": { "tenant": "acme" }, "period": "month", "amount": "500.00", "soft": ["0.5", "0.8"], "hard": "deny",
        });
        assert_eq!(bench.get("budgets/monthly").await.expect(200).json["spec"], spec);
        let page = browser.get("/budgets/monthly").await.expect(200).text;
        for part in [
            "500.00 EUR a month",
            "50 %, 80 %",
            "calls are refused until the next month",
            "kind: Budget",
            "class=\"gauge\"",
            "/budgets/monthly/edit",
            "within",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let list = browser.get("/budgets").await.expect(200).text;
        assert!(
            list.contains("<a href=\"/budgets/monthly\">monthly</a>") && list.contains("aria-label=\"0 %\""),
            "{list}"
        );
        assert!(browser.get("/search?q=month").await.expect(200).text.contains("href=\"/budgets/monthly\""));
        let mut operator = Browser::of(bench, Role::Operator).await;
        assert!(!operator.get("/budgets/monthly").await.expect(200).text.contains("/edit"));
    })
    .await;
}

#[tokio::test]
async fn an_edit_keeps_what_is_entered_and_drops_what_is_not() {
    run(async |bench| {
        let book = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [] });
        bench.put("price-books/standard", json!({ "spec": book })).await.expect(201);
        let mut browser = Browser::of(bench, Role::Finance).await;
        browser.post("/new/budget", &MONTHLY).await.expect(303);
        let form = browser.get("/budgets/monthly/edit").await.expect(200).text;
        assert!(form.contains("500.00") && form.contains("0.5\n0.8"), "{form}");
        let etag = hidden(&form, "etag").expect("a version");
        let mut changed = MONTHLY;
        changed[0] = ("etag", &etag);
        changed[5] = ("soft", "");
        changed[4] = ("amount", "0");
        let refused = browser.post("/budgets/monthly/edit", &changed).await.expect(422).text;
        assert!(refused.contains("A budget is above zero") && refused.contains("<a href=\"#amount\">"), "{refused}");
        changed[4] = ("amount", "20");
        changed[6] = ("hard", "");
        browser.post("/budgets/monthly/edit", &changed).await.expect(303);
        let spec = json!({ "to": { "tenant": "acme" }, "period": "month", "amount": "20" });
        assert_eq!(bench.get("budgets/monthly").await.expect(200).json["spec"], spec);
    })
    .await;
}
