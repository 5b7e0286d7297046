//! Budgets: from a file to what is spent, and to calls that are turned away.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, eventually_true};

mod held;

const BUDGETS: &str = r#"
apiVersion: tollgate/v1
kind: Budget
metadata: {name: demo-yearly}
spec: {to: {agent: demo-agent}, period: year, amount: "1.00", soft: ["0.01", "0.5"], hard: deny}
---
apiVersion: tollgate/v1
kind: Budget
metadata: {name: everything}
spec: {to: {tenant: default}, period: quarter, amount: "0.02"}
---
apiVersion: tollgate/v1
kind: PriceBook
metadata: {name: standard}
spec:
  effective_from: 2026-01-01
  currency: EUR
  prices:
    - {match: "demo:echo", per_call: "0.0125"}
"#;

#[tokio::test]
async fn finance_sees_what_is_spent_of_a_budget() {
    let tollgate = Deployment::dev().start().await;
    // What it costs is applied first, wherever it stands in the file.
    tollgate.apply(BUDGETS).await;
    let exported = tollgate.command(&["get", "Budget", "-o", "yaml"]).await.success().stdout;
    let again = tollgate.apply(&exported).await;
    assert!(format!("{}{}", again.stdout, again.stderr).contains("unchanged"), "{again:?}");
    for _ in 0..2 {
        tollgate.command(&["call", "demo/echo", "--arg", "text=hello"]).await.success();
    }
    tollgate.command(&["call", "demo/add", "--arg", "a=2", "--arg", "b=40"]).await.success();

    let status = async |name: &str| -> Value {
        let shown = tollgate.command(&["get", "budget", name, "-o", "json"]).await.success().json();
        shown["status"].clone()
    };
    eventually_true("all calls to be counted", || async {
        let status = status("demo-yearly").await;
        status["spent"] == "0.025" && status["not_counted"]["unpriced_calls"] == 1
    })
    .await;
    let yearly = status("demo-yearly").await;
    assert_eq!((&yearly["remaining"], &yearly["share"]), (&json!("0.975"), &json!("0.025")));
    assert_eq!((&yearly["state"], &yearly["currency"]), (&json!("warned"), &json!("EUR")));
    assert_eq!(status("everything").await["state"], "exhausted", "it only tells");
    let table = tollgate.command(&["get", "budgets"]).await.success().stdout;
    assert!(table.contains("demo-yearly") && table.contains("0.025") && table.contains("exhausted"), "{table}");

    let year = &yearly["start"].as_str().expect("a moment")[..4];
    let csv = tollgate.command(&["report", year, "--by", "agent", "-o", "csv"]).await.success().stdout;
    assert!(csv.contains(",demo-yearly,1,0.025,0.975\r\n"), "what finance reports is what the budget says: {csv}");
    let table = tollgate.command(&["report", year, "--by", "agent"]).await.success().stdout;
    assert!(table.contains("BUDGET AMOUNT  BUDGET VARIANCE") && table.contains("0.975"), "{table}");
    let report = tollgate.get(&format!("reports/chargeback/{year}?group_by=agent")).await;
    assert_eq!(report["lines"][0]["budget"]["spent"], yearly["spent"], "{report}");

    let dollars = BUDGETS.replace("amount: \"1.00\"", "amount: \"1.00\", currency: USD");
    let refused = tollgate.command_with_input(&["apply", "-f", "-"], &dollars).await;
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("no price book is in `USD`"), "{}", refused.stderr);
    let float = BUDGETS.replace("\"0.02\"", "0.02");
    let refused = tollgate.command_with_input(&["apply", "-f", "-"], &float).await;
    assert!(refused.stderr.contains("the amount 0.02 is not exact"), "{}", refused.stderr);
}
