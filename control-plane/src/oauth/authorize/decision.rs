//! The user's answer: asking for it, taking it, and doing without where it was given before.
//!
//! Invariant: one page is answered once, in the session that it was shown in, for the client as it was then; and what
//! comes of it is never more than what was offered on it and is still granted when the answer comes.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::Duration;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::Scope;
use uuid::Uuid;

use super::{
    Answer, Asked, Stop,
    application::{self, Application},
    barred,
    fault::{PageFault, RequestFault},
    finish,
    offer::{Offer, Remembered},
    onward, pages,
    pages::{ConsentPage, Frame, Nothing, NothingPage},
    parameters::Parameters,
    read_body,
    request::AuthorizationRequest,
    signed_in, sql,
};
use crate::{
    app::App,
    audit,
    console::{
        csrf,
        page::{Lone, PageError, show_with},
    },
    db::TenantTx,
    oauth::{
        authorizations::{self, BeginError, NewAuthorization},
        consent::{self, Parties},
        error::OAuthError,
        issuer::Issuer,
        observed::Refused,
        transaction::Transaction,
    },
    users::Session,
};

const KIND: &str = "consent";
const FORM_BYTES_MAX: usize = 256 * 1024;
/// What clients are told when the user says no.
const DENIED: &str = "the user said no";
/// What clients are told when an operator was faster than the user.
const NO_LONGER_GRANTED: &str = "what the user allowed is no longer granted to this client";

/// What the page carries.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    /// Of this page; it makes one authorization at most.
    id: Uuid,
    /// The request, to be read anew when the answer comes.
    request: String,
    /// Of the client as it was shown.
    client_digest: Vec<u8>,
    /// What can be ticked.
    asked: Vec<Scope>,
    /// What was allowed before.
    held: Vec<Scope>,
    /// What the user was shown, in words.
    said: Vec<String>,
    /// Why there is nothing to allow, if there is nothing.
    nothing: Option<String>,
}

/// What the form says.
struct Reply {
    csrf: String,
    transaction: String,
    allow: bool,
    scopes: Vec<String>,
}

/// What the user allowed before, as far as it still counts: from a client that is surely the same, and unless the
/// request wants the user asked.
pub(super) async fn remembered(
    app: &App,
    tx: &mut TenantTx,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
) -> Result<Remembered, sqlx::Error> {
    let assured = application::is_assured(&asked.client, &asked.reply.redirect_uri);
    let digest = application::description_digest(&asked.client);
    let mut remembered = Remembered::new();
    for target in &request.targets {
        let scopes = if assured && !request.prompt.consent {
            let resource = target.url(&app.urls, &asked.issuer.name);
            consent::remembered(tx, asked.parties(session, &digest), &resource).await?
        } else {
            Vec::new()
        };
        remembered.push((target.clone(), scopes));
    }
    Ok(remembered)
}

/// Shows the page that asks.
pub(super) fn ask(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    offer: &Offer,
) -> Answer {
    let mut page = page(app, headers, asked, session, request, offer);
    let question = Question {
        id: Uuid::now_v7(),
        request: asked.parameters.to_query(),
        client_digest: application::description_digest(&asked.client),
        asked: offer.asked.clone(),
        held: offer.held.clone(),
        said: pages::said(&page),
        nothing: None,
    };
    page.frame.transaction = sealed(app, asked, session, question);
    Ok(show_with(StatusCode::OK, &page)?)
}

/// Shows that there is nothing to allow.
pub(super) fn show_nothing(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    because: Nothing,
) -> Answer {
    let denied = RequestFault::AccessDenied(because.reason());
    if request.prompt.none {
        return onward::refuse_silently(headers, asked, Some(session), &denied);
    }
    let question = Question {
        id: Uuid::now_v7(),
        request: asked.parameters.to_query(),
        client_digest: application::description_digest(&asked.client),
        asked: Vec::new(),
        held: Vec::new(),
        said: Vec::new(),
        nothing: Some(because.reason().to_owned()),
    };
    let title = match because {
        Nothing::Granted => "Nothing is granted yet",
        Nothing::Approved => "Not approved yet",
        Nothing::Suspended => "This application is suspended",
    };
    let mut frame = asked.frame(app, session, request);
    frame.transaction = sealed(app, asked, session, question);
    let mut response =
        show_with(StatusCode::FORBIDDEN, &NothingPage { shell: Lone::new(headers, title), frame, because })?;
    let client = Some(asked.client.client_id.chars().take(200).collect());
    response.extensions_mut().insert(Refused { code: denied.code(), reason: because.reason().to_owned(), client });
    Ok(response)
}

