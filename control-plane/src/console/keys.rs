//! The page of the keys that sign tokens.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;

use super::{
    filters,
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    app::App,
    caller::Role,
    error::ApiError,
    oauth::keys::rotation::{self, KeyState, KeyView},
    resource,
    tenants::Tenant,
};

const PAGE: &str = "/access/keys";

#[derive(Template)]
#[template(path = "access/keys.html")]
struct KeysPage {
    shell: Shell,
    keys: Vec<KeyView>,
    /// How long a key signs.
    rotation: String,
    may_rotate: bool,
    may_revoke: bool,
    wrong: Option<String>,
}

/// `GET /access/keys`.
pub(super) async fn show_keys(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    show(&page(&app, &visitor, None).await?)
}

/// `POST /access/keys/rotate`.
pub(super) async fn rotate(State(app): State<Arc<App>>, posted: Posted<Nothing>) -> Result<Response, PageError> {
    posted.visitor.caller.require(Role::Admin)?;
    posted.visitor.require_recent_sign_in(PAGE)?;
    match rotation::rotate(&app, &posted.visitor.caller, false).await {
        Ok(_) => Ok(Done::KeyRotated.then(PAGE)),
        Err(error @ ApiError::KeyNotDistributed { .. }) => {
            let page = page(&app, &posted.visitor, Some(sentence(&error.to_string()))).await?;
            show_with(StatusCode::CONFLICT, &page)
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /access/keys/{kid}/revoke`.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path(kid): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    posted.visitor.caller.require(Role::Owner)?;
    posted.visitor.require_recent_sign_in(PAGE)?;
    rotation::revoke(&app, &posted.visitor.caller, &kid).await?;
    Ok(Done::KeyRevoked.then(PAGE))
}

async fn page(app: &App, visitor: &Visitor, wrong: Option<String>) -> Result<KeysPage, PageError> {
    let caller = &visitor.caller;
    let tenant: Tenant = resource::get(app, caller, &caller.tenant_name).await?;
    Ok(KeysPage {
        shell: Shell::new(visitor, Section::Access, "Signing keys").under("Access", "/access"),
        keys: rotation::list(app, caller).await?.items,
        rotation: tenant.status.effective.signing_key_rotation,
        may_rotate: caller.role.includes(Role::Admin),
        may_revoke: caller.role.includes(Role::Owner),
        wrong,
    })
}
