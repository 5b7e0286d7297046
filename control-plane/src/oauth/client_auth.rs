//! How a client proves who it is: a secret in the `Authorization` header or in the form (RFC 6749 section 2.3.1; either
//! is taken from every client that has secrets, because SDKs choose for themselves), an assertion that it signed
//! (`assertion.rs`), or not at all, as a public client.
//!
//! Invariant: the text of a secret ends here; what goes on is its digest. What is wrong is never told, and an unknown
//! client costs the same query and the same comparison as a wrong secret.

use std::{sync::Arc, time::Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use tollgate_proto::{AgentId, Name, TenantId};

use super::{
    assertion::{self, Assertion, AssertionFault, Expected},
    attempts::Guesser,
    client::{CLIENT_CREDENTIALS, ClientId, Keys},
    client_document::{self, DocumentError},
    client_keys::{KeySet, KeysError},
    error::{OAuthError, Unproven},
    form::Form,
    issuer::Issuer,
    sql::{self, Credential, Standing},
};
use crate::{
    agents::{AgentState, AuthMethod},
    app::App,
    client_address,
    db::TenantTx,
    secret::Digest,
};

/// What a request shows of its client.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    /// The request's headers.
    pub(super) headers: &'a HeaderMap,
    /// Its body.
    pub(super) form: &'a Form,
    /// A server whose existence the caller wants to know, so that one query is enough.
    pub(super) server: Option<&'a Name>,
}

/// The transaction in which a client was found.
#[must_use = "what the client did is noted when it commits"]
pub(super) enum Opened {
    /// Still open: what authentication wrote in it lasts if it commits.
    Still(TenantTx),
    /// Committed, because what authentication wrote had to last whatever comes next.
    Ended(TenantId),
}

impl Opened {
    /// It, or another one where it ended.
    ///
    /// # Errors
    /// When Postgres is away.
    pub(super) async fn transaction(self, app: &App) -> Result<TenantTx, sqlx::Error> {
        match self {
            Self::Still(tx) => Ok(tx),
            Self::Ended(tenant) => app.db.tenant(tenant).await,
        }
    }

    /// Commits what is still open.
    ///
    /// # Errors
    /// When Postgres is away.
    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Still(tx) => tx.commit().await,
            Self::Ended(_) => Ok(()),
        }
    }
}

/// What is on record about a client, as far as it decides whether a secret proves anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Whether it may act.
    pub(super) state: AgentState,
    /// How it has to prove who it is.
    pub(super) auth_method: AuthMethod,
    /// The unexpired credential whose digest was asked for.
    pub(super) credential: Option<&'a Credential>,
    /// Whether the client's last use is noted within the last hour.
    pub(super) use_noted: bool,
}

/// A claim to be an agent, named by its id, that comes with a secret. One query decides it and may tell its caller other
/// things as well, which [`authenticate`] cannot offer to those who sign or are known by a document.
pub(super) struct SecretClaim {
    /// Who is claimed.
    pub(super) agent: AgentId,
    /// Of the secret.
    pub(super) digest: Digest,
    claim: Claim,
    guesser: Guesser,
}

impl SecretClaim {
    /// The claim of a request, if it is such a one.
    ///
    /// # Errors
    /// `invalid_request` for a request that contradicts itself, `too_many_requests` for a client and address that fail
    /// too often.
    pub(super) fn read(app: &App, issuer: &Issuer, presented: &Presented<'_>) -> Result<Option<Self>, OAuthError> {
        let claim = Claim::read(presented, &issuer.url)?;
        let (&Proof::Secret(digest), ClientId::Agent(agent)) = (&claim.proof, ClientId::of(&claim.client_id)) else {
            return Ok(None);
        };
        let guesser = claim.guesser(app, issuer)?;
        Ok(Some(Self { agent, digest, claim, guesser }))
    }

