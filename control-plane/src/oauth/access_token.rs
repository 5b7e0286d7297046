//! Access tokens: JWTs as RFC 9068 has them, signed with ES256, or opaque references, as the tenant chose.
//!
//! Invariant: a token says who may act, where and within which scopes; what is allowed at the moment of a call is the
//! data plane's policy, never the token's business. A JWT is signed only after the transaction that decided about it
//! has committed, and the text of an opaque token is nowhere but in the answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, AuthorizationId, UserId};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{issuer::Issuer, keys::KeyError};
use crate::{
    app::App,
    db::TenantTx,
    secret::{self, Purpose},
};

mod read;
mod sql;
mod verified;

pub(crate) use read::Known;
pub use read::Verifiers;
pub(super) use read::{read, verify};

/// RFC 9068 section 2.1.
const TYPE: &str = "at+jwt";

/// A revocation voids what is issued within its second; more is the clock of a database that was set back.
const VOID_MAX: Duration = Duration::from_secs(2);

/// What a tenant's access tokens look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AccessTokenFormat)]
pub enum Format {
    /// RFC 9068: resource servers verify it themselves.
    #[default]
    Jwt,
    /// `tga_…`: a reference that only the authorization server can resolve, so that it tells nobody anything.
    Opaque,
}

impl Format {
    /// As the database has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
        }
    }

    /// From what the database says.
    pub(super) const fn of(opaque: bool) -> Self {
        if opaque { Self::Opaque } else { Self::Jwt }
    }
}

/// For whom an agent acts, and by which authorization.
#[derive(Debug, Clone)]
pub(super) struct OnBehalf {
    /// The user: `sub`.
    pub(super) user: UserId,
    /// The grant family: `gid`.
    pub(super) authorization: AuthorizationId,
    /// When the user last proved who they are: `auth_time`.
    pub(super) authenticated_at: DateTime<Utc>,
}

/// What goes into a token.
#[derive(Debug)]
pub(super) struct Contents {
    /// Whose token it is.
    pub(super) agent: AgentId,
    /// `client_id`: the agent's id, or the URL of its metadata document.
    pub(super) client_id: String,
    /// Absent when the agent acts for itself; then it is the subject too (RFC 9068 section 2.2).
    pub(super) on_behalf: Option<OnBehalf>,
    /// `aud`: one endpoint.
    pub(super) audience: String,
    /// `scope`.
    pub(super) scope: String,
    /// From `iat` to `exp`, in seconds.
    pub(super) ttl_s: u32,
    /// Unix seconds: what was issued before is void, so `iat` is no earlier.
    pub(super) valid_from: i64,
    /// Unix milliseconds when it was decided about, by the clock that revocations are stamped with.
    pub(super) now_ms: i64,
    /// The key that signed when the token was decided about; none when the tenant had none yet.
    pub(super) signing_kid: Option<String>,
}

/// A token that the transaction has decided about.
pub(super) struct Minted {
    contents: Contents,
    jti: Uuid,
    issued_at: i64,
    /// The text, when there is nothing to sign.
    opaque: Option<Zeroizing<String>>,
}

/// Makes a token that begins to live now. An opaque one is stored by this; a JWT needs no row.
///
/// A token's `iat` has whole seconds, so that right after a revocation the first second is waited for in which a token
/// is not void: one with an `iat` ahead of time would outlive the next revocation.
pub(super) async fn mint(tx: &mut TenantTx, format: Format, contents: Contents) -> Result<Minted, sqlx::Error> {
    let ahead_ms = (contents.valid_from * 1_000).saturating_sub(contents.now_ms);
    if let Ok(ahead_ms @ 1..) = u64::try_from(ahead_ms) {
        tokio::time::sleep(Duration::from_millis(ahead_ms).min(VOID_MAX)).await;
    }
    let issued_at = contents.now_ms.div_euclid(1_000).max(contents.valid_from);
    let mut minted = Minted { contents, jti: Uuid::now_v7(), issued_at, opaque: None };
    if format == Format::Opaque {
        let made = secret::generate(Purpose::AccessToken);
        sql::insert(tx, &made.digest, &minted).await?;
        minted.opaque = Some(made.text);
    }
    Ok(minted)
}

impl Minted {
    /// The token's text. To be called after the transaction has committed; takes the key from memory.
    pub(super) async fn text(self, app: &App, issuer: &Issuer) -> Result<Zeroizing<String>, KeyError> {
        if let Some(text) = self.opaque {
            return Ok(text);
        }
        let key = app
            .signing_keys
            .signing_key(&app.db, &app.master_key, issuer.tenant, self.contents.signing_kid.as_deref())
            .await?;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        Ok(Zeroizing::new(jsonwebtoken::encode(&header, &self.claims(&issuer.url), &key.private)?))
    }

    fn claims<'a>(&'a self, issuer: &'a str) -> Claims<'a> {
        let contents = &self.contents;
        let on_behalf = contents.on_behalf.as_ref();
        Claims {
            iss: issuer,
            sub: on_behalf.map_or_else(|| contents.client_id.clone(), |acting| acting.user.to_string()),
            aud: &contents.audience,
            client_id: &contents.client_id,
            iat: self.issued_at,
            exp: self.expires_at(),
            jti: self.jti,
            scope: &contents.scope,
            gid: on_behalf.map(|acting| acting.authorization.to_string()),
            auth_time: on_behalf.map(|acting| acting.authenticated_at.timestamp()),
        }
    }

    fn expires_at(&self) -> i64 {
        self.issued_at + i64::from(self.contents.ttl_s)
    }
}

/// RFC 9068 section 2.2.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    client_id: &'a str,
    iat: i64,
    exp: i64,
    jti: Uuid,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
}
