//! Budgets over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{Budget, BudgetContent, BudgetPage, BudgetPeriods, BudgetSpec, NewBudget};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists budgets
///
/// In the order of their names, each with what is spent of it in the period now.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/budgets", tag = "budgets", operation_id = "budgets.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of budgets", body = BudgetPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<BudgetPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a budget
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/budgets/{name}", tag = "budgets", operation_id = "budgets.get",
    params(Named),
    responses((status = 200, description = "The budget", body = Budget, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Budget, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a budget
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/budgets", tag = "budgets", operation_id = "budgets.create",
    params(InTenant), request_body = NewBudget,
    responses(
        (status = 201, description = "The new budget", body = Budget, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewBudget>,
) -> Result<Written<BudgetSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a budget
///
/// Creates it when there is none of that name; else `If-Match` is required. Whatever changes counts at once, for the
/// period that has begun too.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/budgets/{name}", tag = "budgets", operation_id = "budgets.replace",
    params(Named, Precondition), request_body = BudgetContent,
    responses(
        (status = 200, description = "The budget as replaced", body = Budget, headers(("ETag" = String))),
        (status = 201, description = "The new budget", body = Budget, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<BudgetContent>,
) -> Result<Written<BudgetSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a budget
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/budgets/{name}", tag = "budgets", operation_id = "budgets.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The budget as changed", body = Budget, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Budget, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a budget
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/budgets/{name}", tag = "budgets", operation_id = "budgets.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<BudgetSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows how a budget stood in its last periods
///
/// Up to 12, the one now first, measured by the amount that it has now.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/budgets/{name}/periods", tag = "budgets", operation_id = "budgets.periods",
    params(Named),
    responses((status = 200, description = "How it stood", body = BudgetPeriods), ReadProblems))]
pub async fn periods(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
) -> Result<Json<BudgetPeriods>, ApiError> {
    super::periods(&app, &caller, &at.name).await.map(Json)
}
