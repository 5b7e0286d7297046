//! Documents that are being fetched: one at a time per tenant and URL, and so many a minute per host.
//!
//! Invariant: both tables are bounded; what ended is dropped, and an outcome lives only as long as someone waits for
//! it, so that no failure is remembered.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;
use tollgate_proto::TenantId;

use super::{DocumentError, DocumentUrl};

const ASKED_MAX: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
const HOSTS_MAX: usize = 10_000;

type Flight = Arc<OnceCell<Result<(), DocumentError>>>;

/// What this process is fetching, and how often it asked whom.
#[derive(Debug, Default)]
pub struct ClientDocuments {
    flights: Mutex<HashMap<(TenantId, String), Flight>>,
    asked: Mutex<HashMap<String, Asked>>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    times: u32,
    ends_at: Instant,
}

impl ClientDocuments {
    /// Does `work`, or waits for someone who is at it and takes their outcome. When that one goes away, another who
    /// waits begins anew.
    pub(super) async fn once<F: Future<Output = Result<(), DocumentError>>>(
        &self,
        tenant: TenantId,
        url: &DocumentUrl,
        work: impl FnOnce() -> F,
    ) -> Result<(), DocumentError> {
        let key = (tenant, url.as_str().to_owned());
        let flight = Arc::clone(self.flights().entry(key.clone()).or_default());
        let outcome = flight.get_or_init(work).await.clone();
        let mut flights = self.flights();
        // Whoever comes next starts another one.
        if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(&key);
        }
        outcome
    }

    /// Whether the host may be asked once more this minute; counts it.
    pub(super) fn may_ask(&self, host: &str) -> bool {
        self.may_ask_at(host, Instant::now())
    }

    fn may_ask_at(&self, host: &str, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= HOSTS_MAX && !asked.contains_key(host) {
            asked.retain(|_, count| count.ends_at > now);
            if asked.len() >= HOSTS_MAX {
                return false;
            }
        }
        let count = asked.entry(host.to_owned()).or_insert(Asked { times: 0, ends_at: now + WINDOW });
        if count.ends_at <= now {
            *count = Asked { times: 0, ends_at: now + WINDOW };
        }
        count.times += 1;
        count.times <= ASKED_MAX
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantId, String), Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_so_often_a_minute_and_no_more() {
        let (documents, start) = (ClientDocuments::default(), Instant::now());
        for _ in 0..ASKED_MAX {
            assert!(documents.may_ask_at("a.example", start));
        }
        assert!(!documents.may_ask_at("a.example", start));
        assert!(documents.may_ask_at("b.example", start), "another host");
        assert!(documents.may_ask_at("a.example", start + WINDOW), "another minute");
    }

    #[test]
    fn a_flood_of_hosts_does_not_grow_the_table() {
        let (documents, start) = (ClientDocuments::default(), Instant::now());
        for host in 0..HOSTS_MAX + 50 {
            documents.may_ask_at(&format!("{host}.example"), start);
        }
        assert_eq!(documents.asked.lock().expect("not poisoned").len(), HOSTS_MAX);
        assert!(documents.may_ask_at("late.example", start + WINDOW), "room is made when the minute is over");
    }

    #[tokio::test]
    async fn an_outcome_is_shared_by_all_who_wait_and_by_nobody_after() {
        let (documents, ran) = (ClientDocuments::default(), std::cell::Cell::new(0));
        let url = DocumentUrl::parse("https://a.example/c").expect("a URL");
        let tenant = TenantId::new();
        let fail = async || {
            documents
                .once(tenant, &url, || async {
                    ran.set(ran.get() + 1);
                    tokio::task::yield_now().await;
                    Err(DocumentError::Off)
                })
                .await
        };
        let (first, second) = tokio::join!(fail(), fail());
        assert!(first.is_err() && second.is_err());
        assert_eq!(ran.get(), 1);
        assert!(fail().await.is_err());
        assert_eq!(ran.get(), 2, "a failure is not remembered");
        assert!(documents.flights().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_first_one_leaves() {
        let documents = ClientDocuments::default();
        let url = DocumentUrl::parse("https://a.example/c").expect("a URL");
        let tenant = TenantId::new();
        {
            let stuck = documents.once(tenant, &url, std::future::pending);
            tokio::pin!(stuck);
            assert!(futures_util::poll!(stuck).is_pending());
        }
        documents.once(tenant, &url, async || Ok(())).await.expect("the second one finished");
        assert!(documents.flights().is_empty());
    }
}
