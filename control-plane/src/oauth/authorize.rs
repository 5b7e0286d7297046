//! The authorization endpoint (RFC 6749 section 3.1, OAuth 2.1 section 4.1): a client sends a user here, the user says
//! what it may do for them, and goes back with a code.
//!
//! Nothing is stored before the user says yes. `request.rs` decides what a request asks, `offer.rs` what of it can be
//! given, `visit.rs` shows it (`pages.rs`) with a sealed transaction in its form, `decision.rs` takes the answer, and
//! `onward.rs` leads back to the client.
//!
//! Invariant: a request is answered to an address only after that was found to be the client's; and to a client that
//! registered itself only after the user signed in, so that nobody uses us to send strangers to their own site (OAuth
//! 2.1 section 7.13.2). A client that was never seen is not even looked up before that.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, Request, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use chrono::Utc;
use http::{HeaderMap, StatusCode, header};

use super::{
    client::{self, Client},
    client_document,
    error::OAuthError,
    issuer::Issuer,
};
use crate::{
    agents::AgentState,
    app::App,
    console::{cookie::Cookies, page, page::PageError, way_in::WayIn},
    request::body,
    users::{self, Session},
};

mod application;
mod decision;
mod fault;
mod offer;
mod onward;
mod pages;
mod parameters;
mod reply;
mod request;
mod sign_in;
mod sql;
mod visit;

pub(super) use application::readable;
pub(crate) use sign_in::{decline_path, wanted_by};

use application::is_trusted;
use fault::{PageFault, RequestFault};
use offer::Offer;
use pages::Nothing;
use parameters::Parameters;
use reply::Reply;
use request::AuthorizationRequest;
use visit::Visit;

const BODY_BYTES_MAX: usize = 64 * 1024;
/// Says on the way back from the sign-in page that the session must have begun since, in Unix seconds. Whoever writes
/// it by hand only asks for what `prompt=login` asks for.
const SIGNED_IN_SINCE: &str = "tollgate_signed_in_since";

/// The routes of the endpoint and its pages.
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/t/{tenant}/oauth/authorize", get(ask).post(ask_by_form))
        .route("/t/{tenant}/oauth/authorize/decision", post(decision::take))
        .route("/t/{tenant}/oauth/authorize/declined", get(sign_in::decline))
        .route("/t/{tenant}/oauth/authorize/continue", get(onward::show))
        .route("/t/{tenant}/oauth/authorize/continue/leave", get(onward::leave))
        .layer(from_fn_with_state(Arc::clone(app), page::dress))
}

/// Why a request got no answer of its kind.
#[derive(Debug)]
enum Stop {
    /// Only the user is told.
    Fault(PageFault),
    /// A page could not be written.
    Page(PageError),
}

