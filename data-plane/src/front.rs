//! Which requests are calls: what a path asks for, and the answers to what is no call.
//!
//! Invariant: every answer has a body type, a status and a `Tollgate-Call-Id`, whatever was asked.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use serde_json::json;
use tollgate_proto::CallId;

use crate::{endpoint::Path, gateway::Gateway, mcp::header, metadata, pipeline};

/// The body of every answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Answers one request: a call, a metadata document, or nothing of ours. `peer` is at the other end of the connection.
pub async fn answer(gateway: &Arc<Gateway>, peer: IpAddr, request: Request<Incoming>) -> Response<AnswerBody> {
    match Path::parse(request.uri().path()) {
        Some(Path::Mcp(endpoint)) => {
            let client = gateway.trusted_proxies.client(peer, request.headers());
            pipeline::govern(gateway, client, endpoint, request).await
        }
        Some(Path::Metadata(endpoint)) => identified(metadata::answer(&gateway.policies.load(), &endpoint, &request)),
        None => identified(problem(
            StatusCode::NOT_FOUND,
            "MCP endpoints are at /t/{tenant}/mcp and /t/{tenant}/mcp/{server}",
        )),
    }
}

/// An answer with a whole body.
pub(crate) fn full(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// An answer to a request that is no call (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<AnswerBody> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = full(status, Bytes::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Every answer carries an id, so that it can be asked about.
fn identified(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    if let Ok(id) = HeaderValue::try_from(CallId::new().to_string()) {
        response.headers_mut().insert(header::CALL_ID, id);
    }
    response
}
