//! Tenants over REST.

use std::sync::Arc;

use axum::extract::State;

use super::Tenant;
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path},
    resource::{self, InTenant, Patch, Precondition},
};

/// Gets a tenant
///
/// With its addresses, and how far its policy has come.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "tenants.get",
    params(InTenant),
    responses((status = 200, description = "The tenant", body = Tenant, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<InTenant>) -> Result<Tenant, ApiError> {
    resource::get(&app, &caller, &at.tenant).await
}

/// Changes parts of a tenant
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "tenants.patch",
    params(InTenant, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The tenant as changed", body = Tenant, headers(("ETag" = String))),
        WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<InTenant>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Tenant, ApiError> {
    resource::patch(&app, &caller, &at.tenant, &precondition, &patch).await
}
