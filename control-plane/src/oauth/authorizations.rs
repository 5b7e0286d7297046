//! Authorizations: what one answer on the consent page allowed, with the code and the tokens that descend from it.
//! Together they are a grant family, and `aut_…` is the `gid` of its tokens.
//!
//! A client has to make a new PKCE challenge for every request (RFC 9700 section 2.1.1). One that sends the same again
//! within a day is told on ([`Begun::challenge_repeated`]) and gets its code: a user who goes back and allows the same
//! page again looks alike.
//!
//! Invariant: an answer makes one family, however often it is sent, and nothing of a family is issued after the
//! transaction that revoked it.

use chrono::{DateTime, Utc};
use tollgate_proto::{AgentId, AuthorizationId, Scope, UserId};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    db::TenantTx,
    secret::{self, Digest, Purpose},
};

mod sql;

/// How long a client has to redeem a code (OAuth 2.1 section 4.1.2 recommends ten minutes at most).
const CODE_LIFE_S: u32 = 60;
/// When a family ends, however busy it is.
const LIFE_DAYS: i32 = 90;
/// How long a challenge is remembered. Codes are kept for longer (`purge.rs`), so that it does not matter when they go.
const CHALLENGE_MEMORY_HOURS: i32 = 24;

/// What a user has just approved.
#[derive(Debug)]
pub(super) struct NewAuthorization {
    /// The agent that may act.
    pub(super) agent: AgentId,
    /// For whom.
    pub(super) user: UserId,
    /// Of the page that was answered.
    pub(super) transaction: Uuid,
    /// Of the sign-in session that it was answered in.
    pub(super) session: Digest,
    /// Endpoints in their canonical form, at least one; a token is for one of them (RFC 8707 section 2.2).
    pub(super) resources: Vec<String>,
    /// What was consented to.
    pub(super) scopes: Vec<Scope>,
    /// Where the code is sent, exactly as the request had it.
    pub(super) redirect_uri: String,
    /// RFC 7636 section 4.2, method `S256`.
    pub(super) code_challenge: String,
    /// When the user last proved who they are: the `auth_time` of tokens.
    pub(super) authenticated_at: DateTime<Utc>,
}

/// A family that has just begun.
pub(super) struct Begun {
    /// The code, to be sent once the transaction has committed.
    pub(super) code: Zeroizing<String>,
    /// Whether the same agent began another family with the same challenge within the last day.
    pub(super) challenge_repeated: bool,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    /// The page was answered before.
    #[error("this page was answered already")]
    Replayed,
    /// The user or the agent may no longer act, or is gone, or the session has ended.
    #[error("the user or the agent may no longer act, or the session has ended")]
    Barred,
    /// Postgres is away.
    #[error("cannot store the authorization: {0}")]
    Storage(#[from] sqlx::Error),
}

/// Begins a family and makes its code. Holds the rows of user, agent and session until the transaction ends, so that
/// whoever revokes all that is theirs either keeps it from beginning or finds it. Because the agent's row is held, of two
/// requests with one challenge the second always sees the first.
pub(super) async fn begin(tx: &mut TenantTx, new: NewAuthorization) -> Result<Begun, BeginError> {
    if !sql::hold_parties(tx, &new).await? {
        return Err(BeginError::Barred);
    }
    let code = secret::generate(Purpose::AuthorizationCode);
    match sql::insert(tx, AuthorizationId::new(), &new, &code.digest).await? {
        Some(challenge_repeated) => Ok(Begun { code: code.text, challenge_repeated }),
        None => Err(BeginError::Replayed),
    }
}
