//! JWK Sets that clients keep at a URL (`jwks_uri`, RFC 7591 section 2), fetched and remembered.
//!
//! Invariant: however many requests want the keys of one URL at a time, one fetch goes out; and an unknown `kid` makes
//! another one at most every half minute, so that nobody can make us knock at somebody's door all day.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use serde_json::Value;
use tollgate_proto::{Egress, TenantId};
use url::Url;

use super::{KeySet, KeysFault};
use crate::fetch::{FetchError, Fetcher, Limits};

const MEDIA_TYPES: &str = "application/jwk-set+json, application/json";
const LIMITS: Limits = Limits { body_bytes_max: 64 * 1024, timeout: Duration::from_secs(3) };
const FRESH: Duration = Duration::from_secs(5 * 60);
/// For so long a set that cannot be fetched anew is used on.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const REFETCH_PAUSE: Duration = Duration::from_secs(30);
const URLS_MAX: usize = 1_000;

/// Why the keys of a client cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeysError {
    /// The host does not answer, or not as it should.
    #[error("the client's keys cannot be fetched: {0}")]
    Fetch(#[source] Arc<FetchError>),
    /// An answer that is no document.
    #[error("the client's keys cannot be fetched: the host answers {0}")]
    Status(StatusCode),
    /// A document that is no JWK Set, or a bad one.
    #[error("the client's keys cannot be used: {0}")]
    Set(#[from] KeysFault),
    /// What is registered is no URL.
    #[error("the client's `jwks_uri` is no URL")]
    Url,
}

impl KeysError {
    /// Whether trying again later may help, without anyone changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_transient(),
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Set(_) | Self::Url => false,
        }
    }
}

/// The sets of all URLs that were asked for lately. A tenant's egress decides what it may see, so each has its own.
#[derive(Debug, Default)]
pub struct ClientKeys(Mutex<HashMap<(TenantId, String), Arc<Entry>>>);

/// One URL. Whoever holds the lock may be fetching.
#[derive(Debug, Default)]
struct Entry(tokio::sync::Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    set: Option<(Arc<KeySet>, Instant)>,
    /// The latest fetch: when it ended, and how. Those who waited for it share what it brought.
    latest: Option<(Instant, Result<Arc<KeySet>, KeysError>)>,
    /// The latest fetch for the sake of an unknown `kid`.
    refetched_at: Option<Instant>,
}

impl ClientKeys {
    /// The keys at `url`, with a key named `kid` if there is one. Asks nobody where a fresh set is known; must not be
    /// called within a transaction.
    ///
    /// # Errors
    /// [`KeysError`], unless a set from the last day is known.
    pub(in crate::oauth) async fn find(
        &self,
        fetcher: &Fetcher,
        (tenant, egress): (TenantId, &Egress),
        url: &str,
        kid: Option<&str>,
    ) -> Result<Arc<KeySet>, KeysError> {
        let arrived_at = Instant::now();
        let entry = self.entry(tenant, url, arrived_at);
        let mut remembered = entry.0.lock().await;
        if let Some((ended_at, outcome)) = &remembered.latest
            && *ended_at >= arrived_at
        {
            return outcome.clone();
        }
        let known = remembered.set.clone();
        match &known {
            Some((set, fetched_at)) if arrived_at.duration_since(*fetched_at) < FRESH => {
                if set.knows(kid) || !remembered.may_refetch(arrived_at) {
                    return Ok(Arc::clone(set));
                }
                remembered.refetched_at = Some(arrived_at);
            }
            _ => {}
        }
        let fetched = fetch(fetcher, egress, url).await.map(Arc::new);
        let outcome = match (fetched, known) {
            (Err(error), Some((set, fetched_at))) if arrived_at.duration_since(fetched_at) < STALE_MAX => {
                tracing::warn!(%error, url, "the keys of a client cannot be fetched anew; the known ones are used on");
                Ok(set)
            }
            (Ok(set), _) => {
                remembered.set = Some((Arc::clone(&set), Instant::now()));
                Ok(set)
            }
            (Err(error), _) => Err(error),
        };
        remembered.latest = Some((Instant::now(), outcome.clone()));
        outcome
    }

    fn entry(&self, tenant: TenantId, url: &str, now: Instant) -> Arc<Entry> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant, url.to_owned());
        if entries.len() >= URLS_MAX && !entries.contains_key(&key) {
            make_room(&mut entries, now);
        }
        Arc::clone(entries.entry(key).or_default())
    }
}

impl Remembered {
    fn may_refetch(&self, now: Instant) -> bool {
        self.refetched_at.is_none_or(|at| now.duration_since(at) >= REFETCH_PAUSE)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.set.as_ref().is_some_and(|(_, fetched_at)| now.duration_since(*fetched_at) < FRESH)
    }
}

/// Forgets what would be fetched anew anyway and is not being fetched; if that is nothing, any one.
fn make_room(entries: &mut HashMap<(TenantId, String), Arc<Entry>>, now: Instant) {
    entries.retain(|_, entry| entry.0.try_lock().map_or(true, |remembered| remembered.is_fresh(now)));
    if entries.len() >= URLS_MAX
        && let Some(any) = entries.keys().next().cloned()
    {
        entries.remove(&any);
    }
}

async fn fetch(fetcher: &Fetcher, egress: &Egress, url: &str) -> Result<KeySet, KeysError> {
    let url = Url::parse(url).map_err(|_| KeysError::Url)?;
    let answer =
        fetcher.get(egress, &url, MEDIA_TYPES, LIMITS).await.map_err(|error| KeysError::Fetch(error.into()))?;
    if answer.status() != StatusCode::OK {
        return Err(KeysError::Status(answer.status()));
    }
    let set: Value = serde_json::from_slice(answer.body()).map_err(|_| KeysFault::NoSet)?;
    Ok(KeySet::parse(&set)?)
}
