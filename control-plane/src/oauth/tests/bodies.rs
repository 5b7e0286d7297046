//! Bodies that never end: every endpoint gives them up.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use futures_util::stream;

use crate::{app::App, oauth::testing::run};

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_with_408_at_every_endpoint() {
    run(async |bed| {
        let bed = bed.with(|app| App { body_timeout: Duration::from_millis(5), ..app });
        let form = "application/x-www-form-urlencoded";
        let endpoints = [
            ("token", form),
            ("introspect", form),
            ("revoke", form),
            ("register", "application/json"),
            ("authorize", form),
            ("authorize/decision", form),
        ];
        for (endpoint, media_type) in endpoints {
            let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
            let request = Request::post(format!("/t/acme/oauth/{endpoint}"))
                .header(header::CONTENT_TYPE, media_type)
                .header("sec-fetch-site", "same-origin");
            let answer = bed.send(request.body(endless).expect("a request")).await;
            assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{endpoint}");
        }
    })
    .await;
}
