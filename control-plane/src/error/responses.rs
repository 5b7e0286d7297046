//! Which problems an operation may answer, for the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema as _,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use super::Problem;

const EVERYWHERE: [(&str, &str); 5] = [
    ("400", "The query or the body cannot be read"),
    ("401", "No valid bearer"),
    ("404", "No such object or tenant, or another tenant's"),
    ("500", "A defect, logged under the request's id"),
    ("503", "The database does not answer, or what only data planes know cannot be asked of them"),
];

const CHANGES: [(&str, &str); 8] = [
    ("403", "The caller's role may not"),
    ("408", "The body did not arrive in time"),
    ("409", "The name is taken, others need the object, its state forbids it, or another change came in between"),
    ("412", "`If-Match` or `If-None-Match` does not hold"),
    ("413", "The body is larger than 1 MiB"),
    ("415", "The body is not JSON by its `Content-Type`"),
    ("422", "What the body asks for is not valid; `errors` says where"),
    ("428", "`If-Match` is missing"),
];

/// What any operation that reads may answer besides success.
#[derive(Debug)]
pub struct ReadProblems;

/// What any operation that changes something may answer besides success.
#[derive(Debug)]
pub struct WriteProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        EVERYWHERE.iter().map(problem).collect()
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        EVERYWHERE.iter().chain(&CHANGES).map(problem).collect()
    }
}

fn problem(&(status, description): &(&str, &str)) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    (status.to_owned(), response.build().into())
}
