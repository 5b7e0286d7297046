//! The catalog over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CatalogItem, CatalogItemDetail, CatalogItemPage, Filter, ItemKind, ItemState, Rule, Seen, Suspects};
use crate::{
    app::App,
    caller::{Caller, Role},
    catalog,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{InTenant, Precondition},
};

/// Decided at a time.
const BULK_MAX: usize = 500;

/// Which items are asked for. Parameters that are left out do not restrict.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CatalogQuery {
    /// Name of the server.
    server: Option<String>,
    /// What they are.
    kind: Option<ItemKind>,
    /// Their name, exactly.
    name: Option<String>,
    /// What holds for them.
    state: Option<ItemState>,
    /// Only those with a flag of this rule.
    flag: Option<Rule>,
    /// Only those that wait for somebody to decide, or to look at them.
    #[serde(default)]
    waiting: bool,
    /// How many items at most: 50 unless told, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Parameters of a path to an item.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfItem {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Id of the item.
    #[param(example = "itm_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: String,
}

/// Which definition is approved.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovedDefinition {
    /// The item's `digest` as the caller has seen it.
    pub digest: String,
}

/// Which definitions are approved.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovedDefinitions {
    /// At most 500.
    #[schema(max_items = 500)]
    pub items: Vec<Seen>,
    /// Whether items with flags may be among them; not unless told.
    #[serde(default)]
    pub flagged: bool,
    /// Whether items that are blocked may be among them, and are so no more; not unless told.
    #[serde(default)]
    pub blocked: bool,
}

/// The items that were approved.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApprovedItems {
    /// As they are now, in the order of the request.
    pub items: Vec<CatalogItem>,
}

/// Lists catalog items
///
/// Everything that servers offer or have offered, in the order of servers, kinds and names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/catalog-items", tag = "catalog", operation_id = "catalog_items.list",
    params(InTenant, CatalogQuery),
    responses((status = 200, description = "A page of items", body = CatalogItemPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<CatalogQuery>,
) -> Result<CatalogItemPage, ApiError> {
    let CatalogQuery { server, kind, name, state, flag, waiting, limit, cursor } = query;
    let filter = Filter { server, kind, name, state, flag, waiting };
    super::list(&app, &caller, &filter, &PageQuery { limit, cursor }).await
}

/// Gets a catalog item
///
/// With the current and the approved definition, and the difference between them.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/catalog-items/{id}", tag = "catalog",
    operation_id = "catalog_items.get", params(OfItem),
    responses((status = 200, description = "The item", body = CatalogItemDetail), ReadProblems))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfItem>,
) -> Result<CatalogItemDetail, ApiError> {
    super::get(&app, &caller, &at.id).await
}

/// Dispatches `POST …/catalog-items/{id}:{action}`, since a route cannot end in a suffix of a parameter. Each action is
/// documented where it is done.
pub async fn act(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfItem>,
    precondition: Precondition,
    request: Request,
) -> Result<CatalogItemDetail, ApiError> {
    let (id, action) = at.id.rsplit_once(':').ok_or(ApiError::MethodNotAllowed)?;
    match action {
        "approve" => approve(&app, &caller, id, &precondition, request).await,
        "block" => block(&app, &caller, id, &precondition).await,
        "reset" => reset(&app, &caller, id, &precondition).await,
        _ => Err(ApiError::NoRoute),
    }
}

/// Approves a definition
///
/// The one with the `digest` that the caller has seen: 412 (`definition_changed`) when the server says something else by
/// now. `If-Match` is the item's `etag`: 412 (`precondition_failed`) when somebody else decided meanwhile. 409 (`name_collides`) where an approved tool of the same server has a name that reads the same.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/catalog-items/{id}:approve", tag = "catalog",
    operation_id = "catalog_items.approve", params(OfItem, Precondition), request_body = ApprovedDefinition,
    responses((status = 200, description = "The item", body = CatalogItemDetail), WriteProblems))]
pub(crate) async fn approve(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    request: Request,
) -> Result<CatalogItemDetail, ApiError> {
    caller.require(Role::Operator)?;
    let Body(ApprovedDefinition { digest }) = Body::from_request(request, &()).await?;
    catalog::approve(app, caller, id, precondition, &digest).await
}

/// Blocks an item
///
/// No agent sees or uses it, whatever its definition becomes and whatever the server's approval is. `If-Match` is the
/// item's `etag`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/catalog-items/{id}:block", tag = "catalog",
    operation_id = "catalog_items.block", params(OfItem, Precondition),
    responses((status = 200, description = "The item", body = CatalogItemDetail), WriteProblems))]
pub(crate) async fn block(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
) -> Result<CatalogItemDetail, ApiError> {
    catalog::block(app, caller, id, precondition).await
}

/// Takes a decision back
///
/// The item is as if it had just been offered for the first time: what holds for it is what the server's approval says.
/// `If-Match` is the item's `etag`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/catalog-items/{id}:reset", tag = "catalog",
    operation_id = "catalog_items.reset", params(OfItem, Precondition),
    responses((status = 200, description = "The item", body = CatalogItemDetail), WriteProblems))]
pub(crate) async fn reset(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
) -> Result<CatalogItemDetail, ApiError> {
    catalog::reset(app, caller, id, precondition).await
}

/// Approves several definitions
///
/// All of them, or none when one has changed since the caller has seen it, or may not be approved. Those with flags and
/// those that are blocked are refused (422 `flagged`, `blocked`) unless the request says that they may be among them.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/catalog-items:approve", tag = "catalog",
    operation_id = "catalog_items.approve_all", params(InTenant), request_body = ApprovedDefinitions,
    responses((status = 200, description = "The items", body = ApprovedItems), WriteProblems))]
pub async fn approve_all(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<ApprovedItems>, ApiError> {
    caller.require(Role::Operator)?;
    let Body(ApprovedDefinitions { items, flagged, blocked }) = Body::from_request(request, &()).await?;
    if items.len() > BULK_MAX {
        return Err(ApiError::fault("/items", "too_many", format!("at most {BULK_MAX} items")));
    }
    let items = super::approve_all(&app, &caller, &items, Suspects { flagged, blocked }).await?;
    Ok(Json(ApprovedItems { items }))
}

impl IntoResponse for CatalogItemDetail {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
