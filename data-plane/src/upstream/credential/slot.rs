//! The token of one credential: whether it can be used, when the next one is asked for, and when nobody is asked.
//!
//! Invariant: no I/O in here, and the clock is an argument.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::HeaderValue;

use super::CredentialFault;
use crate::policy::OauthClient;

#[cfg(test)]
mod tests;

/// After a failure nobody is asked for so long; it doubles with each.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A server that rejects a token right after another one was got for that reason rejects them all.
const RENEWED_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// A token is not used in the last part of its life, so that it does not expire on the way.
const EXPIRES_EARLY: Duration = Duration::from_secs(5);
/// How long a token lives of which its authorization server does not say.
const LIFE_UNTOLD: Duration = Duration::from_secs(300);
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

type Outcome = Result<Token, CredentialFault>;

/// An access token, as it is presented. It does not print.
#[derive(Clone)]
pub struct Token {
    header: HeaderValue,
    refresh_at: Instant,
    expires_at: Instant,
}

/// The place of one credential's token.
pub(super) struct Slot {
    state: Mutex<State>,
}

struct State {
    /// Whose tokens these are.
    client: Arc<OauthClient>,
    token: Option<Token>,
    /// The request for a token that is under way.
    flight: Option<Shared<BoxFuture<'static, Outcome>>>,
    failed: Option<Failed>,
    /// When a token was got because the server rejected the one before.
    renewed_at: Option<Instant>,
}

struct Failed {
    fault: CredentialFault,
    until: Instant,
    wait: Duration,
}

impl Token {
    /// A bearer token (RFC 6750) that was issued at `now`; `None` when it cannot stand in a header.
    pub(super) fn new(text: &str, expires_in: Option<Duration>, now: Instant) -> Option<Self> {
        let legible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut header = HeaderValue::try_from(format!("Bearer {text}")).ok().filter(|_| legible)?;
        header.set_sensitive(true);
        let life = expires_in.unwrap_or(LIFE_UNTOLD).min(LIFE_MAX);
        let expires_at = now + life.saturating_sub(EXPIRES_EARLY.min(life / 10));
        Some(Self { header, refresh_at: now + life.mul_f64(0.8), expires_at })
    }

    pub(super) const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl Slot {
    pub(super) fn new(client: &Arc<OauthClient>) -> Self {
        let client = Arc::clone(client);
        let state = State { client, token: None, flight: None, failed: None, renewed_at: None };
        Self { state: Mutex::new(state) }
    }

    /// Whether the tokens in here are those that `client` would get.
    pub(super) fn is_of(&self, client: &OauthClient) -> bool {
        self.lock().client.identity == client.identity
    }

    /// The token, where there is one that can be used.
    pub(super) fn at_hand(&self, now: Instant) -> Option<Token> {
        self.lock().usable(now)
    }

    /// A token that can be used. One that soon expires, or was got with another secret, is used still while the next one
    /// is got. `fetch` gets one; it goes on when nobody waits any more.
    pub(super) async fn token<F>(
        self: &Arc<Self>,
        client: &Arc<OauthClient>,
        now: Instant,
        fetch: impl FnOnce(Arc<OauthClient>) -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let flight = {
            let mut state = self.lock();
            state.follow(client, now);
            let usable = state.usable(now);
            let is_due = usable.as_ref().is_none_or(|token| now >= token.refresh_at);
            if is_due && state.flight.is_none() {
                match state.failed.as_ref().filter(|failed| now < failed.until) {
                    None => state.flight = Some(self.fly(client, fetch(Arc::clone(client)))),
                    Some(failed) if usable.is_none() => return Err(failed.fault.clone()),
                    Some(_) => {}
                }
            }
            match (usable, &state.flight) {
                (Some(token), _) => return Ok(token),
                (None, Some(flight)) => flight.clone(),
                (None, None) => return Err(CredentialFault::Invalid("no token")),
            }
        };
        flight.await
    }

    /// The server did not accept `rejected`. Answers whether another one is worth trying.
    pub(super) fn reject(&self, rejected: &Token, now: Instant) -> bool {
        let mut state = self.lock();
        if state.token.as_ref().is_some_and(|token| token.header != rejected.header) {
            return true;
        }
        if state.token.is_none() {
            // Somebody else's rejection took it away.
            return state.flight.is_some() || state.failed.is_none();
        }
        let renewed = state.renewed_at.map(|at| now.saturating_duration_since(at));
        if renewed.is_some_and(|ago| ago < RENEWED_AT_MOST_EVERY) {
            return false;
        }
        state.token = None;
        state.renewed_at = Some(now);
        true
    }

    /// Starts `fetch`, off the caller's clock.
    fn fly<F>(self: &Arc<Self>, client: &Arc<OauthClient>, fetch: F) -> Shared<BoxFuture<'static, Outcome>>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (slot, client) = (Arc::clone(self), Arc::clone(client));
        let flight = tokio::spawn(async move {
            let outcome = fetch.await;
            slot.land(&client, &outcome, Instant::now());
            outcome
        });
        let landed =
            async move { flight.await.unwrap_or(Err(CredentialFault::Invalid("the request for it broke off"))) };
        landed.boxed().shared()
    }

    /// Keeps what came of a request for a token.
    fn land(&self, client: &OauthClient, outcome: &Outcome, now: Instant) {
        let mut state = self.lock();
        state.flight = None;
        match outcome {
            Ok(token) => {
                state.token = Some(token.clone());
                state.failed = None;
                tracing::debug!(server = %client.server, "a token for a server was got");
            }
            // Another secret has come in the meantime: what the old one brought about says nothing of it.
            Err(_) if state.client.secret_digest != client.secret_digest => {}
            Err(fault) => {
                tracing::warn!(server = %client.server, %fault, "no token for a server");
                let wait = state.failed.as_ref().map_or(WAIT_FIRST, |failed| (failed.wait * 2).min(WAIT_MAX));
                state.failed = Some(Failed { fault: fault.clone(), until: now + wait, wait });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values, each written whole: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes `client` for the one whose tokens these are. After a change of its secret the next token is due.
    fn follow(&mut self, client: &Arc<OauthClient>, now: Instant) {
        if self.client.secret_digest != client.secret_digest {
            self.failed = None;
            if let Some(token) = &mut self.token {
                token.refresh_at = now;
            }
        }
        self.client = Arc::clone(client);
    }

    fn usable(&self, now: Instant) -> Option<Token> {
        self.token.clone().filter(|token| now < token.expires_at)
    }
}
