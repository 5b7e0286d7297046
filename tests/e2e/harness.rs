//! The harness itself: what stands in for the world behaves like the world.

use serde_json::json;
use tollgate_tests::{
    Authority, Browser, Errand, OidcProvider, Piece, PythonClient, RealServer, Redis, Reply, ScriptedServer, Site,
    code_of, free_port,
};

#[tokio::test]
async fn the_official_client_takes_the_scripted_server_for_a_server_in_each_era() {
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                          "params": {"progressToken": "none", "progress": 1}});
    let streamed =
        vec![Piece::Notification(progress), Piece::Result(json!({"content": [{"type": "text", "text": "streamed"}]}))];
    for (script, mode) in [
        (ScriptedServer::modern(), "2026-07-28"),
        (ScriptedServer::modern(), "auto"),
        (ScriptedServer::legacy(), "legacy"),
        (ScriptedServer::legacy(), "auto"),
    ] {
        let server = script.tool("read", Reply::text("content")).tool("watch", Reply::Events(streamed.clone()));
        let server = server.start().await;
        let steps = json!([{"list": true}, {"call": "read"}, {"call": "watch"}]);
        let outcome = PythonClient.run(&json!({"url": server.url(), "mode": mode, "token": "x", "steps": steps})).await;
        assert_eq!(outcome["steps"][0]["tools"], json!(["read", "watch"]), "{mode}: {outcome}");
        assert_eq!(outcome["steps"][1]["text"], "content", "{mode}: {outcome}");
        assert_eq!(outcome["steps"][2]["text"], "streamed", "{mode}: {outcome}");
        assert_eq!(server.calls().len(), 2);
    }
}

#[tokio::test]
async fn real_servers_start() {
    let _redis = Redis::start().await;
    let server = RealServer::everything().await;
    let steps = json!([{"call": "echo", "arguments": {"message": "hello"}}]);
    let outcome = PythonClient.run(&json!({"url": server.url(), "mode": "legacy", "token": "x", "steps": steps})).await;
    assert_eq!(outcome["steps"][0]["text"], "Echo: hello", "{outcome}");
}

#[tokio::test]
async fn a_browser_signs_in_at_the_openid_provider_and_comes_back_with_a_code() {
    let back = &format!("http://127.0.0.1:{}/callback", free_port());
    let client = json!({"client_id": "app", "redirect_uris": [back], "token_endpoint_auth_method": "none",
                        "application_type": "native"});
    let authority = Authority::create();
    let provider = OidcProvider::plan().account(json!({"sub": "ada"})).client(client).over_tls(&authority);
    let provider = provider.start().await;
    let visit = format!(
        "{}/auth?client_id=app&response_type=code&scope=openid&state=x&redirect_uri={back}&code_challenge_method=S256\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        provider.issuer()
    );
    let mut browser = Browser::start();
    let journey = browser.run(&Errand::to(&visit, back).through("unused", "ada")).await;
    assert!(journey.url.starts_with(back.as_str()), "{journey:?}");
    assert!(!code_of(&journey.url.parse().expect("a URL")).is_empty());
}

#[tokio::test]
async fn a_site_is_trusted_by_those_who_were_told_to() {
    let authority = Authority::create();
    let site = Site::start(&authority).await;
    site.publish("/client.json", &json!({"client_name": "x"}));
    let curl = |arguments: Vec<String>| async move {
        let output = tokio::process::Command::new("curl").args(arguments).output().await.expect("curl is installed");
        String::from_utf8(output.stdout).expect("text")
    };
    let trusting = vec!["-sS".into(), "--cacert".into(), authority.certificate().display().to_string()];
    assert_eq!(curl([trusting, vec![site.url("/client.json")]].concat()).await, r#"{"client_name":"x"}"#);
    assert_eq!(curl(vec!["-s".into(), site.url("/client.json")]).await, "", "nobody else trusts it");
    assert_eq!(site.visits("/client.json"), 1);
}
