//! Price books over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{NewPriceBook, PriceBook, PriceBookContent, PriceBookPage, PriceBookSpec, PublishedVersion};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists price books
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/price-books", tag = "price-books", operation_id = "price_books.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of price books", body = PriceBookPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<PriceBookPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a price book
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/price-books/{name}", tag = "price-books", operation_id = "price_books.get",
    params(Named),
    responses((status = 200, description = "The price book", body = PriceBook, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<PriceBook, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a price book
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/price-books", tag = "price-books", operation_id = "price_books.create",
    params(InTenant), request_body = NewPriceBook,
    responses(
        (status = 201, description = "The new price book", body = PriceBook, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewPriceBook>,
) -> Result<Written<PriceBookSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a price book
///
/// Creates it when there is none of that name; else `If-Match` is required. A spec that says something else is published as
/// the next version: it replaces one that is not in force yet, and begins no earlier than now where one is.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/price-books/{name}", tag = "price-books", operation_id = "price_books.replace",
    params(Named, Precondition), request_body = PriceBookContent,
    responses(
        (status = 200, description = "The price book as replaced", body = PriceBook, headers(("ETag" = String))),
        (status = 201, description = "The new price book", body = PriceBook, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<PriceBookContent>,
) -> Result<Written<PriceBookSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a price book
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/price-books/{name}", tag = "price-books", operation_id = "price_books.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The price book as changed", body = PriceBook, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<PriceBook, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a price book
///
/// It ends now: calls of before keep the prices that they have had, and the versions stay to be read.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/price-books/{name}", tag = "price-books", operation_id = "price_books.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<PriceBookSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Parameters of the path to a version.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// The version's id, as usage records have it.
    pub id: String,
}

/// Gets what a version of a price book says
///
/// Whether it is in force, was or will be, and whether the book still exists or not.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/price-book-versions/{id}", tag = "price-books",
    operation_id = "price_book_versions.get", params(VersionPath),
    responses((status = 200, description = "The version", body = PublishedVersion), ReadProblems))]
pub async fn version(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<VersionPath>,
) -> Result<Json<PublishedVersion>, ApiError> {
    super::version(&app, &caller, &at.id).await.map(Json)
}
