use http::Method;
use serde_json::json;

use crate::{
    caller::Role,
    secret::{Purpose, well_formed},
    testing::{run, text},
};

#[tokio::test]
async fn a_token_is_shown_once_and_gone_when_it_is_deleted() {
    run(async |bench| {
        let asked = json!({ "note": "build farm", "expires_in": "2h", "uses": 3 });
        let made = bench.post("initial-access-tokens", asked).await.expect(201);
        assert_eq!(made.header("cache-control"), "no-store");
        assert!(well_formed(Purpose::InitialAccessToken, text(&made.json["token"])));
        assert_eq!(made.json["registration_url"], "http://control.test/t/acme/oauth/register");
        let listed = bench.get("initial-access-tokens").await.expect(200);
        let [token] = listed.json["items"].as_array().expect("a list").as_slice() else { panic!("{:?}", listed.json) };
        assert_eq!((&token["id"], &token["note"]), (&made.json["id"], &json!("build farm")));
        assert_eq!(token["uses_left"], 3);
        assert!(!listed.text.contains(text(&made.json["token"])));

        let path = format!("initial-access-tokens/{}", text(&made.json["id"]));
        bench.call(Method::DELETE, &path).send().await.expect(204);
        bench.call(Method::DELETE, &path).send().await.expect(404);
        bench.call(Method::DELETE, "initial-access-tokens/none").send().await.expect(404);
        let events = bench.audit().await;
        assert!(events[0].starts_with("initial_access_token.create iat_"), "{events:?}");
        assert!(events[1].starts_with("initial_access_token.delete iat_"), "{events:?}");
    })
    .await;
}

#[tokio::test]
async fn only_an_admin_makes_tokens_and_bounds_hold() {
    run(async |bench| {
        bench.call(Method::GET, "initial-access-tokens").by(Role::Operator).send().await.expect(200);
        bench.call(Method::POST, "initial-access-tokens").by(Role::Operator).json(json!({})).await.expect(403);
        bench.call(Method::DELETE, "initial-access-tokens/x").by(Role::Operator).send().await.expect(403);
        let asked = json!({ "note": "a\u{7}", "expires_in": "2y", "uses": 0 });
        let refused = bench.post("initial-access-tokens", asked).await.expect(422);
        assert_eq!(refused.problem().1, ["/note text", "/expires_in duration", "/uses out_of_range"]);
        let refused = bench.post("initial-access-tokens", json!({ "expires_in": "367d" })).await.expect(422);
        assert_eq!(refused.problem().1, ["/expires_in out_of_range"]);
    })
    .await;
}
