//! Servers that nobody should have registered: what becomes of each, and that the others serve as before.

use http::Method;
use serde_json::json;
use tollgate_tests::{Relay, Reply, ScriptedServer, UsageRecord, eventually};
use url::Url;

use crate::scene::{Refused, Scene, assert_refusal};

#[tokio::test]
async fn the_gateway_itself_is_not_registered() {
    let scene = Scene::modern().await;
    let elsewhere = |url: &str| url.replace("127.0.0.1", "localhost");
    let (data, control) = (scene.tollgate.server_url("files"), scene.tollgate.control_url().to_owned());
    for url in [elsewhere(&data), data, elsewhere(&control), control] {
        let spec = json!({"spec": {"instances": [{"url": url}]}});
        let refused = scene.tollgate.rest(Method::PUT, "servers/mirror", &[], &spec).await;
        assert_eq!(refused.status, 422, "{url}: {}", refused.text());
        assert_eq!(refused.json()["errors"][0]["code"], "own_url", "{url}: {}", refused.text());
    }
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_server_that_leads_back_here_is_asked_once() {
    let scene = Scene::modern().await;
    let data = Url::parse(scene.tollgate.data_url()).expect("a base URL is a URL");
    // Nobody can tell by its name where it leads.
    let way_back = Relay::to(data.authority().parse().expect("the harness names addresses"));
    let url = format!("http://127.0.0.1:{}/t/default/mcp/mirror", way_back.port());
    let server = |token: &str| {
        let credential =
            json!({"type": "header", "name": "Authorization", "value_ref": format!("literal:Bearer {token}")});
        json!({"spec": {"instances": [{"url": url}], "era": "modern", "credential": credential}})
    };
    scene.tollgate.put("servers/mirror", server("none yet")).await;
    let agent = scene.tollgate.agent("narcissus").grant("mirror:*").create().await;
    let token = agent.token(&scene.tollgate.server_url("mirror")).await;
    scene.tollgate.put("servers/mirror", server(&token)).await;
    scene.tollgate.policy_in_force().await;

    let client = agent.at_server("mirror").await;
    let answer = client.call("look", json!({})).await;
    assert_refusal(&answer, Refused { status: 502, code: 50200, reason: "upstream_unavailable" });
    let ended = eventually("the second time round to be recorded", || async {
        let all = scene.tollgate.usage().await;
        let of_loop = all.into_iter().filter(|record| record.decision == "loop_detected");
        of_loop.min_by_key(|record| record.call_id.clone())
    });
    let ended = ended.await;
    assert_eq!((ended.http_status, ended.forwarded), (508, false));
    let first = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((first.decision.as_str(), first.outcome.as_str()), ("allowed", "upstream_error"));
    let of_agent = |record: &UsageRecord| record.agent.as_deref() == Some("narcissus");
    let looked_at = scene.tollgate.usage().await.into_iter().filter(of_agent).count();
    assert_eq!(looked_at, 1, "whose token came back was not asked");
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn what_is_no_list_is_refused_with_the_reason_and_the_last_good_one_stays() {
    let scene = Scene::modern().await;
    scene.tollgate.command(&["catalog", "read", "files"]).await.success();
    let elsewhere = ScriptedServer::modern().tool("other", Reply::text("welcome")).start().await;
    let page = |next: &str| {
        let page = json!({"tools": [], "nextCursor": next, "ttlMs": 0, "cacheScope": "private"});
        Box::new(Reply::Result(page))
    };
    let circle = Reply::Then(page("a"), Box::new(Reply::Then(page("b"), page("a"))));
    let large = json!({"tools": [{"name": "x", "description": "x".repeat(4 << 20), "inputSchema": {"type": "object"}}],
                       "ttlMs": 0, "cacheScope": "private", "resultType": "complete"});
    let html = Reply::Raw(200, "text/html".to_owned(), "<html>".to_owned());
    let cut = Reply::Raw(200, "application/json".to_owned(), "{\"jsonrpc\":".to_owned());
    for (reply, why) in [
        (circle, "goes in a circle"),
        (Reply::Result(large), "more than 3145728 bytes"),
        (html, "media type `text/html`"),
        (cut, "unexpected end"),
        (Reply::Redirect(elsewhere.url()), "a redirect, which is never followed"),
    ] {
        scene.server.set_method("tools/list", reply);
        let read = scene.tollgate.command(&["catalog", "read", "files"]).await;
        assert_ne!(read.code, 0, "{why}");
        assert!(read.stderr.contains(why), "{why}: {}", read.stderr);
        let kept = scene.tollgate.get("catalog-items?server=files&kind=tool&name=read").await;
        assert_eq!(kept["items"][0]["state"], "approved", "{why}: {kept}");
        scene.assert_goes_on().await;
    }
    assert!(elsewhere.seen().is_empty(), "nobody was sent there");
}