    /// Whether it is true, by what the query found about the agent.
    ///
    /// # Errors
    /// `invalid_client`, and then the failure is counted; 503 when the use of the secret cannot be noted.
    pub(super) async fn check(self, app: &App, tenant: TenantId, found: Option<Record<'_>>) -> Result<(), OAuthError> {
        if let Err(refusal) = by_secret(&self.digest, found) {
            app.token_failures.note(self.guesser, Instant::now());
            return Err(self.claim.refusal(&refusal));
        }
        if let Some(record) = found.filter(Record::has_to_be_noted) {
            let mut tx = app.db.tenant(tenant).await?;
            note_use(&mut tx, self.agent, record).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// Finds out who sent a request. The client is who it says and is active; a public one has proved nothing. What it may
/// do comes from the same query.
///
/// # Errors
/// `invalid_request` for a request that contradicts itself, `invalid_client` for every claim that is not true,
/// `too_many_requests` for a client and address that fail too often, 503 when the fault is ours.
pub(super) async fn authenticate(
    app: &App,
    issuer: &Issuer,
    presented: Presented<'_>,
) -> Result<(Standing, Opened), OAuthError> {
    let claim = Claim::read(&presented, &issuer.url)?;
    let guesser = claim.guesser(app, issuer)?;
    match check(app, issuer, &claim, presented.server).await? {
        Ok(authenticated) => Ok(authenticated),
        Err(refusal) => {
            app.token_failures.note(guesser, Instant::now());
            Err(claim.refusal(&refusal))
        }
    }
}

/// Why a claim is not true. For operators: a client learns no more than that.
#[derive(Debug, Clone, thiserror::Error)]
enum Refusal {
    #[error("it names no client")]
    Nobody,
    #[error("the `Authorization` header is no Basic one")]
    NotBasic,
    #[error("there is no such client")]
    Unknown,
    #[error("the client is suspended, or waits for approval")]
    Inactive,
    #[error("the client has to prove who it is by another method")]
    WrongMethod,
    #[error("the secret is none of the client's, or has expired")]
    WrongSecret,
    #[error("the assertion proves nothing: {0}")]
    Assertion(#[from] AssertionFault),
    #[error("the assertion was used before")]
    Replayed,
    #[error(transparent)]
    Keys(KeysError),
    #[error(transparent)]
    Document(DocumentError),
}

/// A claim to be a client, not yet checked.
struct Claim {
    client_id: String,
    proof: Proof,
    /// Whether it is signed and asks for a token of the client's own.
    for_itself: bool,
    /// The issuer, when the claim came in the `Authorization` header and is answered by a challenge.
    realm: Option<String>,
}

/// What comes with a claim.
enum Proof {
    /// The digest of a secret.
    Secret(Digest),
    /// What the client signed.
    Assertion(Box<Assertion>),
    /// A public client has none.
    Nothing,
    /// What cannot be right, whoever sends it.
    Bad(Refusal),
}

impl Claim {
    /// Finds the one method that the request used.
    fn read(presented: &Presented<'_>, issuer: &str) -> Result<Self, OAuthError> {
        let form = presented.form;
        let mut authorizations = presented.headers.get_all(header::AUTHORIZATION).iter();
        let authorization = authorizations.next();
        let (secret, assertion) = (form.get("client_secret"), form.get("client_assertion"));
        let methods = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if methods.into_iter().filter(|&used| used).count() > 1 || authorizations.next().is_some() {
            return Err(OAuthError::InvalidRequest("a client authenticates by one method only".into()));
        }
        if form.get("client_assertion_type").is_some() != assertion.is_some()
            || form.get("client_assertion_type").is_some_and(|kind| kind != assertion::TYPE)
        {
            let expected = "client_assertion comes with the client_assertion_type of RFC 7523, section 2.2";
            return Err(OAuthError::InvalidRequest(expected.into()));
        }
        let (said, realm) = (form.get("client_id"), authorization.map(|_| issuer.to_owned()));
        let (client_id, proof) = match (authorization, assertion, secret) {
            (Some(header), ..) => basic(header).map_or((None, Proof::Bad(Refusal::NotBasic)), |(id, secret)| {
                (Some(id), Proof::Secret(Digest::of(&secret)))
            }),
            (_, Some(text), _) => match Assertion::read(text) {
                Ok(read) => (Some(read.client_id().to_owned()), Proof::Assertion(Box::new(read))),
                Err(fault) => (None, Proof::Bad(fault.into())),
            },
            (.., Some(secret)) => (None, Proof::Secret(Digest::of(secret))),
            (None, None, None) => (None, Proof::Nothing),
        };
        if said.is_some_and(|said| client_id.as_ref().is_some_and(|proven| proven != said)) {
            return Err(OAuthError::InvalidRequest("client_id is not the client that authenticates".into()));
        }
        let signed = matches!(proof, Proof::Assertion(_));
        let for_itself = signed && form.get("grant_type") == Some(CLIENT_CREDENTIALS);
        Ok(match client_id.or_else(|| said.map(str::to_owned)) {
            Some(client_id) => Self { client_id, proof, for_itself, realm },
            None if matches!(proof, Proof::Bad(_)) => Self { client_id: String::new(), proof, for_itself, realm },
            None => Self { client_id: String::new(), proof: Proof::Bad(Refusal::Nobody), for_itself, realm },
        })
    }

    /// Whom a failure counts against, unless there were too many already.
    fn guesser(&self, app: &App, issuer: &Issuer) -> Result<Guesser, OAuthError> {
        let guesser = Guesser::new(issuer.tenant, &self.client_id, client_address::current());
        match app.token_failures.wait(&guesser, Instant::now()) {
            Some(retry_after) => Err(OAuthError::TooManyFailures { retry_after }),
            None => Ok(guesser),
        }
    }

    /// The answer to a claim that is not true.
    fn refusal(self, reason: &Refusal) -> OAuthError {
        let shown: String = self.client_id.chars().filter(|character| !character.is_control()).take(200).collect();
        let client = (!shown.is_empty()).then_some(shown);
        OAuthError::InvalidClient(Box::new(Unproven { realm: self.realm, client, reason: reason.to_string() }))
    }
}

/// Whether the claim is true; the outer error is ours. A client that is known by its document is what that says now;
/// one that was never seen cannot make us fetch anything here, unless it acts for itself and comes from a host that an
/// admin lets do so: no user brings it first.
async fn check(
    app: &App,
    issuer: &Issuer,
    claim: &Claim,
    server: Option<&Name>,
) -> Result<Result<(Standing, Opened), Refusal>, OAuthError> {
    let digest = match &claim.proof {
        Proof::Secret(digest) => Some(digest),
        Proof::Assertion(_) | Proof::Nothing => None,
        Proof::Bad(refusal) => return Ok(Err(refusal.clone())),
    };
    let id = ClientId::of(&claim.client_id);
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let mut found = sql::standing(&mut tx, &id, digest, server).await?;
    if let ClientId::Document(url) = &id
        && (found.is_some() || (claim.for_itself && client_document::may_come_for_itself(&mut tx, url).await?))
    {
        tx.commit().await?;
        match client_document::resolve_or_stale(app, issuer, url).await {
            Ok(_) => {}
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => return Ok(Err(Refusal::Document(error))),
        }
        tx = app.db.tenant(issuer.tenant).await?;
        found = sql::standing(&mut tx, &id, digest, server).await?;
    }
    let proven = match &claim.proof {
        Proof::Secret(digest) => by_secret(digest, found.as_ref().map(Standing::record)),
        Proof::Assertion(_) => by_method(found.as_ref(), AuthMethod::PrivateKeyJwt),
        Proof::Nothing | Proof::Bad(_) => by_method(found.as_ref(), AuthMethod::None),
    };
    let standing = match (proven, found) {
        (Ok(()), Some(standing)) => standing,
        (Ok(()), None) => return Ok(Err(Refusal::Unknown)),
        (Err(refusal), _) => return Ok(Err(refusal)),
    };
    if let Proof::Assertion(assertion) = &claim.proof {
        return by_assertion(app, issuer, assertion, standing, tx).await;
    }
    note_use(&mut tx, standing.client.agent, standing.record()).await?;
    Ok(Ok((standing, Opened::Still(tx))))
}

/// The use of an assertion is committed, so that it stays used whatever becomes of the request.
async fn by_assertion(
    app: &App,
    issuer: &Issuer,
    assertion: &Assertion,
    standing: Standing,
    mut tx: TenantTx,
) -> Result<Result<(Standing, Opened), Refusal>, OAuthError> {
    let keys = match &standing.client.keys {
        Keys::None => Err(Refusal::WrongMethod),
        Keys::Inline(set) => KeySet::parse(set).map(Arc::new).map_err(|fault| Refusal::Keys(fault.into())),
        Keys::At(url) => {
            // Nobody's host is waited for with a transaction open.
            tx.commit().await?;
            let seen_by = (issuer.tenant, &standing.tenant.egress);
            let found = app.client_keys.find(&app.fetcher, seen_by, url, assertion.kid()).await;
            tx = app.db.tenant(issuer.tenant).await?;
            match found {
                Err(error) if error.is_transient() => return Err(OAuthError::Unavailable(error.into())),
                found => found.map_err(Refusal::Keys),
            }
        }
    };
    let token_endpoint = format!("{}/oauth/token", issuer.url);
    let expected = Expected {
        client_id: &standing.client.client_id,
        alg: standing.client.signing_alg,
        issuer: &issuer.url,
        token_endpoint: (!standing.tenant.strict_assertion_audience).then_some(&token_endpoint),
        now: chrono::Utc::now().timestamp(),
    };
    let accepted = match keys.and_then(|keys| Ok(assertion.accept(&expected, &keys)?)) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tracing::debug!(client = %standing.client.client_id, audience = accepted.audience, "a client signed in by an assertion");
    let digest = assertion::digest(standing.client.agent, accepted.jti);
    if !sql::use_assertion(&mut tx, &digest, accepted.expires_at).await? {
        return Ok(Err(Refusal::Replayed));
    }
    note_use(&mut tx, standing.client.agent, standing.record()).await?;
    tx.commit().await?;
    Ok(Ok((standing, Opened::Ended(issuer.tenant))))
}

async fn note_use(tx: &mut TenantTx, agent: AgentId, record: Record<'_>) -> Result<(), sqlx::Error> {
    if record.has_to_be_noted() {
        let credential = record.credential.filter(|credential| !credential.use_noted);
        sql::note_use(tx, agent, credential.map(|credential| credential.id)).await?;
    }
    Ok(())
}

impl Record<'_> {
    /// Public clients are not noted: anyone can say that they are one.
    fn has_to_be_noted(&self) -> bool {
        self.credential.is_some_and(|credential| !credential.use_noted)
            || !(self.use_noted || self.auth_method == AuthMethod::None)
    }
}

/// The digest is compared whether or not there is such a client.
fn by_secret(digest: &Digest, found: Option<Record<'_>>) -> Result<(), Refusal> {
    const NOBODYS: [u8; 32] = [0; 32];
    let stored = found.and_then(|record| record.credential).map_or(&NOBODYS[..], |known| &known.digest);
    let same = digest.matches(stored);
    let record = found.ok_or(Refusal::Unknown)?;
    match record.auth_method {
        _ if record.state != AgentState::Active => Err(Refusal::Inactive),
        AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost if same => Ok(()),
        AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => Err(Refusal::WrongSecret),
        AuthMethod::PrivateKeyJwt | AuthMethod::None => Err(Refusal::WrongMethod),
    }
}

fn by_method(found: Option<&Standing>, method: AuthMethod) -> Result<(), Refusal> {
    let client = &found.ok_or(Refusal::Unknown)?.client;
    match client.auth_method {
        _ if !client.is_active() => Err(Refusal::Inactive),
        registered if registered == method => Ok(()),
        _ => Err(Refusal::WrongMethod),
    }
}

/// Id and secret of a `Basic` header: base64 (RFC 7617) over two form-url-encoded texts (RFC 6749 appendix B).
fn basic(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).expect("base64 is a header value")
    }

    proptest! {
        #[test]
        fn any_id_and_secret_survive_the_encoding_that_the_standard_asks_for(id in "\\PC*", secret in "\\PC*") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let value = header(&format!("{}:{}", encode(&id), encode(&secret)));
            prop_assert_eq!(basic(&value), Some((id, secret)));
        }

        #[test]
        fn no_header_is_too_strange_to_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..80), inner: bool) {
            let bytes = if inner { format!("Basic {}", STANDARD.encode(&bytes)).into_bytes() } else { bytes };
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            if let Some((id, secret)) = basic(&value) {
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let again = header(&format!("{}:{}", encode(&id), encode(&secret)));
                prop_assert_eq!(basic(&again), Some((id, secret)));
            }
        }
    }

    #[test]
    fn a_header_that_is_not_basic_is_nobody() {
        for text in ["Basic", "Basic !!!", "Bearer YTpi", "Basic YWI=", "Basic", "Basic /w=="] {
            assert_eq!(basic(&HeaderValue::from_static(text)), None, "{text}");
        }
        assert_eq!(basic(&header("%ff:secret")), None);
    }

    #[test]
    fn a_colon_in_the_secret_need_not_be_encoded() {
        assert_eq!(basic(&header("id:a:b")), Some(("id".to_owned(), "a:b".to_owned())));
    }
}
