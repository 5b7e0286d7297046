//! What the sign-in page says about who sent the user there, and the way back for who does not sign in.
//!
//! Invariant: the page names nobody but a client that is in the database, and fetches nothing: who asks is not signed
//! in.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use tollgate_proto::Name;

use super::{
    Answer, Asked, application,
    fault::{PageFault, RequestFault},
    finish, is_strangers, onward,
    parameters::Parameters,
};
use crate::{
    app::App,
    console::page::PageError,
    oauth::{client, error::OAuthError, issuer::Issuer},
};

/// What the application is called that wants the user signed in, when `next` is a request of one.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn wanted_by(app: &App, next: &str) -> Result<Option<String>, sqlx::Error> {
    let Some((tenant, query)) = request_in(next) else { return Ok(None) };
    let Ok(parameters) = Parameters::parse(query) else { return Ok(None) };
    let Ok(Some(client_id)) = parameters.get("client_id") else { return Ok(None) };
    let Some(tenant) = app.issuers.find(&app.db, &tenant).await? else { return Ok(None) };
    let client = client::find(&mut app.db.tenant(tenant).await?, client_id).await?;
    Ok(client.map(|client| application::shown_name(&client)))
}

/// Where who does not sign in goes to give the application its refusal, when `next` is a request of one.
pub(crate) fn decline_path(next: &str) -> Option<String> {
    let (tenant, query) = request_in(next)?;
    Some(format!("/t/{tenant}/oauth/authorize/declined?{query}"))
}

/// `GET …/declined`: tells the client that its user did not sign in, as `prompt=none` would.
pub(super) async fn decline(
    State(app): State<Arc<App>>,
    issuer: Result<Issuer, OAuthError>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let answer = match issuer {
        Ok(issuer) => refuse(&app, issuer, &headers, &query.unwrap_or_default()).await,
        Err(error) => Err(error.into()),
    };
    finish(&headers, answer)
}

async fn refuse(app: &App, issuer: Issuer, headers: &HeaderMap, encoded: &str) -> Answer {
    let parameters = Parameters::parse(encoded)?;
    if is_strangers(app, &issuer, &parameters).await? {
        // Who did not sign in has nothing fetched.
        return Err(PageFault::Silent.into());
    }
    let asked = Asked::find(app, issuer, parameters).await?;
    onward::refuse_silently(headers, &asked, None, &RequestFault::AccessDenied("the user did not sign in"))
}

/// The tenant and the query of the address of an authorization request.
fn request_in(next: &str) -> Option<(Name, &str)> {
    let (tenant, query) = next.strip_prefix("/t/")?.split_once("/oauth/authorize?")?;
    Some((tenant.parse().ok()?, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_a_request_names_a_client() {
        assert_eq!(request_in("/t/acme/oauth/authorize?a=b"), Some(("acme".parse().expect("a name"), "a=b")));
        let declined = decline_path("/t/acme/oauth/authorize?a=b");
        assert_eq!(declined.as_deref(), Some("/t/acme/oauth/authorize/declined?a=b"));
        for next in ["", "/", "/t/acme", "/t/acme/oauth/authorize", "/t//oauth/authorize?a", "/x/t/a/oauth/authorize?"]
        {
            assert_eq!(request_in(next), None, "{next}");
        }
    }
}
