//! The applications that the visitor allowed to act for them.
//!
//! Invariant: everybody sees and takes back what is their own here, whatever their role.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use tollgate_proto::Scope;

use super::{
    page::{Done, PageError, Section, Shell, show},
    visitor::{Posted, Visitor},
};
use crate::{
    app::App,
    error::ApiError,
    oauth::{
        consent::{self, AllowedApp},
        wording,
    },
};

const PATH: &str = "/account/apps";

#[derive(Template)]
#[template(path = "oauth/apps.html")]
struct AppsPage {
    shell: Shell,
    apps: Vec<AllowedApp>,
}

/// What is taken back.
#[derive(Debug, Deserialize)]
pub(super) struct WithdrawForm {
    agent: String,
    resource: String,
}

/// `GET /account/apps`.
pub(super) async fn show_apps(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    let user = &visitor.session.user;
    let apps = consent::allowed_apps(&mut app.db.tenant(user.tenant_id).await?, user.id).await?;
    let shell = Shell::new(&visitor, Section::Other, "Allowed applications").under("Account", "/account");
    show(&AppsPage { shell, apps })
}

/// `POST /account/apps/withdraw`.
pub(super) async fn withdraw(State(app): State<Arc<App>>, posted: Posted<WithdrawForm>) -> Result<Response, PageError> {
    let Posted { visitor, form } = posted;
    let user = &visitor.session.user;
    let unknown = || ApiError::NotFound { noun: "agent", key: form.agent.clone() };
    let agent = form.agent.parse().map_err(|_| unknown())?;
    let tx = app.db.tenant(user.tenant_id).await?;
    // What is gone already is what was wanted.
    consent::withdraw(&app, tx, &user.actor(), user.id, agent, &form.resource).await?;
    Ok(Done::Withdrawn.then(PATH))
}

impl AllowedApp {
    /// A scope in words.
    fn words(scope: &Scope) -> String {
        let name = scope.server().or(scope.toolset()).map(ToString::to_string);
        wording::in_words(scope, &name.unwrap_or_default())
    }
}
