//! Client ID Metadata Documents: agents whose `client_id` is the URL of a document that says who they are
//! (draft-ietf-oauth-client-id-metadata-document).
//!
//! A document is fetched when it is not known or no longer fresh, and the agent's row is made or brought up to date by
//! it; everything else reads the row. Only what was fetched and is valid is remembered. One that was never seen is fetched
//! for who has signed in, or whose host an admin named ([`is_stranger`], [`may_come_for_itself`]).
//!
//! Invariant: a document that the tenant's policy does not permit is neither fetched nor used, however fresh.

use std::sync::Arc;

use http::{HeaderMap, header};
use serde_json::Value;
use tollgate_proto::Egress;

use super::{
    client::{self, Client},
    client_metadata::{ClientMetadata, MetadataFault, Source},
    enrolment::{self, Enrolment, EnrolmentError, Origin},
    error::{OAuthError, Unproven},
    issuer::Issuer,
    redirect_uri,
};
use crate::{
    app::App,
    db::TenantTx,
    fetch::{FetchError, Limits},
    tenants::{
        self,
        client_registration::{RegistrationPolicy, Switch},
    },
};

mod document_url;
mod flights;
mod sql;

pub use document_url::{DocumentUrl, UrlFault};
pub use flights::ClientDocuments;

use flights::Site;

/// How much of a document is read, and how long that may take.
const LIMITS: Limits = Limits { body_bytes_max: 16 * 1024, timeout: std::time::Duration::from_secs(3) };
const MEDIA_TYPE: &str = "application/json";
/// How long a document is fresh: within these bounds what the host says, else the middle.
const FRESH_S_MIN: u32 = 60;
const FRESH_S_DEFAULT: u32 = 300;
const FRESH_S_MAX: u32 = 86_400;

/// Why an agent cannot be known by its document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentError {
    /// The URL can be nobody's `client_id`.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// The tenant takes no such agents.
    #[error("this tenant does not take clients by metadata document")]
    Off,
    /// The tenant's policy forbids the host.
    #[error("this tenant does not take clients from {host}")]
    HostDenied {
        /// The document's host.
        host: String,
    },
    /// Too many documents of this site were fetched within a minute.
    #[error("too many documents of {host} were asked for: try again in a minute")]
    Busy {
        /// The document's host.
        host: String,
    },
    /// The host did not answer, or not with a document.
    #[error("the client's document at {host} cannot be read: {why}")]
    Unreadable {
        /// The document's host.
        host: String,
        /// What went wrong, without addresses.
        why: String,
        /// Whether it may pass by itself.
        transient: bool,
    },
    /// The document breaks a rule.
    #[error("the client's document at {host} is not valid: {fault}")]
    Invalid {
        /// The document's host.
        host: String,
        /// Which.
        fault: DocumentFault,
    },
    /// The tenant has as many self-registered agents as it takes.
    #[error("this tenant takes no more clients that register themselves")]
    Full,
    /// Postgres is away, or what is stored cannot be used.
    #[error("the client's document cannot be looked up now")]
    Storage(#[source] Arc<EnrolmentError>),
}

/// Which rule a document breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// No JSON.
    #[error("it is no JSON")]
    NotJson,
    /// Its `client_id` is not, letter by letter, the URL that it was asked for by.
    #[error("its `client_id` is not the URL that it is at")]
    OtherClient,
    /// Its metadata is not accepted.
    #[error(transparent)]
    Metadata(#[from] MetadataFault),
}

impl DocumentError {
    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Full | Self::Storage(_) => true,
            Self::Unreadable { transient, .. } => *transient,
            Self::Url(_) | Self::Off | Self::HostDenied { .. } | Self::Invalid { .. } => false,
        }
    }
}

impl From<sqlx::Error> for DocumentError {
    fn from(error: sqlx::Error) -> Self {
        EnrolmentError::from(error).into()
    }
}

impl From<EnrolmentError> for DocumentError {
    fn from(error: EnrolmentError) -> Self {
        match error {
            EnrolmentError::Full => Self::Full,
            error => Self::Storage(Arc::new(error)),
        }
    }
}

