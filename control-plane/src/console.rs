//! The admin web UI: server-rendered pages that work as plain links and forms; a script only adds comfort.
//!
//! Each page reads and changes through the operations that the REST API has, as the [`crate::caller::Caller`] that
//! its visitor is. Templates are in `web/templates`, styles and script in `web/static`.
//!
//! Invariant: a page adds no rule of its own but one: who touches secrets, keys or how people sign in must have proved
//! within five minutes who they are. All else that it may show or do is decided by the operation behind it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Query, State},
    middleware,
    response::Response,
    routing::{get, post},
};

use crate::{
    agents::AgentSpec,
    app::App,
    budgets::BudgetSpec,
    caller::Role,
    grants::GrantSpec,
    identity_providers::IdentityProviderSpec,
    limits::LimitSpec,
    page::PageQuery,
    price_books::PriceBookSpec,
    resource::{self, Kind, Object},
    servers::ServerSpec,
    teams::TeamSpec,
    tenants::TenantSpec,
    toolsets::ToolsetSpec,
    webhooks::WebhookSpec,
};

mod access;
mod account;
mod agents;
mod alerts;
mod apps;
mod assets;
mod audit;
mod budgets;
mod calls;
mod catalog;
mod checks;
mod conditions;
mod connect;
pub(crate) mod cookie;
pub(crate) mod csrf;
mod filters;
mod fleet;
mod form;
mod home;
mod identity_providers;
mod keys;
mod limit_use;
mod limits;
pub(crate) mod page;
mod price_books;
mod provider_sign_in;
mod search;
mod servers;
mod sessions;
mod settings;
mod sign_in;
mod sql;
#[cfg(test)]
mod tests;
mod toolsets;
mod usage;
mod users;
pub(crate) mod visitor;
mod waiting;
pub(crate) mod way_in;
mod webhooks;
mod yaml;

use form::{Deletable, Editable, Entries};
use page::PageError;
use visitor::{Posted, Visitor};

const PAGE_OBJECTS_MAX: u16 = 500;

/// Routes of all pages and their static files.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let pages = Router::new()
        .route("/", get(home::show_home))
        .route("/sign-in", get(sign_in::form).post(sign_in::submit))
        .route("/sign-in/callback", get(provider_sign_in::come_back))
        .route("/sign-in/with/{provider}", get(provider_sign_in::leave))
        .route("/sign-out", post(sign_in::leave))
        .route("/account", get(account::show_account))
        .route("/account/password", post(account::set_password))
        .route("/account/apps", get(apps::show_apps))
        .route("/account/apps/withdraw", post(apps::withdraw))
        .route("/account/theme", post(account::set_theme))
        .route("/search", get(search::show_results))
        .route("/servers", get(servers::show_list))
        .route("/servers/{name}", get(servers::show_detail))
        .route("/servers/{name}/read-catalog", post(catalog::read_now))
        .route("/catalog", get(catalog::show_list))
        .route("/catalog/approve", post(catalog::approve_all))
        .route("/catalog/{id}", get(catalog::show_detail))
        .route("/catalog/{id}/approve", post(catalog::approve))
        .route("/catalog/{id}/block", post(catalog::block))
        .route("/catalog/{id}/reset", post(catalog::reset))
        .route("/toolsets", get(toolsets::show_list))
        .route("/toolsets/{name}", get(toolsets::show_detail))
        .route("/agents", get(agents::show_list))
        .route("/agents/{name}", get(agents::show_detail))
        .route("/agents/{name}/credentials", post(agents::create_credential))
        .route("/agents/{name}/credentials/{id}/revoke", post(agents::revoke_credential))
        .route("/agents/{name}/suspend", post(agents::suspend))
        .route("/agents/{name}/activate", post(agents::activate))
        .route("/agents/{name}/approve", post(waiting::approve))
        .route("/waiting", get(waiting::show_waiting))
        .route("/access", get(access::show_access))
        .route("/access/check", get(checks::show_check))
        .route("/access/keys", get(keys::show_keys))
        .route("/access/keys/rotate", post(keys::rotate))
        .route("/access/keys/{kid}/revoke", post(keys::revoke))
        .route("/agents/{name}/revoke", post(agents::revoke))
        .route("/calls", get(calls::show_list))
        .route("/calls/{call_id}", get(calls::show_detail))
        .route("/audit", get(audit::show_list))
        .route("/sessions", get(sessions::show_list))
        .route("/sessions/{id}", get(sessions::show_detail))
        .route("/sessions/{id}/end", post(sessions::end))
        .route("/fleet", get(fleet::show_fleet))
        .route("/fleet/enrollment-tokens", post(fleet::create_token))
        .route("/fleet/enrollment-tokens/{id}/delete", post(fleet::delete_token))
        .route("/fleet/data-planes/{id}/revoke", post(fleet::revoke))
        .route("/users", get(users::show_list))
        .route("/users/{id}", get(users::show_detail))
        .route("/users/{id}/edit", get(users::show_edit).post(users::save))
        .route("/users/{id}/link", post(users::make_link))
        .route("/users/{id}/disable", post(users::disable))
        .route("/users/{id}/activate", post(users::activate))
        .route("/users/{id}/revoke", post(users::revoke))
        .route("/users/{id}/delete", post(users::delete))
        .route("/new/user", get(users::show_new).post(users::create))
        .route("/settings", get(settings::show_settings))
        .route("/settings/initial-access-tokens", post(settings::create_token))
        .route("/settings/initial-access-tokens/{id}/revoke", post(settings::revoke_token))
        .merge(money())
        .merge(alarms())
        .merge(kinds())
        .fallback(page::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(app), page::dress));
    Router::new().route("/static/{file}", get(assets::serve)).merge(pages)
}

