//! The page of the data planes: how each stands, and what others may join with.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use zeroize::Zeroizing;

use super::{
    filters,
    form::Entries,
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    app::App,
    caller::{InstallationCaller, Role},
    data_planes::standing::{self, DataPlane, FleetRevocations, Standing},
    enrollment_tokens::{self, EnrollmentToken, EnrollmentTokenRequest},
    error::ApiError,
};

const PAGE: &str = "/fleet";

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    shell: Shell,
    data_planes: Vec<DataPlane>,
    revocations: FleetRevocations,
    tokens: Vec<EnrollmentToken>,
    may_change: bool,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "fleet/token.html")]
struct TokenPage {
    shell: Shell,
    token: Zeroizing<String>,
}

/// `GET /fleet`.
pub(super) async fn show_fleet(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    show(&page(&app, &visitor, None).await?)
}

/// `POST /fleet/enrollment-tokens`: makes a token and shows it, this once.
pub(super) async fn create_token(State(app): State<Arc<App>>, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    let caller = InstallationCaller::from_caller(&app, &visitor.caller).await?;
    caller.require(Role::Admin)?;
    visitor.require_recent_sign_in(PAGE)?;
    let filled = |name: &str| Some(entries.get(name)).filter(|text| !text.is_empty());
    let asked = EnrollmentTokenRequest {
        name: entries.get("name").to_owned(),
        expires_in: filled("expires_in").map(str::to_owned),
        // What is no number is out of every range, and told so.
        uses: filled("uses").map(|uses| uses.parse().unwrap_or(0)),
    };
    match enrollment_tokens::create(&app, &caller, &asked).await {
        Ok(made) => show(&TokenPage {
            shell: Shell::new(&visitor, Section::Fleet, "New enrollment token").under("Fleet", PAGE),
            token: made.enrollment_token,
        }),
        Err(ApiError::Invalid(faults)) => {
            let wrong = faults.to_vec().into_iter().map(|fault| sentence(&fault.detail)).collect::<Vec<_>>().join(" ");
            show_with(StatusCode::UNPROCESSABLE_ENTITY, &page(&app, &visitor, Some(wrong)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /fleet/enrollment-tokens/{id}/delete`.
pub(super) async fn delete_token(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let caller = InstallationCaller::from_caller(&app, &posted.visitor.caller).await?;
    enrollment_tokens::remove(&app, &caller, &id).await?;
    Ok(Done::Deleted.then(PAGE))
}

/// `POST /fleet/data-planes/{id}/revoke`.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let caller = InstallationCaller::from_caller(&app, &posted.visitor.caller).await?;
    caller.require(Role::Admin)?;
    posted.visitor.require_recent_sign_in(PAGE)?;
    standing::revoke(&app, &caller, &id).await?;
    Ok(Done::DataPlaneRevoked.then(PAGE))
}

async fn page(app: &App, visitor: &Visitor, wrong: Option<String>) -> Result<FleetPage, PageError> {
    let caller = InstallationCaller::from_caller(app, &visitor.caller).await?;
    let listed = standing::list(app, &caller).await?;
    Ok(FleetPage {
        shell: Shell::new(visitor, Section::Fleet, "Fleet"),
        data_planes: listed.items,
        revocations: listed.revocations,
        tokens: enrollment_tokens::list(app, &caller).await?.items,
        may_change: caller.require(Role::Admin).is_ok(),
        wrong,
    })
}
