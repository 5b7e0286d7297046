//! The RFC 9728 document of each MCP endpoint.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    endpoint::{Endpoint, Target},
    front::{AnswerBody, full, problem},
    policy::{Snapshot, Tenant},
};

/// Answers a request for the document of an endpoint; 404 where there is none.
pub fn answer(snapshot: &Snapshot, endpoint: &Endpoint, request: &Request<Incoming>) -> Response<AnswerBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this document is read with GET");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let tenant = snapshot.tenant(&endpoint.tenant);
    let (Some(tenant), target) = (tenant.filter(|tenant| exists(tenant, &endpoint.target)), &endpoint.target) else {
        return problem(StatusCode::NOT_FOUND, "there is no MCP endpoint at this path");
    };
    let mut document = json!({
        "resource": tenant.resource(target),
        "authorization_servers": [tenant.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": match target {
            Target::All => format!("Tollgate: everything {} grants you", tenant.name),
            Target::Server(name) | Target::Toolset(name) => format!("Tollgate: {name}"),
        },
    });
    if let Some(scope) = target.scope() {
        document["scopes_supported"] = json!([scope]);
    }
    let mut response = full(StatusCode::OK, Bytes::from(document.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn exists(tenant: &Tenant, target: &Target) -> bool {
    match target {
        Target::All => true,
        Target::Server(name) => tenant.servers.contains_key(name),
        Target::Toolset(name) => tenant.toolsets.get(name).is_some(),
    }
}