/// At endpoints that a client calls itself: what may pass is never told as the client's fault.
impl From<DocumentError> for OAuthError {
    fn from(error: DocumentError) -> Self {
        if error.is_transient() {
            return Self::Unavailable(error.into());
        }
        Self::InvalidClient(Box::new(Unproven { reason: error.to_string(), ..Unproven::default() }))
    }
}

/// Whether a `client_id` names a document. The ids that Tollgate makes never do.
#[must_use]
pub(super) fn is_document_url(client_id: &str) -> bool {
    client_id.starts_with("https:")
}

/// The client whose document is at `url`, as that says now: for the authorization endpoint.
///
/// # Errors
/// [`DocumentError`].
pub(super) async fn resolve(app: &App, issuer: &Issuer, url: &str) -> Result<Client, DocumentError> {
    look_up(app, issuer, url, false).await
}

/// The same, but content with what the document said at most a day ago when it cannot be had now: for endpoints that
/// clients call with tokens they have, which they would throw away on a refusal.
///
/// # Errors
/// [`DocumentError`].
pub(super) async fn resolve_or_stale(app: &App, issuer: &Issuer, url: &str) -> Result<Client, DocumentError> {
    look_up(app, issuer, url, true).await
}

/// Whether `url` names a client that was never seen here, and whose document would be fetched to see it: that is done
/// for who has signed in alone, because otherwise anyone could have us fetch anything and fill the tenant with agents.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn is_stranger(app: &App, issuer: &Issuer, url: &str) -> Result<bool, sqlx::Error> {
    let Ok(url) = DocumentUrl::parse(url) else { return Ok(false) };
    let known = Known::read(&mut app.db.tenant(issuer.tenant).await?, &url).await?;
    let vouched = known.policy.pinned(url.as_str()).is_some();
    Ok(known.agent.is_none() && !vouched && known.check_policy(&url).is_ok())
}

/// Whether a client that was never seen may come with a token request of its own: only from a host that an admin named,
/// because otherwise anyone could have us fetch anything, without signing in.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn may_come_for_itself(tx: &mut TenantTx, url: &str) -> Result<bool, sqlx::Error> {
    let Ok(url) = DocumentUrl::parse(url) else { return Ok(false) };
    Ok(tenants::registration_policy(tx).await?.lets_act_for_itself(url.host()))
}

/// Reads a document.
///
/// # Errors
/// The first [`DocumentFault`].
pub fn read_document(
    url: &DocumentUrl,
    document: &Value,
    private_use_schemes: &redirect_uri::PrivateUseSchemes,
) -> Result<ClientMetadata, DocumentFault> {
    let metadata = ClientMetadata::read(document, Source::Document, private_use_schemes)?;
    // Compared as the texts that they are (RFC 3986 section 6.2.1).
    if document.get("client_id").and_then(Value::as_str) != Some(url.as_str()) {
        return Err(DocumentFault::OtherClient);
    }
    Ok(metadata)
}

async fn look_up(app: &App, issuer: &Issuer, url: &str, stale_will_do: bool) -> Result<Client, DocumentError> {
    let url = DocumentUrl::parse(url)?;
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let known = Known::read(&mut tx, &url).await?;
    known.check_policy(&url)?;
    if !known.is_fresh() {
        tx.commit().await?;
        let renewed = app.client_documents.once(issuer.tenant, &url, || renew(app, issuer, &url)).await;
        match renewed {
            Err(error) if stale_will_do && known.is_usable() => {
                tracing::info!(host = url.host(), %error, "a client's document of before is used");
            }
            renewed => renewed?,
        }
        tx = app.db.tenant(issuer.tenant).await?;
    }
    let found = client::find(&mut tx, url.as_str()).await?;
    tx.commit().await?;
    found.ok_or_else(|| sqlx::Error::RowNotFound.into())
}

