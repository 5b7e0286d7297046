//! How much of limits is used, on the pages that show limits.

use serde_json::json;

use super::Browser;
use crate::{
    caller::Role,
    limits::testing::counting,
    testing::{Bench, run},
};

async fn world(bench: &Bench) {
    bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
    bench.put("agents/bot", json!({ "spec": { "team": "platform", "type": "autonomous" } })).await.expect(201);
    let rate = |count: i64| json!({ "count": count, "per": "1m" });
    let spec = json!({ "to": { "agent": "bot" }, "requests": rate(1_000), "tokens": rate(50), "concurrency": 1 });
    bench.put("limits/calm", json!({ "spec": spec })).await.expect(201);
}

#[tokio::test]
async fn how_full_a_limit_is_stands_beside_it_in_words_and_as_a_bar() {
    run(async |bench| {
        world(bench).await;
        let _plane = counting(bench, "s", 812);
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        for path in ["/access", "/agents/bot", "/limits/calm"] {
            let page = viewer.get(path).await.expect(200).text;
            for expected in [
                r#"<meter min="0" max="1000" low="800" high="999" optimum="0" value="812"></meter>"#,
                "812 of 1\u{2009}000 calls in the last minute",
                "1 of 1\u{2009}000 lists in the last minute",
                "42 of 50 tokens in the last minute",
                "1 of 1 calls running",
            ] {
                assert!(page.contains(expected), "{path}: {expected}: {page}");
            }
            assert!(!page.contains("not every data plane answered") && !page.contains("counted in several stores"));
        }
        let _apart = counting(bench, "t", 1);
        let page = viewer.get("/access").await.expect(200).text;
        assert!(page.contains("813 of 1\u{2009}000 calls") && page.contains("counted in several stores"), "{page}");
    })
    .await;
}

#[tokio::test]
async fn a_page_of_limits_is_whole_when_no_data_plane_answers() {
    run(async |bench| {
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = viewer.get("/access").await.expect(200).text;
        assert!(!page.contains("no data plane is connected"), "there is nothing to ask for");
        world(bench).await;
        let page = viewer.get("/access").await.expect(200).text;
        for expected in
            ["How much is used cannot be shown", "no data plane is connected", "not known", "1\u{2009}000 requests"]
        {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert!(!page.contains("<meter"), "what nobody said is not zero");
    })
    .await;
}