/// The pages of what calls cost.
fn money() -> Router<Arc<App>> {
    Router::new()
        .route("/usage", get(usage::show_usage))
        .route("/usage/download", get(usage::download))
        .route("/usage/statements/{id}", get(usage::download_statement))
        .route("/limits/{name}", get(limits::show_detail))
        .route("/budgets", get(budgets::show_list))
        .route("/budgets/{name}", get(budgets::show_detail))
        .route("/price-books", get(price_books::show_list))
        .route("/price-books/{name}", get(price_books::show_detail))
}

/// The pages of alerts, and of who is told of them.
fn alarms() -> Router<Arc<App>> {
    Router::new()
        .route("/alerts", get(alerts::show_list))
        .route("/webhooks", get(webhooks::show_list))
        .route("/webhooks/{name}", get(webhooks::show_detail))
        .route("/webhooks/{name}/test", post(webhooks::test))
        .route("/webhooks/{name}/redeliver", post(webhooks::redeliver))
        .route("/webhooks/{name}/rotate-secret", post(webhooks::rotate_secret))
}

/// The forms of all kinds.
fn kinds() -> Router<Arc<App>> {
    editing::<TenantSpec>()
        .merge(forms::<ServerSpec>())
        .merge(forms::<ToolsetSpec>())
        .merge(forms::<AgentSpec>())
        .merge(forms::<GrantSpec>())
        .merge(forms::<LimitSpec>())
        .merge(forms::<PriceBookSpec>())
        .merge(forms::<BudgetSpec>())
        .merge(forms::<WebhookSpec>())
        .merge(forms::<TeamSpec>())
        .merge(forms::<IdentityProviderSpec>())
}

/// The forms of one kind: `/new/server`, `/servers/{name}/edit`, `/servers/{name}/delete`.
fn forms<K: Deletable>() -> Router<Arc<App>> {
    editing::<K>()
        .route(&format!("/new/{}", K::NOUN), get(show_new::<K>).post(create::<K>))
        .route(&format!("/{}/{{name}}/delete", K::COLLECTION), get(show_delete::<K>).post(delete::<K>))
}

/// The form of a kind that is only ever changed.
fn editing<K: Editable>() -> Router<Arc<App>> {
    Router::new().route(&format!("/{}/{{name}}/edit", K::COLLECTION), get(show_edit::<K>).post(save::<K>))
}

async fn show_new<K: Editable>(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(entries): Query<Entries>,
) -> Result<Response, PageError> {
    form::show_new::<K>(&app, &visitor, &entries).await
}

async fn create<K: Editable>(State(app): State<Arc<App>>, posted: Posted<Entries>) -> Result<Response, PageError> {
    form::create::<K>(&app, posted).await
}

async fn show_edit<K: Editable>(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    form::show_edit::<K>(&app, &visitor, &name).await
}

async fn save<K: Editable>(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Entries>,
) -> Result<Response, PageError> {
    form::save::<K>(&app, &name, posted).await
}

async fn show_delete<K: Deletable>(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    form::show_delete::<K>(&app, &visitor, &name).await
}

async fn delete<K: Deletable>(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Entries>,
) -> Result<Response, PageError> {
    form::delete::<K>(&app, &name, posted).await
}

/// Every object of a kind, in the order of their names.
async fn all<K: Kind>(app: &App, visitor: &Visitor) -> Result<Vec<Object<K>>, PageError> {
    let mut objects = Vec::new();
    let mut query = PageQuery { limit: Some(PAGE_OBJECTS_MAX), cursor: None };
    loop {
        let page = resource::list::<K>(app, &visitor.caller, &query).await?;
        objects.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(objects),
        }
    }
}

/// The name of every object of a kind.
async fn names<K: Kind>(app: &App, visitor: &Visitor) -> Result<Vec<String>, PageError> {
    visitor.caller.require(Role::Viewer)?;
    Ok(sql::names(&mut app.db.tenant(visitor.caller.tenant).await?, K::COLLECTION).await?)
}
