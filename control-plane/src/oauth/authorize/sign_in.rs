//! What the sign-in page says about who sent the user there.
//!
//! Invariant: it names nobody but a client that is in the database, and fetches nothing: who asks is not signed in.

use tollgate_proto::Name;

use super::{application, parameters::Parameters};
use crate::{app::App, oauth::client};

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
        for next in ["", "/", "/t/acme", "/t/acme/oauth/authorize", "/t//oauth/authorize?a", "/x/t/a/oauth/authorize?"]
        {
            assert_eq!(request_in(next), None, "{next}");
        }
    }
}
