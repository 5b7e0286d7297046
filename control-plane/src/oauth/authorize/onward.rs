//! The way back to the client.
//!
//! Browsers apply the `form-action` of a page to every redirect that follows when its form is sent, so that neither
//! the sign-in nor the consent form can lead to a client's address. Both lead to a page of ours instead, whose browser
//! leaves by itself: [`show`], then [`leave`].
//!
//! Invariant: these pages lead where a request was answered in this very sign-in session and nowhere else, for as long
//! as a code lives.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use chrono::Duration;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Asked,
    application::{Application, is_trusted},
    fault::{PageFault, RequestFault},
    finish, leave_for,
    pages::{Onward, OnwardPage},
    signed_in,
};
use crate::{
    app::App,
    console::page::{Lone, PageError, show as show_page},
    oauth::{
        error::OAuthError, issuer::Issuer, observed::Refused, redirect_uri::RedirectUri, transaction::Transaction,
    },
    users::Session,
};

const KIND: &str = "onward";

/// Where to go.
#[derive(Debug, Serialize, Deserialize)]
struct Way {
    location: String,
    name: String,
    answered_at: String,
    what: Onward,
}

/// What the address of the page says.
#[derive(Debug, Deserialize)]
pub(super) struct Carried {
    #[serde(default)]
    way: String,
}

/// Leads back with a code.
pub(super) fn allow(app: &App, asked: &Asked, session: &Session, code: &str) -> Response {
    let private = RedirectUri::accepted(asked.reply.redirect_uri.clone()).is_private_use();
    let what = if private { Onward::Allowed } else { Onward::Leaving };
    lead(app, asked, session, asked.reply.code(code), what)
}

/// Leads back with a fault of the request.
pub(super) fn refuse(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: Option<&Session>,
    fault: &RequestFault,
) -> Answer {
    let none = asked.parameters.all("prompt").any(|prompt| prompt == "none");
    match session {
        Some(session) if !none => {
            let response = lead(app, asked, session, asked.reply.error(fault), Onward::Leaving);
            Ok(marked(response, asked, fault))
        }
        session => refuse_silently(headers, asked, session, fault),
    }
}

/// Leads back after the user said no.
pub(super) fn deny(app: &App, asked: &Asked, session: &Session, fault: &RequestFault) -> Response {
    let what = if is_trusted(&asked.client) { Onward::Leaving } else { Onward::Refused };
    marked(lead(app, asked, session, asked.reply.error(fault), what), asked, fault)
}

/// Leads back without a page in between: no form of ours was sent before.
pub(super) fn refuse_silently(
    headers: &HeaderMap,
    asked: &Asked,
    session: Option<&Session>,
    fault: &RequestFault,
) -> Answer {
    let location = asked.reply.error(fault);
    let response = if session.is_some() || is_trusted(&asked.client) {
        leave_for(&location)?
    } else {
        let way = asked.way(location, Onward::Refused);
        page(headers, PageFault::Silent.title(), way)?
    };
    Ok(marked(response, asked, fault))
}

/// Leads back at once with a code.
pub(super) fn allow_silently(asked: &Asked, code: &str) -> Answer {
    Ok(leave_for(&asked.reply.code(code))?)
}

/// `GET …/continue`: leaves by itself where that is safe and of use, else by a link.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    Query(carried): Query<Carried>,
) -> Result<Response, PageError> {
    let way = match issuer {
        Ok(issuer) => open(&app, &issuer, &headers, &carried.way).await.map(|way| (issuer, way)),
        Err(error) => Err(error.into()),
    };
    let (issuer, way) = match way {
        Ok(found) => found,
        Err(fault) => return finish(&headers, Err(fault.into())),
    };
    let leaving = way.what == Onward::Leaving;
    let title = match way.what {
        Onward::Leaving => "Going back",
        Onward::Allowed => "Allowed",
        Onward::Refused => "No access was given",
    };
    let mut response = page(&headers, title, way)?;
    if leaving {
        let next = format!("0; url=/t/{}/oauth/authorize/continue/leave?way={}", issuer.name, carried.way);
        response.headers_mut().extend(HeaderValue::try_from(next).ok().map(|next| (header::REFRESH, next)));
    }
    Ok(response)
}

/// `GET …/continue/leave`.
pub(super) async fn leave(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    Query(carried): Query<Carried>,
) -> Result<Response, PageError> {
    let way = match issuer {
        Ok(issuer) => open(&app, &issuer, &headers, &carried.way).await,
        Err(error) => Err(error.into()),
    };
    finish(&headers, way.and_then(|way| leave_for(&way.location)).map_err(super::Stop::from))
}

impl Asked {
    fn way(&self, location: String, what: Onward) -> Way {
        let Application { name, answered_at, .. } = Application::new(&self.client, &self.reply.redirect_uri);
        Way { location, name, answered_at, what }
    }
}

fn lead(app: &App, asked: &Asked, session: &Session, location: String, what: Onward) -> Response {
    let life = Duration::minutes(1);
    let way = Transaction::new(&session.digest, life, asked.way(location, what));
    let way = way.seal(app, asked.issuer.tenant, KIND);
    Redirect::to(&format!("{}?way={way}", asked.path("/continue"))).into_response()
}

async fn open(app: &App, issuer: &Issuer, headers: &HeaderMap, text: &str) -> Result<Way, PageFault> {
    let way = Transaction::<Way>::open(app, issuer.tenant, KIND, text).map_err(|_| PageFault::Stale)?;
    let session = signed_in(app, headers, issuer).await?;
    if way.is_expired() || !session.is_some_and(|session| way.is_of(&session.digest)) {
        return Err(PageFault::Stale);
    }
    Ok(way.about)
}

fn page(headers: &HeaderMap, title: &str, way: Way) -> Result<Response, PageError> {
    show_page(&OnwardPage {
        shell: Lone::new(headers, title),
        name: way.name,
        href: way.location,
        answered_at: way.answered_at,
        what: way.what,
    })
}

/// Tells metrics and the audit.
fn marked(mut response: Response, asked: &Asked, fault: &RequestFault) -> Response {
    let client = Some(asked.client.client_id.chars().take(200).collect());
    response.extensions_mut().insert(Refused { code: fault.code(), reason: fault.to_string(), client });
    response
}
