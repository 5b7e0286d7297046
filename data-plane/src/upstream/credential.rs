//! Presenting Tollgate's own credentials to servers: headers that the policy has, or tokens that are got for it.
//!
//! A token is got when the first request needs it, shared by all requests of this data plane, and got anew in the
//! background before it expires, for as long as somebody uses it. It is in memory only. What can be known without the
//! network is in `credential/slot.rs`; who is asked for a token, and how, in `credential/fetch.rs`.
//!
//! Invariant: one request for a token is under way for a credential at a time, however many calls wait for it; one that
//! failed is not repeated at once; and what went wrong is told to agents without a word of the authorization server's.

mod assertion;
mod discovery;
mod fetch;
mod slot;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use tollgate_proto::ServerId;

use super::HttpClient;
use crate::policy::{Credential, Instance, OauthClient};
use slot::Slot;

pub use slot::Token;

/// Why a server could not be approached with Tollgate's credential. The text is for logs; [`CredentialFault::told`] is
/// for agents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFault {
    /// Nobody said where tokens come from.
    #[error("no authorization server was found: {0}")]
    Undiscovered(&'static str),
    /// The authorization server gave no answer.
    #[error("the authorization server did not answer: {0}")]
    Unreachable(String),
    /// It answered with an error (RFC 6749 section 5.2).
    #[error("the authorization server refused: {0}")]
    Refused(String),
    /// What it answered is no token, or no metadata.
    #[error("the authorization server's answer cannot be used: {0}")]
    Invalid(&'static str),
}

impl CredentialFault {
    /// What an agent is told.
    #[must_use]
    pub const fn told(&self) -> &'static str {
        match self {
            Self::Undiscovered(_) => "its authorization server was not found",
            Self::Unreachable(_) => "its authorization server did not answer",
            Self::Refused(_) => "its authorization server refused to give a token",
            Self::Invalid(_) => "its authorization server gave no usable answer",
        }
    }
}

/// The tokens of this data plane.
#[derive(Debug, Default)]
pub struct Credentials {
    slots: Mutex<HashMap<ServerId, Arc<Slot>>>,
}

impl Credentials {
    /// Puts in what is presented to the instance's server; answers with the token, where it is one.
    ///
    /// # Errors
    /// When no token can be had.
    pub(super) async fn present(
        &self,
        http: impl FnOnce() -> HttpClient,
        instance: &Instance,
        headers: &mut HeaderMap,
    ) -> Result<Option<Token>, CredentialFault> {
        match &instance.access.credential {
            Credential::None => Ok(None),
            Credential::Headers(presented) => {
                put_all(presented, headers);
                Ok(None)
            }
            Credential::Oauth(client) => {
                let slot = self.slot(client);
                let fetch = |client: Arc<OauthClient>| {
                    let (http, url) = (http(), instance.url.clone());
                    async move { fetch::token(&http, &client, &url).await }
                };
                let token = slot.token(client, Instant::now(), fetch).await?;
                put(&token, headers);
                Ok(Some(token))
            }
        }
    }

    /// Puts in what there is without asking anybody for it.
    pub(super) fn present_at_hand(&self, instance: &Instance, headers: &mut HeaderMap) {
        match &instance.access.credential {
            Credential::None => {}
            Credential::Headers(presented) => put_all(presented, headers),
            Credential::Oauth(client) => {
                if let Some(token) = self.slot(client).at_hand(Instant::now()) {
                    put(&token, headers);
                }
            }
        }
    }

    /// Puts in another token than `rejected`, which the server did not accept; answers whether there is one. A server
    /// that accepts none is not worth a token for each call.
    ///
    /// # Errors
    /// When no token can be had.
    pub(super) async fn renew(
        &self,
        http: impl FnOnce() -> HttpClient,
        instance: &Instance,
        rejected: &Token,
        headers: &mut HeaderMap,
    ) -> Result<bool, CredentialFault> {
        let Credential::Oauth(client) = &instance.access.credential else { return Ok(false) };
        let slot = self.slot(client);
        if !slot.reject(rejected, Instant::now()) {
            return Ok(false);
        }
        self.present(http, instance, headers).await.map(|token| token.is_some())
    }

    /// Forgets the tokens of every server for which `stays` says no.
    pub(super) fn retain(&self, stays: impl Fn(ServerId) -> bool) {
        self.lock().retain(|server, _| stays(*server));
    }

    /// The slot of the client's server; a new one where the client asks for other tokens than before.
    fn slot(&self, client: &Arc<OauthClient>) -> Arc<Slot> {
        let mut slots = self.lock();
        match slots.get(&client.server) {
            Some(slot) if slot.is_of(client) => Arc::clone(slot),
            _ => {
                let slot = Arc::new(Slot::new(client));
                slots.insert(client.server, Arc::clone(&slot));
                slot
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<Slot>>> {
        // Entries are inserted whole, so a panic elsewhere leaves the map usable.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_all(presented: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in presented {
        headers.insert(name, value.clone());
    }
}

fn put(token: &Token, headers: &mut HeaderMap) {
    headers.insert(AUTHORIZATION, HeaderValue::clone(token.header()));
}
