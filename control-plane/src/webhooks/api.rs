//! Webhooks over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    NewSecret, NewWebhook, Rotation, Webhook, WebhookContent, WebhookPage, WebhookSpec,
    deliveries::{self, AlertDelivery, AlertDeliveryPage, Redelivery},
};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// A webhook that was just created.
#[derive(Serialize, ToSchema)]
pub struct CreatedWebhook {
    /// The webhook.
    #[serde(flatten)]
    webhook: Webhook,
    /// Its signing secret, which it can be verified with.
    #[serde(flatten)]
    secret: NewSecret,
}

/// Lists webhooks
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/webhooks", tag = "webhooks", operation_id = "webhooks.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of webhooks", body = WebhookPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<WebhookPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a webhook
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/webhooks/{name}", tag = "webhooks",
    operation_id = "webhooks.get", params(Named),
    responses((status = 200, description = "The webhook", body = Webhook, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Webhook, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a webhook
///
/// The answer has its signing secret, which is shown this once.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/webhooks", tag = "webhooks", operation_id = "webhooks.create",
    params(InTenant), request_body = NewWebhook,
    responses(
        (status = 201, description = "The new webhook", body = CreatedWebhook,
            headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewWebhook>,
) -> Result<Response, ApiError> {
    let written = resource::create(&app, &caller, new).await?;
    answer(&app, &caller, written).await
}

/// Creates or replaces a webhook
///
/// Creates it when there is none of that name, and answers with its signing secret then; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/webhooks/{name}", tag = "webhooks",
    operation_id = "webhooks.replace", params(Named, Precondition), request_body = WebhookContent,
    responses(
        (status = 200, description = "The webhook as replaced", body = Webhook, headers(("ETag" = String))),
        (status = 201, description = "The new webhook", body = CreatedWebhook,
            headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<WebhookContent>,
) -> Result<Response, ApiError> {
    let written = resource::replace(&app, &caller, &at.name, &precondition, content).await?;
    answer(&app, &caller, written).await
}

/// Changes parts of a webhook
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/webhooks/{name}", tag = "webhooks",
    operation_id = "webhooks.patch", params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The webhook as changed", body = Webhook, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Webhook, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a webhook
///
/// What waits for it is never sent.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/webhooks/{name}", tag = "webhooks",
    operation_id = "webhooks.remove", params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<WebhookSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists deliveries to a webhook
///
/// That of the newest alert first. They are kept for 30 days after they ended.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/webhooks/{name}/deliveries", tag = "webhooks",
    operation_id = "webhooks.deliveries.list", params(Named, PageQuery),
    responses((status = 200, description = "A page of deliveries", body = AlertDeliveryPage), ReadProblems))]
pub async fn deliveries(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    Query(query): Query<PageQuery>,
) -> Result<AlertDeliveryPage, ApiError> {
    deliveries::list(&app, &caller, &at.name, &query).await
}

/// Dispatches `POST …/webhooks/{name}:{action}`, since a route cannot end in a suffix of a parameter. Each action is
/// documented where it is done.
pub async fn act(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    request: Request,
) -> Result<Response, ApiError> {
    let (name, action) = at.name.rsplit_once(':').ok_or(ApiError::MethodNotAllowed)?;
    match action {
        "test" => test(&app, &caller, name).await.map(IntoResponse::into_response),
        "redeliver" => {
            let Body(redelivery) = Body::from_request(request, &()).await?;
            redeliver(&app, &caller, name, &redelivery).await.map(IntoResponse::into_response)
        }
        "rotate-secret" => rotate_secret(&app, &caller, name, request).await,
        _ => Err(ApiError::NoRoute),
    }
}

/// Sends a test
///
/// An alert of the type `webhook.test`, whatever the webhook wants, now. The answer says how that went; what failed is tried
/// again like any delivery.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/webhooks/{name}:test", tag = "webhooks",
    operation_id = "webhooks.test", params(Named),
    responses((status = 200, description = "The delivery", body = AlertDelivery), WriteProblems))]
pub(crate) async fn test(app: &App, caller: &Caller, name: &str) -> Result<Json<AlertDelivery>, ApiError> {
    deliveries::test(app, caller, name).await.map(Json)
}

/// Delivers an alert again
///
/// Or one that the webhook was never told of: one that was raised before the webhook was there, or that it did not want. It
/// has the same `webhook-id` as before.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/webhooks/{name}:redeliver", tag = "webhooks",
    operation_id = "webhooks.redeliver", params(Named), request_body = Redelivery,
    responses((status = 200, description = "The delivery, which is due", body = AlertDelivery), WriteProblems))]
pub(crate) async fn redeliver(
    app: &App,
    caller: &Caller,
    name: &str,
    redelivery: &Redelivery,
) -> Result<Json<AlertDelivery>, ApiError> {
    deliveries::repeat(app, caller, name, redelivery).await.map(Json)
}

/// Makes a new signing secret
///
/// For a while the one before signs too, so that the receiver can be given the new one without losing an alert. The body
/// may be left out.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/webhooks/{name}:rotate-secret", tag = "webhooks",
    operation_id = "webhooks.rotate_secret", params(Named), request_body = Option<Rotation>,
    responses((status = 200, description = "The new secret, shown this once", body = NewSecret), WriteProblems))]
pub(crate) async fn rotate_secret(
    app: &App,
    caller: &Caller,
    name: &str,
    request: Request,
) -> Result<Response, ApiError> {
    let Body(rotation): Body<Option<Rotation>> =
        if request.headers().contains_key(CONTENT_TYPE) { Body::from_request(request, &()).await? } else { Body(None) };
    let made = super::rotate(app, caller, name, &rotation.unwrap_or_default()).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// A webhook that is new comes with its secret.
async fn answer(app: &App, caller: &Caller, written: Written<WebhookSpec>) -> Result<Response, ApiError> {
    if written.location.is_none() {
        return Ok(written.into_response());
    }
    let secret = super::reveal(app, caller, written.object.id).await?;
    let headers = written.clone().into_response().into_parts().0.headers;
    let created = CreatedWebhook { webhook: written.object, secret };
    let mut response = (StatusCode::CREATED, headers, Json(created)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
