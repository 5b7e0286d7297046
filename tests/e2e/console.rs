//! The pages in a real browser. What is looked at there is written in `web/tests`.

use serde_json::json;
use tollgate_tests::{Deployment, run_browser_tests};

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let mut tollgate = Deployment::dev().start().await;
    let rate = |count: u32| json!({"count": count, "per": "1m"});
    let spec = json!({"to": {"agent": "demo-agent"}, "requests": rate(100), "tokens": rate(5_000), "concurrency": 10});
    tollgate.limits("calm", spec).await;
    let demo = tollgate.demo_agent();
    let client = demo.at_server("demo").await;
    let answer = client.call("echo", json!({"text": "hello"})).await;
    tollgate.usage_of(answer.call_id()).await;
    client.call("reset_counter", json!({})).await;
    let block = tollgate.process(0).stdout();
    let printed =
        block.split_whitespace().find(|word| word.contains("/sign-in")).expect("a one-time sign-in is printed");
    let links: Vec<String> = sign_in_links(&tollgate, 3).await;
    let settings =
        [("CONSOLE_URL", tollgate.control_url()), ("PRINTED_SIGN_IN", printed), ("SIGN_IN_LINKS", &links.join(" "))];
    let output = run_browser_tests("console.test.mjs", &settings).await;
    assert_eq!(output.code, 0, "{}\n{}", output.stdout, output.stderr);
}

#[tokio::test]
async fn consent_works_in_a_browser() {
    let tollgate = Deployment::dev().start().await;
    let draft = tollgate.interactive_agent("notebook").redirect_uri("http://127.0.0.1/callback");
    let web = draft.grant("demo:echo").grant("demo:add").create().await;
    let draft = tollgate.interactive_agent("editor").redirect_uri("com.example.editor:/callback");
    let app = draft.grant("demo:*").create().await;
    let bare = tollgate.interactive_agent("bare").redirect_uri("http://127.0.0.1/callback").create().await;
    let links = sign_in_links(&tollgate, 1).await;
    let settings = [
        ("CONSOLE_URL", tollgate.control_url()),
        ("SIGN_IN_LINKS", &links.join(" ")),
        ("WEB_CLIENT", &web.client_id),
        ("APP_CLIENT", &app.client_id),
        ("BARE_CLIENT", &bare.client_id),
    ];
    let output = run_browser_tests("consent.test.mjs", &settings).await;
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