/// Goes on without asking: all of it was allowed before.
pub(super) async fn allow_again(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    offer: &Offer,
) -> Answer {
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let approval = Approval { transaction: Uuid::now_v7(), scopes: offer.held.clone() };
    let code = match begin(app, &mut tx, asked, session, request, approval).await? {
        Ok(code) => code,
        Err(fault) => return onward::refuse(app, headers, asked, Some(session), &fault),
    };
    let detail = json!({
        "resources": asked.resources(app, request), "scopes": offer.held, "remembered": true,
        "redirect_uri": asked.reply.redirect_uri,
    });
    record(&mut tx, asked, session, "consent.allow", detail).await?;
    tx.commit().await?;
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
    let transaction = Transaction::<Question>::open(app, issuer.tenant, KIND, &reply.transaction);
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
    if reply.allow {
        allow(app, headers, &asked, &session, transaction.about, &reply).await
    } else {
        deny(app, &asked, &session, transaction.about).await
    }
}

async fn allow(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    question: Question,
    reply: &Reply,
) -> Answer {
    let request = match asked.read(app) {
        Ok(request) => request,
        Err(fault) => return onward::refuse(app, headers, asked, Some(session), &fault),
    };
    if let Some(because) = barred(&asked.client) {
        return show_nothing(app, headers, asked, session, &request, because);
    }
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let mut offer = match Offer::make(&mut tx, asked.client.agent, &request).await? {
        Ok(offer) => offer,
        Err(fault) => return onward::refuse(app, headers, asked, Some(session), &fault),
    };
    let chosen: Vec<Scope> = question.asked.iter().filter(|scope| reply.ticked(scope)).cloned().collect();
    if chosen.is_empty() && question.held.is_empty() {
        offer.asked = question.asked;
        return ask_once_more(app, headers, asked, session, &request, &offer, reply);
    }
    let still_granted = |scope: &&Scope| offer.granted.iter().any(|granted| granted.covers(scope));
    let allowed: BTreeSet<Scope> = chosen.iter().chain(&question.held).filter(still_granted).cloned().collect();
    if allowed.is_empty() {
        return Ok(onward::deny(app, asked, session, &RequestFault::AccessDenied(NO_LONGER_GRANTED)));
    }
    let scopes: Vec<Scope> = allowed.into_iter().collect();
    let detail = json!({
        "resources": asked.resources(app, &request), "scopes": scopes, "shown": question.said,
        "redirect_uri": asked.reply.redirect_uri,
    });
    sql::confirm(&mut tx, asked.client.agent).await?;
    let approval = Approval { transaction: question.id, scopes };
    let code = match begin(app, &mut tx, asked, session, &request, approval).await? {
        Ok(code) => code,
        Err(fault) => return Ok(onward::deny(app, asked, session, &fault)),
    };
    remember(app, &mut tx, asked, session, &request, &question.asked, &chosen).await?;
    record(&mut tx, asked, session, "consent.allow", detail).await?;
    tx.commit().await?;
    Ok(onward::allow(app, asked, session, &code))
}

async fn deny(app: &App, asked: &Asked, session: &Session, question: Question) -> Answer {
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let detail = json!({ "shown": question.said, "nothing_to_allow": question.nothing });
    record(&mut tx, asked, session, "consent.deny", detail).await?;
    tx.commit().await?;
    Ok(onward::deny(app, asked, session, &RequestFault::AccessDenied(DENIED)))
}

