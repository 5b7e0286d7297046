//! The user's answer: taking it, and doing without where it was given before.
//!
//! Invariant: one page is answered once, in the session that it was shown in, for the client as it was then; and what
//! comes of it is never more than what was offered on it and is still granted when the answer comes.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Redirect, Response},
};
use http::HeaderMap;
use serde_json::json;
use tollgate_proto::Scope;
use uuid::Uuid;

use super::{
    Answer, Asked, application, barred,
    fault::{PageFault, RequestFault},
    finish,
    offer::{Offer, Remembered},
    onward,
    parameters::Parameters,
    read_body, signed_in, sql, visit,
    visit::{Question, Visit},
};
use crate::{
    app::App,
    console::{csrf, page::PageError},
    oauth::{error::OAuthError, issuer::Issuer, transaction::Transaction},
    users::Session,
};

const FORM_BYTES_MAX: usize = 256 * 1024;
/// What clients are told when the user says no.
const DENIED: &str = "the user said no";
/// What clients are told when an operator was faster than the user.
const NO_LONGER_GRANTED: &str = "what the user allowed is no longer granted to this client";

/// What the form says.
struct Reply {
    csrf: String,
    transaction: String,
    allow: bool,
    scopes: Vec<String>,
}

/// Goes on without asking: all of it was allowed before.
pub(super) async fn allow_again(visit: &Visit<'_>, offer: &Offer) -> Answer {
    let Visit { app, headers, asked, session, request } = *visit;
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let begun = match visit.begin(&mut tx, Uuid::now_v7(), offer.held.clone()).await? {
        Ok(begun) => begun,
        Err(fault) => return onward::refuse(app, headers, asked, Some(session), &fault),
    };
    let detail = json!({
        "resources": visit.resources(), "scopes": offer.held, "redirect_uri": asked.reply.redirect_uri,
        "remembered": true,
    });
    visit::record(&mut tx, asked, session, "consent.allow", detail).await?;
    let code = visit.conclude(tx, begun).await?;
    if request.prompt.none {
        onward::allow_silently(asked, &code)
    } else {
        Ok(onward::allow(app, asked, session, &code))
    }
}

/// `POST …/decision`.
pub(super) async fn take(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, PageError> {
    let answer = match issuer {
        Ok(issuer) => answer(&app, issuer, &headers, request).await,
        Err(error) => Err(error.into()),
    };
    finish(&headers, answer)
}

async fn answer(app: &App, issuer: Issuer, headers: &HeaderMap, request: Request) -> Answer {
    if !csrf::sent_by_us(app, headers) {
        return Err(PageFault::Stale.into());
    }
    let reply = Reply::read(&read_body(request.into_body(), FORM_BYTES_MAX).await?)?;
    let transaction = Transaction::<Question>::open(app, issuer.tenant, visit::KIND, &reply.transaction);
    let transaction = transaction.map_err(|_| PageFault::Stale)?;
    let session = signed_in(app, headers, &issuer).await?;
    let asked = Asked::find(app, issuer, Parameters::parse(&transaction.about.request)?).await?;
    let Some(session) = session else { return Ok(asked.to_sign_in()) };
    if !csrf::matches(app, &session.digest, &reply.csrf) || !transaction.is_of(&session.digest) {
        return Err(PageFault::Stale.into());
    }
    let changed = application::description_digest(&asked.client) != transaction.about.client_digest;
    if transaction.is_expired() || changed {
        return Ok(Redirect::to(&asked.again()).into_response());
    }
    if !reply.allow {
        return deny(app, &asked, &session, &transaction.about).await;
    }
    match asked.read(app) {
        Ok(request) => {
            let visit = Visit { app, headers, asked: &asked, session: &session, request: &request };
            allow(&visit, &transaction.about, &reply).await
        }
        Err(fault) => onward::refuse(app, headers, &asked, Some(&session), &fault),
    }
}

async fn allow(visit: &Visit<'_>, question: &Question, reply: &Reply) -> Answer {
    let Visit { app, headers, asked, session, request } = *visit;
    if let Some(because) = barred(&asked.client) {
        return visit.show_nothing(because);
    }
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let offer = match Offer::make(&mut tx, asked.client.agent, session.user.id, request, &Remembered::new()).await? {
        Ok(offer) => offer,
        Err(fault) => return onward::refuse(app, headers, asked, Some(session), &fault),
    };
    let shown = offer.clone().asking(&question.asked, &question.held, &question.toolsets);
    let chosen = shown.chosen(|scope| reply.ticked(scope), &offer.toolsets);
    if chosen.is_empty() && question.held.is_empty() {
        return visit.ask_once_more(&shown, &reply.transaction);
    }
    let still_granted = |scope: &Scope| offer.toolsets.narrowed(scope, &offer.granted);
    let allowed: BTreeSet<Scope> = chosen.iter().chain(&question.held).flat_map(still_granted).collect();
    let allowed = offer.toolsets.without_covered(&allowed);
    if allowed.is_empty() {
        return Ok(onward::deny(app, asked, session, &RequestFault::AccessDenied(NO_LONGER_GRANTED)));
    }
    let detail = json!({
        "resources": visit.resources(), "scopes": allowed, "redirect_uri": asked.reply.redirect_uri,
        "shown": question.said,
    });
    // Before the family begins, which holds the agent's row.
    sql::confirm(&mut tx, asked.client.agent).await?;
    let begun = match visit.begin(&mut tx, question.id, allowed).await? {
        Ok(begun) => begun,
        Err(fault) => return Ok(onward::deny(app, asked, session, &fault)),
    };
    visit.remember(&mut tx, &shown, &chosen).await?;
    visit::record(&mut tx, asked, session, "consent.allow", detail).await?;
    let code = visit.conclude(tx, begun).await?;
    Ok(onward::allow(app, asked, session, &code))
}

async fn deny(app: &App, asked: &Asked, session: &Session, question: &Question) -> Answer {
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    visit::record(&mut tx, asked, session, "consent.deny", json!({ "shown": question.said })).await?;
    tx.commit().await?;
    Ok(onward::deny(app, asked, session, &RequestFault::AccessDenied(DENIED)))
}

impl Reply {
    fn read(form: &str) -> Result<Self, PageFault> {
        let form = Parameters::parse(form)?;
        let one = |name| form.get(name).ok().flatten().map(str::to_owned).ok_or(PageFault::Stale);
        let allow = match form.get("decision") {
            Ok(Some("allow")) => true,
            Ok(Some("deny")) => false,
            _ => return Err(PageFault::Stale),
        };
        let scopes = form.all("scope").map(str::to_owned).collect();
        Ok(Self { csrf: one("csrf")?, transaction: one("transaction")?, allow, scopes })
    }

    fn ticked(&self, scope: &Scope) -> bool {
        self.scopes.contains(&scope.to_string())
    }
}
