//! Identity providers over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{
    IdentityProvider, IdentityProviderContent, IdentityProviderPage, IdentityProviderSpec, NewIdentityProvider,
};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists identity providers
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/identity-providers", tag = "identity-providers", operation_id = "identity_providers.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of identity providers", body = IdentityProviderPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<IdentityProviderPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets an identity provider
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/identity-providers/{name}", tag = "identity-providers", operation_id = "identity_providers.get",
    params(Named),
    responses((status = 200, description = "The identity provider", body = IdentityProvider, headers(("ETag" = String))), ReadProblems))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
) -> Result<IdentityProvider, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates an identity provider
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/identity-providers", tag = "identity-providers", operation_id = "identity_providers.create",
    params(InTenant), request_body = NewIdentityProvider,
    responses(
        (status = 201, description = "The new identity provider", body = IdentityProvider, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewIdentityProvider>,
) -> Result<Written<IdentityProviderSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces an identity provider
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/identity-providers/{name}", tag = "identity-providers", operation_id = "identity_providers.replace",
    params(Named, Precondition), request_body = IdentityProviderContent,
    responses(
        (status = 200, description = "The identity provider as replaced", body = IdentityProvider, headers(("ETag" = String))),
        (status = 201, description = "The new identity provider", body = IdentityProvider, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<IdentityProviderContent>,
) -> Result<Written<IdentityProviderSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of an identity provider
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/identity-providers/{name}", tag = "identity-providers", operation_id = "identity_providers.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The identity provider as changed", body = IdentityProvider, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<IdentityProvider, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes an identity provider
///
/// Whom it brought stay users; they can no longer come through it.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/identity-providers/{name}", tag = "identity-providers", operation_id = "identity_providers.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<IdentityProviderSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
