use http::Method;
use serde_json::json;

use crate::{
    caller::Role,
    testing::{Bench, run, text},
};

const PATH: &str = "/api/v1/enrollment-tokens";

#[tokio::test]
async fn a_token_is_shown_once_and_listed_without_its_text_until_it_is_deleted() {
    run(async |bench: &Bench| {
        let made = bench.post(PATH, json!({ "name": "rack 7", "uses": 3, "expires_in": "2h" })).await.expect(201);
        assert_eq!(made.header("cache-control"), "no-store");
        let token = tollgate_proto::EnrollmentToken::read(text(&made.json["enrollment_token"])).expect("a token");
        let authority = token.authority().map(|bytes| crate::authority::hex(bytes));
        assert_eq!(authority.as_deref(), made.json["authority_sha256"].as_str());
        let listed = bench.get(PATH).await.expect(200);
        assert!(!listed.text.contains(token.secret()));
        let id = text(&made.json["id"]);
        assert_eq!((text(&listed.json["items"][0]["id"]), &listed.json["items"][0]["uses_left"]), (id, &json!(3)));
        bench.call(Method::DELETE, &format!("{PATH}/{id}")).send().await.expect(204);
        bench.call(Method::DELETE, &format!("{PATH}/{id}")).send().await.expect(404);
        assert_eq!(bench.get(PATH).await.json["items"], json!([]));
        assert_eq!(bench.audit().await, ["enrollment_token.create rack 7", "enrollment_token.delete rack 7"]);
    })
    .await;
}

#[tokio::test]
async fn only_who_administers_the_first_tenant_makes_tokens() {
    run(async |bench: &Bench| {
        bench.call(Method::POST, PATH).by(Role::Operator).json(json!({})).await.expect(403);
        bench.call(Method::GET, PATH).by(Role::Viewer).send().await.expect(200);
        bench.call(Method::GET, PATH).anonymous().send().await.expect(401);
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        for method in [Method::GET, Method::POST] {
            let refused = bench.call(method, PATH).with_key(&key).json(json!({})).await.expect(403);
            assert_eq!(refused.problem().0, "other_tenant");
        }
    })
    .await;
}

#[tokio::test]
async fn terms_that_never_end_are_refused() {
    run(async |bench: &Bench| {
        let asked = json!({ "expires_in": "400d", "uses": 0, "name": "x".repeat(121) });
        let refused = bench.post(PATH, asked).await.expect(422);
        assert_eq!(refused.problem().1, ["/name text", "/expires_in out_of_range", "/uses out_of_range"]);
    })
    .await;
}