impl<E: Into<PageFault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl From<PageError> for Stop {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

/// What came for an answer.
type Answer = Result<Response, Stop>;

/// A request of a known client with a known address to answer to.
struct Asked {
    issuer: Issuer,
    parameters: Parameters,
    client: Client,
    reply: Reply,
}

/// `GET` of the endpoint.
async fn ask(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let answer = match issuer {
        Ok(issuer) => consider(&app, issuer, &headers, &query.unwrap_or_default()).await,
        Err(error) => Err(error.into()),
    };
    finish(&headers, answer)
}

/// `POST` of the endpoint: the same request as a form (RFC 6749 section 3.1).
async fn ask_by_form(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, PageError> {
    let answer = match (issuer, read_body(request.into_body(), BODY_BYTES_MAX).await) {
        (Ok(issuer), Ok(form)) => consider(&app, issuer, &headers, &form).await,
        (Err(error), _) => Err(error.into()),
        (_, Err(fault)) => Err(fault.into()),
    };
    finish(&headers, answer)
}

/// The life of one request, from its parameters to a page or a redirect.
async fn consider(app: &App, issuer: Issuer, headers: &HeaderMap, encoded: &str) -> Answer {
    let parameters = Parameters::parse(encoded)?;
    let session = signed_in(app, headers, &issuer).await?;
    if session.is_none() && is_strangers(app, &issuer, &parameters).await? {
        // What is silent stays so, and is answered to nobody.
        let silent = matches!(parameters.get("prompt"), Ok(Some("none")));
        return if silent { Err(PageFault::Silent.into()) } else { Ok(to_sign_in(&issuer, &parameters)) };
    }
    let asked = Asked::find(app, issuer, parameters).await?;
    let request = match asked.read(app) {
        Ok(request) => request,
        Err(fault) if session.is_some() || is_trusted(&asked.client) => {
            return onward::refuse(app, headers, &asked, session.as_ref(), &fault);
        }
        Err(_) => return Ok(asked.to_sign_in()),
    };
    let Some(session) = session.filter(|session| asked.is_recent_enough(session) && !request.prompt.login) else {
        if request.prompt.none {
            return onward::refuse_silently(headers, &asked, None, &RequestFault::LoginRequired);
        }
        return Ok(asked.sign_in_anew(&request));
    };
    let visit = Visit { app, headers, asked: &asked, session: &session, request: &request };
    if let Some(because) = barred(&asked.client) {
        return visit.show_nothing(because);
    }
    let mut tx = app.db.tenant(asked.issuer.tenant).await?;
    let remembered = visit.remembered(&mut tx).await?;
    let offer = match Offer::make(&mut tx, asked.client.agent, session.user.id, &request, &remembered).await? {
        Ok(offer) => offer.without(&remembered),
        Err(fault) => return onward::refuse(app, headers, &asked, Some(&session), &fault),
    };
    drop(tx);
    if offer.granted.is_empty() {
        return visit.show_nothing(Nothing::Granted);
    }
    if offer.asked.is_empty() {
        return decision::allow_again(&visit, &offer).await;
    }
    if request.prompt.none {
        return onward::refuse_silently(headers, &asked, Some(&session), &RequestFault::ConsentRequired);
    }
    visit.ask(&offer)
}

impl Asked {
    /// Finds who asks and where the answer goes.
    async fn find(app: &App, issuer: Issuer, parameters: Parameters) -> Result<Self, PageFault> {
        let client_id = parameters.get("client_id").map_err(|_| PageFault::Repeated("client_id"))?;
        let client = find_client(app, &issuer, client_id.ok_or(PageFault::NoClient)?).await?;
        let reply = request::reply_to(&parameters, &client, &issuer.url)?;
        Ok(Self { issuer, parameters, client, reply })
    }

    fn read(&self, app: &App) -> Result<AuthorizationRequest, RequestFault> {
        AuthorizationRequest::read(&self.parameters, &self.client, &app.urls, &self.issuer.name)
    }

    /// The path of this endpoint with another ending.
    fn path(&self, ending: &str) -> String {
        path(&self.issuer, ending)
    }

    /// Where this request can be made again.
    fn again(&self) -> String {
        format!("{}?{}", self.path(""), self.parameters.to_query())
    }

    /// The page on which to sign in for this request.
    fn sign_in_path(&self, parameters: &Parameters) -> String {
        self.way_to_sign_in(parameters).path()
    }

    fn way_to_sign_in(&self, parameters: &Parameters) -> WayIn {
        way_to_sign_in(&self.issuer, parameters)
    }

    fn to_sign_in(&self) -> Response {
        to_sign_in(&self.issuer, &self.parameters)
    }

    /// The same, so that `prompt=login` is satisfied on the way back.
    fn sign_in_anew(&self, request: &AuthorizationRequest) -> Response {
        let asked_before = matches!(self.parameters.get(SIGNED_IN_SINCE), Ok(Some(_)));
        if !request.prompt.login && !asked_before {
            return self.to_sign_in();
        }
        let mut parameters = self.parameters.clone();
        if request.prompt.login {
            let since = Utc::now().timestamp().to_string();
            let prompt = if request.prompt.consent { "consent" } else { "" };
            parameters = parameters.with("prompt", prompt).with(SIGNED_IN_SINCE, &since);
        }
        let way = WayIn { anew: true, ..self.way_to_sign_in(&parameters) };
        Redirect::to(&way.path()).into_response()
    }

    fn is_recent_enough(&self, session: &Session) -> bool {
        let since = self.parameters.get(SIGNED_IN_SINCE).ok().flatten().and_then(|since| since.parse().ok());
        since.is_none_or(|since: i64| session.proven_at.is_some_and(|proven_at| proven_at.timestamp() >= since))
    }
}

fn path(issuer: &Issuer, ending: &str) -> String {
    format!("/t/{}/oauth/authorize{ending}", issuer.name)
}

fn way_to_sign_in(issuer: &Issuer, parameters: &Parameters) -> WayIn {
    let next = format!("{}?{}", path(issuer, ""), parameters.to_query());
    WayIn { tenant: issuer.name.to_string(), next, anew: false }
}

fn to_sign_in(issuer: &Issuer, parameters: &Parameters) -> Response {
    Redirect::to(&way_to_sign_in(issuer, parameters).path()).into_response()
}

/// Whether the request is of a client whose document nobody here has ever asked for.
async fn is_strangers(app: &App, issuer: &Issuer, parameters: &Parameters) -> Result<bool, sqlx::Error> {
    match parameters.get("client_id") {
        Ok(Some(id)) if client_document::is_document_url(id) => client_document::is_stranger(app, issuer, id).await,
        _ => Ok(false),
    }
}

/// Looks a client up, by its document where the id is a URL.
async fn find_client(app: &App, issuer: &Issuer, client_id: &str) -> Result<Client, PageFault> {
    let shown = || client_id.chars().take(200).collect::<String>();
    if client_document::is_document_url(client_id) {
        let found = client_document::resolve(app, issuer, client_id).await;
        return found.map_err(|error| PageFault::of_document(&error, shown()));
    }
    let mut tx = app.db.tenant(issuer.tenant).await?;
    client::find(&mut tx, client_id).await?.ok_or_else(|| PageFault::UnknownClient(shown()))
}

/// The session of this browser, if it is one of this tenant.
async fn signed_in(app: &App, headers: &HeaderMap, issuer: &Issuer) -> Result<Option<Session>, sqlx::Error> {
    let Some(text) = Cookies::of(headers).session(app) else { return Ok(None) };
    Ok(users::resume(app, text).await?.filter(|session| session.user.tenant_id == issuer.tenant))
}

const fn barred(client: &Client) -> Option<Nothing> {
    match client.state {
        AgentState::Active => None,
        AgentState::Waiting => Some(Nothing::Approved),
        AgentState::Suspended => Some(Nothing::Suspended),
    }
}

async fn read_body(body: Body, bytes_max: usize) -> Result<String, PageFault> {
    let bytes = body::read(body, bytes_max).await?;
    String::from_utf8(bytes.into()).map_err(|_| PageFault::NotText)
}

fn finish(headers: &HeaderMap, answer: Answer) -> Result<Response, PageError> {
    match answer {
        Ok(response) => Ok(response),
        Err(Stop::Fault(fault)) => pages::show_fault(headers, &fault),
        Err(Stop::Page(error)) => Err(error),
    }
}

/// Leaves for an address that is not ours.
fn leave_for(location: &str) -> Result<Response, PageFault> {
    let location = header::HeaderValue::try_from(location).map_err(|error| {
        tracing::error!(%error, "a redirect URI is no header value");
        PageFault::Internal
    })?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
