//! What calls cost: from a price book in a file to what finance reads.

use serde_json::json;
use tollgate_tests::{Deployment, eventually_true};

const PRICES: &str = r#"
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
async fn finance_reads_the_same_cost_wherever_it_looks() {
    let tollgate = Deployment::dev().start().await;
    tollgate.apply(PRICES).await;
    let exported = tollgate.command(&["get", "PriceBook", "-o", "yaml"]).await.success().stdout;
    let again = tollgate.apply(&exported).await;
    assert!(format!("{}{}", again.stdout, again.stderr).contains("unchanged"), "{again:?}");
    for _ in 0..3 {
        tollgate.command(&["call", "demo/echo", "--arg", "text=hello"]).await.success();
    }
    tollgate.command(&["call", "demo/add", "--arg", "a=2", "--arg", "b=40"]).await.success();

    let usage = async || tollgate.command(&["usage", "--by", "tool", "-o", "json"]).await.success().json();
    eventually_true("all calls to be stored", || async {
        let rows = usage().await;
        rows.as_array().into_iter().flatten().filter_map(|row| row["calls"].as_i64()).sum::<i64>() == 4
    })
    .await;
    let rows = usage().await;
    let row = |tool: &str| rows.as_array().into_iter().flatten().find(|row| row["tool"] == tool).cloned().expect(tool);
    assert_eq!((&row("echo")["cost"], &row("echo")["currency"]), (&json!("0.0375"), &json!("EUR")));
    assert_eq!((&row("add")["cost"], &row("add")["currency"]), (&json!("0"), &json!("EUR")));

    let csv = tollgate.command(&["report", "--by", "tool", "-o", "csv"]).await.success().stdout;
    let line = |tool: &str| csv.lines().find(|line| line.starts_with(tool)).unwrap_or_default().to_owned();
    assert!(line("demo:echo,").contains(",0.0375,EUR,0,0,0"), "{csv}");
    assert!(line("demo:add,").contains(",0,EUR,0,0,1"), "unpriced use is visible: {csv}");
    let table = tollgate.command(&["report", "current", "--by", "server"]).await.success().stdout;
    assert!(table.contains("TOTAL") && table.contains("0.0375"), "{table}");
    let focus = tollgate.command(&["report", "-o", "focus"]).await.success().stdout;
    assert!(focus.contains("mcp://demo/echo"), "{focus}");

    let early = tollgate.command_with_input(&["apply", "-f", "-"], &PRICES.replace("0.0125", "1")).await;
    assert_ne!(early.code, 0);
    assert!(early.stderr.contains("those never change: begin at"), "{}", early.stderr);

    tollgate.apply(&PRICES.replace("0.0125", "0.01").replace("2026-01-01", "2999-01-01")).await;
    let versions = tollgate.get("price-books/standard").await["status"]["versions"].clone();
    let records = tollgate.get("usage-records").await["items"].as_array().cloned().expect("records");
    let day =
        |record: Option<&serde_json::Value>| record.and_then(|it| it["at"].as_str()).expect("a time")[..10].to_owned();
    let (first, last) = (day(records.last()), day(records.first()));
    let by = versions[0]["id"].as_str().expect("an id");
    let rerate = ["usage", "rerate", "--from", &first, "--to", &last, "--by", by, "--reason", "0.0125 was wrong"];
    let rerated = tollgate.command(&rerate).await.success().json();
    assert_eq!((&rerated["changed"], &rerated["totals"][0]["after"]), (&json!(3), &json!("0.03")), "{rerated}");
    assert_eq!(tollgate.command(&rerate).await.success().json()["changed"], 0);
    let csv = tollgate.command(&["report", "--by", "tool", "-o", "csv"]).await.success().stdout;
    assert!(csv.contains(",0.03,EUR,0,0,0"), "{csv}");

    let open = tollgate.command(&["statements", "close", "2999-01"]).await;
    assert_ne!(open.code, 0);
    assert!(open.stderr.contains("2999-01 is not over"), "{}", open.stderr);
}
