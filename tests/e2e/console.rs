//! The console in a real browser. What is looked at there is written in `web/tests/console.test.mjs`.

use serde_json::json;
use tollgate_tests::{Deployment, run_browser_tests};

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let mut tollgate = Deployment::dev().start().await;
    let demo = tollgate.demo_agent();
    let client = demo.at_server("demo").await;
    let answer = client.call("echo", json!({"text": "hello"})).await;
    tollgate.usage_of(answer.call_id()).await;
    client.call("reset_counter", json!({})).await;
    let block = tollgate.process(0).stdout();
    let printed =
        block.split_whitespace().find(|word| word.contains("/sign-in")).expect("a one-time sign-in is printed");
    let links: Vec<String> = sign_in_links(&tollgate, 3).await;
    let output = run_browser_tests(&[
        ("CONSOLE_URL", tollgate.control_url()),
        ("PRINTED_SIGN_IN", printed),
        ("SIGN_IN_LINKS", &links.join(" ")),
    ])
    .await;
    assert_eq!(output.code, 0, "{}\n{}", output.stdout, output.stderr);
}

async fn sign_in_links(tollgate: &Deployment, count: usize) -> Vec<String> {
    let mut links = Vec::new();
    while links.len() < count {
        let output = tollgate.command(&["sign-in-link"]).await.success();
        links.push(output.stdout.trim().to_owned());
    }
    links
}