/// Has the document read once more, and the row brought up to date.
async fn renew(app: &App, issuer: &Issuer, url: &DocumentUrl) -> Result<(), DocumentError> {
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let known = Known::read(&mut tx, url).await?;
    let egress = tenants::egress(&mut tx).await?;
    tx.commit().await?;
    // Whoever came before may have fetched it while this one waited for the connection.
    if known.is_fresh() {
        return Ok(());
    }
    let invalid = |fault| DocumentError::Invalid { host: url.host().to_owned(), fault };
    let (document, fresh_s) = match known.policy.pinned(url.as_str()) {
        Some(pinned) => (pinned.clone(), 0),
        None => {
            if !app.client_documents.may_ask(Site::new(issuer.tenant, url.host(), known.agent.is_some())) {
                return Err(DocumentError::Busy { host: url.host().to_owned() });
            }
            fetch(app, &egress, url).await?
        }
    };
    let schemes = known.policy.private_use_schemes.meaning();
    let metadata = read_document(url, &document, &schemes).map_err(invalid)?;
    let origin = Origin::Document { url, fresh_s, vouched: known.policy.pinned(url.as_str()).is_some() };
    enrolment::by_document(app, &Enrolment { issuer, policy: &known.policy, metadata: &metadata, origin }).await?;
    Ok(())
}

/// The document, and for how many seconds it is fresh.
async fn fetch(app: &App, egress: &Egress, url: &DocumentUrl) -> Result<(Value, u32), DocumentError> {
    let host = url.host();
    let answer = app.fetcher.get(egress, url.url(), MEDIA_TYPE, LIMITS).await;
    let unreadable = |why: String, transient| DocumentError::Unreadable { host: host.to_owned(), why, transient };
    let answer = answer.inspect_err(|error| log(host, error)).map_err(|error| {
        let transient = error.is_transient();
        unreadable(error.to_string(), transient)
    })?;
    let status = answer.status();
    tracing::info!(host, status = status.as_u16(), "asked for a client's document");
    if status != http::StatusCode::OK {
        let transient = status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS;
        return Err(unreadable(format!("it answers with status {}", status.as_u16()), transient));
    }
    let document = serde_json::from_slice(answer.body())
        .map_err(|_| DocumentError::Invalid { host: host.to_owned(), fault: DocumentFault::NotJson })?;
    Ok((document, fresh_s(answer.headers())))
}

fn log(host: &str, error: &FetchError) {
    tracing::info!(host, %error, "asked for a client's document in vain");
}

/// RFC 9111 section 5.2.2, as far as it says how long.
fn fresh_s(headers: &HeaderMap) -> u32 {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut fresh_s = FRESH_S_DEFAULT;
    for directive in
        directives.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase())
    {
        match directive.split_once('=') {
            Some(("max-age", age)) => fresh_s = age.trim_matches('"').parse().unwrap_or(FRESH_S_DEFAULT),
            None if directive == "no-store" || directive == "no-cache" => return FRESH_S_MIN,
            _ => {}
        }
    }
    fresh_s.clamp(FRESH_S_MIN, FRESH_S_MAX)
}

/// What the database has about a document.
struct Known {
    policy: RegistrationPolicy,
    agent: Option<sql::KnownAgent>,
    pinned_digest: Option<Vec<u8>>,
}

impl Known {
    async fn read(tx: &mut TenantTx, url: &DocumentUrl) -> Result<Self, sqlx::Error> {
        let policy = tenants::registration_policy(tx).await?;
        let agent = sql::agent(tx, url.as_str()).await?;
        let schemes = policy.private_use_schemes.meaning();
        let pinned = policy.pinned(url.as_str()).and_then(|pinned| read_document(url, pinned, &schemes).ok());
        Ok(Self { pinned_digest: pinned.map(|metadata| metadata.digest().as_bytes().to_vec()), policy, agent })
    }

    fn check_policy(&self, url: &DocumentUrl) -> Result<(), DocumentError> {
        if self.policy.client_documents == Switch::Off {
            return Err(DocumentError::Off);
        }
        if self.policy.pinned(url.as_str()).is_none() && !self.policy.document_hosts.permit(url.host()) {
            return Err(DocumentError::HostDenied { host: url.host().to_owned() });
        }
        Ok(())
    }

    /// A pinned document is as fresh as the settings.
    fn is_fresh(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| match &self.pinned_digest {
            Some(digest) => *digest == agent.digest,
            None => agent.is_fresh,
        })
    }

    fn is_usable(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.is_usable)
    }
}