/// The same page, with what is wrong.
fn ask_once_more(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    offer: &Offer,
    reply: &Reply,
) -> Answer {
    let mut page = page(app, headers, asked, session, request, offer);
    page.frame.transaction.clone_from(&reply.transaction);
    page.nothing_ticked = true;
    Ok(show_with(StatusCode::UNPROCESSABLE_ENTITY, &page)?)
}

/// What is approved.
struct Approval {
    transaction: Uuid,
    scopes: Vec<Scope>,
}

/// Begins the grant family. The inner fault is the client's.
async fn begin(
    app: &App,
    tx: &mut TenantTx,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    approval: Approval,
) -> Result<Result<zeroize::Zeroizing<String>, RequestFault>, Stop> {
    let new = NewAuthorization {
        agent: asked.client.agent,
        user: session.user.id,
        transaction: approval.transaction,
        session: session.digest,
        resources: asked.resources(app, request),
        scopes: approval.scopes,
        redirect_uri: asked.reply.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        authenticated_at: session.began_at,
    };
    match authorizations::begin(tx, new).await {
        Ok(code) => Ok(Ok(code)),
        Err(BeginError::Replayed) => Err(PageFault::Stale.into()),
        Err(BeginError::Barred) => Ok(Err(RequestFault::AccessDenied("the user or this client may no longer act"))),
        Err(BeginError::Storage(error)) => Err(error.into()),
    }
}

/// Remembers the answer, from a client that is surely the same the next time.
async fn remember(
    app: &App,
    tx: &mut TenantTx,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    offered: &[Scope],
    chosen: &[Scope],
) -> Result<(), sqlx::Error> {
    if !application::is_assured(&asked.client, &asked.reply.redirect_uri) {
        return Ok(());
    }
    let digest = application::description_digest(&asked.client);
    for target in &request.targets {
        let there =
            |scopes: &[Scope]| scopes.iter().filter(|scope| target.concerns(scope)).cloned().collect::<Vec<_>>();
        let resource = target.url(&app.urls, &asked.issuer.name);
        consent::remember(tx, asked.parties(session, &digest), &resource, &there(offered), &there(chosen)).await?;
    }
    Ok(())
}

async fn record(
    tx: &mut TenantTx,
    asked: &Asked,
    session: &Session,
    action: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &session.user.actor(),
        action,
        object_kind: "agent",
        object_id: &asked.client.agent.to_string(),
        object_name: &asked.client.name,
        detail,
    };
    audit::record(tx, event).await
}

fn page(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    session: &Session,
    request: &AuthorizationRequest,
    offer: &Offer,
) -> ConsentPage {
    let words = |scopes: &[Scope]| scopes.iter().map(|scope| pages::in_words(scope, offer)).collect();
    ConsentPage {
        shell: Lone::new(headers, "Allow access"),
        frame: asked.frame(app, session, request),
        servers: pages::by_server(offer),
        held: words(&offer.held),
        withheld: words(&offer.withheld),
        nothing_ticked: false,
    }
}

fn sealed(app: &App, asked: &Asked, session: &Session, question: Question) -> String {
    Transaction::new(&session.digest, Duration::minutes(10), question).seal(app, asked.issuer.tenant, KIND)
}

impl Asked {
    fn parties<'a>(&self, session: &Session, client_digest: &'a [u8]) -> Parties<'a> {
        Parties { user: session.user.id, agent: self.client.agent, client_digest }
    }

    fn resources(&self, app: &App, request: &AuthorizationRequest) -> Vec<String> {
        request.targets.iter().map(|target| target.url(&app.urls, &self.issuer.name)).collect()
    }

    fn frame(&self, app: &App, session: &Session, request: &AuthorizationRequest) -> Frame {
        Frame {
            app: Application::new(&self.client, &self.reply.redirect_uri),
            agent: self.client.name.clone(),
            action: self.path("/decision"),
            switch: self.sign_in_path(&self.parameters),
            tenant: session.user.tenant.clone(),
            email: session.user.email.clone(),
            resources: self.resources(app, request),
            csrf: csrf::token(app, &session.digest),
            transaction: String::new(),
        }
    }
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
        let scope = scope.to_string();
        self.scopes.iter().any(|ticked| *ticked == scope)
    }
}
